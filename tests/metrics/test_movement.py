"""Coefficients and switches in the accumulator: closed forms, and what is said where they do not fit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from perfrdiff_hf.metrics import ReactionMetrics, frcorr, frrea_motion
from perfrdiff_hf.metrics.movement import without_mean
from perfrdiff_hf.metrics.reaction_metrics import Scores


HEAD = ["head speed", "head range", "nods", "nod share"]
OWN = np.eye(6, dtype=bool)


@pytest.fixture
def faces(clips: SimpleNamespace) -> SimpleNamespace:
    """The clips with coefficients that move slowly around a resting face of each clip."""
    rng = np.random.default_rng(3)

    def moving(*shape: int) -> np.ndarray:
        steps = rng.standard_normal((*shape, 70, 58)).cumsum(axis=-2) / 50
        return (steps + rng.normal(size=(*shape, 1, 58))).astype(np.float32)

    clips.target_coefficients, clips.coefficients = moving(6), moving(6, 3)
    return clips


def score(faces: SimpleNamespace, batches: Any = ([0, 1, 2, 3, 4, 5],), **changes: Any) -> Scores:
    matrices = {"MAFRG": faces.appropriate, "PMAFRG": OWN}
    metrics = ReactionMetrics(faces.targets, faces.speaker, matrices, faces.target_coefficients)
    arrays = {"predictions": faces.predictions, "coefficients": faces.coefficients, **changes}
    for batch in batches:
        metrics.update(arrays["predictions"][batch], np.array(batch), arrays["coefficients"][batch])
    return metrics.compute()


def concordance(x: np.ndarray, y: np.ndarray) -> float:
    """The mean over channels of Lin's concordance, channel by channel and by the book."""
    found = []
    for a, b in zip(x.T.astype(np.float64), y.T.astype(np.float64)):
        shared = ((a - a.mean()) * (b - b.mean())).mean()
        found.append(2 * shared / (a.var() + b.var() + (a.mean() - b.mean()) ** 2 + 1e-8))
    return float(np.mean(found))


def test_concordance_of_coefficients_is_that_of_their_movement(faces):
    found = score(faces)
    for clip in range(6):
        own = faces.target_coefficients[clip] - faces.target_coefficients[clip].mean(axis=0)
        reactions = faces.coefficients[clip] - faces.coefficients[clip].mean(axis=1, keepdims=True)
        expected = sum(concordance(reaction, own) for reaction in reactions)
        assert found.values["FRCorr coefficients PMAFRG"][clip] == pytest.approx(expected, abs=1e-5)
    moved = without_mean(faces.coefficients), without_mean(faces.target_coefficients)
    whole = frcorr(*moved, faces.appropriate)  # the same definition as of emotion
    assert found.values["FRCorr coefficients MAFRG"].mean() == pytest.approx(whole, rel=1e-9)
    parts = found.groups["FRCorr coefficients MAFRG"]
    weighted = (52 * parts["blendshapes"] + 3 * parts["rotation"] + 3 * parts["translation"]) / 58
    assert weighted == pytest.approx(whole, rel=1e-6)
    assert found.overall["FRRea-motion coefficients"] == pytest.approx(frrea_motion(*moved[::-1]), rel=1e-6)


def test_rest_does_not_count(faces):
    rest = np.random.default_rng(0).normal(size=(6, 3, 1, 58)).astype(np.float32)
    found, shifted = score(faces), score(faces, coefficients=faces.coefficients + rest)
    for name in [*HEAD, "FRCorr coefficients MAFRG"]:
        np.testing.assert_allclose(shifted.values[name], found.values[name], rtol=1e-3, err_msg=name)


def test_a_still_head_and_a_nodding_one(faces):
    still = np.full_like(faces.coefficients, 3.19)
    found = score(faces, coefficients=still).values
    for name in [*HEAD, "FRCorr coefficients MAFRG", "FRCorr coefficients PMAFRG"]:
        np.testing.assert_array_equal(found[name], 0, err_msg=name)
    still[..., 52] += 0.2 * np.sin(2 * np.pi * 2.5 * np.arange(70) / 25)  # seven whole nods
    nodding = score(faces, coefficients=still).values
    np.testing.assert_allclose(nodding["nods"], 0.2 / np.sqrt(2), rtol=1e-4)
    np.testing.assert_allclose(nodding["nod share"], 1, rtol=1e-4)
    np.testing.assert_allclose(nodding["head range"], 0.2 / np.sqrt(2) / 3, rtol=1e-4)
    assert (nodding["head speed"] > 0.5).all()


def test_recorded_movement_is_the_best_there_is(faces):
    metrics = ReactionMetrics(faces.targets, faces.speaker, OWN, faces.target_coefficients)
    metrics.update(faces.targets[:, None], np.arange(6), faces.target_coefficients[:, None])
    found = metrics.compute()
    np.testing.assert_allclose(found.values["FRCorr coefficients"], 1, rtol=1e-3)
    assert found.overall["FRRea-motion coefficients"] == pytest.approx(0, abs=1e-6)


