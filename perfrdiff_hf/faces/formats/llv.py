"""LLV csv: as Live Link Face, but timed by `frame`, `subframe` and the rate `fps_num / fps_den`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...behaviour import FRAME_RATE
from ..motion import FaceMotion
from .arkit import read_arkit, write_arkit
from .common import RecordedTrack, TrackFile, TrackFormat


CLOCK_NAMES = ("frame", "subframe", "fps_num", "fps_den")


def read(file: TrackFile, calibrate: bool, fps: float | None) -> RecordedTrack:
    """The track of an LLV csv."""
    table = file.table
    clock = table.numbers(CLOCK_NAMES)
    table.complete_rows(clock, CLOCK_NAMES, may_be_lost=False)
    if (clock[:, 2:] <= 0).any():
        raise ValueError(f"{table.path}: fps_num and fps_den must be positive.")
    times = (clock[:, 0] + clock[:, 1]) * clock[:, 3] / clock[:, 2]
    return read_arkit("LLV (csv)", table, times, np.ones(len(times), dtype=bool), calibrate)


def write_motion(motion: FaceMotion, path: Path) -> None:
    """A motion as an LLV csv of 25 frames per second."""
    clock = ((frame, 0, FRAME_RATE, 1) for frame in range(len(motion)))
    write_arkit(motion, path, CLOCK_NAMES, clock)


def _recognises(file: TrackFile) -> bool:
    return file.has("fps_num") or file.has("subframe")


FORMAT = TrackFormat("llv", "LLV csv", _recognises, read, write_motion=write_motion)
