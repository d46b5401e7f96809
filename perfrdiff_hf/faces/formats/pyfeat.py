"""py-feat csv: action unit and expression probabilities; valence, arousal, blendshapes, pose where it has them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...behaviour import (
    ACTION_UNIT_NAMES,
    BLENDSHAPE_NAMES,
    EXPRESSION_NAMES,
    EXPRESSIONS,
    VALENCE_AROUSAL,
)
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
    on_scale,
    padded,
)


EXPRESSION_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "Neutral": ("neutral",), "Happy": ("happy", "happiness"), "Sad": ("sad", "sadness"), "Surprise": ("surprise",),
    "Fear": ("fear",), "Disgust": ("disgust",), "Anger": ("anger",),
}  # fmt: skip


def read(file: TrackFile, calibrate: bool, fps: float | None) -> RecordedTrack:
    """The track of a py-feat csv."""
    table = file.table
    notes = []
    unit_columns = [padded(name) for name in ACTION_UNIT_NAMES]
    expression_columns = [_first_known(table, names) for names in EXPRESSION_COLUMNS.values()]
    names = [*unit_columns, *expression_columns]
    values = table.numbers(names)
    seen = table.complete_rows(values, names)
    emotion = rules.emotion_of_action_units(values[:, : len(unit_columns)])
    emotion[:, EXPRESSIONS] = 0
    for column, name in enumerate(EXPRESSION_COLUMNS, start=len(unit_columns)):
        emotion[:, EXPRESSIONS.start + EXPRESSION_NAMES.index(name)] = values[:, column]
    notes.append("py-feat knows no Contempt: its probability is 0")
    if table.has(["valence", "arousal"]):
        emotion[:, VALENCE_AROUSAL] = table.numbers(["valence", "arousal"])
        seen &= table.complete_rows(emotion[:, VALENCE_AROUSAL], ["valence", "arousal"])
    else:
        notes.append(f"valence and arousal are {DERIVED}")
    shapes = [name for name in BLENDSHAPE_NAMES if name != "tongueOut"]
    if table.has(shapes):
        arkit = np.zeros((len(table), len(BLENDSHAPE_NAMES)), dtype=np.float32)
        arkit[:, : len(shapes)] = table.numbers(shapes)  # tongueOut is the last one, and stays at 0
        seen &= table.complete_rows(arkit, shapes)
        blendshapes = on_scale(arkit, calibrate, notes)
    else:
        extra = {
            name: table.numbers([padded(name)])[:, 0] for name in ("AU5", "AU20", "AU43") if table.has([padded(name)])
        }
        units = {**dict(zip(ACTION_UNIT_NAMES, values.T)), **extra}
        blendshapes = rules.react_blendshapes(rules.blendshapes_of_action_units(units))
        notes.append(f"blendshapes are {DERIVED}")
    rotation = head_angles(table, ("Pitch", "Yaw", "Roll"), (1, -1, -1), seen, notes)
    times = counted_times(table, fps, notes)
    recorded = "action units, expressions" + (", blendshapes" if table.has(shapes) else "")
    return RecordedTrack(
        "py-feat (csv)", times, seen, emotion, coefficients_of(blendshapes, rotation), recorded, tuple(notes)
    )


def _first_known(table: Table, names: tuple[str, ...]) -> str:
    return next((name for name in names if table.has([name])), names[0])


def _recognises(file: TrackFile) -> bool:
    """By the action units that it writes with a 0 and the others without."""
    return any(file.has(padded(name)) for name in ACTION_UNIT_NAMES[:6])


FORMAT = TrackFormat("pyfeat", "py-feat csv", _recognises, read, takes_fps=True)
