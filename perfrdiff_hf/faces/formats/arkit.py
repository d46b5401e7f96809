"""Blendshapes on Apple's scale in a csv file, as Live Link Face and LLV have them; rows are timed differently."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ...behaviour import BLENDSHAPE_NAMES
from .. import rules
from ..motion import FaceMotion
from ..names import CSV_ORDER, capitalised
from ..table import Table
from .common import RecordedTrack, coefficients_of, head_angles, on_scale, tracker_angles


HEAD_NAMES = ("HeadPitch", "HeadYaw", "HeadRoll")
HEAD_SIGNS = (-1, 1, 1)
# The columns in the order in which both programs write them.
ARKIT_COLUMNS = tuple(capitalised(name) for name in CSV_ORDER)
# How the head and the eyeballs are turned. Behaviour has no angles for eyeballs: its eyeLook blendshapes hold them.
ANGLE_COLUMNS = (
    "HeadYaw", "HeadPitch", "HeadRoll", "LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll", "RightEyeYaw", "RightEyePitch",
    "RightEyeRoll",
)  # fmt: skip


def read_arkit(name: str, table: Table, times: np.ndarray, tracked: np.ndarray, calibrate: bool) -> RecordedTrack:
    """The track in a table with blendshapes and head angles.

    Args:
        name: of the format.
        table: the file.
        times: `(rows,)` seconds.
        tracked: `(rows,)` whether the file says that the face was tracked.
        calibrate: whether blendshapes are moved to REACT's scale.
    """
    notes: list[str] = []
    arkit = table.numbers(BLENDSHAPE_NAMES, rows=tracked)
    seen = tracked & table.complete_rows(arkit, BLENDSHAPE_NAMES, rows=tracked)
    table.check_range(arkit[seen], -0.01, 1.5, "blendshapes")
    rotation = head_angles(table, HEAD_NAMES, HEAD_SIGNS, seen, notes)
    return arkit_track(name, times, seen, arkit, rotation, calibrate, notes)


def arkit_track(
    name: str,
    times: np.ndarray,
    seen: np.ndarray,
    arkit: np.ndarray,
    rotation: np.ndarray | None,
    calibrate: bool,
    notes: list[str],
) -> RecordedTrack:
    """The track of blendshapes `(rows, 52)` on Apple's scale and REACT's rotation `(rows, 3)`, or None."""
    units = rules.action_units_of_blendshapes(rules.arkit_activation(np.nan_to_num(arkit)))
    notes = ["emotion is derived from the blendshapes (perfrdiff_hf.faces.rules)", *notes]
    blendshapes = on_scale(arkit, calibrate, notes)
    return RecordedTrack(
        name,
        times,
        seen,
        rules.emotion_of_action_units(units),
        coefficients_of(blendshapes, rotation),
        "blendshapes",
        tuple(notes),
    )


def write_arkit(motion: FaceMotion, path: Path, clock_names: tuple[str, ...], clock: Iterable[tuple]) -> None:
    """A csv file with a row for each frame: its clock, blendshapes, head angles, and zeros for the eyeballs' angles.

    Args:
        motion: what is written.
        path: the file.
        clock_names: the columns that time a row.
        clock: their cells, frame by frame.
    """
    known = {name.lower(): column for name, column in zip(BLENDSHAPE_NAMES, motion.blendshapes.T)}
    known |= {name.lower(): column for name, column in zip(HEAD_NAMES, tracker_angles(motion.rotation, HEAD_SIGNS).T)}
    still = np.zeros(len(motion))
    values = np.stack([known.get(name.lower(), still) for name in (*ARKIT_COLUMNS, *ANGLE_COLUMNS)], axis=1)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*clock_names, *ARKIT_COLUMNS, *ANGLE_COLUMNS])
        writer.writerows([*cells, *(f"{value:.10f}" for value in row)] for cells, row in zip(clock, values.tolist()))
