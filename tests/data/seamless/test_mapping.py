"""From one face of the release to our channels, in closed forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfrdiff_hf.behaviour import (
    ACTION_UNIT_NAMES,
    BLENDSHAPE_NAMES,
    COEFFICIENT_NAMES,
    EMOTION_NAMES,
    MEAN_FACE,
    STD_FACE,
)
from perfrdiff_hf.data.problems import BrokenFileError
from perfrdiff_hf.data.seamless.features import Face, face_of, share_of_speech
from perfrdiff_hf.data.seamless.layout import FEATURES
from perfrdiff_hf.data.seamless.mapping import DEAD_UNITS, UNITS, behaviour_of


def still(frames: int = 60, **changes: Any) -> Face:
    """A face at rest, seen all the time, with some of it changed."""
    rest = {
        "units": np.full((frames, 24), 0.1), "logits": np.zeros((frames, 8)), "valence": np.zeros(frames),
        "arousal": np.zeros(frames), "rotation": np.zeros((frames, 3)), "seen": np.ones(frames, dtype=bool),
    }  # fmt: skip
    return Face(**{**rest, **changes})


def with_unit(name: str, value: float) -> Face:
    face = still()
    face.units[:, UNITS.index(name)] = value
    return face


@pytest.mark.parametrize("unit", ACTION_UNIT_NAMES)
def test_a_unit_counts_as_shown_above_one(unit: str) -> None:
    for value, shown in ((0.9, 0.0), (1.1, 1.0), (2.0, 1.0)):
        emotion = behaviour_of(with_unit(unit, value), 50).emotion
        assert emotion is not None
        others = [channel for channel, name in enumerate(ACTION_UNIT_NAMES) if name != unit]
        expected = 0.0 if unit in DEAD_UNITS else shown
        assert (emotion[:, ACTION_UNIT_NAMES.index(unit)] == expected).all() and not emotion[:, others].any()


@pytest.mark.parametrize(
    ("unit", "shape"),
    [("AU43", "eyeBlinkLeft"), ("AU13", "cheekPuff"), ("AU18", "mouthPucker"), ("AU28", "mouthRollUpper"),
     ("AU5", "eyeWideRight"), ("AU16", "mouthLowerDownLeft")],
)  # fmt: skip
def test_a_unit_moves_its_blendshapes(unit: str, shape: str) -> None:
    faces = [behaviour_of(with_unit(unit, value), 50).coefficients for value in (0.1, 1.0)]
    place = BLENDSHAPE_NAMES.index(shape)
    # Activation 0.05 and 0.5: the mean, and twice the spread for each whole.
    for face, activation in zip(faces, (0.05, 0.5)):
        assert face is not None
        np.testing.assert_allclose(face[:, place], MEAN_FACE[place] + 2 * STD_FACE[place] * activation, atol=1e-5)


def test_expressions_are_a_softmax_in_our_order() -> None:
    theirs = ("Anger", "Contempt", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
    for place, name in enumerate(theirs):
        logits = np.zeros((60, 8))
        logits[:, place] = np.log(13)
        emotion = behaviour_of(still(logits=logits), 50).emotion
        assert emotion is not None
        assert np.allclose(emotion[:, EMOTION_NAMES.index(name)], 13 / 20)
        assert np.allclose(emotion[:, 17:].sum(axis=1), 1)


def test_valence_and_the_head_are_taken_as_they_are() -> None:
    turn = np.linspace(-0.3, 0.4, 60)
    face = behaviour_of(still(valence=3 * turn, arousal=turn, rotation=np.stack([turn, 2 * turn, -turn], axis=1)), 50)
    assert face.emotion is not None and face.coefficients is not None
    # 30 frames a second become 25 at the same times.
    expected = np.interp(np.arange(50) / 25, np.arange(60) / 30, turn)
    np.testing.assert_allclose(face.emotion[:, 15], (3 * expected).clip(-1, 1), atol=1e-6)
    np.testing.assert_allclose(face.emotion[:, 16], expected, atol=1e-6)
    pitch = COEFFICIENT_NAMES.index("rotation_pitch")
    np.testing.assert_allclose(face.coefficients[:, pitch] - np.pi, expected, atol=1e-6)
    np.testing.assert_allclose(
        face.coefficients[:, pitch + 1 : pitch + 3], np.stack([2 * expected, -expected], 1), atol=1e-6
    )


def test_lost_frames_are_bridged() -> None:
    seen = np.ones(60, dtype=bool)
    seen[20:30] = False
    face = still(arousal=np.where(seen, 0.5, 9.0), seen=seen)
    emotion = behaviour_of(face, 50).emotion
    assert emotion is not None and np.allclose(emotion[:, 16], 0.5)


def features(frames: int = 10) -> dict[str, np.ndarray]:
    found = {name: np.full((frames, width), 0.5, np.float32) for name, width in FEATURES.items()}
    return found | {"is_valid": np.ones((frames, 1), np.float32)}


def test_a_row_of_zeros_is_no_face() -> None:
    arrays, paths = features(), {name: Path(name) for name in FEATURES}
    arrays["FAUValue"][4] = 0
    arrays["is_valid"][7] = 0
    arrays["emotion_scores"][[4, 7]] = np.nan  # what is not seen may be anything
    assert np.flatnonzero(~face_of(arrays, paths).seen).tolist() == [4, 7]
    arrays["is_valid"] = arrays["is_valid"][:, 0]  # the flat shape
    assert np.flatnonzero(~face_of(arrays, paths).seen).tolist() == [4, 7]
    arrays["emotion_scores"][5] = np.nan
    with pytest.raises(BrokenFileError, match="where a face is seen"):
        face_of(arrays, paths)


def test_the_share_of_speech() -> None:
    spans = [(0.0, 2.0), (5.0, 6.0), (9.5, 12.0)]
    assert share_of_speech(spans, 0, 10) == pytest.approx(0.35)
    assert share_of_speech([], 0, 10) == 0 and np.isnan(share_of_speech(None, 0, 10))
