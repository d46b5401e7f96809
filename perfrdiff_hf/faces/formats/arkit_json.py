"""ARKit frames as JSON, one object a line: `{"time": 0.04, "blendShapes": {"jawOpen": 0.1, ...}, "head": {...}}`.

`time` is in seconds. `blendShapes` holds all 52 by their ARKit names on Apple's scale, or is null where the face was
lost. `head` holds `pitch`, `yaw` and `roll` in radians, which grow as the face looks down, turns to its own left and
leans to its own right; it may be missing. A file may also be one JSON list of such objects. Live, each frame is one
datagram.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ...behaviour import BLENDSHAPE_NAMES, FRAME_RATE
from ..motion import AHEAD, FaceMotion
from .arkit import arkit_track
from .common import NO_HEAD_ANGLES, RecordedTrack, TrackFile, TrackFormat


ANGLES = ("pitch", "yaw", "roll")


def encode_frame(motion: FaceMotion, seconds: float) -> str:
    """The first frame of a motion as one line of JSON, without the line's end."""
    values = dict(zip(BLENDSHAPE_NAMES, (round(value, 6) for value in motion.blendshapes[0].tolist())))
    head = dict(zip(ANGLES, (round(angle, 6) for angle in motion.rotation[0].tolist())))
    return json.dumps({"time": round(seconds, 6), "blendShapes": values, "head": head}, separators=(",", ":"))


def write_motion(motion: FaceMotion, path: Path) -> None:
    """A motion as lines of JSON, 25 a second."""
    lines = (encode_frame(motion[frame : frame + 1], frame / FRAME_RATE) for frame in range(len(motion)))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read(file: TrackFile, calibrate: bool, fps: float | None) -> RecordedTrack:
    """The track in a file of JSON frames."""
    frames = _frames(file.path)
    times = np.array([_number(file.path, row, frame, "time") for row, frame in enumerate(frames)])
    seen = np.array([frame.get("blendShapes") is not None for frame in frames])
    arkit = np.full((len(frames), len(BLENDSHAPE_NAMES)), np.nan)
    for row in np.flatnonzero(seen).tolist():
        shapes = frames[row]["blendShapes"]
        if not isinstance(shapes, dict):
            raise ValueError(f"{file.path}, frame {row}: blendShapes must be an object of numbers, or null.")
        arkit[row] = [_number(file.path, row, shapes, name) for name in BLENDSHAPE_NAMES]
    if seen.any() and (arkit[seen].min() < -0.01 or arkit[seen].max() > 1.5):
        raise ValueError(
            f"{file.path}: blendShapes must lie in [0, 1]; they reach from {arkit[seen].min():g} to "
            f"{arkit[seen].max():g}."
        )
    notes: list[str] = []
    rotation = _rotation(file.path, frames, seen, notes)
    return arkit_track("ARKit frames (json)", times, seen, arkit, rotation, calibrate, notes)


def _frames(path: Path) -> list[dict[str, Any]]:
    """The objects of a file, which is one list or has one object a line."""
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
        frames = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines() if line]
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as JSON frames, one object a line: {error}.") from error
    if not frames or not all(isinstance(frame, dict) for frame in frames):
        raise ValueError(f"{path} must hold JSON objects with time and blendShapes.")
    return frames


def _rotation(path: Path, frames: list[dict[str, Any]], seen: np.ndarray, notes: list[str]) -> np.ndarray | None:
    heads = [frame.get("head") for frame in frames]
    if not any(heads):
        notes.append(NO_HEAD_ANGLES)
        return None
    angles = np.tile(AHEAD, (len(frames), 1))
    for row in np.flatnonzero(seen).tolist():
        head = heads[row] or {}
        if not isinstance(head, dict):
            raise ValueError(f"{path}, frame {row}: head must be an object of numbers; it is {head!r}.")
        angles[row] += [_number(path, row, head, name) for name in ANGLES]
    notes.append("translation is the mean face's")
    return angles


def _number(path: Path, row: int, values: dict[str, Any], name: str) -> float:
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        raise ValueError(f"{path}, frame {row}: {name} must be a number; it is {value!r}.")
    return float(value)


def _recognises(file: TrackFile) -> bool:
    return file.is_json


FORMAT = TrackFormat(
    "arkit_json", "ARKit frames as json", _recognises, read, write_motion=write_motion, suffix=".jsonl"
)
