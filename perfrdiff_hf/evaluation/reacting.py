"""Letting a system react to recorded clips: the one place where rows of a split become calls of a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from ..behaviour import Behaviour
from ..data.arrays import ClipArrays
from ..pipelines.reaction_pipeline import ReactionOutput, ReactionPipeline


def react_to_clips(
    pipeline: ReactionPipeline,
    arrays: ClipArrays,
    rows: Sequence[int],
    history: Callable[[int], np.ndarray] | None = None,
    seed: int = 0,
    **settings: Any,
) -> ReactionOutput:
    """A system's reactions to the speakers of some rows, in one batch; all must have the same number of frames.

    A clip's noise depends on the seed and the row alone.

    Args:
        pipeline: the system.
        arrays: the clips.
        rows: whose speakers are reacted to; the speaker of row `i` is the listener of row `arrays.partner[i]`.
        history: from a row to its listener's history `(frames, 58)`; None reacts generically.
        seed: of the noise.
        settings: of the call, such as `num_reactions`.

    Returns:
        `reactions (rows, num_reactions, frames, 25)` and `coefficients (rows, num_reactions, frames, 58)`, as arrays.
    """
    output: Any = pipeline(
        speaker=[speaker_of(arrays, row) for row in rows],
        listener_history=None if history is None else [np.array(history(row)) for row in rows],
        generator=[torch.Generator().manual_seed(seed * 1_000_003 + int(row)) for row in rows],
        output_type="np",
        **settings,
    )
    return output


def speaker_of(arrays: ClipArrays, row: int) -> Behaviour:
    """What the speaker of a row says and shows, with the streams that the arrays have."""
    speaker = int(arrays.partner[row])
    frames = slice(arrays.offsets[speaker], arrays.offsets[speaker] + arrays.num_frames[speaker])
    return Behaviour(**{stream: np.array(values[frames]) for stream, values in arrays.flat.items()})


def batches_of_equal_length(arrays: ClipArrays, rows: Sequence[int], size: int) -> Iterator[list[int]]:
    """Rows in batches of at most `size`; the speakers of a batch have the same number of frames."""
    frames_of = {row: int(arrays.num_frames[arrays.partner[row]]) for row in rows}
    for frames in sorted(set(frames_of.values())):
        same = [row for row in rows if frames_of[row] == frames]
        yield from (same[start : start + size] for start in range(0, len(same), size))
