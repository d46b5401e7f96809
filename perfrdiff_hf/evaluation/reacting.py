"""Letting a system react to recorded clips: the one place where rows of a split become calls of a pipeline."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..behaviour import Behaviour
from ..data.arrays import ClipArrays
from ..pipelines.reaction_pipeline import ReactionOutput, ReactionPipeline
from ..progress import follow
from .controls import Manner
from .predictions import begin_predictions, digest_of_clips, digest_of_pipeline, missing_clips, write_reactions
from .task import clip_paths


def predict(
    pipeline: ReactionPipeline,
    arrays: ClipArrays,
    rows: Sequence[int],
    manners: Sequence[Manner],
    folder: str | Path,
    settings: Mapping[str, Any],
    seed: int = 0,
    batch_size: int = 16,
    overwrite: bool = False,
) -> dict[str, Path]:
    """A system's reactions to clips, as files: one folder for each manner of reacting, one file for each clip.

    Files that the same settings have made already are kept, so that an interrupted run goes on where it stopped.

    Args:
        pipeline: the system.
        arrays: all clips of the split.
        rows: those to which it reacts.
        manners: as what it reacts; see `manners_of`.
        folder: gets a folder for each manner.
        settings: plain arguments of the call, such as `num_reactions`.
        seed: of the noise, which is the same in every manner.
        batch_size: clips at a time.
        overwrite: replace predictions that were made in another way.

    Returns:
        The folder of each manner, by its name.

    Raises:
        ValueError: if a folder holds predictions that were made in another way, before any work is done.
    """
    made_with = {
        "model": digest_of_pipeline(pipeline), "data": digest_of_clips(arrays), "seed": seed, **settings
    }  # fmt: skip
    folders = {manner.name: Path(folder) / folder_name(manner.name) for manner in manners}
    for manner in manners:
        begin_predictions(folders[manner.name], {"system": manner.name, **made_with, **manner.made_with}, overwrite)
    clips = clip_paths(arrays)
    for manner in manners:
        place = folders[manner.name]
        missing = [rows[number] for number in missing_clips(place, [clips[row] for row in rows])]
        batches = list(batches_of_equal_length(arrays, missing, batch_size))
        for batch in follow(batches, f"{manner.name} reactions", "batch"):
            output = react_to_clips(pipeline, arrays, batch, manner.history, seed, **settings, **manner.settings)
            for row, reactions, coefficients in zip(batch, output.reactions, output.coefficients):
                write_reactions(place, clips[row], np.asarray(reactions), np.asarray(coefficients))
    return folders


def folder_name(system: str) -> str:
    """A system's name as the name of a folder: "personalised, another's history" is personalised_anothers_history."""
    return re.sub(r"[^a-z0-9]+", "_", system.lower().replace("'", "")).strip("_")


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
    return arrays.behaviour(int(arrays.partner[row]))


def batches_of_equal_length(arrays: ClipArrays, rows: Sequence[int], size: int) -> Iterator[list[int]]:
    """Rows in batches of at most `size`; the speakers of a batch have the same number of frames."""
    frames_of = {row: int(arrays.num_frames[arrays.partner[row]]) for row in rows}
    for frames in sorted(set(frames_of.values())):
        same = [row for row in rows if frames_of[row] == frames]
        yield from (same[start : start + size] for start in range(0, len(same), size))
