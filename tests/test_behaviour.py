from __future__ import annotations

import numpy as np
import pytest

from perfrdiff_hf import behaviour
from perfrdiff_hf.behaviour import Behaviour, check_stream


def test_widths_and_slices_cover_the_channels():
    assert (behaviour.AUDIO_CHANNELS, behaviour.EMOTION_CHANNELS, behaviour.COEFFICIENT_CHANNELS) == (78, 25, 58)
    emotion = [behaviour.ACTION_UNITS, behaviour.VALENCE_AROUSAL, behaviour.EXPRESSIONS]
    assert [i for part in emotion for i in range(25)[part]] == list(range(25))
    face = [behaviour.BLENDSHAPES, behaviour.ROTATION, behaviour.TRANSLATION]
    assert [i for part in face for i in range(58)[part]] == list(range(58))


def test_names_are_unique_and_blendshapes_alphabetical():
    for names in (behaviour.AUDIO_NAMES, behaviour.EMOTION_NAMES, behaviour.COEFFICIENT_NAMES):
        assert len(set(names)) == len(names)
    assert list(behaviour.BLENDSHAPE_NAMES) == sorted(behaviour.BLENDSHAPE_NAMES)


def test_mean_face_cannot_be_changed():
    assert behaviour.MEAN_FACE.shape == behaviour.STD_FACE.shape == (58,)
    assert behaviour.MEAN_FACE[52] == pytest.approx(np.pi + 0.049, abs=1e-3)
    with pytest.raises(ValueError, match="read-only"):
        behaviour.MEAN_FACE[0] = 1


def test_behaviour_is_cut_by_frames():
    whole = Behaviour(emotion=np.arange(250.0).reshape(10, 25), coefficients=np.zeros((10, 58)))
    part = whole[2:5]
    assert len(whole) == 10
    assert len(part) == 3
    assert part.audio is None
    assert np.array_equal(part.emotion, whole.emotion[2:5])
    assert part.emotion.dtype == np.float32


@pytest.mark.parametrize(
    ("streams", "error", "message"),
    [
        ({}, ValueError, "at least one"),
        ({"audio": np.zeros((10, 25))}, ValueError, r"audio must have shape \(frames, 78\)"),
        ({"emotion": np.zeros(25)}, ValueError, r"emotion must have shape"),
        ({"emotion": np.zeros((0, 25))}, ValueError, "at least 1 frames"),
        ({"emotion": np.zeros((9, 25)), "audio": np.zeros((10, 78))}, ValueError, "emotion 9"),
        ({"emotion": np.full((9, 25), np.nan)}, ValueError, "225 NaN"),
        ({"emotion": np.full((9, 25), "x")}, TypeError, "must hold numbers"),
    ],
)
def test_bad_behaviour(streams, error, message):
    with pytest.raises(error, match=message):
        Behaviour(**streams)


def test_first_bad_value_is_named():
    values = np.zeros((4, 25))
    values[2, 7] = np.inf
    with pytest.raises(ValueError, match="frame 2, channel 7"):
        check_stream("emotion", values, 25)
