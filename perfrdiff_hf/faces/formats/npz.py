"""Behaviour as npz: emotion `(frames, 25)` and coefficients `(frames, 58)` at 25 fps in one file, to the bit."""

from __future__ import annotations

import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ...behaviour import FRAME_RATE, STREAM_WIDTHS, Behaviour, check_same_frames, check_stream
from .common import RecordedTrack, TrackFile, TrackFormat


NAMES = ("emotion", "coefficients")


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file by name.

    Raises:
        ValueError: if it is none, damaged, or holds objects.
    """
    try:
        with open(path, "rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as held:
            return {name: held[name] for name in held.files}
    except (ValueError, OSError, BadZipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read as npz: {error}.") from error


def read(file: TrackFile, calibrate: bool, fps: float | None) -> RecordedTrack:
    """The track in an npz file."""
    found = load_npz(file.path)
    if missing := [name for name in NAMES if name not in found]:
        raise ValueError(
            f"{file.path} lacks {' and '.join(missing)}; it holds {', '.join(found) or 'nothing'}. "
            "Of a file with several reactions, give the track of one."
        )
    values = {name: check_stream(f"{file.path}: {name}", found[name], STREAM_WIDTHS[name]) for name in NAMES}
    frames = check_same_frames({f"{file.path}: {name}": len(stream) for name, stream in values.items()})
    return RecordedTrack(
        "behaviour (npz)",
        np.arange(frames) / FRAME_RATE,
        np.ones(frames, dtype=bool),
        values["emotion"],
        values["coefficients"],
        "emotion and coefficients",
        (),
    )


def write(behaviour: Behaviour, path: Path) -> None:
    """Both streams of behaviour."""
    if missing := [name for name in NAMES if name not in behaviour.streams]:
        raise ValueError(f"behaviour must hold {' and '.join(missing)}; npz keeps both streams.")
    streams = behaviour.streams
    np.savez_compressed(path, emotion=streams["emotion"], coefficients=streams["coefficients"])


def _recognises(file: TrackFile) -> bool:
    return file.is_npz


FORMAT = TrackFormat("npz", "behaviour as npz", _recognises, read, write=write, suffix=".npz")
