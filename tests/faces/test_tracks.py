"""Importers of face tracks: the formats as they are found in the wild, and what happens when they are broken."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from perfrdiff_hf.behaviour import (
    ACTION_UNIT_NAMES,
    BLENDSHAPE_NAMES,
    BLENDSHAPES,
    COEFFICIENT_NAMES,
    EMOTION_NAMES,
    EXPRESSIONS,
    MEAN_FACE,
    ROTATION,
    STD_FACE,
    TRANSLATION,
    Behaviour,
)
from perfrdiff_hf.faces import rules
from perfrdiff_hf.faces.formats import FORMATS
from perfrdiff_hf.faces.tracks import combine_tracks, read_face_track, resample_track, write_face_track


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


def test_tracks_of_different_recordings_are_not_combined(tmp_path: Path) -> None:
    np.save(tmp_path / "1.npy", np.tile(MEAN_FACE, (60, 1)))
    write_csv(tmp_path / "1.csv", list(EMOTION_NAMES), [{"Neutral": 1}] * 10)
    with pytest.raises(ValueError, match=r"1\.csv has 10 frames and .*1\.npy 60"):
        combine_tracks(read_face_track(tmp_path / "1.csv"), read_face_track(tmp_path / "1.npy"))


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


def test_llv_clock(tmp_path: Path) -> None:
    rows = [{"frame": 1000 + 2 * k, "subframe": 0.5, "fps_num": 60000, "fps_den": 1001} for k in range(31)]
    track = read_face_track(write_csv(tmp_path / "a.csv", LLV, rows))
    assert track.report.format.startswith("LLV")
    assert track.report.row_rate == pytest.approx(60000 / 1001 / 2, rel=1e-6)
    assert len(track.behaviour) == int(31 * 2 * 1001 / 60000 * 25)


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
