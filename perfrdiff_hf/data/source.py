"""What training, evaluation and experiments know of recorded dyads, wherever these come from.

A *source* is one layout of folders. It gives the rows of a split (`dyads.py` says what a row is), says which reactions
are appropriate to which row, and which channels it has. What is particular to it, such as REACT2024's clip 1 and its
matrices, stays behind this interface.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..behaviour import MEAN_FACE, STREAMS
from .arrays import ClipArrays
from .masks import WHOLE, ChannelMask


if TYPE_CHECKING:
    from datasets import Dataset


class DyadSource(ABC):
    """A folder of dyads in one layout. A subclass says the following, and implements the methods.

    Args:
        data_dir: the folder.
        cache_dir: where computed features are kept; None is the cache of `datasets`.
        num_proc: how many processes compute features that are not in the cache; None is this one.

    Attributes:
        name: what `load_dyads` calls it.
        title: what cards call the data; None: the name of their folder.
        license: of the data and of what is made from them, as the Hub names it; None where each folder has its own.
        credit: whom to name, in a sentence or two.

    Raises:
        FileNotFoundError: if the folder does not exist.
    """

    name: ClassVar[str]
    title: ClassVar[str | None] = None
    license: ClassVar[str | None] = None
    credit: ClassVar[str] = ""

    def __init__(
        self,
        data_dir: str | os.PathLike,
        cache_dir: str | os.PathLike | None = None,
        num_proc: int | None = None,
    ) -> None:
        self.data_dir = Path(data_dir)
        self.cache_dir = None if cache_dir is None else os.fspath(cache_dir)
        self.num_proc = num_proc
        if not self.data_dir.is_dir():
            raise FileNotFoundError(f"data_dir: there is no folder {self.data_dir}.")

    @classmethod
    @abstractmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether a folder is of this layout, by what lies at its top."""

    @abstractmethod
    def rows(self, split: str, personal: bool = False, streams: Sequence[str] = STREAMS) -> Dataset:
        """The rows of a split, in the columns of `build_dyads` with `partner`.

        Args:
            split: "train", "val" or "test".
            personal: only those whose listener has a history, which for some layouts is a clip that is left out.
            streams: which to read.
        """

    @abstractmethod
    def appropriate(self, split: str, personal: bool = False, dataset: Dataset | None = None) -> np.ndarray:
        """Which reactions are appropriate to which row, bool `(rows, rows)`.

        Args:
            split: "train", "val" or "test".
            personal: only reactions of the same listener count.
            dataset: the rows; by default all of `rows(split, personal)`.

        Raises:
            FileNotFoundError: if nobody has said so; the message tells how to compute it.
        """

    def lacks(self, split: str, stream: str) -> str | None:
        """What is missing of a stream in a split, in words; None if nothing is."""
        return None

    def mask(self) -> ChannelMask:
        """Which channels are measured, derived and unavailable; by default all are measured."""
        return WHOLE

    def mean_face(self) -> np.ndarray:
        """The mean face `(58,)`; by default REACT's."""
        return MEAN_FACE

    def comparable(self, split: str, dataset: Dataset) -> np.ndarray | None:
        """Which rows a rule of similarity may call appropriate to which, bool `(rows, rows)`; None: any to any."""
        return None

    def write_appropriate(self, split: str, matrix: np.ndarray) -> Path:
        """Keep a matrix that was computed, for `appropriate` to find.

        Raises:
            FileExistsError: if there is one.
            NotImplementedError: if the layout has no place for it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no place to keep a computed matrix in.")


@dataclass(frozen=True)
class Dyads:
    """One split: its rows, which reaction is appropriate to which, and which channels are known.

    Args:
        source: where it comes from.
        split: "train", "val" or "test".
        personal: whether only rows whose listener has a history, and only reactions of the same listener, count.
        dataset: one row for each ordered pair, holding the listener's own behaviour; its speaker is the listener of
            row `partner`.
    """

    source: DyadSource
    split: str
    personal: bool
    dataset: Dataset

    @cached_property
    def arrays(self) -> ClipArrays:
        """The rows' streams as memory-mapped arrays."""
        return ClipArrays.from_dataset(self.dataset)

    @cached_property
    def appropriate(self) -> np.ndarray:
        """Bool `(rows, rows)`; see `DyadSource.appropriate`."""
        return self.source.appropriate(self.split, self.personal, self.dataset)

    @property
    def mask(self) -> ChannelMask:
        """Which channels are measured, derived and unavailable."""
        return self.source.mask()

    def __len__(self) -> int:
        return len(self.dataset)
