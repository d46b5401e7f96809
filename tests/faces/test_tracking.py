"""Videos of faces to behaviour: times, gaps and rest with a tracker of our own; MediaPipe where its model is."""

from __future__ import annotations

import struct
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from perfrdiff_hf.behaviour import (
    ACTION_UNIT_NAMES,
    BLENDSHAPE_NAMES,
    EMOTION_NAMES,
    EXPRESSION_NAMES,
    MEAN_FACE,
    ROTATION,
    STD_FACE,
    TRANSLATION,
)
from perfrdiff_hf.faces import rules
from perfrdiff_hf.faces.motion import rotation_matrices
from perfrdiff_hf.faces.tracking import (
    Box,
    TrackedFace,
    TrackerScale,
    TrackingSettings,
    download_model,
    find_model,
    track_video,
)
from perfrdiff_hf.faces.tracking import model_file as model_file_module
from perfrdiff_hf.faces.tracking.channels import emotion_of_faces, repaired, trust
from perfrdiff_hf.faces.tracking.face_landmarker import FaceLandmarker, choose_face, mediapipe_scale, pose_of_matrix
from perfrdiff_hf.faces.tracking.video import Video, is_video, upright
from tests.faces.videos import SMILES, BrightnessTracker, write_film
from tests.golden_files import SHARED


TRACKING = SHARED / "realdata" / "tracking"
needs_mediapipe = pytest.mark.skipif(
    find_spec("mediapipe") is None or not TRACKING.is_dir(),
    reason="needs mediapipe, and its model beside the checkout",
)


def smile_of(level: np.ndarray | float) -> np.ndarray:
    """REACT's smile where `BrightnessTracker` sees a brightness."""
    mean, spread = MEAN_FACE[SMILES[0]], STD_FACE[SMILES[0]]
    return np.clip(mean + spread * level, 0, 1)


@pytest.mark.parametrize("fps", [10, 23.976, 25, 30])
def test_any_rate_becomes_25(fps: float, tmp_path: Path) -> None:
    times = np.arange(int(2 * fps)) / fps
    film = write_film(tmp_path / "film.mp4", 0.3 + 0.3 * times, times)
    track = track_video(film, tracker=BrightnessTracker())
    assert len(track.behaviour) == pytest.approx(50, abs=1)
    assert track.report.row_rate == pytest.approx(fps, rel=0.05)
    at = np.arange(len(track.behaviour)) / 25
    expected = smile_of(0.3 + 0.3 * np.minimum(at, times[-1]))
    np.testing.assert_allclose(track.behaviour.coefficients[:, SMILES[0]], expected, atol=0.01)


def test_times_may_vary_and_fast_videos_are_thinned(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.choice([0.034, 0.05, 0.09], 40)) - 0.034
    levels = 0.3 + 0.2 * times / times[-1]
    track = track_video(write_film(tmp_path / "a.mp4", levels, times), tracker=BrightnessTracker())
    at = np.arange(len(track.behaviour)) / 25 + times[0]
    expected = smile_of(np.interp(at, times, levels))
    np.testing.assert_allclose(track.behaviour.coefficients[:, SMILES[0]], expected, atol=0.01)
    fast = BrightnessTracker()
    film = write_film(tmp_path / "b.mp4", np.full(60, 0.4), np.arange(60) / 60)
    assert len(track_video(film, tracker=fast).behaviour) == pytest.approx(25, abs=1)
    assert len(fast.seconds) == 30


def test_lost_faces_are_bridged_and_reported(tmp_path: Path) -> None:
    levels = np.full(50, 0.4)
    levels[10:20] = 0
    levels[20:] = 0.8
    track = track_video(write_film(tmp_path / "a.mp4", levels, np.arange(50) / 25), tracker=BrightnessTracker())
    assert track.report.lost_rows == 10
    assert track.report.longest_gap_seconds == pytest.approx(0.44, abs=0.01)
    bridge = track.behaviour.coefficients[9:21, SMILES[0]]
    np.testing.assert_allclose(bridge, smile_of(np.linspace(0.4, 0.8, 12)), atol=0.01)
    assert "10 rows of lost tracking were bridged" in str(track.report)
    with pytest.raises(ValueError, match=r"no face in any of its 50 pictures"):
        track_video(write_film(tmp_path / "b.mp4", np.zeros(50), np.arange(50) / 25), tracker=BrightnessTracker())


