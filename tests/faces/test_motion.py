"""What avatars are told: units, axes and rest, and the names of the shapes."""

from __future__ import annotations

import numpy as np
import pytest

from perfrdiff_hf.behaviour import BLENDSHAPE_NAMES, MEAN_FACE, ROTATION, STD_FACE
from perfrdiff_hf.faces.motion import (
    FaceMotion,
    face_motion,
    gaze,
    quaternions,
    resting_face,
    rotation_matrices,
)
from perfrdiff_hf.faces.names import (
    APPLE_CHANNELS,
    APPLE_ORDER,
    PRESETS,
    channels_of,
    preset_weights,
)


def shapes(**values: float) -> np.ndarray:
    made = np.zeros((1, 52), dtype=np.float32)
    for name, value in values.items():
        made[0, BLENDSHAPE_NAMES.index(name)] = value
    return made


def test_the_mean_face_rests_and_pi_is_ahead() -> None:
    coefficients = np.tile(MEAN_FACE, (3, 1))
    coefficients[:, ROTATION] = [[np.pi, 0, 0], [np.pi + 0.2, 0.1, -0.3], [-np.pi + 0.2, 0, 0]]
    motion = face_motion(coefficients)
    assert np.abs(motion.blendshapes).max() < 1e-6
    np.testing.assert_allclose(motion.rotation, [[0, 0, 0], [0.2, 0.1, -0.3], [0.2, 0, 0]], atol=1e-6)


def test_a_persons_own_face_can_be_the_neutral_one() -> None:
    rng = np.random.default_rng(0)
    person = MEAN_FACE + 0.5 * STD_FACE * rng.standard_normal(58).astype(np.float32)
    history = person + 1e-3 * rng.standard_normal((101, 58))
    neutral = resting_face(history)
    np.testing.assert_allclose(neutral, person, atol=1e-3)
    smile = BLENDSHAPE_NAMES.index("mouthSmileLeft")
    moved = neutral.copy()
    moved[smile] += STD_FACE[smile]
    moved[ROTATION.start + 1] += 0.25
    motion = face_motion(np.stack([neutral, moved]), neutral=neutral)
    assert np.abs(motion.blendshapes[0]).max() < 1e-6 and np.abs(motion.rotation[0]).max() < 1e-6
    expected = shapes(mouthSmileLeft=0.35)[0]  # one standard deviation is where Apple's smile begins to be seen
    np.testing.assert_allclose(motion.blendshapes[1], expected, atol=1e-5)
    np.testing.assert_allclose(motion.rotation[1], [0, 0.25, 0], atol=1e-6)
    # Without the neutral, the person's usual face would show.
    assert np.abs(face_motion(neutral[None]).blendshapes).max() > 0.1


def test_without_calibration_numbers_stay() -> None:
    coefficients = np.tile(MEAN_FACE, (1, 1))
    coefficients[0, :3] = [0.3, -0.2, 1.4]
    np.testing.assert_allclose(face_motion(coefficients, calibrate=False).blendshapes[0, :3], [0.3, 0, 1])


def test_quaternions_turn_as_matrices_do() -> None:
    rotation = np.random.default_rng(1).uniform(-1.4, 1.4, (20, 3))
    matrices = rotation_matrices(rotation)
    x, y, z, w = quaternions(rotation).T
    ahead = np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], axis=1)
    np.testing.assert_allclose(matrices[:, :, 2], ahead, atol=1e-12)
    np.testing.assert_allclose(matrices @ matrices.transpose(0, 2, 1), np.tile(np.eye(3), (20, 1, 1)), atol=1e-12)


@pytest.mark.parametrize(
    ("angles", "point", "where"),
    [
        ([0.3, 0, 0], [0, 0, 1], (1, -1)),  # down: the nose goes down
        ([0, 0.3, 0], [0, 0, 1], (0, 1)),  # to the own left
        ([0, 0, 0.3], [0, 1, 0], (0, -1)),  # leaning to the own right
    ],
)
def test_directions(angles: list[float], point: list[float], where: tuple[int, int]) -> None:
    moved = rotation_matrices(np.array(angles)) @ np.array(point)
    assert moved[where[0]] * where[1] > 0.2


def test_gaze_follows_eye_look() -> None:
    left = gaze(shapes(eyeLookOutLeft=1, eyeLookInRight=1))[0]
    np.testing.assert_allclose(left, [0, np.deg2rad(30), 0], atol=1e-6)
    down = gaze(shapes(eyeLookDownLeft=1, eyeLookDownRight=1))[0]
    np.testing.assert_allclose(down, [np.deg2rad(25), 0, 0], atol=1e-6)
    # Eyes that would look apart look ahead.
    np.testing.assert_allclose(gaze(shapes(eyeLookOutLeft=0.4, eyeLookOutRight=0.4))[0], 0, atol=1e-6)


def test_the_table_of_names_is_whole() -> None:
    assert sorted(APPLE_ORDER) == sorted(BLENDSHAPE_NAMES)
    assert [BLENDSHAPE_NAMES[channel] for channel in APPLE_CHANNELS] == list(APPLE_ORDER)
    left = [APPLE_ORDER.index(name) for name in ("jawLeft", "mouthLeft")]
    assert [APPLE_ORDER[place + 1] for place in left] == ["jawRight", "mouthRight"]
    found = channels_of(
        ["MouthSmileLeft", "mouthSmile_L", "blendShape1.jawOpen", "browInnerUp_R", "cheekPuff_L", "JAW_OPEN", "Smile"]
    )
    named = [None if channel is None else BLENDSHAPE_NAMES[channel] for channel in found]
    assert named == ["mouthSmileLeft"] * 2 + ["jawOpen", "browInnerUp", "cheekPuff", "jawOpen", None]


def test_presets_are_mixtures() -> None:
    names = list(PRESETS)
    joy = shapes(mouthSmileLeft=1, mouthSmileRight=0.5) @ preset_weights()
    assert joy[0, names.index("Joy")] == pytest.approx(0.75)
    assert (shapes(eyeBlinkLeft=1) @ preset_weights())[0].nonzero()[0].tolist() == [names.index("Blink_L")]


def test_bad_motions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"blendshapes must have shape \(frames, 52\)"):
        FaceMotion(np.zeros((2, 51)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="same number of frames"):
        FaceMotion(np.zeros((2, 52)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"neutral must have shape \(frames, 58\)"):
        face_motion(np.tile(MEAN_FACE, (1, 1)), neutral=np.zeros(52))
