"""The recorded behaviour that training and validation draw from, read once and shared by the stages."""

from __future__ import annotations

import hashlib
import os

import numpy as np

from .catalogue import open_source
from .masks import ChannelMask
from .source import Dyads


DIGESTED_FRAMES = 50_000


class Corpus:
    """A folder of recorded dyads of any source.

    Args:
        data_dir: the folder; the source is the one that recognises it.
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
        self.source = open_source(data_dir, cache_dir=cache_dir, num_proc=num_proc)
        self.data_dir = self.source.data_dir
        self._splits: dict[tuple[str, bool], Dyads] = {}

    @property
    def mask(self) -> ChannelMask:
        """Which channels are measured, derived and unavailable."""
        return self.source.mask()

    def split(self, name: str, personal: bool = False) -> Dyads:
        """A split; `personal` keeps rows with a history, and leaves out other listeners' reactions (PMAFRG).

        Raises:
            FileNotFoundError, ValueError: see `load_dyads`.
        """
        key = (name, personal)
        if key not in self._splits:
            self._splits[key] = Dyads(self.source, name, personal, self.source.rows(name, personal))
            # Both now, so that what is wrong with them is said at once.
            _ = self._splits[key].appropriate, self._splits[key].arrays
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
        if not part.mask.is_whole:
            digest.update(f"{part.mask.derived} {part.mask.unavailable}".encode())
        for stream, values in sorted(arrays.flat.items()):
            digest.update(stream.encode())
            digest.update(values[:: max(1, len(values) // DIGESTED_FRAMES)].tobytes())
        return digest.hexdigest()

    def mean_face(self) -> np.ndarray:
        """The mean face `(58,)` of the data."""
        return self.source.mean_face()
