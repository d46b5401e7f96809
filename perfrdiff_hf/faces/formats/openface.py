"""OpenFace 2 csv: action unit intensities (0 to 5), presences where it has them, and the head pose."""

from __future__ import annotations

import numpy as np

from ...behaviour import ACTION_UNIT_NAMES
from .. import rules
from ..table import Table
from .common import (
    DERIVED,
    RecordedTrack,
    TrackFile,
    TrackFormat,
    coefficients_of,
    counted_times,
    head_angles,
    padded,
)


UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
# An AU intensity of 1 ("trace") on OpenFace's scale of 0 to 5 is where a movement begins to be seen.
ONSET = 1.0
_PLAUSIBLE_RATES = (5.0, 240.0)


def read(file: TrackFile, calibrate: bool, fps: float | None) -> RecordedTrack:
    """The track of an OpenFace 2 csv."""
    table = file.table
    notes = []
    intensities = [f"AU{unit:02d}_r" for unit in UNITS]
    values = table.numbers(intensities)
    tracked = table.numbers(["success"])[:, 0] > 0
    seen = tracked & table.complete_rows(values, intensities, rows=tracked)
    units = {f"AU{unit}": np.clip(column / (2 * ONSET), 0, 1) for unit, column in zip(UNITS, values.T)}
    graded = np.stack([units.get(name, np.zeros(len(table))) for name in ACTION_UNIT_NAMES], axis=1)
    emotion = rules.emotion_of_action_units(graded.astype(np.float32))
    for channel, name in enumerate(ACTION_UNIT_NAMES):
        presence = f"{padded(name)}_c"
        if table.has([presence]):
            emotion[:, channel] = table.numbers([presence])[:, 0]
    missing = [name for name in ACTION_UNIT_NAMES if name not in units]
    notes.append(f"OpenFace has no {', '.join(missing)}: always 0; its gaze is not used")
    notes.append(f"valence, arousal, expressions and blendshapes are {DERIVED}")
    rotation = head_angles(table, ("pose_Rx", "pose_Ry", "pose_Rz"), (1, -1, -1), seen, notes)
    blendshapes = rules.react_blendshapes(rules.blendshapes_of_action_units(units))
    times = _times(table, fps, notes)
    return RecordedTrack(
        "OpenFace (csv)", times, seen, emotion, coefficients_of(blendshapes, rotation), "action units", tuple(notes)
    )


def _times(table: Table, fps: float | None, notes: list[str]) -> np.ndarray:
    """OpenFace's timestamps where a camera could have made them, else the frames counted at the rate of the video."""
    if table.has(["timestamp"]) and fps is None:
        stamps = table.numbers(["timestamp"])
        table.complete_rows(stamps, ["timestamp"], may_be_lost=False)
        step = float(np.median(np.diff(stamps[:, 0]))) if len(stamps) > 1 else 0.0
        if step > 0 and _PLAUSIBLE_RATES[0] <= 1 / step <= _PLAUSIBLE_RATES[1]:
            return stamps[:, 0]
        notes.append(f"timestamps step by {step:g} s, which no camera does, and are not used")
    return counted_times(table, fps, notes)


def _recognises(file: TrackFile) -> bool:
    return file.has("AU12_r")


FORMAT = TrackFormat("openface", "OpenFace 2 csv", _recognises, read, takes_fps=True)
