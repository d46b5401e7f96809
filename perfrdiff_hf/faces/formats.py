"""The face-track formats that `read_face_track` knows: each turns a file into a `RecordedTrack` at its own row rate.

Head angles are turned into REACT's convention: pitch is positive when the face looks down (and recorded near pi), yaw
when it turns to the person's own left, roll when the head leans to the person's own right. The signs of the trackers
were found in recordings: the eyes turn against the head while they rest on the camera, and OpenFace's landmarks show
the head itself. The sign of Live Link Face's roll could not be seen in any recording and is assumed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..behaviour import (
    ACTION_UNIT_NAMES,
    BLENDSHAPE_NAMES,
    BLENDSHAPES,
    COEFFICIENT_CHANNELS,
    EMOTION_CHANNELS,
    EMOTION_NAMES,
    EXPRESSION_NAMES,
    EXPRESSIONS,
    FRAME_RATE,
    MEAN_FACE,
    ROTATION,
    VALENCE_AROUSAL,
    check_stream,
)
from ..files import PathLike, file_beside
from . import rules
from .table import Table


LIVE_LINK_TICKS = 60
OPENFACE_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
PYFEAT_EXPRESSIONS: Mapping[str, tuple[str, ...]] = {
    "Neutral": ("neutral",), "Happy": ("happy", "happiness"), "Sad": ("sad", "sadness"), "Surprise": ("surprise",),
    "Fear": ("fear",), "Disgust": ("disgust",), "Anger": ("anger",),
}  # fmt: skip
# An AU intensity of 1 ("trace") on OpenFace's scale of 0 to 5 is where a movement begins to be seen.
OPENFACE_ONSET = 1.0
_PLAUSIBLE_RATES = (5.0, 240.0)
_DERIVED = "derived from the action units (perfrdiff_hf.faces.rules)"


@dataclass(frozen=True)
class RecordedTrack:
    """A face track as recorded: one entry per row of the file, at the file's own times.

    Args:
        format: the name of the format.
        times: `(rows,)` seconds since the first row, rising.
        seen: `(rows,)` whether the face was tracked; the other arrays mean nothing where it was not.
        emotion: `(rows, 25)` with graded action units in [0, 1].
        coefficients: `(rows, 58)`.
        recorded: what the file itself holds; everything else follows from it.
        notes: what was assumed or derived.
    """

    format: str
    times: np.ndarray
    seen: np.ndarray
    emotion: np.ndarray
    coefficients: np.ndarray
    recorded: str
    notes: tuple[str, ...]


def read_react_npy(path: Path) -> RecordedTrack:
    """REACT's 3DMM coefficients, `(frames, 58)` or `(frames, 1, 58)`. Emotion is derived."""
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read as npy: the file is truncated or no plain array ({error})."
        ) from error
    if not isinstance(values, np.ndarray):
        raise ValueError(f"{path} is a collection of arrays; one array (frames, {COEFFICIENT_CHANNELS}) is expected.")
    if values.ndim == 3 and values.shape[1] == 1:
        values = values[:, 0]
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


def read_react_csv(table: Table) -> RecordedTrack:
    """REACT's emotion csv: the 25 emotion channels at 25 fps. Coefficients are derived on REACT's scale."""
    emotion = table.numbers(EMOTION_NAMES)
    seen = table.complete_rows(emotion, EMOTION_NAMES)
    table.check_range(emotion[seen], -1.01, 1.01, "emotion channels")
    units = {name: emotion[:, channel] for channel, name in enumerate(ACTION_UNIT_NAMES)}
    return RecordedTrack(
        format="REACT emotion (csv)",
        times=np.arange(len(emotion)) / FRAME_RATE,
        seen=seen,
        emotion=emotion,
        coefficients=_coefficients(rules.react_blendshapes(rules.blendshapes_of_action_units(units)), None),
        recorded="emotion",
        notes=(f"blendshapes are {_DERIVED}", _no_head_angles()),
    )


