"""What is to be reacted to: the clips of a task, and which reactions are appropriate.

"mafrg" takes all clips of a split, and all listeners' reactions count. "pmafrg" leaves out the clips that are
histories; there are two matrices then, one in which all listeners' reactions to these clips count (MAFRG) and one in
which only the same listener's do (PMAFRG).
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

import numpy as np

from ..behaviour import CLIP_FRAMES
from ..data.arrays import ClipArrays
from ..data.catalogue import open_source
from ..data.masks import WHOLE, ChannelMask
from ..data.source import DyadSource


logger = logging.getLogger(__name__)

TASKS = ("mafrg", "pmafrg")


@dataclass(frozen=True)
class Task:
    """The clips of a task: recorded behaviour, which reactions are appropriate, and what each clip is called.

    Args:
        paths: `(clips,)` "site/session/person/clip" of the listener.
        reactions: `(clips, frames, 25)` the recorded reactions.
        speaker: `(clips, frames, 25)` the speakers.
        matrices: `(clips, clips)` booleans by name, "MAFRG" and for the personal task "PMAFRG".
        listeners: `(clips,)` "site/session/person".
        coefficients: `(clips, frames, 58)` the recorded coefficients of the reactions; None if the data have none.
        mask: which channels are known, and so are scored.
    """

    paths: list[str]
    reactions: np.ndarray
    speaker: np.ndarray
    matrices: dict[str, np.ndarray]
    listeners: list[str]
    coefficients: np.ndarray | None = None
    mask: ChannelMask = WHOLE

    @property
    def num_frames(self) -> int:
        """Frames of every clip."""
        return self.reactions.shape[1]


def load_task(data_dir: str | os.PathLike, split: str, task: str, cache_dir: str | os.PathLike | None = None) -> Task:
    """The clips of a split that a task scores, all cut to the length of the shortest.

    Args:
        data_dir: a folder of dyads of any source, with a matrix of appropriate reactions.
        split: "train", "val" or "test".
        task: one of `TASKS`.
        cache_dir: where features are kept; by default the cache of `datasets`.

    Raises:
        ValueError: if there is no such task, or a list or matrix is wrong.
        FileNotFoundError: if the folder, the split's list or the matrix is absent.
        BrokenDataError: if files are missing or broken.
    """
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}; given: {task!r}.")
    personal = task == "pmafrg"
    source = open_source(data_dir, cache_dir=cache_dir)
    dataset = source.rows(split, personal, ("emotion",))
    arrays = ClipArrays.from_dataset(dataset)
    reactions = stacked(arrays)
    matrices = {"MAFRG": source.appropriate(split, dataset=dataset)}
    if personal:
        matrices["PMAFRG"] = source.appropriate(split, personal=True, dataset=dataset)
    return Task(
        paths=clip_paths(arrays),
        reactions=reactions,
        speaker=reactions[arrays.partner],
        matrices=matrices,
        listeners=[str(name) for name in arrays.listener_ids],
        coefficients=_recorded_coefficients(source, split, personal, reactions.shape[1]),
        mask=source.mask(),
    )


def _recorded_coefficients(source: DyadSource, split: str, personal: bool, frames: int) -> np.ndarray | None:
    """The coefficients of each clip of a task, `(clips, frames, 58)`; None where a clip has none or too few.

    They are read apart from the emotion, so that the published metrics see the same frames with and without them.
    """
    if missing := source.lacks(split, "coefficients"):
        logger.warning(f"Coefficients are not scored: {missing}.")
        return None
    arrays = ClipArrays.from_dataset(source.rows(split, personal, ("coefficients",)))
    if (shortest := int(arrays.num_frames.min())) < frames:
        logger.warning(f"Coefficients are not scored: some have {shortest} frames where emotion has {frames}.")
        return None
    return np.stack([arrays.coefficients(row)[:frames] for row in range(len(arrays))])


def stacked(arrays: ClipArrays, frames: int | None = None) -> np.ndarray:
    """All clips' emotion channels, `(clips, frames, 25)`, cut to the shortest clip, and to 750 frames at most.

    Args:
        arrays: the clips.
        frames: cut to this many instead; no clip may be shorter.
    """
    frames = frames or min(int(arrays.num_frames.min()), CLIP_FRAMES)
    longest = int(arrays.num_frames.max())
    if longest > max(frames, CLIP_FRAMES):
        logger.warning(f"Clips of up to {longest} frames are cut to their first {frames}.")
    return np.stack([arrays.emotion(row)[:frames] for row in range(len(arrays))])


def clip_paths(arrays: ClipArrays) -> list[str]:
    """What each clip is called, "site/session/person/clip" of its listener."""
    return [f"{listener}/{clip}" for listener, clip in zip(arrays.listener_ids, arrays.clips)]


def rows_of(task: Task, arrays: ClipArrays) -> list[int]:
    """Where the clips of a task stand among all clips of its split."""
    place = {path: row for row, path in enumerate(clip_paths(arrays))}
    return [place[path] for path in task.paths]
