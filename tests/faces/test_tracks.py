"""Tracks as programs write them become behaviour: real files, clocks, lost rows, conventions."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from perfrdiff_hf.behaviour import (
    EMOTION_NAMES,
    EXPRESSIONS,
    MEAN_FACE,
    ROTATION,
    STD_FACE,
)
from perfrdiff_hf.faces import rules
from perfrdiff_hf.faces.tracks import combine_tracks, read_face_track, resample_track
from tests.faces.track_files import (
    LIVE_LINK,
    LLV,
    OPENFACE,
    PYFEAT,
    channel,
    live_link_row,
    unit,
    write_csv,
)


def test_live_link_with_lost_rows(realdata: Path) -> None:
    path = realdata / "arkit_livelink" / "S88-001.csv"
    track = read_face_track(path, calibrate=False)
    report = track.report
    assert report.format.startswith("Live Link Face")
    assert (report.rows, report.lost_rows) == (200, 129)
    # 6.66 s from the first to the last row; the row rate wavers around 30.
    assert len(track.behaviour) == report.num_frames == 167
    assert report.longest_gap_seconds == pytest.approx(130 / 30, abs=0.05)
    assert "129 rows of lost tracking" in str(report)
    assert "head angles are 0" in str(report)
    np.testing.assert_array_equal(track.behaviour.coefficients[:, ROTATION], np.tile(MEAN_FACE[ROTATION], (167, 1)))

    with open(path) as file:
        rows = list(csv.DictReader(file))
    for name, column in (("jawOpen", "JawOpen"), ("eyeLookInRight", "EyeLookInRight"), ("tongueOut", "TongueOut")):
        assert track.behaviour.coefficients[0, channel(name)] == pytest.approx(float(rows[0][column]), rel=1e-5)
    # The first lost row is number 52. The gap lasts 4.3 s; its first half shows the face that was seen last.
    last_seen = float(rows[51]["JawOpen"])
    held = track.behaviour.coefficients[int(52 / 30 * 25) + 2 : int(52 / 30 * 25) + 50, channel("jawOpen")]
    np.testing.assert_allclose(held, last_seen, rtol=1e-5)


def test_calibration_moves_real_tracks_towards_react(realdata: Path) -> None:
    def distance(path: Path, calibrate: bool) -> float:
        coefficients = read_face_track(path, calibrate=calibrate).behaviour.coefficients
        return float(np.sqrt(np.mean((coefficients[:, :52].mean(0) - MEAN_FACE[:52]) ** 2 / STD_FACE[:52] ** 2)))

    for name in ("arkit_livelink/S07-001.csv", "arkit_livelink/S88-001.csv", "llv_dao/dao.csv", "pyfeat_news/012.csv"):
        assert distance(realdata / name, True) < 0.5 * distance(realdata / name, False)


def test_calibration_is_a_fixed_affine_map(tmp_path: Path) -> None:
    rows = [live_link_row(k / 30, MouthSmileLeft=0.01 * k, BrowDownRight=0.1) for k in range(31)]
    path = write_csv(tmp_path / "a.csv", LIVE_LINK, rows)
    raw, moved = (read_face_track(path, calibrate=on).behaviour.coefficients for on in (False, True))
    smile = channel("mouthSmileLeft")
    np.testing.assert_allclose(raw[:, smile], np.arange(25) / 25 * 0.3, atol=1e-6)
    expected = MEAN_FACE[smile] + STD_FACE[smile] * raw[:, smile] / rules.ARKIT_ONSET[smile]
    np.testing.assert_allclose(moved[:, smile], expected, atol=1e-6)
    # A resting blendshape lands on the mean face.
    np.testing.assert_allclose(moved[:, channel("jawOpen")], MEAN_FACE[channel("jawOpen")], atol=1e-7)


def test_every_real_file_is_read(realdata: Path) -> None:
    frames = {}
    for path in [
        *(realdata / "arkit_livelink").glob("*.csv"),
        realdata / "llv_dao" / "dao.csv",
        *(realdata / "pyfeat_news").glob("0*.csv"),
        realdata / "openface" / "OpenFace_Test.csv",
    ]:
        behaviour = read_face_track(path).behaviour
        frames[path.stem] = len(behaviour)
        assert set(np.unique(behaviour.emotion[:, :15])) <= {0.0, 1.0}
        assert np.abs(behaviour.emotion[:, 15:17]).max() <= 1
        np.testing.assert_allclose(behaviour.emotion[:, EXPRESSIONS].sum(1), 1, atol=0.02)
        assert behaviour.coefficients[:, :52].min() >= 0 and behaviour.coefficients[:, :52].max() <= 1
        # Nobody in these recordings stands on their head.
        assert np.abs(behaviour.coefficients[:, 52] - np.pi).max() < 0.6
    # 20 rows, one for every second frame; 187 frames at 60 fps; 25 frames with useless timestamps.
    assert (frames["001"], frames["dao"], frames["OpenFace_Test"]) == (40, 77, 25)
    assert len(frames) == 16


def test_eyes_turn_against_the_head(realdata: Path) -> None:
    """The signs of yaw and pitch: these people keep looking at the camera while they move their heads."""
    tracks = [read_face_track(realdata / "pyfeat_news" / f"{clip:03d}.csv", calibrate=False) for clip in range(1, 13)]
    coefficients = np.concatenate([track.behaviour.coefficients for track in tracks])
    for path in (None, realdata / "llv_dao" / "dao.csv"):
        if path is not None:
            coefficients = read_face_track(path, calibrate=False).behaviour.coefficients
        eyes_left = coefficients[:, channel("eyeLookOutLeft")] - coefficients[:, channel("eyeLookInLeft")]
        eyes_down = coefficients[:, channel("eyeLookDownLeft")] - coefficients[:, channel("eyeLookUpLeft")]
        # REACT's yaw is positive to the person's left, its pitch downwards.
        assert np.corrcoef(coefficients[:, 53], eyes_left)[0, 1] < -0.8
        assert np.corrcoef(coefficients[:, 52], eyes_down)[0, 1] < -0.4


def test_happy_and_sad_people_are_told_apart(realdata: Path) -> None:
    glad, sad = (
        read_face_track(realdata / "pyfeat_news" / f"{clip}.csv").behaviour.emotion for clip in ("001", "012")
    )
    assert glad[:, unit("valence")].mean() > 0.5 > 0 > sad[:, unit("valence")].mean()
    assert glad[:, unit("Happy")].mean() > 0.9 and sad[:, unit("Happy")].mean() < 0.1
    assert glad[:, unit("AU12")].mean() == 1.0
    assert (glad[:, unit("Contempt")] == 0).all()


def test_irregular_rows_are_placed_by_their_true_times(tmp_path: Path) -> None:
    times = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.06, 60))
    rows = [live_link_row(seconds, JawOpen=0.1 * (seconds - times[0])) for seconds in times]
    track = read_face_track(write_csv(tmp_path / "a.csv", LIVE_LINK, rows), calibrate=False)
    within = np.arange(len(track.behaviour)) / 25 <= times[-1] - times[0]
    expected = 0.1 * np.arange(len(track.behaviour)) / 25
    np.testing.assert_allclose(track.behaviour.coefficients[within, channel("jawOpen")], expected[within], atol=1e-5)


def test_resampling_holds_ends_and_long_gaps() -> None:
    times = np.arange(20.0) / 5
    seen = np.ones(20, dtype=bool)
    seen[[0, 19]] = False  # ends are held
    seen[5:16] = False  # a gap from 0.8 s to 3.2 s
    values = resample_track(times, seen, np.arange(20.0)[:, None], 100)[:, 0]
    assert (values[:6] == 1).all() and (values[91:] == 18).all()
    assert (values[20 : int(2.7 * 25)] == 4).all()
    assert values[74] == pytest.approx(4 + (74 / 25 - 2.7) / 0.5 * 12)
    # A short gap is a straight line.
    seen[5:16] = True
    seen[8:10] = False
    np.testing.assert_allclose(
        resample_track(times, seen, np.arange(20.0)[:, None], 76)[5:, 0], np.arange(5, 76) / 5, atol=1e-5
    )


def test_recording_over_midnight(tmp_path: Path) -> None:
    rows = [live_link_row((24 * 3600 - 1 + k / 25) % (24 * 3600)) for k in range(50)]
    assert len(read_face_track(write_csv(tmp_path / "a.csv", LIVE_LINK, rows)).behaviour) == 50


def test_head_angles_in_reacts_convention(tmp_path: Path) -> None:
    def rotation(header: list[str], **row: float) -> np.ndarray:
        path = write_csv(tmp_path / "a.csv", header, [row])
        return read_face_track(path).behaviour.coefficients[0, ROTATION] - [np.pi, 0, 0]

    live = live_link_row(1, HeadPitch=0.1, HeadYaw=0.2, HeadRoll=0.3)
    np.testing.assert_allclose(rotation(LIVE_LINK, **live), [-0.1, 0.2, 0.3], atol=1e-6)
    pyfeat = {"Neutral": 1, "Pitch": 0.1, "Yaw": 0.2, "Roll": 0.3}
    np.testing.assert_allclose(rotation(PYFEAT, **pyfeat), [0.1, -0.2, -0.3], atol=1e-6)
    degrees = {name: np.rad2deg(value) if value < 1 else value for name, value in pyfeat.items()}
    np.testing.assert_allclose(rotation(PYFEAT, **degrees), [0.1, -0.2, -0.3], atol=1e-6)
    openface = {"success": 1, "pose_Rx": 0.1, "pose_Ry": 0.2, "pose_Rz": 0.3}
    np.testing.assert_allclose(rotation(OPENFACE, **openface), [0.1, -0.2, -0.3], atol=1e-6)


def test_react_files_are_read_as_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    emotion = np.round(rng.uniform(0, 1, (7, 25)), 4).astype(np.float32)
    emotion[:, :15] = emotion[:, :15] > 0.5
    np.savetxt(tmp_path / "1.csv", emotion, delimiter=",", header=",".join(EMOTION_NAMES), comments="", fmt="%.5f")
    coefficients = (MEAN_FACE + rng.normal(0, 0.1, (8, 58))).astype(np.float32)
    np.save(tmp_path / "1.npy", coefficients[:, None])
    np.save(tmp_path / "flat.npy", coefficients)

    from_csv, from_npy = (read_face_track(tmp_path / name) for name in ("1.csv", "1.npy"))
    np.testing.assert_allclose(from_csv.behaviour.emotion, emotion, atol=1e-5)
    np.testing.assert_array_equal(from_npy.behaviour.coefficients, coefficients)
    flat = read_face_track(tmp_path / "flat.npy")
    np.testing.assert_array_equal(flat.behaviour.coefficients, coefficients)
    # What is lacking follows from the rest: a smile in the csv is a smile in the coefficients.
    smiling = from_csv.behaviour.coefficients[emotion[:, unit("AU12")] == 1]
    assert (smiling[:, channel("mouthSmileLeft")] > MEAN_FACE[channel("mouthSmileLeft")] + STD_FACE[43]).all()
    # The two files of one recording may differ by a frame, as they do in REACT.
    both = combine_tracks(from_csv, from_npy)
    assert len(both) == 7
    np.testing.assert_array_equal(both.coefficients, coefficients[:7])


def test_pyfeat_without_blendshapes_and_with_lost_rows(tmp_path: Path) -> None:
    header = [name for name in PYFEAT if name not in ("valence", "arousal")]
    blank: list = [2, *[""] * (len(header) - 1)]
    rows = [{"frame": 0, "Happy": 1, "AU12": 0.9}, blank, {"frame": 4, "Happy": 1, "AU12": 0.3}]
    track = read_face_track(write_csv(tmp_path / "a.csv", header, rows), fps=25)
    assert (track.report.lost_rows, len(track.behaviour)) == (1, 6)
    # 0.9 falls to 0.3 over four frames, and is on while it is above 0.5.
    assert track.behaviour.emotion[:, unit("AU12")].tolist() == [1, 1, 1, 0, 0, 0]
    smile = track.behaviour.coefficients[:, channel("mouthSmileRight")]
    np.testing.assert_allclose(
        smile[[0, 4]], np.clip(MEAN_FACE[44] + 2 * STD_FACE[44] * np.array([0.9, 0.3]), 0, 1), rtol=1e-5
    )
    assert "valence and arousal are derived" in str(track.report)


def test_fps_scales_tracks_that_count_frames(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", PYFEAT, [{"frame": k, "Neutral": 1} for k in range(50)])
    assert len(read_face_track(path).behaviour) == 50
    assert len(read_face_track(path, fps=50).behaviour) == 25


def test_openface_clock_and_lost_rows(tmp_path: Path) -> None:
    def rows(step: float) -> list[dict]:
        return [
            {
                "frame": k + 1,
                "timestamp": k * step,
                "success": int(k != 3),
                "AU12_r": 2.5,
                "AU12_c": 1,
                "AU04_r": 0.4,
                "AU45_r": 5,
            }
            for k in range(30)
        ]

    sound_clock = read_face_track(write_csv(tmp_path / "a.csv", OPENFACE, rows(1 / 30)))
    assert (len(sound_clock.behaviour), sound_clock.report.lost_rows) == (25, 1)
    no_clock = read_face_track(write_csv(tmp_path / "b.csv", OPENFACE, rows(0.001)))
    assert len(no_clock.behaviour) == 30 and "timestamps step by 0.001 s" in str(no_clock.report)
    assert len(read_face_track(tmp_path / "b.csv", fps=60).behaviour) == 12
    emotion = no_clock.behaviour.emotion
    assert (emotion[:, unit("AU12")] == 1).all() and (emotion[:, unit("AU4")] == 0).all()
    assert (no_clock.behaviour.coefficients[:, channel("eyeBlinkLeft")] > MEAN_FACE[8] + STD_FACE[8]).all()


def test_llv_clock(tmp_path: Path) -> None:
    rows = [{"frame": 1000 + 2 * k, "subframe": 0.5, "fps_num": 60000, "fps_den": 1001} for k in range(31)]
    track = read_face_track(write_csv(tmp_path / "a.csv", LLV, rows))
    assert track.report.format.startswith("LLV")
    assert track.report.row_rate == pytest.approx(60000 / 1001 / 2, rel=1e-6)
    assert len(track.behaviour) == int(31 * 2 * 1001 / 60000 * 25)
