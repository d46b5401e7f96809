"""What training examples share: one item depends on (seed, epoch, index) and on nothing else.

Give any of these datasets to a `torch.utils.data.DataLoader`, with as many workers and, under Accelerate, processes as
you like: the examples are the same, since each draws from a generator of its own. Call `set_epoch` before each epoch;
the epoch lies in shared memory, so that workers that live on see it too.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset

from .arrays import ClipArrays


Example = dict[str, torch.Tensor]
AnyExamples = TypeVar("AnyExamples", bound="ClipExamples")


class ItemDraws:
    """The randomness of one epoch's items: a generator for each, which ends where that of the next item begins.

    Making a generator costs more than all that is drawn from it, so one is set to each item's key in turn. It belongs
    to one call, since two threads must not set the same one.
    """

    def __init__(self, seed: int, epoch: int) -> None:
        self._first = epoch << 32
        self._bits = np.random.Philox(key=[seed, 0])
        self._start = self._bits.state

    def of(self, index: int) -> np.random.Generator:
        """The generator of one item; it must be done with before the next is asked for."""
        self._start["state"]["key"][1] = self._first + index
        self._bits.state = self._start
        return np.random.Generator(self._bits)


class ClipExamples(Dataset):
    """What the datasets share: the seed, the epoch, and the randomness of their items."""

    def __init__(self, arrays: ClipArrays, seed: int) -> None:
        self.arrays = arrays
        self.seed = seed
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch's examples the items are from now on."""
        self._epoch.fill_(epoch)

    def at_epoch(self: AnyExamples, epoch: int) -> AnyExamples:
        """The same dataset at an epoch of its own, whatever `set_epoch` says; nothing large is copied."""
        examples = copy.copy(self)
        examples._epoch = torch.tensor(epoch)
        return examples

    def __len__(self) -> int:
        return len(self.arrays)

    def draws(self) -> ItemDraws:
        return ItemDraws(self.seed, int(self._epoch))

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} examples.")
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Example]:
        raise NotImplementedError


def appropriate_rows(arrays: ClipArrays, appropriate: np.ndarray) -> list[np.ndarray]:
    """For each row, the rows of the appropriate reactions.

    Raises:
        ValueError: if the matrix is not bool `(rows, rows)`, or a row has no appropriate reaction.
    """
    expected = (len(arrays), len(arrays))
    if appropriate.shape != expected or appropriate.dtype != bool:
        raise ValueError(
            f"appropriate must be bool {expected}, one row and column for each row of arrays; "
            f"it is {appropriate.dtype} {appropriate.shape}."
        )
    rows = [np.flatnonzero(row) for row in appropriate]
    if empty := [number for number, row in enumerate(rows) if not len(row)]:
        raise ValueError(f"appropriate: {len(empty)} rows have no appropriate reaction, the first is row {empty[0]}.")
    return rows


def inappropriate_rows(arrays: ClipArrays, appropriate: np.ndarray, row: int) -> np.ndarray:
    """The rows that are no appropriate reaction, and at least as long as the row's own."""
    return np.flatnonzero(~appropriate[row] & (arrays.num_frames >= arrays.num_frames[row]))


def check_inappropriate(arrays: ClipArrays, appropriate: np.ndarray) -> None:
    for row in range(len(arrays)):
        if not len(inappropriate_rows(arrays, appropriate, row)):
            raise ValueError(
                f"negatives: every reaction is appropriate to clip {arrays.clips[row]} of {arrays.listener_ids[row]}, "
                "or shorter than it."
            )


def random_cut(clip: np.ndarray, frames: int, generator: np.random.Generator) -> np.ndarray:
    """A random stretch of `frames` frames of a clip; a clip that is shorter is looped."""
    if len(clip) < frames:
        return np.resize(clip, (frames, clip.shape[1]))
    start = int(generator.integers(len(clip) - frames + 1))
    return clip[start : start + frames]


def as_items(batch: dict[str, np.ndarray]) -> list[Example]:
    tensors = {name: torch.from_numpy(values).unbind(0) for name, values in batch.items()}
    return [dict(zip(tensors, values)) for values in zip(*tensors.values())]


def check_lengths(arrays: ClipArrays, frames: int, what: str) -> None:
    short = int(np.argmin(arrays.num_frames))
    if arrays.num_frames[short] < frames:
        raise ValueError(
            f"Clip {arrays.clips[short]} of {arrays.listener_ids[short]} has {arrays.num_frames[short]} frames, fewer "
            f"than {what}. Leave such clips out or choose a smaller window_size."
        )


def check_streams(arrays: ClipArrays, stream: str) -> None:
    if stream not in arrays.flat:
        raise ValueError(f"These examples need {stream}, which the dataset was read without.")