def read_live_link(table: Table, calibrate: bool) -> RecordedTrack:
    """Live Link Face csv: 52 blendshapes per row, time code `HH:MM:SS:FF.sub`, two columns where tracking was lost."""
    times = np.array([_live_link_seconds(table, row) for row in range(len(table))])
    # A take may run over midnight.
    times = times + 24 * 3600.0 * np.concatenate([[0], np.cumsum(np.diff(times) < -12 * 3600)])
    count = table.numbers(["BlendShapeCount"])[:, 0]
    return _arkit_track("Live Link Face (csv)", table, times, count > 0, calibrate)


def read_llv(table: Table, calibrate: bool) -> RecordedTrack:
    """LLV csv: as Live Link Face, but timed by `frame`, `subframe` and the rate `fps_num / fps_den`."""
    clock = table.numbers(["frame", "subframe", "fps_num", "fps_den"])
    table.complete_rows(clock, ["frame", "subframe", "fps_num", "fps_den"], may_be_lost=False)
    if (clock[:, 2:] <= 0).any():
        raise ValueError(f"{table.path}: fps_num and fps_den must be positive.")
    times = (clock[:, 0] + clock[:, 1]) * clock[:, 3] / clock[:, 2]
    return _arkit_track("LLV (csv)", table, times, np.ones(len(times), dtype=bool), calibrate)


def read_pyfeat(table: Table, calibrate: bool, fps: float | None) -> RecordedTrack:
    """py-feat csv: action unit and expression probabilities; valence, arousal, blendshapes, pose where it has them."""
    notes = []
    unit_columns = [_padded(name) for name in ACTION_UNIT_NAMES]
    expression_columns = [_first_known(table, names) for names in PYFEAT_EXPRESSIONS.values()]
    names = [*unit_columns, *expression_columns]
    values = table.numbers(names)
    seen = table.complete_rows(values, names)
    emotion = rules.emotion_of_action_units(values[:, : len(unit_columns)])
    emotion[:, EXPRESSIONS] = 0
    for column, name in enumerate(PYFEAT_EXPRESSIONS, start=len(unit_columns)):
        emotion[:, EXPRESSIONS.start + EXPRESSION_NAMES.index(name)] = values[:, column]
    notes.append("py-feat knows no Contempt: its probability is 0")
    if table.has(["valence", "arousal"]):
        emotion[:, VALENCE_AROUSAL] = table.numbers(["valence", "arousal"])
        seen &= table.complete_rows(emotion[:, VALENCE_AROUSAL], ["valence", "arousal"])
    else:
        notes.append(f"valence and arousal are {_DERIVED}")
    shapes = [name for name in BLENDSHAPE_NAMES if name != "tongueOut"]
    if table.has(shapes):
        arkit = np.zeros((len(table), len(BLENDSHAPE_NAMES)), dtype=np.float32)
        arkit[:, : len(shapes)] = table.numbers(shapes)  # tongueOut is the last one, and stays at 0
        seen &= table.complete_rows(arkit, shapes)
        blendshapes = _on_scale(arkit, calibrate, notes)
    else:
        extra = {
            name: table.numbers([_padded(name)])[:, 0]
            for name in ("AU5", "AU20", "AU43")
            if table.has([_padded(name)])
        }
        units = {**dict(zip(ACTION_UNIT_NAMES, values.T)), **extra}
        blendshapes = rules.react_blendshapes(rules.blendshapes_of_action_units(units))
        notes.append(f"blendshapes are {_DERIVED}")
    rotation = _head_angles(table, ("Pitch", "Yaw", "Roll"), (1, -1, -1), seen, notes)
    times = _counted_times(table, fps, notes)
    recorded = "action units, expressions" + (", blendshapes" if table.has(shapes) else "")
    return RecordedTrack(
        "py-feat (csv)", times, seen, emotion, _coefficients(blendshapes, rotation), recorded, tuple(notes)
    )