def test_switches_by_hop(clips):
    emotion = np.zeros((6, 3, 70, 25), dtype=np.float32)
    emotion[0, :, 20:, :6] = 1  # six units begin at frame 20
    for hop, borders, inside in ((20, 6 / 3, 0), (50, 0, 6 / 68), (10, 6 / 6, 0)):
        metrics = ReactionMetrics(clips.targets, clips.speaker, clips.appropriate, hop=hop)
        metrics.update(emotion, np.arange(6))
        found = metrics.compute()
        assert found.hop == hop
        np.testing.assert_allclose(found.values["switches at borders"], [borders, 0, 0, 0, 0, 0])
        np.testing.assert_allclose(found.values["switches inside"], [inside, 0, 0, 0, 0, 0])
    for hop in (1, 70):  # every frame is a border, or none
        metrics = ReactionMetrics(clips.targets, clips.speaker, clips.appropriate, hop=hop)
        metrics.update(emotion, np.arange(6))
        assert np.isnan(metrics.compute().values["switches at borders"]).all()


def test_order(faces):
    names = list(score(faces).values)
    assert names[6:] == [
        "FRVar", "FRSyn", "FRSyn all", "FRSyn corrected", "switches at borders", "switches inside",
        "FRCorr coefficients MAFRG", "FRCorr coefficients PMAFRG", *HEAD,
    ]  # fmt: skip


def test_batches_and_processes_do_not_matter(faces):
    whole, parts = score(faces), score(faces, [[5], [2, 4], [3, 0, 1]])
    one, other = (
        ReactionMetrics(faces.targets, faces.speaker, {"MAFRG": faces.appropriate, "PMAFRG": OWN}, coefficients)
        for coefficients in (faces.target_coefficients, faces.target_coefficients)
    )
    one.update(faces.predictions[:2], [0, 1], faces.coefficients[:2])
    other.update(faces.predictions[2:], [2, 3, 4, 5], faces.coefficients[2:])
    one._merge(other._state)
    for found in (parts, one.compute()):
        for name, values in whole.values.items():
            np.testing.assert_allclose(found.values[name], values, rtol=1e-9, err_msg=name)
        assert found.overall == pytest.approx(whole.overall, rel=1e-6)


def test_equal_reactions_are_scored_once_and_count_for_all(faces):
    first = {"predictions": faces.predictions[:, :1], "coefficients": faces.coefficients[:, :1]}
    views = {name: np.broadcast_to(one, (6, 4, *one.shape[2:])) for name, one in first.items()}
    metrics = ReactionMetrics(faces.targets, faces.speaker, OWN, faces.target_coefficients)
    metrics.update(views["predictions"], np.arange(6), views["coefficients"])
    shortcut = metrics.compute()
    metrics = ReactionMetrics(faces.targets, faces.speaker, OWN, faces.target_coefficients)
    # Equal emotion with coefficients that differ is no such case.
    metrics.update(views["predictions"], np.arange(6), np.repeat(faces.coefficients[:, :1], 4, axis=1))
    written_out = metrics.compute()
    for name, values in written_out.values.items():
        np.testing.assert_allclose(shortcut.values[name], values, rtol=1e-6, atol=1e-12, err_msg=name)
    for group, value in written_out.groups["FRCorr coefficients"].items():
        assert shortcut.groups["FRCorr coefficients"][group] == pytest.approx(value)


def test_without_coefficients_there_are_no_figures_of_them(faces):
    metrics = ReactionMetrics(faces.targets, faces.speaker, OWN, faces.target_coefficients)
    metrics.update(faces.predictions, np.arange(6))
    found = metrics.compute()
    assert not {"FRCorr coefficients", *HEAD} & set(found.values)
    assert "FRRea-motion coefficients" not in found.overall
    assert "switches inside" in found.values


def test_bad_input(faces):
    arrays = faces.targets, faces.speaker, faces.appropriate
    with pytest.raises(
        ValueError, match=r"target_coefficients must have the clips .*\(6, 70, 58\); it has \(6, 70, 57\)"
    ):
        ReactionMetrics(*arrays, faces.target_coefficients[..., :57])
    short = [values[:, :20] for values in arrays[:2]]
    with pytest.raises(ValueError, match=r"target_coefficients must have at least 25 frames .*it has 20"):
        ReactionMetrics(*short, faces.appropriate, faces.target_coefficients[:, :20])
    for hop in (0, 2.5):
        with pytest.raises(ValueError, match=f"hop must be a whole number of frames, 1 or more; given: {hop}"):
            ReactionMetrics(*arrays, hop=hop)
    first = faces.predictions[:1], [0]
    with pytest.raises(ValueError, match="pass target_coefficients to ReactionMetrics, or leave coefficients out"):
        ReactionMetrics(*arrays).update(*first, faces.coefficients[:1])
    metrics = ReactionMetrics(*arrays, faces.target_coefficients)
    with pytest.raises(
        ValueError, match=r"coefficients must have the clips, .*\(1, 3, 70, 58\); it has \(1, 2, 70, 58\)"
    ):
        metrics.update(*first, faces.coefficients[:1, :2])
    broken = faces.coefficients[:1].copy()
    broken[0, 1, 5, 7] = np.nan
    with pytest.raises(ValueError, match="coefficients holds NaN"):
        metrics.update(*first, broken)
    metrics.update(*first, faces.coefficients[:1])
    with pytest.raises(ValueError, match="coefficients must come with every batch or with none; this one is not"):
        metrics.update(faces.predictions[1:2], [1])
    emotional = ReactionMetrics(*arrays, faces.target_coefficients)
    emotional.update(faces.predictions[1:2], [1])
    with pytest.raises(ValueError, match="this one is the first with them"):
        emotional.update(*first, faces.coefficients[:1])
    with pytest.raises(ValueError, match="one process had them, another not"):
        metrics._merge(emotional._state)
