"""The clips of a split as arrays on the disk."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from perfrdiff_hf.data.arrays import ClipArrays
from tests.data.windows.conftest import FRAMES, PAIRS, PEOPLE, made_up, origin


def test_arrays_hold_every_clip(arrays):
    assert len(arrays) == 2 * PAIRS
    for row in (0, 5, 23):
        assert origin(arrays.emotion(row)) == origin(arrays.audio(row)) == (row, 0, FRAMES)
        assert arrays.coefficients(row).shape == (FRAMES, 58)
    with pytest.raises(ValueError, match="read-only"):
        arrays.emotion(0)[0] = 1


def test_a_row_as_behaviour(arrays):
    behaviour = arrays.behaviour(5)
    assert set(behaviour.streams) == {"audio", "emotion", "coefficients"} and len(behaviour) == FRAMES
    np.testing.assert_array_equal(behaviour.coefficients, arrays.coefficients(5))


def test_partners_of_other_lengths_are_refused(tmp_path):
    """A window of the speaker is cut at the listener's frames; it must not run into the next clip."""
    with pytest.raises(ValueError, match=r"clip 1 of N/0/b has 20, that of N/0/a 40\. Cut them alike"):
        ClipArrays.from_dataset(made_up(["N/0/b", "N/0/a"], [20, 40]), tmp_path)
    astray = made_up(["N/0/b", "N/0/a"], [20, 20]).map(lambda row: {"partner": 0})
    with pytest.raises(ValueError, match="partner must hold"):
        ClipArrays.from_dataset(astray, tmp_path)


def test_wrong_counts_of_frames_are_refused(tmp_path):
    dataset = made_up(["N/0/b", "N/0/a"], [20, 20]).map(lambda row: {"num_frames": 21})
    with pytest.raises(ValueError, match="Row 0: audio has 20 frames; num_frames is 21"):
        ClipArrays.from_dataset(dataset, tmp_path)
    assert not list(tmp_path.iterdir())


def test_arrays_travel_as_paths(arrays):
    packed = pickle.dumps(arrays)
    assert len(packed) < 20_000
    np.testing.assert_array_equal(pickle.loads(packed).audio(7), arrays.audio(7))


def test_arrays_need_a_place_and_the_right_columns(tmp_path):
    dataset = made_up(PEOPLE[:2], [20, 20])
    with pytest.raises(ValueError, match="cache_dir"):
        ClipArrays.from_dataset(dataset)
    with pytest.raises(ValueError, match="lacks the columns partner"):
        ClipArrays.from_dataset(dataset.remove_columns("partner"), tmp_path)
    assert not list(tmp_path.iterdir())
