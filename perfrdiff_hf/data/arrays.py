"""A dataset's streams as contiguous memory-mapped arrays, from which a window is cut in microseconds."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from datasets import Dataset

from ..behaviour import STREAMS, Behaviour
from ..files import folder_beside
from .dyads import CONVERSATION


class ClipArrays:
    """The rows of a dataset of `load_dyads`, one array for each stream with all clips end to end.

    Make one with `from_dataset`. Sending it to another process sends the paths of the arrays, not their content.

    Attributes:
        partner: `(rows,)` int64; the speaker of row `i` is the listener of row `partner[i]`.
        listener_ids: `(rows,)` strings, who listens: "site/session/person" in REACT2024.
        clips: `(rows,)` strings, the name of the clip among those of its listener.
        sessions: `(rows,)` strings, in which session.
        conversations: `(rows,)` strings, in which conversation of the listener; several clips may be cut from one.
        num_frames: `(rows,)` int64.
        offsets: `(rows,)` int64; row `i` begins at frame `offsets[i]` of the arrays in `flat`.
        flat: `{stream: (total frames, width) float32}`, for the streams that the dataset has.

    Example:
        ```python
        arrays = ClipArrays.from_dataset(load_react2024("path/to/react2024", "val"))  # load_dyads(...).arrays
        listener = arrays.behaviour(0)  # a Behaviour: audio, emotion and coefficients of the first row
        speaker = arrays.behaviour(int(arrays.partner[0]))
        ```
    """

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        self.folder = folder
        self.partner = np.array(dataset["partner"], dtype=np.int64)
        self.listener_ids = np.array(dataset["listener_id"])
        self.clips = np.array(dataset["clip"])
        held = dataset.column_names
        self.sessions = np.array(dataset["session"]) if "session" in held else self.listener_ids
        self.conversations = np.array(dataset[CONVERSATION]) if CONVERSATION in held else self.clips
        self.num_frames = np.array(dataset["num_frames"], dtype=np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(self.num_frames)[:-1]])
        self._check_partners()
        self.flat = self._open()

    @classmethod
    def from_dataset(cls, dataset: Dataset, cache_dir: str | os.PathLike | None = None) -> ClipArrays:
        """Open the arrays of a dataset, and write them first if that was not done before.

        Args:
            dataset: that of `load_dyads`, or the same columns from elsewhere (parquet, the Hub).
            cache_dir: where to keep the arrays; by default beside the dataset's own files.

        Raises:
            ValueError: if the dataset lacks columns, lies in memory only and no `cache_dir` is given, or a row has
                another number of frames than `num_frames` says or than its partner has.
        """
        needed = {"partner", "listener_id", "clip", "num_frames"}
        if lacking := sorted(needed - set(dataset.column_names)):
            raise ValueError(f"The dataset lacks the columns {', '.join(lacking)}; make it with load_dyads.")
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

    def behaviour(self, row: int) -> Behaviour:
        """Everything that is known of a row's listener; read-only, not copied."""
        return Behaviour(**{stream: self._clip(stream, row) for stream in self.flat})

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

    def _check_partners(self) -> None:
        """Both sides of a clip must be of the same frames: a window of one is cut at the frames of the other."""
        if not np.array_equal(self.partner[self.partner], np.arange(len(self.partner))):
            raise ValueError("partner must hold, for both rows of a clip, the number of the other row.")
        unlike = np.flatnonzero(self.num_frames[self.partner] != self.num_frames)
        if len(unlike):
            row, other = unlike[0], self.partner[unlike[0]]
            raise ValueError(
                f"Both people of a clip must have the same number of frames; clip {self.clips[row]} of "
                f"{self.listener_ids[row]} has {self.num_frames[row]}, that of {self.listener_ids[other]} "
                f"{self.num_frames[other]}. Cut them alike."
            )

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
    """Write the arrays beside their place and move them there; whoever comes second keeps the first one's."""
    lengths = [int(frames) for frames in dataset["num_frames"]]
    with folder_beside(folder, existing="keep") as beside:
        for stream in (name for name in STREAMS if name in dataset.column_names):
            width = dataset.features[stream].shape[1]
            values = np.lib.format.open_memmap(beside / f"{stream}.npy", "w+", np.float32, (sum(lengths), width))
            row = frame = 0
            for batch in dataset.select_columns([stream]).with_format("numpy").iter(batch_size=16):
                for clip in batch[stream]:
                    if len(clip) != lengths[row]:
                        raise ValueError(f"Row {row}: {stream} has {len(clip)} frames; num_frames is {lengths[row]}.")
                    values[frame : frame + len(clip)] = clip
                    row, frame = row + 1, frame + len(clip)
            values.flush()
