"""A dataset's streams as contiguous memory-mapped arrays, from which a window is cut in microseconds."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from datasets import Dataset

from ..behaviour import STREAMS


class ClipArrays:
    """The rows of a dataset of `load_react2024`, one array for each stream with all clips end to end.

    Make one with `from_dataset`. Sending it to another process sends the paths of the arrays, not their content.

    Attributes:
        partner: `(rows,)` int64; the speaker of row `i` is the listener of row `partner[i]`.
        listener_ids: `(rows,)` strings "site/session/person".
        clips: `(rows,)` strings, the number of the clip within its session.
        num_frames: `(rows,)` int64.
        offsets: `(rows,)` int64; row `i` begins at frame `offsets[i]` of the arrays in `flat`.
        flat: `{stream: (total frames, width) float32}`, for the streams that the dataset has.
    """

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        self.folder = folder
        self.partner = np.array(dataset["partner"], dtype=np.int64)
        self.listener_ids = np.array(dataset["listener_id"])
        self.clips = np.array(dataset["clip"])
        self.num_frames = np.array(dataset["num_frames"], dtype=np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(self.num_frames)[:-1]])
        self.flat = self._open()

    @classmethod
    def from_dataset(cls, dataset: Dataset, cache_dir: str | os.PathLike | None = None) -> ClipArrays:
        """Opens the arrays of a dataset, and writes them first if that was not done before.

        Args:
            dataset: what `load_react2024` returns, or the same columns from elsewhere (parquet, the Hub).
            cache_dir: where to keep the arrays; by default beside the dataset's own files.

        Raises:
            ValueError: if the dataset lacks columns, or lies in memory only and no `cache_dir` is given.
        """
        needed = {"partner", "listener_id", "clip", "num_frames"}
        if lacking := sorted(needed - set(dataset.column_names)):
            raise ValueError(f"The dataset lacks the columns {', '.join(lacking)}; make it with load_react2024.")
        if cache_dir is None:
            if not dataset.cache_files:
                raise ValueError("The dataset lies in memory only; say with cache_dir where its arrays may be kept.")
            cache_dir = Path(dataset.cache_files[0]["filename"]).parent
        folder = Path(cache_dir) / f"arrays-{dataset._fingerprint}"
        if not folder.is_dir():
            _write(dataset, folder)
        return cls(folder, dataset)

    def __len__(self) -> int:
        return len(self.partner)

    def audio(self, row: int) -> np.ndarray:
        """The audio features of a row's listener, `(frames, 78)`, read-only."""
        return self._clip("audio", row)

    def emotion(self, row: int) -> np.ndarray:
        """The emotion channels of a row's listener, `(frames, 25)`, read-only."""
        return self._clip("emotion", row)

    def coefficients(self, row: int) -> np.ndarray:
        """The coefficients of a row's listener as recorded, `(frames, 58)`, read-only."""
        return self._clip("coefficients", row)

    def _clip(self, stream: str, row: int) -> np.ndarray:
        if stream not in self.flat:
            raise ValueError(f"This dataset has no {stream}; it was read with streams {tuple(self.flat)}.")
        start = self.offsets[row]
        return self.flat[stream][start : start + self.num_frames[row]]

    def _open(self) -> dict[str, np.ndarray]:
        paths = {stream: self.folder / f"{stream}.npy" for stream in STREAMS}
        # A plain array over the mapping: slicing np.memmap itself costs several times as much.
        return {
            stream: np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
            for stream, path in paths.items()
            if path.is_file()
        }

    def __getstate__(self) -> dict:
        return {**self.__dict__, "flat": None}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self.flat = self._open()


def _write(dataset: Dataset, folder: Path) -> None:
    """Writes the arrays beside their place and moves them there; whoever comes second keeps the first one's."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".arrays-", dir=folder.parent))
    try:
        total = int(np.sum(dataset["num_frames"]))
        for stream in (name for name in STREAMS if name in dataset.column_names):
            width = dataset.features[stream].shape[1]
            values = np.lib.format.open_memmap(beside / f"{stream}.npy", "w+", np.float32, (total, width))
            frame = 0
            for batch in dataset.select_columns([stream]).with_format("numpy").iter(batch_size=16):
                for clip in batch[stream]:
                    values[frame : frame + len(clip)] = clip
                    frame += len(clip)
            values.flush()
        try:
            os.replace(beside, folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
