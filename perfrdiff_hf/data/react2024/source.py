"""Folders in the REACT2024 layout as a source of dyads: the challenge's own, the synthetic world, people's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...behaviour import COEFFICIENT_CHANNELS, MEAN_FACE, STREAMS
from ...files import file_beside
from ..dyads import SPLITS, listeners
from ..masks import WHOLE, ChannelMask
from ..source import DyadSource
from .appropriateness import load_appropriateness
from .clips import missing_files
from .dataset import load_react2024
from .layout import MASK_FILE, MEAN_FACE_FILE, cut_matrix_path, read_pairs


if TYPE_CHECKING:
    from datasets import Dataset


class React2024Source(DyadSource):
    """A folder in the REACT2024 layout: clip 1 of a session is its listeners' history, matrices say what is apt."""

    name = "react2024"

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """By the lists of its splits."""
        return any((folder / f"{split}.csv").is_file() for split in SPLITS)

    def rows(self, split: str, personal: bool = False, streams: Sequence[str] = STREAMS) -> Dataset:
        """See `load_react2024`."""
        return load_react2024(
            self.data_dir,
            split,
            personal=personal,
            streams=tuple(streams),
            cache_dir=self.cache_dir,
            num_proc=self.num_proc,
        )

    def appropriate(self, split: str, personal: bool = False, dataset: Dataset | None = None) -> np.ndarray:
        """See `load_appropriateness`."""
        return load_appropriateness(self.data_dir, split, personal=personal, dataset=dataset)

    def lacks(self, split: str, stream: str) -> str | None:
        """The first missing file of a stream, and how many there are."""
        rows = listeners(read_pairs(self.data_dir, split))
        missing = missing_files(self.data_dir, split, rows, (stream,))
        return f"{missing[0].path} is not there, one of {len(missing)}" if missing else None

    @cache  # noqa: B019  (a source is opened once)
    def mask(self) -> ChannelMask:
        """What `mask.json` says, `{"derived": [...], "unavailable": [...]}`; without it, every channel is measured.

        Raises:
            ValueError: if the file is no such json, or a name is no channel.
        """
        path = self.data_dir / MASK_FILE
        if not path.is_file():
            return WHOLE
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            return ChannelMask(**{kind: tuple(names) for kind, names in said.items()})
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(
                f'{path} must be json with lists of channels, "derived" and "unavailable": {error}'
            ) from error

    def mean_face(self) -> np.ndarray:
        """The mean face `(58,)` of the folder (`mean_face.npy`), or REACT's where the folder has none.

        Raises:
            ValueError: if the file does not hold 58 values.
        """
        path = self.data_dir / MEAN_FACE_FILE
        if not path.is_file():
            return MEAN_FACE
        mean_face = np.load(path, allow_pickle=False).astype(np.float32).reshape(-1)
        if mean_face.shape != (COEFFICIENT_CHANNELS,):
            raise ValueError(f"{path} must hold {COEFFICIENT_CHANNELS} values; it holds {mean_face.size}.")
        return mean_face

    def write_appropriate(self, split: str, matrix: np.ndarray) -> Path:
        """Leave a matrix in a folder that has none, as `neighbour_emotion_<split>.npy`.

        Raises:
            FileExistsError: if the folder has a matrix for the split; nothing is written then.
        """
        path = cut_matrix_path(self.data_dir, split)
        try:
            load_appropriateness(self.data_dir, split)
        except FileNotFoundError:
            with file_beside(path) as beside:
                np.save(beside, matrix)
            return path
        raise FileExistsError(f"{self.data_dir} has a matrix for {split} already; {path.name} is not written.")


class SyntheticSource(React2024Source):
    """The synthetic world, which lies in REACT2024's layout and has the truth beside it."""

    name = "synthetic"
    # Of `synthetic.cast`, which stands below this room.
    truth = "world.json"

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """By its truth."""
        return (folder / cls.truth).is_file() and super().recognises(folder)