def read_openface(table: Table, fps: float | None) -> RecordedTrack:
    """OpenFace 2 csv: action unit intensities (0 to 5), presences where it has them, and the head pose."""
    notes = []
    intensities = [f"AU{unit:02d}_r" for unit in OPENFACE_UNITS]
    values = table.numbers(intensities)
    tracked = table.numbers(["success"])[:, 0] > 0
    seen = tracked & table.complete_rows(values, intensities, rows=tracked)
    units = {
        f"AU{unit}": np.clip(column / (2 * OPENFACE_ONSET), 0, 1) for unit, column in zip(OPENFACE_UNITS, values.T)
    }
    graded = np.stack([units.get(name, np.zeros(len(table))) for name in ACTION_UNIT_NAMES], axis=1)
    emotion = rules.emotion_of_action_units(graded.astype(np.float32))
    for channel, name in enumerate(ACTION_UNIT_NAMES):
        presence = f"{_padded(name)}_c"
        if table.has([presence]):
            emotion[:, channel] = table.numbers([presence])[:, 0]
    missing = [name for name in ACTION_UNIT_NAMES if name not in units]
    notes.append(f"OpenFace has no {', '.join(missing)}: always 0; its gaze is not used")
    notes.append(f"valence, arousal, expressions and blendshapes are {_DERIVED}")
    rotation = _head_angles(table, ("pose_Rx", "pose_Ry", "pose_Rz"), (1, -1, -1), seen, notes)
    blendshapes = rules.react_blendshapes(rules.blendshapes_of_action_units(units))
    times = _openface_times(table, fps, notes)
    return RecordedTrack(
        "OpenFace (csv)", times, seen, emotion, _coefficients(blendshapes, rotation), "action units", tuple(notes)
    )


def recognise(table: Table) -> str:
    """The format of a table: "live_link", "llv", "openface", "pyfeat" or "react".

    Raises:
        ValueError: if it is none of these.
    """
    if table.has(["Timecode"]):
        return "live_link"
    if table.has(["fps_num"]) or table.has(["subframe"]):
        return "llv"
    if table.has(["AU12_r"]):
        return "openface"
    if any(table.has([_padded(name)]) for name in ACTION_UNIT_NAMES[:6]):  # those that py-feat writes with a 0
        return "pyfeat"
    if any(table.has([name]) for name in ACTION_UNIT_NAMES):
        return "react"
    raise ValueError(
        f"{table.path} is no known face track; it has {table.described_header()}. Known are REACT2024 csv and npy, "
        "Live Link Face csv, LLV csv, py-feat csv and OpenFace 2 csv."
    )


def _arkit_track(name: str, table: Table, times: np.ndarray, tracked: np.ndarray, calibrate: bool) -> RecordedTrack:
    notes: list[str] = []
    arkit = table.numbers(BLENDSHAPE_NAMES, rows=tracked)
    seen = tracked & table.complete_rows(arkit, BLENDSHAPE_NAMES, rows=tracked)
    table.check_range(arkit[seen], -0.01, 1.5, "blendshapes")
    units = rules.action_units_of_blendshapes(rules.arkit_activation(np.nan_to_num(arkit)))
    notes.append("emotion is derived from the blendshapes (perfrdiff_hf.faces.rules)")
    blendshapes = _on_scale(arkit, calibrate, notes)
    rotation = _head_angles(table, ("HeadPitch", "HeadYaw", "HeadRoll"), (-1, 1, 1), seen, notes)
    return RecordedTrack(
        name,
        times,
        seen,
        rules.emotion_of_action_units(units),
        _coefficients(blendshapes, rotation),
        "blendshapes",
        tuple(notes),
    )


def _on_scale(arkit: np.ndarray, calibrate: bool, notes: list[str]) -> np.ndarray:
    if not calibrate:
        notes.append("blendshapes are on the tracker's scale, not REACT's")
        return arkit
    notes.append("blendshapes are moved from the tracker's scale to REACT's (a fixed affine map per channel)")
    return rules.react_blendshapes(rules.arkit_activation(arkit))


def _coefficients(blendshapes: np.ndarray, rotation: np.ndarray | None) -> np.ndarray:
    """`(rows, 58)`: the blendshapes, the head's rotation, and what is unknown as in the mean face."""
    coefficients = np.tile(MEAN_FACE, (len(blendshapes), 1))
    coefficients[:, BLENDSHAPES] = blendshapes
    if rotation is not None:
        coefficients[:, ROTATION] = rotation
    return coefficients


