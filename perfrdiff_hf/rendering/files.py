"""Writing reactions in REACT2024's formats, and any file so that nothing half-written stays behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Union

import numpy as np

from ..behaviour import COEFFICIENT_CHANNELS, EMOTION_CHANNELS, EMOTION_NAMES, check_stream


@contextmanager
def written_beside(path: Union[str, Path]) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` at the end, and vanishes if an error occurs.

    It keeps the suffix, from which libraries tell the format.

    Raises:
        FileNotFoundError: if the folder does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} to write {path.name} into.")
    beside = path.with_name(f".{path.stem}.partial-{os.getpid()}{path.suffix}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_emotion_csv(path: Union[str, Path], emotion: np.ndarray) -> None:
    """Writes emotion `(frames, 25)` as REACT2024's csv: a header with the channels' names, one line per frame."""
    emotion = check_stream("emotion", emotion, EMOTION_CHANNELS)
    with written_beside(path) as beside:
        np.savetxt(beside, emotion, fmt="%.6g", delimiter=",", header=",".join(EMOTION_NAMES), comments="")


def write_coefficients_npy(path: Union[str, Path], coefficients: np.ndarray) -> None:
    """Writes coefficients `(frames, 58)`, mean face included, as REACT2024's npy `(frames, 1, 58)` float32."""
    coefficients = check_stream("coefficients", coefficients, COEFFICIENT_CHANNELS)
    with written_beside(path) as beside:
        np.save(beside, coefficients[:, None], allow_pickle=False)
