"""The recorded behaviour that training and validation draw from, read once and shared by the stages."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..behaviour import COEFFICIENT_CHANNELS, MEAN_FACE
from .arrays import ClipArrays
from .react2024.appropriateness import load_appropriateness
from .react2024.dataset import load_react2024
from .react2024.layout import MEAN_FACE_FILE


DIGESTED_FRAMES = 50_000


@dataclass(frozen=True)
class SplitArrays:
    """One split: its clips, and which reaction is appropriate to which clip.

    Args:
        arrays: one row for each ordered pair.
        appropriate: `(rows, rows)` booleans.
    """

    arrays: ClipArrays
    appropriate: np.ndarray


class Corpus:
    """A data folder in the REACT2024 layout.

    Args:
        data_dir: the folder.
        cache_dir: where computed features are kept; None is the cache of `datasets`.
        num_proc: how many processes compute features that are not in the cache; None is this one.

    Raises:
        FileNotFoundError: if the folder does not exist.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike,
        cache_dir: str | os.PathLike | None = None,
        num_proc: int | None = None,
    ):
        self.data_dir = Path(data_dir)
        self.cache_dir = cache_dir
        self.num_proc = num_proc
        if not self.data_dir.is_dir():
            raise FileNotFoundError(f"data_dir: there is no folder {self.data_dir}.")
        self._splits: dict[tuple[str, bool], SplitArrays] = {}

    def split(self, name: str, personal: bool = False) -> SplitArrays:
        """The arrays of a split; `personal` leaves out clip 1 and other listeners' reactions (PMAFRG).

        Raises:
            FileNotFoundError, ValueError: see `load_react2024` and `load_appropriateness`.
        """
        key = (name, personal)
        if key not in self._splits:
            dataset = load_react2024(
                self.data_dir, name, personal=personal, cache_dir=self._cache(), num_proc=self.num_proc
            )
            appropriate = load_appropriateness(self.data_dir, name, personal=personal)
            self._splits[key] = SplitArrays(ClipArrays.from_dataset(dataset), appropriate)
        return self._splits[key]

    def digest(self, name: str) -> str:
        """What stands for a split: who reacts in which clip, what is appropriate, the mean face, and the behaviour.

        Where the folder lies and when it was written does not matter. Of the behaviour, so many frames are looked at
        that a second suffices for hours.
        """
        part, digest = self.split(name), hashlib.blake2b(digest_size=16)
        arrays = part.arrays
        for names in (arrays.listener_ids, arrays.clips):
            digest.update("\n".join(names.tolist()).encode())
        for values in (arrays.partner, arrays.num_frames, part.appropriate, self.mean_face()):
            digest.update(np.ascontiguousarray(values).tobytes())
        for stream, values in sorted(arrays.flat.items()):
            digest.update(stream.encode())
            digest.update(values[:: max(1, len(values) // DIGESTED_FRAMES)].tobytes())
        return digest.hexdigest()

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

    def _cache(self) -> str | None:
        return None if self.cache_dir is None else os.fspath(self.cache_dir)
