"""The searches for accelerators, run on the CPU: the compiled searches' figures, and taken where they should be."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from perfrdiff_hf.metrics import ReactionMetrics, frcorr_frdist, frcorr_per_clip, frdist_per_clip, reaction_metrics
from perfrdiff_hf.metrics.frcorr_frdist import channel_moments, search_concordance, search_distance
from perfrdiff_hf.metrics.inputs import accelerator
from perfrdiff_hf.metrics.search import accelerator as device
from perfrdiff_hf.metrics.search import processor as nearest
from perfrdiff_hf.metrics.search.warping import Warp


CPU = torch.device("cpu")


def walks(rng, *shape):
    return (rng.standard_normal(shape).cumsum(axis=-2) / 5).astype(np.float32)


def both_distances(predictions, targets, appropriate):
    return [search_distance(predictions, targets, appropriate, place) for place in (None, CPU)]


def both_concordances(predictions, targets, appropriate):
    moments = channel_moments(targets)
    return [search_concordance(predictions, targets, appropriate, moments, place) for place in (None, CPU)]


def same(expected, found, **tolerance):
    np.testing.assert_array_equal(found.target, expected.target)
    np.testing.assert_allclose(found.score, expected.score, **tolerance)
    assert found.groups.keys() == expected.groups.keys()
    for name, values in expected.groups.items():
        np.testing.assert_allclose(found.groups[name], values, **tolerance)


def test_goldens(case):
    inputs = case.predictions, case.targets, case.appropriate.astype(bool)
    distances = search_distance(*inputs, CPU)
    np.testing.assert_allclose(distances.score.sum(axis=1), case.per_clip["FRD_sum_over_K"], rtol=1e-12)
    concordances = search_concordance(*inputs, channel_moments(case.targets), CPU)
    np.testing.assert_allclose(concordances.score.sum(axis=1), case.per_clip["FRC_sum_over_K"], rtol=1e-12)


@pytest.mark.parametrize(("frames", "channels", "pairs"), [(1, 2, 3), (2, 8, 1), (37, 15, 20), (50, 2, 5)])
def test_warping_costs(frames, channels, pairs):
    rng = np.random.default_rng(frames)
    x, y = (walks(rng, pairs, frames, channels).astype(np.float64) for _ in range(2))
    expected = Warp(x, y).costs(np.stack([np.arange(pairs)] * 2, axis=1))
    found = device.warping_costs(*(torch.from_numpy(items.transpose(1, 2, 0)) for items in (x, y)))
    np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize("reactions", [1, 3])
def test_same_nearest_as_the_compiled_search(reactions):
    rng = np.random.default_rng(reactions)
    targets = walks(rng, 9, 60, 25)
    targets[8] = targets[7]  # of equal targets, the first is named
    predictions = np.stack([walks(rng, reactions, 60, 25) for _ in range(4)])
    predictions[0] = targets[2] + 1e-4 * predictions[0]
    predictions[1] = (targets[3] + targets[4]) / 2
    predictions[2, 0] = targets[7]
    appropriate = np.ones((4, 9), dtype=bool)
    appropriate[3, ::2] = False
    expected, found = both_distances(predictions, targets, appropriate)
    same(expected, found, rtol=1e-13)
    assert found.target[2, 0] == 7 and found.score[2, 0] == 0.0


def test_losers_are_dropped(monkeypatch):
    rng = np.random.default_rng(5)
    targets = walks(rng, 12, 40, 25)
    predictions = targets[:4, None] + 0.1 * walks(rng, 4, 2, 40, 25)
    warped = []
    costs = device._costs
    monkeypatch.setattr(device, "_costs", lambda x, y, pairs: warped.append(len(pairs)) or costs(x, y, pairs))
    expected, found = both_distances(predictions, targets, np.ones((4, 12), dtype=bool))
    same(expected, found, rtol=1e-13)
    # All pairs by valence and arousal; then one pair of each reaction completed; hardly any of the others.
    assert warped[:3] == [96, 8, 8]
    assert sum(warped[3:]) < 10


@pytest.mark.parametrize("channels", [25, 58, 7])
def test_same_concordance(channels):
    rng = np.random.default_rng(channels)
    targets, predictions = walks(rng, 8, 90, channels), walks(rng, 5, 3, 90, channels)
    predictions[1, ..., 0] = 0.1  # constant, and its sum is not exact in float32
    targets[2, :, 1] = 0.3
    predictions[2, ..., 2] = 1000 + 1e-3 * predictions[2, ..., 2]
    appropriate = rng.random((5, 8)) < 0.5
    appropriate[:, 0] = True
    expected, found = both_concordances(predictions, targets, appropriate)
    same(expected, found, rtol=1e-10, atol=1e-13)


def test_small_memory_gives_the_same(clips, monkeypatch):
    whole = both_distances(clips.predictions, clips.targets, clips.appropriate)[1]
    correlated = both_concordances(clips.predictions, clips.targets, clips.appropriate)[1]
    monkeypatch.setattr(device, "_OPERAND_VALUES", 5000)  # 4 to 35 pairs, and 2 reactions, at a time
    same(whole, both_distances(clips.predictions, clips.targets, clips.appropriate)[1], rtol=1e-14)
    same(correlated, both_concordances(clips.predictions, clips.targets, clips.appropriate)[1], rtol=1e-13)


@pytest.mark.parametrize(
    ("kind", "taken"), [("cuda", True), ("cuda:1", True), ("xpu", True), ("mps", False), ("cpu", False)]
)
def test_which_devices_search(kind, taken):
    place = torch.device(kind)
    assert accelerator(SimpleNamespace(device=place)) == (place if taken else None)


def test_arrays_and_cpu_tensors_stay_on_the_cpu(clips):
    for predictions in (clips.predictions, torch.from_numpy(clips.predictions), clips.predictions.tolist()):
        assert accelerator(predictions) is None


def test_metrics_take_the_device_of_the_predictions(clips, monkeypatch):
    inputs = clips.predictions, clips.targets, clips.appropriate

    def scores():
        metrics = ReactionMetrics(clips.targets, clips.speaker, clips.appropriate)
        metrics.update(torch.from_numpy(clips.predictions), np.arange(6))
        values = metrics.compute().values
        return [frdist_per_clip(*inputs), frcorr_per_clip(*inputs), values["FRdist"], values["FRCorr"]]

    expected = scores()
    for module in (frcorr_frdist, reaction_metrics):
        monkeypatch.setattr(module, "accelerator", lambda _: CPU)
    for module, name in ((nearest, "nearest_of_each_clip"), (frcorr_frdist, "_most_concordant_of_each_clip")):
        monkeypatch.setattr(module, name, None)  # calling it would fail
    for found, value in zip(scores(), expected):
        np.testing.assert_allclose(found, value, rtol=1e-12)
