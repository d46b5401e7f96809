"""Files of trackers as tests write them: the columns of each program, and rows of them."""

from __future__ import annotations

import csv
from pathlib import Path

from perfrdiff_hf.behaviour import (
    ACTION_UNIT_NAMES,
    BLENDSHAPE_NAMES,
    COEFFICIENT_NAMES,
    EMOTION_NAMES,
)


ARKIT = [name[0].upper() + name[1:] for name in BLENDSHAPE_NAMES]
LIVE_LINK = ["Timecode", "BlendShapeCount", *ARKIT, "HeadYaw", "HeadPitch", "HeadRoll"]
LLV = ["frame", "subframe", "fps_num", "fps_den", *ARKIT, "HeadYaw", "HeadPitch", "HeadRoll"]
PYFEAT = [
    "frame", *(f"AU{int(name[2:]):02d}" for name in ACTION_UNIT_NAMES),
    "Neutral", "Happy", "Sad", "Surprise", "Fear", "Disgust", "Anger", "valence", "arousal", "Pitch", "Roll", "Yaw",
]  # fmt: skip
OPENFACE_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
OPENFACE = [
    "frame", "timestamp", "success", "pose_Rx", "pose_Ry", "pose_Rz",
    *(f"AU{unit:02d}_r" for unit in OPENFACE_UNITS), *(f"AU{unit:02d}_c" for unit in (*OPENFACE_UNITS, 28)),
]  # fmt: skip


def write_csv(path: Path, header: list[str], rows: list[dict]) -> Path:
    """A csv with a value for each column that a row names, and 0 elsewhere; a row given as a list is written as is."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row in rows:
            writer.writerow(row if isinstance(row, list) else [row.get(name, 0) for name in header])
    return path


def timecode(seconds: float) -> str:
    minutes, seconds = divmod(seconds, 60)
    return f"{int(minutes // 60):02d}:{int(minutes % 60):02d}:{int(seconds):02d}:{seconds % 1 * 60:06.3f}"


def live_link_row(seconds: float, **values: float) -> dict:
    return {"Timecode": timecode(seconds), "BlendShapeCount": 61, **values}


def channel(name: str) -> int:
    return COEFFICIENT_NAMES.index(name)


def unit(name: str) -> int:
    return EMOTION_NAMES.index(name)
