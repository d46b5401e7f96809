"""What the reference rows predict, and what that must score."""

from __future__ import annotations

import numpy as np
import pytest

from perfrdiff_hf.baselines import reference_rows
from perfrdiff_hf.baselines.reference import REFERENCE_NAMES
from perfrdiff_hf.metrics import frcorr, frdist, frdiv, frsyn, frvar


@pytest.fixture
def rows(clips):
    rng = np.random.default_rng(1)
    known = rng.random((9, 70, 25), dtype=np.float32)
    speakers = rng.random((9, 70, 25), dtype=np.float32)
    speakers[[4, 7, 2]] = clips.speaker[[0, 1, 5]] + 1e-3
    return reference_rows(clips.targets, clips.speaker, 3, known, speakers, seed=3), known


def test_all_rows(rows, clips):
    found, known = rows
    assert tuple(found) == REFERENCE_NAMES
    everything = np.arange(6)
    predictions = {name: row(everything).emotion for name, row in found.items()}
    assert {p.shape for p in predictions.values()} == {(6, 3, 70, 25)}
    assert frdist(predictions["recorded reactions"], clips.targets, clips.appropriate) == 0.0
    assert frsyn(predictions["mime"], clips.speaker, "all") == 0.0
    assert frcorr(predictions["mean frame"], clips.targets, clips.appropriate) == 0.0
    assert frvar(predictions["mean frame"]) == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(predictions["mean sequence"][2, 1], known.mean(axis=0), rtol=1e-5)
    assert frdiv(predictions["chance"]) == pytest.approx(1 / 6, rel=0.02)
    assert frvar(predictions["chance"]) == pytest.approx(1 / 12, rel=0.02)
    for clip, neighbour in ((0, 4), (1, 7), (5, 2)):
        np.testing.assert_array_equal(predictions["retrieval"][clip, 0], known[neighbour])
    assert all(len(np.unique(p[:, :, 0, 0], axis=1)) == 6 for p in predictions.values())


def test_rows_do_not_depend_on_the_batch(rows):
    for row in rows[0].values():
        np.testing.assert_array_equal(row(np.array([3, 1])).emotion, row(np.arange(6)).emotion[[3, 1]])


def test_rows_without_training_data(clips):
    assert tuple(reference_rows(clips.targets, clips.speaker)) == REFERENCE_NAMES[:3]


def test_few_training_clips_are_repeated(clips):
    rows = reference_rows(clips.targets, clips.speaker, 5, clips.targets[:2], clips.speaker[:2])
    found = rows["retrieval"](np.array([0])).emotion[0]
    np.testing.assert_array_equal(found, clips.targets[[0, 1, 0, 1, 0]])


def test_recorded_reactions_have_their_coefficients(clips):
    coefficients = np.random.default_rng(0).random((6, 70, 58), dtype=np.float32)
    rows = reference_rows(clips.targets, clips.speaker, 3, target_coefficients=coefficients)
    found = rows["recorded reactions"](np.array([4, 2])).coefficients
    assert found.shape == (2, 3, 70, 58)
    np.testing.assert_array_equal(found[:, 1], coefficients[[4, 2]])
    assert all(rows[name](np.array([0])).coefficients is None for name in ("chance", "mime"))
