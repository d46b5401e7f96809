"""One person's files to arrays, with errors that say what is wrong with which file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...behaviour import AUDIO_CHANNELS
from ...behaviour import FRAME_RATE as OUR_RATE
from ..problems import BrokenFileError
from .layout import FEATURES, FRAME_RATE, audio_features_path, feature_path, metadata_path
from .names import FileName


# How far sound and face may differ, in seconds.
SOUND_TOLERANCE = 1.0


class Face(NamedTuple):
    """What the release measures of one face, frame by frame at 30 per second.

    Args:
        units: `(frames, 24)` action units, 0 to 2.
        logits: `(frames, 8)` of the expressions.
        valence: `(frames,)`.
        arousal: `(frames,)`.
        rotation: `(frames, 3)` of the head, radians.
        seen: `(frames,)` bool; the other arrays mean nothing where it is False.
    """

    units: np.ndarray
    logits: np.ndarray
    valence: np.ndarray
    arousal: np.ndarray
    rotation: np.ndarray
    seen: np.ndarray


def read_face(place: Path, name: FileName) -> Face:
    """The face of one person in one conversation.

    Args:
        place: `<root>/<label>/<split>`.
        name: whose.

    Raises:
        BrokenFileError: if a file is missing, cut off, of another width or length, or holds NaN where a face is seen.
    """
    paths = {feature: feature_path(place, feature, name) for feature in FEATURES}
    return face_of({feature: _load(path) for feature, path in paths.items()}, paths)


def face_of(arrays: Mapping[str, np.ndarray], paths: Mapping[str, Path]) -> Face:
    """A face from the arrays of its features, after checking them; errors name the paths."""
    found = {feature: _checked(arrays[feature], width, paths[feature]) for feature, width in FEATURES.items()}
    lengths = {feature: len(values) for feature, values in found.items()}
    if len(set(lengths.values())) > 1:
        shortest = min(lengths, key=lengths.__getitem__)
        described = ", ".join(f"{feature} {count}" for feature, count in lengths.items())
        raise BrokenFileError("wrong length", paths[shortest], f"its features differ in frames: {described}")
    # Action units may be zero a few frames beside what is marked as invalid.
    seen = (found["is_valid"][:, 0] == 1) & (found["FAUValue"] != 0).any(axis=1)
    for feature, values in found.items():
        if not np.isfinite(values[seen]).all():
            raise BrokenFileError("NaN", paths[feature], "NaN or infinite values where a face is seen")
    return Face(
        units=found["FAUValue"],
        logits=found["emotion_scores"],
        valence=found["emotion_valence"][:, 0],
        arousal=found["emotion_arousal"][:, 0],
        rotation=found["alignment_head_rotation"],
        seen=seen,
    )


def read_audio_features(place: Path, name: FileName, frames: int | None = None) -> np.ndarray | None:
    """The audio features of a whole conversation, `(frames at 25, 78)`, mapped; None without usable sound.

    Args:
        place: `<root>/<label>/<split>`.
        name: whose.
        frames: of the face, at 30 per second, which must last as long as the sound; None: not checked.

    Raises:
        BrokenFileError: if the file is cut off or of another width, or lasts longer or shorter than the face.
    """
    path = audio_features_path(place, name)
    if not path.is_file():
        return None
    values = _load(path)
    if values.ndim != 2 or values.shape[1] != AUDIO_CHANNELS:
        raise BrokenFileError("wrong shape", path, f"expected (frames, {AUDIO_CHANNELS}), found {values.shape}")
    if frames is not None and abs(len(values) / OUR_RATE - frames / FRAME_RATE) > SOUND_TOLERANCE:
        seconds = len(values) / OUR_RATE
        rate = frames / max(seconds, 1 / OUR_RATE)
        raise BrokenFileError(
            "frame rate",
            path,
            f"{frames} frames for {seconds:.1f} s of sound are {rate:.2f} a second, not {FRAME_RATE}",
        )
    return values


def read_speech(place: Path, name: FileName) -> list[tuple[float, float]] | None:
    """When a person speaks, by the release's voice activity: (start, end) in seconds; None if it is not there.

    Raises:
        BrokenFileError: if a line is no json with start and end.
    """
    path = metadata_path(place, "vad", name)
    if not path.is_file():
        return None
    try:
        return [(float(line["start"]), float(line["end"])) for line in _lines(path)]
    except BrokenFileError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenFileError("unknown keys", path, f"a line lacks start or end in seconds ({error!r})") from error


def read_words(place: Path, name: FileName, seconds: float) -> str:
    """What a person says in the first `seconds`; empty without a transcript."""
    lines = _lines(metadata_path(place, "transcript", name))
    said = [str(line.get("transcript", "")) for line in lines if float(line.get("start") or 0) < seconds]
    return " ".join(said)


def share_of_speech(spans: list[tuple[float, float]] | None, start: float, end: float) -> float:
    """The part of a time in which somebody speaks; NaN where nobody knows."""
    if spans is None:
        return math.nan
    return sum(max(0.0, min(end, last) - max(start, first)) for first, last in spans) / (end - start)


def _lines(path: Path) -> list[dict]:
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (ValueError, UnicodeError) as error:
        raise BrokenFileError("unreadable", path, f"not json line by line ({error})") from error


def _load(path: Path) -> np.ndarray:
    if not path.is_file():
        raise BrokenFileError("missing", path, "the face features are not complete")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise BrokenFileError("unreadable", path, f"not a complete npy file ({error})") from error


def _checked(values: np.ndarray, width: int, path: Path) -> np.ndarray:
    """Float32 `(frames, width)`; a single channel may come without its axis."""
    if width == 1 and values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.shape[1] != width or values.dtype.kind not in "fiub":
        raise BrokenFileError(
            "wrong shape", path, f"expected numbers (frames, {width}), found {values.dtype} {values.shape}"
        )
    if not len(values):
        raise BrokenFileError("no frames", path, "the file has no frames")
    return np.asarray(values, dtype=np.float32)
