"""How visible the borders between windows are, and what overlapping windows cost and gain.

    make demo
    python examples/benchmarks/measure_seams.py --output demo_output

The official sampler treats windows independently, so that reactions jump every two seconds. With an overlap of `o`
frames, each window begins with the last `o` frames that were shown, held fixed while the rest is denoised and led up
to them. The price: windows come more often, and the newest frames answer behaviour that lies `o` frames further back.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

from perfrdiff_hf import PerFRDiffPipeline
from perfrdiff_hf.behaviour import FRAME_RATE, WINDOW_SIZE
from perfrdiff_hf.metrics import frcorr
from perfrdiff_hf.metrics.seams import measure_seams


sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo import SAMPLING, TestClips, read_test_clips


NUM_REACTIONS = 3


def main() -> None:
    """Measure overlaps on the demo's test clips and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="folder that `make demo` wrote")
    parser.add_argument("--overlaps", type=int, nargs="+", default=[0, 1, 5, 10, 25], help="frames")
    options = parser.parse_args()
    pipeline = PerFRDiffPipeline.from_pretrained(str(options.output / "model"))
    pipeline.set_progress_bar_config(disable=True)
    clips = read_test_clips(options.output)

    print(
        "| overlap | velocity at borders / inside | acceleration at borders / inside | FRCorr | extra delay | cost |"
    )
    print("|---|---|---|---|---|---|")
    recorded = measure_seams(clips.targets[:, None], range(WINDOW_SIZE, clips.targets.shape[1] - 1, WINDOW_SIZE))
    print(f"| recorded reactions | {recorded.velocity_ratio:.2f} | {recorded.acceleration_ratio:.2f} | | | |")
    first_cost = None
    for overlap in options.overlaps:
        began = time.perf_counter()
        reactions = react(pipeline, clips, overlap)
        seconds = time.perf_counter() - began
        first_cost = first_cost or seconds
        borders = range(WINDOW_SIZE, reactions.shape[2] - 1, WINDOW_SIZE - overlap)
        seams = measure_seams(reactions, borders)
        print(
            f"| {overlap} | {seams.velocity_ratio:.2f} | {seams.acceleration_ratio:.2f} "
            f"| {frcorr(reactions, clips.targets, clips.appropriate['PMAFRG']) / NUM_REACTIONS:.3f} "
            f"| {overlap / FRAME_RATE:.2f} s | {seconds / first_cost:.2f} |",
            flush=True,
        )


def react(pipeline: PerFRDiffPipeline, clips: TestClips, overlap: int) -> np.ndarray:
    """Personalised reactions to all test clips, `(rows, 3, frames, 25)`."""
    arrays = clips.listeners
    speakers = [int(arrays.partner[row]) for row in range(len(arrays))]
    output = pipeline(
        speaker_audio=np.stack([arrays.audio(row) for row in speakers]),
        speaker_emotion=np.stack([arrays.emotion(row) for row in speakers]),
        speaker_coefficients=np.stack([arrays.coefficients(row) for row in speakers]),
        listener_history=clips.histories,
        num_reactions=NUM_REACTIONS,
        overlap=overlap,
        generator=torch.Generator().manual_seed(0),
        output_type="np",
        **SAMPLING,
    )
    return np.asarray(output.reactions)


if __name__ == "__main__":
    main()
