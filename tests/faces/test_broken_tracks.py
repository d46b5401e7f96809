"""Tracks that cannot be read: what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perfrdiff_hf.behaviour import (
    EMOTION_NAMES,
    MEAN_FACE,
)
from perfrdiff_hf.faces.tracks import combine_tracks, read_face_track
from tests.faces.track_files import (
    LIVE_LINK,
    PYFEAT,
    live_link_row,
    timecode,
    write_csv,
)


def broken(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.csv"
    frames = [live_link_row(k / 30) for k in range(3)]
    if kind == "empty":
        path.write_text("")
    elif kind == "header_only":
        write_csv(path, LIVE_LINK, [])
    elif kind == "unknown":
        path.write_text("a,b\n1,2\n")
    elif kind == "binary":
        path.write_bytes(bytes(range(200, 256)) * 5)
    elif kind == "columns":
        write_csv(path, [name for name in LIVE_LINK if name not in ("JawOpen", "TongueOut")], frames)
    elif kind == "react_columns":
        write_csv(path, list(EMOTION_NAMES[:-2]), [{}])
    elif kind == "nan":
        write_csv(path, LIVE_LINK, [*frames, live_link_row(1, JawOpen=float("nan"))])
    elif kind == "word":
        write_csv(path, LIVE_LINK, [*frames, {**live_link_row(1), "JawOpen": "wide"}])
    elif kind == "lost":
        write_csv(path, LIVE_LINK, [[timecode(k / 30), 0] for k in range(5)])
    elif kind == "backwards":
        write_csv(path, LIVE_LINK, [live_link_row(2), live_link_row(1)])
    elif kind == "timecode":
        write_csv(path, LIVE_LINK, [{**live_link_row(2), "Timecode": "12:00"}])
    elif kind == "percent":
        write_csv(path, LIVE_LINK, [live_link_row(1, JawOpen=80)])
    elif kind == "cut":
        write_csv(path, LIVE_LINK, frames)
        path.write_text(path.read_text()[:-60])
    elif kind == "faces":
        write_csv(path, PYFEAT, [{"frame": 0}, {"frame": 0}])
    elif kind == "long":
        write_csv(path, LIVE_LINK, [[0] * (len(LIVE_LINK) + 1)])
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "is empty"),
        ("header_only", "header but no rows"),
        ("unknown", r"no known face track; it has 2 columns \(a, b\)"),
        ("binary", "neither an npy file nor readable as csv"),
        ("columns", "lacks the columns jawOpen, tongueOut"),
        ("react_columns", "lacks the columns Anger, Contempt"),
        ("nan", "line 5, column jawOpen: blank, NaN"),
        ("word", "line 5, column jawOpen: 'wide' is not a number"),
        ("lost", "lost in all 5 rows"),
        ("backwards", "time does not move forward from row 1"),
        ("timecode", "line 2, column Timecode: expected HH:MM:SS:FF.sub"),
        ("percent", r"blendshapes must lie in .* reach from 0 to 80"),
        ("cut", "line 4, column .*: blank"),
        ("faces", "several rows for one frame"),
        ("long", "line 2: 58 columns; the header has 57"),
    ],
)
def test_broken_csv(tmp_path: Path, kind: str, message: str) -> None:
    path = broken(tmp_path, kind)
    with pytest.raises(ValueError, match=message) as error:
        read_face_track(path)
    assert path.name in str(error.value)


def test_broken_npy(tmp_path: Path) -> None:
    path = tmp_path / "clip.npy"
    np.save(path, np.zeros((100, 58), np.float32))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"clip\.npy cannot be read as npy: the file is truncated"):
        read_face_track(path)
    for wrong, message in (
        (np.zeros((10, 2, 58)), r"must have shape \(frames, 58\); it has \(10, 2, 58\)"),
        (np.zeros((10, 57)), r"must have shape \(frames, 58\); it has \(10, 57\)"),
        (np.zeros((0, 58)), "at least 1 frames"),
        (np.full((10, 58), np.inf), "580 NaN or infinite values, the first in frame 0"),
        (np.array([{}], dtype=object), "cannot be read as npy"),
    ):
        np.save(path, wrong)
        with pytest.raises(ValueError, match=message):
            read_face_track(path)


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no face track at"):
        read_face_track(tmp_path / "nothing.csv")
    path = write_csv(tmp_path / "a.csv", LIVE_LINK, [live_link_row(1)])
    with pytest.raises(ValueError, match="a clock of its own"):
        read_face_track(path, fps=30)
    with pytest.raises(ValueError, match="fps must be a positive number; it is 0"):
        read_face_track(path, fps=0)


def test_tracks_of_different_recordings_are_not_combined(tmp_path: Path) -> None:
    np.save(tmp_path / "1.npy", np.tile(MEAN_FACE, (60, 1)))
    write_csv(tmp_path / "1.csv", list(EMOTION_NAMES), [{"Neutral": 1}] * 10)
    with pytest.raises(ValueError, match=r"1\.csv has 10 frames and .*1\.npy 60"):
        combine_tracks(read_face_track(tmp_path / "1.csv"), read_face_track(tmp_path / "1.npy"))
