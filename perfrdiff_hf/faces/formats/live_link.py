"""Live Link Face csv: 52 blendshapes per row, time code `HH:MM:SS:FF.sub`, two columns where tracking was lost.

FF counts 60 ticks a second whatever the rate of the rows: recordings of telephones at 30 rows a second move on by two
ticks a row, up to 59. Nothing else in the file says how fast it is, so that readers take the time code at its word.
Rows at 25 a second, which we write, are 2.4 ticks apart.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ...behaviour import BLENDSHAPE_NAMES, FRAME_RATE
from ..motion import FaceMotion
from ..table import Table
from .arkit import ANGLE_COLUMNS, read_arkit, write_arkit
from .common import RecordedTrack, TrackFile, TrackFormat


TICKS = 60


def read(file: TrackFile, calibrate: bool, fps: float | None) -> RecordedTrack:
    """The track of a Live Link Face csv."""
    table = file.table
    times = np.array([_seconds(table, row) for row in range(len(table))])
    # A take may run over midnight.
    times = times + 24 * 3600.0 * np.concatenate([[0], np.cumsum(np.diff(times) < -12 * 3600)])
    count = table.numbers(["BlendShapeCount"])[:, 0]
    return read_arkit("Live Link Face (csv)", table, times, count > 0, calibrate)


def write_motion(motion: FaceMotion, path: Path) -> None:
    """A motion as a Live Link Face csv; frame 0 has the time code 00:00:00:00."""
    count = len(BLENDSHAPE_NAMES) + len(ANGLE_COLUMNS)
    clock = ((_timecode(frame), count) for frame in range(len(motion)))
    write_arkit(motion, path, ("Timecode", "BlendShapeCount"), clock)


def _timecode(frame: int) -> str:
    seconds, rest = divmod(frame, FRAME_RATE)
    ticks = rest * TICKS / FRAME_RATE
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{ticks:06.3f}"


def _seconds(table: Table, row: int) -> float:
    text = table.text("Timecode", row)
    match = re.fullmatch(r"(\d+):(\d+):(\d+)[:;](\d+(?:\.\d+)?)", text)
    if match is None or float(match[4]) >= TICKS:
        raise ValueError(
            f"{table.path}, line {table.line(row)}, column Timecode: expected HH:MM:SS:FF.sub with fewer than "
            f"{TICKS} ticks a second; found {text!r}."
        )
    hours, minutes, seconds, ticks = (float(part) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds + ticks / TICKS


def _recognises(file: TrackFile) -> bool:
    return file.has("Timecode")


FORMAT = TrackFormat("live_link", "Live Link Face csv", _recognises, read, write_motion=write_motion)
