"""How visible the borders between windows are, and what a shorter hop costs and gains.

    make demo
    python examples/benchmarks/measure_seams.py --output demo_output

With a hop of `h` frames, every window gives `h` new frames and begins with those that were shown before them, so that
reactions go on where they were, and new frames answer what the speaker did until now. The price: windows come more
often.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from perfrdiff_hf import PerFRDiffPipeline
from perfrdiff_hf.behaviour import WINDOW_SIZE
from perfrdiff_hf.cli.demo import CLIPS_AT_ONCE
from perfrdiff_hf.data.arrays import ClipArrays
from perfrdiff_hf.data.corpus import Corpus
from perfrdiff_hf.evaluation import load_task
from perfrdiff_hf.evaluation.controls import own_history
from perfrdiff_hf.evaluation.reacting import batches_of_equal_length, react_to_clips
from perfrdiff_hf.evaluation.task import rows_of
from perfrdiff_hf.metrics import frcorr
from perfrdiff_hf.metrics.seams import measure_seams


NUM_REACTIONS = 3


def main() -> None:
    """Measure hops on the demo's test clips and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="folder that `make demo` wrote")
    parser.add_argument("--hops", type=int, nargs="+", default=[50, 40, 25, 10, 5], help="frames")
    options = parser.parse_args()
    pipeline = PerFRDiffPipeline.from_pretrained(str(options.output / "model"))
    pipeline.set_progress_bar_config(disable=True)
    world, cache = options.output / "world", options.output / "cache"
    task, arrays = load_task(world, "test", "pmafrg", cache), Corpus(world, cache).split("test").arrays

    print("| hop | velocity at borders / inside | acceleration at borders / inside | FRCorr | cost |")
    print("|---|---|---|---|---|")
    recorded = measure_seams(task.reactions[:, None], range(WINDOW_SIZE, task.num_frames - 1, WINDOW_SIZE))
    print(f"| recorded reactions | {recorded.velocity_ratio:.2f} | {recorded.acceleration_ratio:.2f} | | |")
    first_cost = None
    for hop in options.hops:
        began = time.perf_counter()
        reactions = react(pipeline, arrays, rows_of(task, arrays), hop)
        seconds = time.perf_counter() - began
        first_cost = first_cost or seconds
        borders = range(hop, reactions.shape[2] - 1, hop)
        seams = measure_seams(reactions, borders)
        print(
            f"| {hop} | {seams.velocity_ratio:.2f} | {seams.acceleration_ratio:.2f} "
            f"| {frcorr(reactions, task.reactions, task.matrices['PMAFRG']) / NUM_REACTIONS:.3f} "
            f"| {seconds / first_cost:.2f} |",
            flush=True,
        )


def react(pipeline: PerFRDiffPipeline, arrays: ClipArrays, rows: list[int], hop: int) -> np.ndarray:
    """Personalised reactions to the clips, `(rows, 3, frames, 25)`; all clips of the demo have the same length."""
    outputs = [
        react_to_clips(pipeline, arrays, batch, own_history(arrays), num_reactions=NUM_REACTIONS, hop=hop)
        for batch in batches_of_equal_length(arrays, rows, CLIPS_AT_ONCE)
    ]
    return np.concatenate([np.asarray(output.reactions) for output in outputs])


if __name__ == "__main__":
    main()
