"""Histories of the right person, of another, and of nobody in particular."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from perfrdiff_hf.behaviour import MEAN_FACE
from perfrdiff_hf.data.histories import first_rows, history_row
from perfrdiff_hf.evaluation.controls import (
    another_face,
    another_history,
    manners_of,
    no_movement,
    one_shift,
    own_history,
)


def clips_of(*listeners: str, clips: tuple[str, ...] = ("1", "2", "10")) -> SimpleNamespace:
    """Rows of some listeners; the coefficients of a row are its number."""
    names = [(listener, clip) for clip in clips for listener in listeners]
    return SimpleNamespace(
        listener_ids=np.array([name for name, _ in names]),
        clips=np.array([clip for _, clip in names]),
        sessions=np.array([name for name, _ in names]),
        conversations=np.array([clip for _, clip in names]),
        coefficients=lambda row: np.full((60, 58), row, np.float32),
    )


def row_of(history: np.ndarray) -> int:
    return int(history[0, 0])


def test_history_is_the_lowest_other_clip() -> None:
    arrays = clips_of("a", "b", clips=("10", "2", "3"))
    for row in range(len(arrays.clips)):
        history = history_row(arrays, row)
        assert arrays.listener_ids[history] == arrays.listener_ids[row]
        assert arrays.clips[history] == ("3" if arrays.clips[row] == "2" else "2")
        assert row_of(own_history(arrays)(row)) == history
    with pytest.raises(ValueError, match="a has no other clip than 1"):
        history_row(clips_of("a", clips=("1",)), 0)


def test_anothers_history_is_nobodys_own_and_each_is_used() -> None:
    # Two people of a session talk to each other; nobody gets the history of the one whom they react to.
    arrays = clips_of("s/1/P1", "s/1/P2", "s/2/P1", "s/2/P2", "s/3/P1", "s/3/P2")
    history = another_history(arrays)
    taken = {str(arrays.listener_ids[row]): row_of(history(row)) for row in range(len(arrays.clips))}
    assert sorted(taken.values()) == sorted(first_rows(arrays).values())
    for listener, row in taken.items():
        assert arrays.clips[row] == "1"
        assert str(arrays.listener_ids[row]).split("/")[1] != listener.split("/")[1]
    with pytest.raises(ValueError, match="two listeners or more"):
        another_history(clips_of("a"))


def test_movement_and_resting_face_are_told_apart() -> None:
    arrays = clips_of("a", "b")
    rng = np.random.default_rng(0)
    clips = [rng.standard_normal((60, 58)).astype(np.float32) + row for row in range(len(arrays.clips))]
    arrays.coefficients = lambda row: clips[row]
    row = 0  # of a; b is the other one
    own, other = own_history(arrays)(row), another_history(arrays)(row)
    frozen = no_movement(arrays)(row)
    assert np.ptp(frozen, axis=0).max() == 0
    np.testing.assert_allclose(frozen[0], own.mean(axis=0), rtol=1e-6)
    mixed = another_face(arrays)(row)
    np.testing.assert_allclose(np.diff(mixed, axis=0), np.diff(own, axis=0), atol=1e-5)
    np.testing.assert_allclose(mixed.mean(axis=0), other.mean(axis=0), atol=1e-5)


def test_one_shift_is_the_mean_change_of_the_weights(make_pipeline) -> None:
    pipeline = make_pipeline()
    rng = np.random.default_rng(0)
    histories = MEAN_FACE + 0.3 * rng.standard_normal((9, 60, 58)).astype(np.float32)
    arrays = clips_of("a", "b", "c")
    arrays.coefficients = lambda row: histories[row]
    mean = one_shift(pipeline, arrays)
    everybody = pipeline.personalise([histories[row] for row in first_rows(arrays).values()])
    layers = dict(pipeline.denoiser.named_modules())
    assert mean.num_listeners == 1 and set(mean) == set(everybody)
    for name, shift in everybody.items():
        expected = shift.weight_change(layers[name].weight).mean(dim=0, keepdim=True)
        torch.testing.assert_close(mean[name].weight_change(layers[name].weight), expected, rtol=1e-4, atol=1e-6)


def test_what_a_pipeline_cannot_do_is_refused(make_pipeline) -> None:
    pipeline, arrays = make_pipeline(), clips_of("a", "b")
    assert [manner.name for manner in manners_of(pipeline, arrays)] == ["personalised", "generic"]
    with pytest.raises(ValueError, match="one_shift needs the training clips"):
        manners_of(pipeline, arrays, ["one_shift"])
    pipeline.register_modules(style_encoder=None)
    assert [manner.name for manner in manners_of(pipeline, arrays)] == ["generic"]
    with pytest.raises(ValueError, match="controls need a personal pipeline"):
        manners_of(pipeline, arrays, ["another_history"])
