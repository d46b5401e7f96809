"""REACT2024's own files: emotion as csv, coefficients as npy. The one home of their reading and writing."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np

from ...behaviour import (
    ACTION_UNIT_NAMES,
    ACTION_UNITS,
    COEFFICIENT_CHANNELS,
    EMOTION_CHANNELS,
    EMOTION_NAMES,
    FRAME_RATE,
    Behaviour,
    check_stream,
)
from ...files import PathLike, file_beside
from .. import rules
from .common import DERIVED, NO_HEAD_ANGLES, RecordedTrack, TrackFile, TrackFormat, coefficients_of


def load_emotion_csv(path: PathLike) -> tuple[list[str], np.ndarray]:
    """The columns' names and the numbers of a csv of emotion, as they are: nothing is checked but that it is whole.

    Returns:
        The names, and `(frames, columns)` float32.

    Raises:
        ValueError: if a cell is blank or no number, lines differ in length, or there are none below the header.
    """
    with open(path, encoding="utf-8-sig") as file:
        names = [name.strip() for name in file.readline().split(",")]
        below = file.tell()
        if not file.read().strip():
            raise ValueError("there is nothing below the header")
        file.seek(below)
        values = np.loadtxt(file, delimiter=",", dtype=np.float32, ndmin=2)
    return names, values


def load_coefficients_npy(path: PathLike) -> np.ndarray:
    """The array of an npy of coefficients; REACT's `(frames, 1, 58)` is given as `(frames, 58)`.

    Raises:
        ValueError, EOFError, OSError: if the file is truncated, holds objects, or is none of NumPy's.
    """
    values = np.load(path, allow_pickle=False)
    if isinstance(values, np.ndarray) and values.ndim == 3 and values.shape[1] == 1:
        values = values[:, 0]
    return values


def emotion_csv(emotion: np.ndarray, decimals: int | None = None) -> str:
    """Emotion `(frames, 25)` as the text of REACT's csv: a header with the channels' names, one line per frame.

    Args:
        emotion: the channels, in the order of `behaviour.EMOTION_NAMES`.
        decimals: places after the point, action units being whole numbers; None: six figures of everything.
    """
    form: str | list[str] = "%.6g"
    if decimals is not None:
        form = ["%d"] * ACTION_UNITS.stop + [f"%.{decimals}f"] * (EMOTION_CHANNELS - ACTION_UNITS.stop)
    text = StringIO()
    np.savetxt(text, emotion, fmt=form, delimiter=",", header=",".join(EMOTION_NAMES), comments="")
    return text.getvalue()


def write_emotion_csv(path: PathLike, emotion: np.ndarray) -> None:
    """Write emotion `(frames, 25)` as REACT2024's csv: a header with the channels' names, one line per frame."""
    emotion = check_stream("emotion", emotion, EMOTION_CHANNELS)
    with file_beside(path) as beside:
        beside.write_text(emotion_csv(emotion), encoding="utf-8")


def write_coefficients_npy(path: PathLike, coefficients: np.ndarray) -> None:
    """Write coefficients `(frames, 58)`, mean face included, as REACT2024's npy `(frames, 1, 58)` float32."""
    coefficients = check_stream("coefficients", coefficients, COEFFICIENT_CHANNELS)
    with file_beside(path) as beside:
        np.save(beside, coefficients[:, None], allow_pickle=False)


def read(file: TrackFile, calibrate: bool, fps: float | None) -> RecordedTrack:
    """The track of REACT's csv or npy, whichever it is."""
    return _read_npy(file) if file.is_npy else _read_csv(file)


def _read_npy(file: TrackFile) -> RecordedTrack:
    """REACT's 3DMM coefficients, `(frames, 58)` or `(frames, 1, 58)`. Emotion is derived."""
    path = file.path
    try:
        values = load_coefficients_npy(path)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read as npy: the file is truncated or no plain array ({error})."
        ) from error
    if not isinstance(values, np.ndarray):
        raise ValueError(f"{path} is a collection of arrays; one array (frames, {COEFFICIENT_CHANNELS}) is expected.")
    coefficients = check_stream(f"{path}: coefficients", values, COEFFICIENT_CHANNELS)
    units = rules.action_units_of_blendshapes(rules.react_activation(coefficients))
    return RecordedTrack(
        format="REACT coefficients (npy)",
        times=np.arange(len(coefficients)) / FRAME_RATE,
        seen=np.ones(len(coefficients), dtype=bool),
        emotion=rules.emotion_of_action_units(units),
        coefficients=coefficients,
        recorded="coefficients",
        notes=("emotion is derived from the coefficients (perfrdiff_hf.faces.rules)",),
    )


def _read_csv(file: TrackFile) -> RecordedTrack:
    """REACT's emotion csv: the 25 emotion channels at 25 fps. Coefficients are derived on REACT's scale."""
    table = file.table
    emotion = table.numbers(EMOTION_NAMES)
    seen = table.complete_rows(emotion, EMOTION_NAMES)
    table.check_range(emotion[seen], -1.01, 1.01, "emotion channels")
    units = {name: emotion[:, channel] for channel, name in enumerate(ACTION_UNIT_NAMES)}
    return RecordedTrack(
        format="REACT emotion (csv)",
        times=np.arange(len(emotion)) / FRAME_RATE,
        seen=seen,
        emotion=emotion,
        coefficients=coefficients_of(rules.react_blendshapes(rules.blendshapes_of_action_units(units)), None),
        recorded="emotion",
        notes=(f"blendshapes are {DERIVED}", NO_HEAD_ANGLES),
    )


def _recognises(file: TrackFile) -> bool:
    return file.is_npy or any(file.has(name) for name in ACTION_UNIT_NAMES)


def write(behaviour: Behaviour, path: Path) -> None:
    """Emotion to a csv, coefficients to an npy, by the suffix of `path`."""
    stream = {".csv": "emotion", ".npy": "coefficients"}.get(path.suffix)
    if stream is None:
        raise ValueError(
            f"path must end in .csv (emotion) or .npy (coefficients) for REACT2024; its suffix is {path.suffix!r}."
        )
    values = behaviour.streams.get(stream)
    if values is None:
        raise ValueError(f"behaviour must hold {stream} to be written as {path.suffix}; it holds none.")
    if stream == "emotion":
        path.write_text(emotion_csv(values), encoding="utf-8")
    else:
        np.save(path, values[:, None], allow_pickle=False)


FORMAT = TrackFormat("react2024", "REACT2024 csv and npy", _recognises, read, write=write)
