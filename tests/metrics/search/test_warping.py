"""The vector-lane warp against a plain one, and the search for the nearest against trying all.

That the plain one is the official one follows from the goldens, which are tslearn's.
"""

from __future__ import annotations

import numpy as np
import pytest

from perfrdiff_hf.metrics.inputs import CHANNEL_GROUPS, GROUP_WEIGHTS
from perfrdiff_hf.metrics.search.processor import nearest_of_each_clip
from perfrdiff_hf.metrics.search.warping import Warp, relative_error


def plain_cost(x: np.ndarray, y: np.ndarray) -> float:
    """Cell by cell, in float64, channels in their order."""
    local = np.zeros((len(x), len(y)))
    for channel in range(x.shape[1]):
        local += np.square(x[:, None, channel] - y[None, :, channel])
    total = np.full((len(x) + 1, len(y) + 1), np.inf)
    total[0, 0] = 0
    for i in range(len(x)):
        for j in range(len(y)):
            total[i + 1, j + 1] = local[i, j] + min(total[i, j + 1], total[i + 1, j], total[i, j])
    return total[-1, -1]


def walks(rng: np.random.Generator, *shape: int) -> np.ndarray:
    steps = rng.standard_normal(shape).cumsum(axis=-2)
    return (steps / 5).astype(np.float32)


def every_pair(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """All costs between two collections in float64, `(items of x, items of y)`."""
    warp = Warp(*(np.ascontiguousarray(items, dtype=np.float64) for items in (x, y)))
    return warp.costs(np.argwhere(np.ones((len(x), len(y))))).reshape(len(x), len(y))


@pytest.mark.parametrize(("frames", "channels"), [(1, 2), (2, 8), (37, 15), (50, 2)])
def test_bit_identical_to_plain_warping(frames, channels):
    rng = np.random.default_rng(frames)
    x, y = (walks(rng, count, frames, channels).astype(np.float64) for count in (3, 7))
    expected = [[plain_cost(first, second) for second in y] for first in x]
    np.testing.assert_array_equal(every_pair(x, y), expected)


def test_float32_stays_within_its_bound():
    rng = np.random.default_rng(0)
    x, y = (walks(rng, 16, 300, 15) for _ in range(2))
    pairs = np.stack([np.arange(16)] * 2, axis=1)
    single = Warp(x, y).costs(pairs)
    double = Warp(x.astype(np.float64), y.astype(np.float64)).costs(pairs)
    assert single.dtype == np.float32
    error = np.abs(single / double - 1).max()
    assert 0 < error < relative_error(300, 15) < 1e-4


def test_giving_up_is_never_wrong():
    rng = np.random.default_rng(1)
    x, y = (walks(rng, 40, 200, 8).astype(np.float64) for _ in range(2))
    pairs = np.stack([np.arange(40)] * 2, axis=1)
    costs = Warp(x, y).costs(pairs)
    limits = costs * np.where(np.arange(40) < 20, 1, 0.05)
    bounded = Warp(x, y).costs(pairs, limits)
    np.testing.assert_array_equal(bounded[:20], costs[:20])
    assert (bounded[20:] > limits[20:]).all()
    assert (bounded <= costs).all()
    # The third register holds no pair within its limit, so that all of it was given up on.
    assert (bounded[32:] < costs[32:]).all()


@pytest.mark.parametrize("reactions", [1, 3, 33])
def test_search_finds_what_trying_all_finds(reactions):
    rng = np.random.default_rng(reactions)
    targets = walks(rng, 9, 60, 25)
    # Near one target, between two, equal to one, and far from all; targets 7 and 8 are the same.
    targets[8] = targets[7]
    predictions = np.stack([walks(rng, reactions, 60, 25) for _ in range(4)])
    predictions[0] = targets[2] + 1e-4 * predictions[0]
    predictions[1] = (targets[3] + targets[4]) / 2
    predictions[2, 0] = targets[7]
    appropriate = np.ones((4, 9), dtype=bool)
    appropriate[3, ::2] = False
    nearest, distances = nearest_of_each_clip(predictions, targets, appropriate)
    for n in range(4):
        allowed = np.flatnonzero(appropriate[n])
        roots = [
            np.sqrt(every_pair(predictions[n][..., part], targets[allowed][..., part]))
            for part in CHANNEL_GROUPS.values()
        ]
        weighted = np.stack(roots, axis=-1) * list(GROUP_WEIGHTS.values())
        choice = weighted.sum(axis=-1).argmin(axis=1)
        np.testing.assert_array_equal(nearest[n], allowed[choice])
        np.testing.assert_array_equal(distances[n], weighted[np.arange(reactions), choice])


def test_huge_and_tiny_numbers():
    rng = np.random.default_rng(3)
    targets = walks(rng, 3, 20, 25)
    everything = np.ones((1, 3), dtype=bool)
    for scale in (1e-25, 1e15):
        predictions = (targets[None, 1:2] * np.float32(1.01)) * np.float32(scale)
        nearest, distances = nearest_of_each_clip(predictions, targets * np.float32(scale), everything)
        assert nearest.tolist() == [[1]]
        assert 0 < distances.sum() < np.inf