def test_other_faces_and_blind_channels_are_said(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mp4", np.linspace(0.3, 0.7, 20), np.arange(20) / 25)
    report = str(track_video(film, tracker=BrightnessTracker(crowd=True)).report)
    assert "10 pictures show several faces, up to 2: the largest at first was followed" in report
    assert "blind: AU6" in report
    assert "several faces" not in str(track_video(film, tracker=BrightnessTracker()).report)


def test_another_face_is_said(tmp_path: Path) -> None:
    """One face goes, and another is taken up in its place."""

    class Newcomer(BrightnessTracker):
        def track(self, picture: np.ndarray, seconds: float) -> TrackedFace | None:
            face = super().track(picture, seconds)
            return face if face is None or seconds < 1 else replace(face, box=Box(80, 8, 112, 40))

    levels = np.full(70, 0.5)
    levels[20:50] = 0
    film = write_film(tmp_path / "a.mp4", levels, np.arange(70) / 25)
    assert "another one is followed, at 2.0 s" in str(track_video(film, tracker=Newcomer()).report)
    assert "another one" not in str(track_video(film, tracker=BrightnessTracker()).report)


def test_the_neutral_of_a_person(tmp_path: Path) -> None:
    levels = np.concatenate([np.full(25, 0.4), np.full(25, 0.9)])
    film = write_film(tmp_path / "a.mp4", levels, np.arange(50) / 25)
    track = track_video(film, TrackingSettings(neutral_seconds=(0, 1)), BrightnessTracker())
    rest, smile = track.behaviour.coefficients[5], track.behaviour.coefficients[45]
    np.testing.assert_allclose(rest, np.concatenate([MEAN_FACE[:52], [np.pi, 0, 0], MEAN_FACE[55:]]), atol=0.01)
    np.testing.assert_allclose(smile[SMILES], MEAN_FACE[SMILES] + 0.5 * STD_FACE[SMILES], atol=0.01)
    np.testing.assert_allclose(smile[ROTATION] - [np.pi, 0, 0], [0.05, 0, 0], atol=0.01)
    np.testing.assert_allclose(smile[TRANSLATION] - MEAN_FACE[TRANSLATION], 0.5, atol=0.02)
    with pytest.raises(ValueError, match="shows no face from 5 to 6 s"):
        track_video(film, TrackingSettings(neutral_seconds=(5, 6)), BrightnessTracker())
    with pytest.raises(ValueError, match="two rising times"):
        TrackingSettings(neutral_seconds=(1, 1))


def test_what_is_no_video(tmp_path: Path) -> None:
    text = tmp_path / "a.mp4"
    text.write_text("this is no video")
    assert not is_video(text) and not is_video(tmp_path / "none.mp4")
    with pytest.raises(ValueError, match="cannot be read as a video"):
        track_video(text, tracker=BrightnessTracker())
    with pytest.raises(FileNotFoundError, match="no video"):
        track_video(tmp_path / "none.mp4", tracker=BrightnessTracker())
    film = write_film(tmp_path / "b.mp4", np.full(20, 0.4), np.arange(20) / 25)
    assert is_video(film)


def test_phones_that_were_held_upright() -> None:
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[0, 2] = 1
    assert upright(picture, 90).shape == (3, 2, 3) and upright(picture, 90)[0, 0, 0] == 1
    np.testing.assert_array_equal(upright(picture, -90), upright(picture, 270))
    np.testing.assert_array_equal(upright(picture, 0), picture)


@pytest.mark.parametrize(
    ("matrix", "edge"), [((0, 1, -1, 0), "top"), ((0, -1, 1, 0), "bottom"), ((-1, 0, 0, -1), "right")]
)
def test_how_a_video_says_that_it_was_held_upright(matrix: tuple[int, ...], edge: str, tmp_path: Path) -> None:
    """A film that is bright at its left edge, and the matrix by which mp4 turns it: clockwise, back, upside down."""
    path = write_film(tmp_path / "a.mp4", [0.0], [0.0], left_edge=1.0)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    a, b, c, d = (entry << 16 for entry in matrix)
    assert content[at : at + 36] == struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    pixels = next(iter(Video(path))).pixels.astype(int)
    edges = {"top": pixels[:8], "bottom": pixels[-8:], "left": pixels[:, :8], "right": pixels[:, -8:]}
    assert max(edges, key=lambda name: edges[name].mean()) == edge and edges[edge].mean() > 200


def test_large_pictures_are_made_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfrdiff_hf.faces.tracking.video.LARGEST_SIDE", 32)
    film = write_film(tmp_path / "a.mp4", np.full(3, 0.4), np.arange(3) / 25)
    assert [picture.pixels.shape for picture in Video(film)] == [(24, 32, 3)] * 3


def test_the_pose_of_a_matrix() -> None:
    rotation = np.array([0.3, -0.5, 0.2])
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_matrices(rotation)
    matrix[:3, 3] = 1, 2, -30
    found, translation = pose_of_matrix(matrix)
    np.testing.assert_allclose(found, rotation, atol=1e-6)
    np.testing.assert_array_equal(translation, [1, -2, 30])


def test_the_largest_is_followed_until_it_is_gone() -> None:
    large, small = Box(0, 0, 100, 100), Box(300, 0, 350, 50)
    assert choose_face([small, large], None, 0.0) == 1
    assert choose_face([], (large, 0.0), 0.1) is None
    # Somebody comes nearer to the camera.
    larger = Box(250, 0, 450, 200)
    assert choose_face([larger, Box(5, 0, 105, 100)], (large, 0.0), 0.04) == 1
    assert choose_face([larger], (large, 0.0), 0.5) is None
    assert choose_face([small, larger], (large, 0.0), 1.5) == 1


def activation(**shapes: float) -> np.ndarray:
    values = np.zeros((1, len(BLENDSHAPE_NAMES)), np.float32)
    for name, value in shapes.items():
        sides = [name] if name in BLENDSHAPE_NAMES else [f"{name}Left", f"{name}Right"]
        values[0, [BLENDSHAPE_NAMES.index(side) for side in sides]] = value
    return values


def read_again(shown: np.ndarray, **expressions: float) -> np.ndarray:
    """The emotion of one frame with a second reading."""
    probabilities = np.array([[expressions.get(name, 0.0) for name in EXPRESSION_NAMES]], np.float32)
    before = shown.copy()
    emotion = emotion_of_faces(repaired(shown, probabilities, mediapipe_scale()), probabilities)
    np.testing.assert_array_equal(shown, before)
    return emotion


def channel(emotion: np.ndarray, name: str) -> float:
    return float(emotion[0, EMOTION_NAMES.index(name)])


def test_tears_are_not_taken_for_a_smile() -> None:
    shown = activation(mouthSmile=0.9, eyeSquint=0.6)
    alone = emotion_of_faces(shown)
    np.testing.assert_array_equal(alone, rules.emotion_of_action_units(rules.action_units_of_blendshapes(shown)))
    assert channel(alone, "AU12") > 0.5 and channel(alone, "valence") > 0.3
    crying = read_again(shown, Sad=0.9, Neutral=0.1)
    assert channel(crying, "AU12") < 0.5 < channel(crying, "AU15")
    assert channel(crying, "valence") < -0.2 and channel(crying, "AU6") < 0.1
    assert channel(crying, "Sad") > channel(crying, "Happy")
    laughing = read_again(shown, Happy=0.95, Neutral=0.05)
    assert channel(laughing, "AU12") == pytest.approx(0.9) and channel(laughing, "AU6") > 0.5
    assert channel(laughing, "valence") > channel(alone, "valence")
    disgusted = read_again(activation(browDown=0.6), Disgust=0.8, Anger=0.2)
    assert channel(disgusted, "AU9") == pytest.approx(0.8) and channel(disgusted, "AU4") == pytest.approx(0.6)
    for emotion in (alone, crying, laughing, disgusted):
        assert emotion[0, 17:].sum() == pytest.approx(1, abs=1e-5)


def test_what_a_tracker_sees_is_not_guessed() -> None:
    shown = activation(mouthSmile=0.9, noseSneer=0.3, mouthFrown=0.2, cheekSquint=0.4)
    sad = np.array([[float(name == "Sad") for name in EXPRESSION_NAMES]], np.float32)
    zeros, ones = np.zeros(52, np.float32), np.ones(52, np.float32)
    np.testing.assert_array_equal(repaired(shown, sad, TrackerScale(zeros, ones)), shown)
    frowns = ("mouthFrownLeft", "mouthFrownRight")
    again = repaired(shown, sad, TrackerScale(zeros, ones, blind=frowns))
    changed = {BLENDSHAPE_NAMES[channel] for channel in np.flatnonzero((again != shown)[0])}
    assert changed == set(frowns)


def test_trust_in_mediapipe() -> None:
    scale = mediapipe_scale()
    assert set(scale.blind) < set(BLENDSHAPE_NAMES) and (scale.onset > scale.rest).all()
    alone, repaired = trust(scale, False), trust(scale, True)
    assert set(alone) == set(repaired) == set(EMOTION_NAMES)
    assert [name for name in EMOTION_NAMES if alone[name] == "blind"] == ["AU6", "AU9", "AU15", "Disgust"]
    assert [name for name in EMOTION_NAMES if repaired[name] == "guessed"] == ["AU6", "AU9", "AU15"]
    assert "blind" not in repaired.values()
    assert alone["AU12"] == alone["AU14"] == "in part" and alone["AU4"] == alone["AU26"] == "seen"


def test_rest_on_a_tracker_s_scale() -> None:
    scale = mediapipe_scale()
    at_rest = rules.action_units_of_blendshapes(scale.activation(scale.rest[None]))
    np.testing.assert_array_equal(at_rest, np.zeros((1, len(ACTION_UNIT_NAMES))))
    np.testing.assert_allclose(scale.activation(scale.onset[None]), 0.5, atol=1e-6)
    own = scale.rest + 0.1
    np.testing.assert_allclose(scale.activation(own[None], own), 0, atol=1e-6)


def test_the_model_is_never_fetched_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFRDIFF_HOME", str(tmp_path / "home"))
    with pytest.raises(FileNotFoundError, match=r"perfrdiff track --download_model"):
        find_model()
    with pytest.raises(FileNotFoundError, match=r"no face model at .*elsewhere"):
        find_model(tmp_path / "elsewhere")
    content = tmp_path / "content"
    content.write_bytes(b"another file")
    with pytest.raises(ValueError, match="not the file that was expected"):
        download_model(content.as_uri())
    with pytest.raises(ConnectionError, match="cannot be fetched"):
        download_model((tmp_path / "none").as_uri())
    assert not (tmp_path / "home").exists()
    monkeypatch.setattr(model_file_module, "MODEL_SHA256", model_file_module._digest(b"another file"))
    assert download_model(content.as_uri()) == find_model()
    content.unlink()
    assert download_model(content.as_uri()) == find_model()  # it is there


@needs_mediapipe
def test_a_real_face(tmp_path: Path) -> None:
    """A woman shuts her eyes near frame 105, has them open and does not smile near 176, and laughs near 448."""
    shown = {}
    shut, opened, laughing = range(98, 110), range(174, 180), range(443, 451)
    with FaceLandmarker(TRACKING / "face_landmarker.task") as tracker:
        for number, picture in enumerate(Video(TRACKING / "WolfgangLanger_Pexels.mp4")):
            if any(number in frames for frames in (shut, opened, laughing)):
                shown[number] = tracker.track(picture.pixels, picture.seconds)
        empty = tracker.track(np.zeros((360, 640, 3), np.uint8), 100.0)
    assert empty is None
    assert all(face is not None and face.faces == 1 for face in shown.values())

    def most(name: str, frames: range) -> float:
        sides = [BLENDSHAPE_NAMES.index(f"{name}{side}") for side in ("Left", "Right")]
        return max(float(shown[number].blendshapes[sides].mean()) for number in frames)

    assert most("eyeBlink", shut) > 0.75 > 0.2 > most("eyeBlink", opened)
    assert most("mouthSmile", laughing) > 0.9 > 0.3 > most("mouthSmile", opened)
    face = shown[448]
    assert np.abs(face.rotation).max() < 0.5 and 10 < face.translation[2] < 60
    assert 300 < face.box.left < face.box.right < 600 and 80 < face.box.top < face.box.bottom < 400


@needs_mediapipe
def test_the_larger_of_two_real_faces_is_followed() -> None:
    picture = next(iter(Video(TRACKING / "WolfgangLanger_Pexels.mp4"))).pixels
    both = np.zeros((540, 640, 3), np.uint8)
    both[180:] = picture
    both[:180, :320] = picture[::2, ::2]
    with FaceLandmarker(TRACKING / "face_landmarker.task") as tracker:
        faces = [tracker.track(both, seconds) for seconds in (0.0, 0.04, 0.08)]
    assert all(face is not None and face.faces == 2 and face.box.top > 180 for face in faces)


@needs_mediapipe
def test_a_broken_model_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.task"
    broken.write_bytes((TRACKING / "face_landmarker.task").read_bytes()[:10_000])
    with pytest.raises(ValueError, match="is no model of MediaPipe"):
        FaceLandmarker(broken)
