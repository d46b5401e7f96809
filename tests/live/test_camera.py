"""From faces at any times to frames at 25 a second, and to a listener's history."""

from __future__ import annotations

import numpy as np
import pytest

from perfrdiff_hf.behaviour import BLENDSHAPE_NAMES, BLENDSHAPES, MEAN_FACE, ROTATION
from perfrdiff_hf.faces.motion import AHEAD, face_motion
from perfrdiff_hf.faces.rules import binary_action_units
from perfrdiff_hf.faces.tracking.channels import coefficients_of_faces, emotion_of_faces
from perfrdiff_hf.faces.tracking.face_landmarker import mediapipe_scale
from perfrdiff_hf.faces.tracking.tracker import Box, TrackedFace
from perfrdiff_hf.live.camera import FaceFrames, behaviour_of_faces, history_of_faces


SMILE = 2 + BLENDSHAPE_NAMES.index("mouthSmileLeft")


def rows(*faces: tuple[float, float, float]) -> np.ndarray:
    """Seconds, whether a face is seen, and how much it smiles."""
    made = np.zeros((len(faces), 57), dtype=np.float32)
    made[:, [0, 1, SMILE]] = faces
    return made


def smiles(frames: np.ndarray) -> np.ndarray:
    return frames[:, SMILE - 2]


@pytest.mark.parametrize("rate", [12.0, 25.0, 30.0, 59.94])
def test_any_rate_becomes_25(rate: float) -> None:
    """A smile that grows evenly does so in the frames, however the camera cuts it and the rows come."""
    times = np.arange(0, 4, 1 / rate)
    made = rows(*[(time, 1, time / 4) for time in times])
    feed = FaceFrames()
    frames = np.concatenate([feed.add(part) for part in np.array_split(made, 7)])
    assert feed.frames == len(frames) == int(times[-1] * 25 + 1e-4) + 1
    np.testing.assert_allclose(smiles(frames), np.arange(len(frames)) / 100, atol=1e-5)


def test_lost_faces_are_held_and_late_ones_move_what_comes() -> None:
    feed = FaceFrames()
    frames = feed.add(rows((0, 1, 0.2), (0.4, 1, 0.4), (0.8, 0, 0.9)))
    assert feed.lost_rows == 1
    np.testing.assert_allclose(smiles(frames)[10:], 0.4, atol=1e-6)
    held = feed.hold(50)
    assert len(held) == 50 - len(frames) and np.all(smiles(held) == np.float32(0.4))
    assert len(feed.add(rows((1.0, 1, 0.8)))) == 0  # its frame was given already
    np.testing.assert_allclose(smiles(feed.add(rows((2.2, 1, 0.8)))), 0.8)
    # After more than a second without a face there is no line to draw.
    np.testing.assert_allclose(smiles(feed.add(rows((4.2, 1, 0.1)))), 0.1)


def test_the_resting_face_of_a_person() -> None:
    """What a person's face does at rest is no movement, and nothing before the first face is one."""
    feed = FaceFrames()
    still = behaviour_of_faces(feed.hold(2), feed.rest).streams
    np.testing.assert_allclose(still["coefficients"][1, BLENDSHAPES], MEAN_FACE[BLENDSHAPES], atol=1e-6)
    np.testing.assert_allclose(still["coefficients"][1, ROTATION], AHEAD, atol=1e-6)
    feed.add(rows(*[(time, 1, 0.3) for time in np.arange(0, 2, 0.05)]))
    feed.take_rest()
    frames = np.concatenate([feed.add(rows((2.1, 1, 0.3))), feed.add(rows((2.2, 1, 0.8)))])
    moved = behaviour_of_faces(frames, feed.rest).streams["coefficients"]
    channel = BLENDSHAPE_NAMES.index("mouthSmileLeft")
    assert moved[0, channel] == pytest.approx(MEAN_FACE[channel])
    assert moved[-1, channel] > MEAN_FACE[channel] + 0.1


def test_faces_become_what_a_video_of_them_becomes() -> None:
    """The page's tracker and the video's are one network, on one scale."""
    rng = np.random.default_rng(0)
    faces = rng.uniform(0, 0.6, (30, 55)).astype(np.float32)
    tracked = [TrackedFace(face[:52], face[52:], np.zeros(3), Box(0, 0, 1, 1)) for face in faces]
    activation = mediapipe_scale().activation(faces[:, :52])
    streams = behaviour_of_faces(faces).streams
    np.testing.assert_allclose(streams["coefficients"], coefficients_of_faces(activation, tracked), atol=1e-5)
    np.testing.assert_array_equal(streams["emotion"], binary_action_units(emotion_of_faces(activation)))
    np.testing.assert_allclose(face_motion(streams["coefficients"]).rotation, faces[:, 52:], atol=1e-5)


def test_a_history_is_at_25_whatever_the_camera() -> None:
    made = rows(*[(10 + time, 1, 0.4) for time in np.arange(0, 12, 1 / 30)])
    made[50:60, 1] = 0
    history = history_of_faces(np.concatenate([made, made[-1:]]))
    assert history.shape == (300, 58)
    np.testing.assert_allclose(face_motion(history).blendshapes[:, SMILE - 2], 0.4, atol=1e-5)
    with pytest.raises(ValueError, match="no face in this recording"):
        history_of_faces(rows((0, 0, 0), (1, 0, 0)))
    with pytest.raises(ValueError, match="may last 180 s"):
        history_of_faces(rows((0, 1, 0), (1000, 1, 0)))
    with pytest.raises(ValueError, match=r"one is seen for 2\.0 s"):  # in passing, in a recording of half a minute
        history_of_faces(rows((0, 1, 0), (1, 1, 0), (2, 0, 0), (20, 1, 0), (30, 0, 0)))
