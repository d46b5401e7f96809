"""One recording's files to arrays, with errors that say what is wrong with which file.

Everything that can be wrong with a clip is found here, in the same words for the loader and for the check.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from ...behaviour import (
    ACTION_UNITS,
    BLENDSHAPES,
    CLIP_FRAMES,
    COEFFICIENT_CHANNELS,
    EMOTION_CHANNELS,
    EMOTION_NAMES,
    EXPRESSIONS,
    FRAME_RATE,
    ROTATION,
    TRANSLATION,
    VALENCE_AROUSAL,
    check_stream,
)
from ...faces.formats.react2024 import load_coefficients_npy, load_emotion_csv
from ..audio import read_audio
from ..dyads import Recording
from ..problems import BrokenFileError, Problem
from .layout import STREAM_FOLDERS, stream_path


NOT_THERE = "the lists name this clip, but the file is not there"
# Video and coefficients of REACT have 751 frames, emotion 750.
FRAME_TOLERANCE = 2
# Sound may begin or end this much beside the video; the features are padded with silence or cut.
SOUND_TOLERANCE = FRAME_RATE
# (channels, least, most, what they are). Wide on purpose: valence and arousal come from a regression and overshoot.
EMOTION_RANGES = (
    (ACTION_UNITS, -0.01, 1.01, "action units lie in [0, 1]"),
    (VALENCE_AROUSAL, -1.5, 1.5, "valence and arousal lie in [-1, 1]"),
    (EXPRESSIONS, -0.01, 1.01, "expression probabilities lie in [0, 1]"),
)
COEFFICIENT_RANGES = (
    (BLENDSHAPES, -5.0, 5.0, "expression coefficients lie in about [0, 1]"),
    (ROTATION, -2 * np.pi, 2 * np.pi, "rotation is in radians"),
    (TRANSLATION, -100.0, 100.0, "translation is in the units of the face model, a few at most"),
)


class Clip(NamedTuple):
    """The raw streams of one recording, all cut to `num_frames` but for the sound, and their digests."""

    num_frames: int
    waveform: np.ndarray | None
    sample_rate: int | None
    emotion: np.ndarray | None
    coefficients: np.ndarray | None
    digests: dict[str, str]


def read_emotion(path: str | os.PathLike) -> np.ndarray:
    """The emotion csv of REACT (one header row, 25 columns) as `(frames, 25)` float32, or `BrokenFileError`."""
    _require(path)
    try:
        header, values = load_emotion_csv(path)
    except (ValueError, UnicodeError) as error:
        raise BrokenFileError("unreadable", path, f"not a complete csv of numbers ({error})") from error
    if len(header) != EMOTION_CHANNELS:
        lacking = [name for name in EMOTION_NAMES if name not in header]
        named = f"; missing: {', '.join(lacking)}" if 0 < len(lacking) < EMOTION_CHANNELS else ""
        raise BrokenFileError(
            "wrong shape", path, f"the csv must have {EMOTION_CHANNELS} columns, it has {len(header)}{named}"
        )
    return _finish(path, values, EMOTION_CHANNELS, EMOTION_RANGES)


def read_coefficients(path: str | os.PathLike) -> np.ndarray:
    """The 3DMM npy of REACT, `(frames, 1, 58)` or `(frames, 58)`, as `(frames, 58)` float32, or `BrokenFileError`."""
    _require(path)
    try:
        values = load_coefficients_npy(path)
    except (ValueError, EOFError, OSError) as error:
        raise BrokenFileError("unreadable", path, f"not a complete npy file ({error})") from error
    return _finish(path, values, COEFFICIENT_CHANNELS, COEFFICIENT_RANGES)


def read_clip(
    data_dir: str | os.PathLike, split: str, recording: Recording, other: Recording, streams: tuple[str, ...]
) -> Clip:
    """Read the files of one recording and cut its visual streams to the frames that both people of the clip have.

    Args:
        data_dir: a folder in the REACT2024 layout.
        split: "train", "val" or "test".
        recording: whom to read.
        other: the other person of the same clip, whose frames are counted only.
        streams: which streams to read.

    Raises:
        BrokenFileError: if a file is missing, unreadable, of the wrong shape or length, or holds impossible values.
    """
    readers: dict[str, Callable] = {"emotion": read_emotion, "coefficients": read_coefficients}
    paths = {stream: stream_path(data_dir, split, recording, stream) for stream in streams}
    visual = {stream: readers[stream](paths[stream]) for stream in streams if stream != "audio"}
    frames = _common_frames({paths[stream]: len(values) for stream, values in visual.items()})
    frames = _shared_frames(data_dir, split, frames, recording, other, streams)
    waveform, sample_rate = _read_sound(paths["audio"], frames) if "audio" in streams else (None, None)
    cut = {stream: values[:frames] for stream, values in visual.items()}
    digests = {stream: _digest(values) for stream, values in {**visual, "audio": waveform}.items()}
    return Clip(frames, waveform, sample_rate, cut.get("emotion"), cut.get("coefficients"), digests)


def _shared_frames(
    data_dir: str | os.PathLike,
    split: str,
    frames: int,
    recording: Recording,
    other: Recording,
    streams: tuple[str, ...],
) -> int:
    """The frames that both people of a clip have, so that every window of one has its counterpart in the other."""
    lengths = {}
    try:
        for stream in (stream for stream in streams if stream != "audio"):
            path = stream_path(data_dir, split, other, stream)
            _require(path)
            lengths[path] = _count_csv(path) if stream == "emotion" else _count_npy(path)
        others = _common_frames(lengths)
    except BrokenFileError:  # found when the other person is read
        return frames
    if abs(frames - others) > FRAME_TOLERANCE:
        path = stream_path(data_dir, split, recording, "emotion" if "emotion" in streams else "coefficients")
        raise BrokenFileError(
            "wrong length", path, f"{frames} frames, but the other person, {other.path}, has {others}"
        )
    return min(frames, others)


def _count_csv(path: str) -> int:
    with open(path, "rb") as file:
        return sum(1 for line in file if line.strip()) - 1


def _count_npy(path: str) -> int:
    try:
        return len(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, EOFError, OSError, TypeError) as error:
        raise BrokenFileError("unreadable", path, f"not a complete npy file ({error})") from error


def _require(path: str | os.PathLike) -> None:
    if not os.path.isfile(path):
        raise BrokenFileError("missing", path, NOT_THERE)
    if not os.path.getsize(path):
        raise BrokenFileError("unreadable", path, "the file is empty")


def _finish(path: str | os.PathLike, values: np.ndarray, width: int, ranges: tuple) -> np.ndarray:
    if values.ndim != 2 or values.shape[1] != width or not len(values):
        raise BrokenFileError("wrong shape", path, f"expected (frames, {width}), found {values.shape}")
    if values.dtype.kind in "fiub" and not np.isfinite(values).all():
        frame, channel = np.argwhere(~np.isfinite(values))[0]
        count = int((~np.isfinite(values)).sum())
        raise BrokenFileError(
            "NaN", path, f"{count} NaN or infinite values, the first in frame {frame}, channel {channel}"
        )
    try:
        values = check_stream("values", values, width)
    except TypeError as error:
        raise BrokenFileError("unreadable", path, str(error)) from error
    for channels, least, most, meaning in ranges:
        low, high = values[:, channels].min(), values[:, channels].max()
        if low < least or high > most:
            raise BrokenFileError("out of range", path, f"{meaning}, found {low:.4g} to {high:.4g}")
    return values


def _common_frames(lengths: dict[str, int]) -> int:
    shortest, longest = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
    if lengths[longest] - lengths[shortest] > FRAME_TOLERANCE:
        raise BrokenFileError(
            "wrong length", shortest, f"{lengths[shortest]} frames, but {longest} has {lengths[longest]}"
        )
    frames = lengths[shortest]
    return CLIP_FRAMES if frames == CLIP_FRAMES + 1 else frames


def _read_sound(path: str, frames: int) -> tuple[np.ndarray, int]:
    _require(path)
    try:
        waveform, sample_rate = read_audio(path)
    except ValueError as error:
        raise BrokenFileError("unreadable", path, f"not a complete sound file ({error})") from error
    if not np.isfinite(waveform).all():
        raise BrokenFileError("NaN", path, "the sound holds NaN or infinite samples")
    heard = len(waveform) / sample_rate * FRAME_RATE
    if abs(heard - frames) > SOUND_TOLERANCE:
        raise BrokenFileError(
            "wrong length", path, f"{heard / FRAME_RATE:.2f} s of sound for {frames / FRAME_RATE:.2f} s of video"
        )
    return waveform, sample_rate


def _digest(values: np.ndarray | None) -> str:
    """A digest by which two clips with the same content are found; empty for a constant stream, such as silence."""
    if values is None or (values == values[:1]).all():
        return ""
    return blake2b(np.ascontiguousarray(values).tobytes(), digest_size=16).hexdigest()


def missing_files(
    data_dir: str | os.PathLike, split: str, rows: list[Recording], streams: tuple[str, ...]
) -> list[Problem]:
    """The files that the list names and the folder lacks; a stream that is absent as a whole is one problem."""
    problems = []
    for stream in streams:
        folder = os.path.join(data_dir, split, STREAM_FOLDERS[stream])
        if not os.path.isdir(folder):
            others = tuple(other for other in streams if other != stream)
            detail = f"the whole folder of {stream} is not there; if your material has none, pass streams={others}"
            problems.append(Problem("missing", folder, detail))
            continue
        paths = (stream_path(data_dir, split, row, stream) for row in rows)
        problems += [Problem("missing", path, NOT_THERE) for path in paths if not os.path.isfile(path)]
    return problems


def duplicate(row: Recording, digests: dict[str, str], seen: dict[tuple[str, str], Recording]) -> Problem | None:
    """The problem of a recording that repeats another's content; remembers the recording in `seen` otherwise.

    The two people of a clip may share one recording of the sound.
    """
    for stream, digest in digests.items():
        first = seen.get((stream, digest))
        if not digest or first is None:
            continue
        same_clip = (first.site, first.session, first.clip) == (row.site, row.session, row.clip)
        if stream != "audio" or not same_clip:
            return Problem("duplicate", row.path, f"its {stream} is the same as that of {first.path}")
    seen.update(dict.fromkeys(digests.items(), row))
    return None
