"""Behaviour written as the tracks of other programs, and read again."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from perfrdiff_hf.behaviour import (
    BLENDSHAPES,
    MEAN_FACE,
    ROTATION,
    STD_FACE,
    TRANSLATION,
    Behaviour,
)
from perfrdiff_hf.faces import rules
from perfrdiff_hf.faces.formats import FORMATS
from perfrdiff_hf.faces.tracks import combine_tracks, read_face_track, write_face_track


@pytest.fixture
def shown() -> Behaviour:
    """1,600 frames (more than a minute) in which every blendshape and every head angle has a value of its own."""
    rng = np.random.default_rng(5)
    coefficients = np.tile(MEAN_FACE, (1600, 1))
    coefficients[:, BLENDSHAPES] = rng.uniform(0, 1, (1600, 52))
    coefficients[:, ROTATION] = [np.pi, 0, 0] + np.array([0.3, 0.5, 0.2]) * rng.uniform(0.5, 1, (1600, 3))
    coefficients[:, TRANSLATION] += rng.normal(0, 0.2, (1600, 3))
    emotion = rng.uniform(0, 1, (1600, 25)).astype(np.float32)
    emotion[:, :15] = emotion[:, :15] > 0.5
    return Behaviour(emotion=emotion, coefficients=coefficients)


def test_react_files_come_back_as_they_were(shown: Behaviour, tmp_path: Path) -> None:
    write_face_track(shown, tmp_path / "1.npy")
    write_face_track(shown, tmp_path / "1.csv")
    both = combine_tracks(read_face_track(tmp_path / "1.csv"), read_face_track(tmp_path / "1.npy"))
    np.testing.assert_array_equal(both.coefficients, shown.coefficients)
    np.testing.assert_allclose(both.emotion, shown.emotion, atol=1e-6)


@pytest.mark.parametrize("form", ["live_link", "llv"])
def test_arkit_files_come_back_frame_by_frame(shown: Behaviour, tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.csv"
    write_face_track(shown, path, form, calibrate=False)
    track = read_face_track(path, calibrate=False)
    assert track.report.row_rate == pytest.approx(25, rel=1e-6)
    again = track.behaviour.coefficients
    assert again.shape == shown.coefficients.shape
    np.testing.assert_allclose(again[:, BLENDSHAPES], shown.coefficients[:, BLENDSHAPES], atol=1e-5)
    np.testing.assert_allclose(again[:, ROTATION], shown.coefficients[:, ROTATION], atol=1e-5)
    # What the formats have no column for: translation is the mean face's, emotion is derived anew.
    np.testing.assert_array_equal(again[:, TRANSLATION], np.tile(MEAN_FACE[TRANSLATION], (1600, 1)))
    assert "emotion is derived" in str(track.report)


def test_what_is_kept_when_the_scale_is_moved(shown: Behaviour, tmp_path: Path) -> None:
    """Between REACT's resting face and Apple's 1 nothing is lost; beyond either end the end is kept."""
    write_face_track(shown, tmp_path / "a.csv", "live_link")
    again = read_face_track(tmp_path / "a.csv").behaviour.coefficients[:, BLENDSHAPES]
    mean, std = MEAN_FACE[BLENDSHAPES], STD_FACE[BLENDSHAPES]
    highest = np.minimum(mean + std / rules.ARKIT_ONSET, 1)
    np.testing.assert_allclose(again, np.clip(shown.coefficients[:, BLENDSHAPES], mean, highest), atol=1e-4)


def test_written_tracks_look_like_the_programs_own(shown: Behaviour, tmp_path: Path, realdata: Path) -> None:
    for form, real in (("live_link", "arkit_livelink/S07-001.csv"), ("llv", "llv_dao/dao.csv")):
        write_face_track(shown, tmp_path / "a.csv", form)
        ours, theirs = (path.read_text().splitlines() for path in (tmp_path / "a.csv", realdata / real))
        assert sorted(ours[0].split(",")) == sorted(theirs[0].strip().split(","))
        assert len(ours[1].split(",")) == len(theirs[1].split(","))
    write_face_track(shown, tmp_path / "a.csv", "live_link")
    assert (tmp_path / "a.csv").read_text().splitlines()[1 + 1512].startswith("00:01:00:28.800,61,")


def test_head_signs_of_written_tracks(tmp_path: Path) -> None:
    coefficients = MEAN_FACE[None].copy()
    coefficients[0, ROTATION] = [0.1 - np.pi, 0.2, 0.3]  # pitch beyond pi, as some fits have it
    write_face_track(Behaviour(coefficients=coefficients), tmp_path / "a.csv", "live_link")
    with open(tmp_path / "a.csv") as file:
        row = next(csv.DictReader(file))
    written = [float(row[name]) for name in ("HeadPitch", "HeadYaw", "HeadRoll")]
    np.testing.assert_allclose(written, [-0.1, 0.2, 0.3], atol=1e-6)


def test_both_streams_in_one_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    emotion, coefficients = rng.random((30, 25)).astype(np.float32), rng.random((30, 58)).astype(np.float32)
    write_face_track(Behaviour(emotion=emotion, coefficients=coefficients), tmp_path / "a.npz", "npz")
    again = read_face_track(tmp_path / "a.npz")
    np.testing.assert_array_equal(again.behaviour.coefficients, coefficients)
    np.testing.assert_array_equal(again.behaviour.emotion, rules.binary_action_units(emotion))
    assert again.report.recorded == "emotion and coefficients" and not again.report.notes
    np.savez(tmp_path / "b.npz", reactions=emotion[None], coefficients=coefficients[None])
    with pytest.raises(ValueError, match=r"lacks emotion; it holds reactions, coefficients\. .*give the track of one"):
        read_face_track(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:500])
    with pytest.raises(ValueError, match="cannot be read as npz"):
        read_face_track(tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz", emotion=emotion[:5], coefficients=coefficients)
    with pytest.raises(ValueError, match="same number of frames"):
        read_face_track(tmp_path / "d.npz")


def test_what_cannot_be_written_is_named(shown: Behaviour, tmp_path: Path) -> None:
    emotion_only, averted = Behaviour(emotion=shown.emotion), MEAN_FACE[None].copy()
    averted[0, ROTATION] = [np.pi, 2.0, 0]
    for behaviour, name, form, message in (
        (
            shown,
            "a.csv",
            "openface",
            "format must be one of arkit_json, glb, live_link, llv, npz, react2024; given: 'openface'",
        ),
        (shown, "a.txt", "react2024", r"must end in \.csv \(emotion\) or \.npy .*; its suffix is '\.txt'"),
        (emotion_only, "a.npy", "react2024", "must hold coefficients"),
        (emotion_only, "a.csv", "llv", "must hold coefficients"),
        (Behaviour(coefficients=averted), "a.csv", "llv", "yaw in frame 0 is 115 degrees off"),
    ):
        with pytest.raises(ValueError, match=message):
            write_face_track(behaviour, tmp_path / name, form)
    with pytest.raises(FileNotFoundError, match="no folder"):
        write_face_track(shown, tmp_path / "none" / "a.csv")
    assert not list(tmp_path.iterdir())


def test_every_format_has_a_name_of_its_own() -> None:
    names = [form.name for form in FORMATS]
    assert sorted(set(names)) == sorted(names)
    assert [form.name for form in FORMATS if form.takes_fps] == ["openface", "pyfeat"]