def _head_angles(
    table: Table, names: tuple[str, str, str], signs: tuple[int, int, int], seen: np.ndarray, notes: list[str]
) -> np.ndarray | None:
    """Pitch, yaw and roll `(rows, 3)` in REACT's convention, or None if the track holds none."""
    if not table.has(names):
        notes.append(_no_head_angles())
        return None
    angles = table.numbers(names, rows=seen)
    table.complete_rows(angles, names, rows=seen, may_be_lost=False)
    largest = np.abs(angles[seen]).max(initial=0)
    if largest == 0:
        notes.append("all head angles are 0, so none were recorded: " + _no_head_angles())
        return None
    if largest > np.pi / 2:  # no tracker follows a face that far
        notes.append("head angles are taken to be degrees")
        angles = np.deg2rad(angles)
    notes.append("translation is the mean face's")
    return angles * np.array(signs) + np.array([np.pi, 0, 0])


def _no_head_angles() -> str:
    return "rotation and translation are the mean face's"


def _live_link_seconds(table: Table, row: int) -> float:
    text = table.text("Timecode", row)
    match = re.fullmatch(r"(\d+):(\d+):(\d+)[:;](\d+(?:\.\d+)?)", text)
    if match is None or float(match[4]) >= LIVE_LINK_TICKS:
        raise ValueError(
            f"{table.path}, line {table.line(row)}, column Timecode: expected HH:MM:SS:FF.sub with fewer than "
            f"{LIVE_LINK_TICKS} ticks a second; found {text!r}."
        )
    hours, minutes, seconds, ticks = (float(part) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds + ticks / LIVE_LINK_TICKS


def _counted_times(table: Table, fps: float | None, notes: list[str]) -> np.ndarray:
    """Seconds of each row by its `frame` column (by its place if there is none) at the rate of the video."""
    assumed = "" if fps else " (assumed: no fps was given)"
    notes.append(f"rows are counted by the frame column, at {fps or FRAME_RATE:g} frames per second{assumed}")
    if not table.has(["frame"]):
        return np.arange(len(table)) / (fps or FRAME_RATE)
    frames = table.numbers(["frame"])
    table.complete_rows(frames, ["frame"], may_be_lost=False)
    if len(np.unique(frames)) < len(frames):
        raise ValueError(
            f"{table.path} has several rows for one frame, so several faces. Keep the rows of one face and read it "
            "again."
        )
    return frames[:, 0] / (fps or FRAME_RATE)


def _openface_times(table: Table, fps: float | None, notes: list[str]) -> np.ndarray:
    """OpenFace's timestamps where a camera could have made them, else the frames counted at the rate of the video."""
    if table.has(["timestamp"]) and fps is None:
        stamps = table.numbers(["timestamp"])
        table.complete_rows(stamps, ["timestamp"], may_be_lost=False)
        step = float(np.median(np.diff(stamps[:, 0]))) if len(stamps) > 1 else 0.0
        if step > 0 and _PLAUSIBLE_RATES[0] <= 1 / step <= _PLAUSIBLE_RATES[1]:
            return stamps[:, 0]
        notes.append(f"timestamps step by {step:g} s, which no camera does, and are not used")
    return _counted_times(table, fps, notes)


def _padded(unit: str) -> str:
    return f"AU{int(unit[2:]):02d}"


def _first_known(table: Table, names: tuple[str, ...]) -> str:
    return next((name for name in names if table.has([name])), names[0])


def write_emotion_csv(path: PathLike, emotion: np.ndarray) -> None:
    """Write emotion `(frames, 25)` as REACT2024's csv: a header with the channels' names, one line per frame."""
    emotion = check_stream("emotion", emotion, EMOTION_CHANNELS)
    with file_beside(path) as beside:
        np.savetxt(beside, emotion, fmt="%.6g", delimiter=",", header=",".join(EMOTION_NAMES), comments="")


def write_coefficients_npy(path: PathLike, coefficients: np.ndarray) -> None:
    """Write coefficients `(frames, 58)`, mean face included, as REACT2024's npy `(frames, 1, 58)` float32."""
    coefficients = check_stream("coefficients", coefficients, COEFFICIENT_CHANNELS)
    with file_beside(path) as beside:
        np.save(beside, coefficients[:, None], allow_pickle=False)
