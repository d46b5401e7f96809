"""How visible the borders between windows are, and what overlapping windows cost and gain.

    make demo
    python examples/benchmarks/measure_seams.py --output demo_output

The official sampler treats windows independently, so that reactions jump every two seconds. With an overlap of `o`
frames, each window begins with the last `o` frames that were shown, held fixed while the rest is denoised and led up
to them. The price: windows come more often, and the newest frames answer behaviour that lies `o` frames further back.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from perfrdiff_hf import PerFRDiffPipeline
from perfrdiff_hf.behaviour import FRAME_RATE, WINDOW_SIZE
from perfrdiff_hf.cli.demo import CLIPS_AT_ONCE, SAMPLING
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
    """Measure overlaps on the demo's test clips and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="folder that `make demo` wrote")
    parser.add_argument("--overlaps", type=int, nargs="+", default=[0, 1, 5, 10, 25], help="frames")
    options = parser.parse_args()
    pipeline = PerFRDiffPipeline.from_pretrained(str(options.output / "model"))
    pipeline.set_progress_bar_config(disable=True)
    world, cache = options.output / "world", options.output / "cache"
    task, arrays = load_task(world, "test", "pmafrg", cache), Corpus(world, cache).split("test").arrays

    print(
        "| overlap | velocity at borders / inside | acceleration at borders / inside | FRCorr | extra delay | cost |"
    )
    print("|---|---|---|---|---|---|")
    recorded = measure_seams(task.reactions[:, None], range(WINDOW_SIZE, task.num_frames - 1, WINDOW_SIZE))
    print(f"| recorded reactions | {recorded.velocity_ratio:.2f} | {recorded.acceleration_ratio:.2f} | | | |")
    first_cost = None
    for overlap in options.overlaps:
        began = time.perf_counter()
        reactions = react(pipeline, arrays, rows_of(task, arrays), overlap)
        seconds = time.perf_counter() - began
        first_cost = first_cost or seconds
        borders = range(WINDOW_SIZE, reactions.shape[2] - 1, WINDOW_SIZE - overlap)
        seams = measure_seams(reactions, borders)
        print(
            f"| {overlap} | {seams.velocity_ratio:.2f} | {seams.acceleration_ratio:.2f} "
            f"| {frcorr(reactions, task.reactions, task.matrices['PMAFRG']) / NUM_REACTIONS:.3f} "
            f"| {overlap / FRAME_RATE:.2f} s | {seconds / first_cost:.2f} |",
            flush=True,
        )


def react(pipeline: PerFRDiffPipeline, arrays: ClipArrays, rows: list[int], overlap: int) -> np.ndarray:
    """Personalised reactions to the clips, `(rows, 3, frames, 25)`; all clips of the demo have the same length."""
    outputs = [
        react_to_clips(
            pipeline, arrays, batch, own_history(arrays), num_reactions=NUM_REACTIONS, overlap=overlap, **SAMPLING
        )
        for batch in batches_of_equal_length(arrays, rows, CLIPS_AT_ONCE)
    ]
    return np.concatenate([np.asarray(output.reactions) for output in outputs])


if __name__ == "__main__":
    main()
