"""Intervals that cover what they should, and a test that finds what is there."""

from __future__ import annotations

import numpy as np
import pytest

from perfrdiff_hf.metrics import bootstrap_interval, paired_test
from perfrdiff_hf.metrics.statistics import holm


def test_interval_of_a_mean():
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    interval = bootstrap_interval(values)
    error = values.std(ddof=1) / np.sqrt(400)
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)
    assert bootstrap_interval(values) == interval
    narrow = bootstrap_interval(values, confidence=0.5)
    assert interval.low < narrow.low < narrow.high < interval.high


def test_listeners_widen_the_interval():
    rng = np.random.default_rng(1)
    listeners = np.repeat(np.arange(20), 15)
    values = rng.normal(0, 1, 20)[listeners] + rng.normal(0, 0.1, 300)
    over_clips, over_listeners = bootstrap_interval(values), bootstrap_interval(values, listeners)
    assert over_listeners.value == pytest.approx(over_clips.value)
    assert over_listeners.high - over_listeners.low > 2.5 * (over_clips.high - over_clips.low)
    # Groups of one are clips.
    assert bootstrap_interval(values, np.arange(300)) == over_clips


def test_coverage_is_honest():
    rng = np.random.default_rng(2)
    covered = 0
    for seed in range(100):
        interval = bootstrap_interval(rng.exponential(1.0, 60), num_samples=400, seed=seed)
        covered += interval.low <= 1.0 <= interval.high
    assert 85 <= covered <= 99


def test_missing_values_are_left_out():
    values = [1.0, np.nan, 3.0, np.nan]
    assert bootstrap_interval(values).value == 2.0
    assert bootstrap_interval(values, ["a", "a", "b", "b"]).value == 2.0
    assert np.isnan(bootstrap_interval([np.nan, np.nan]).value)
    alone = bootstrap_interval([4.0])
    assert alone.value == 4.0
    assert np.isnan(alone.low)


def test_paired_test_sees_through_the_clips():
    rng = np.random.default_rng(3)
    difficulty = rng.normal(0, 10, 80)
    a, b = difficulty + rng.normal(0.5, 1, 80), difficulty + rng.normal(0, 1, 80)
    found = paired_test(a, b)
    assert found.difference.value == pytest.approx((a - b).mean())
    assert found.p_value < 0.02
    assert found.difference.low > 0
    assert paired_test(b, a).p_value == pytest.approx(found.p_value, abs=0.01)
    assert paired_test(a, a).p_value == 1.0


def test_p_values_are_uniform_under_the_null():
    rng = np.random.default_rng(4)
    p_values = [paired_test(rng.normal(size=30), rng.normal(size=30), num_samples=300).p_value for _ in range(100)]
    assert 0.35 < np.mean(p_values) < 0.65
    assert np.mean(np.array(p_values) < 0.1) < 0.2


def test_exact_share_of_sign_patterns():
    """Of the 2**4 sign patterns of (1, 2, 3, 4), two have a sum of 10 or -10."""
    found = paired_test([1.0, 2.0, 3.0, 4.0], [0.0] * 4, num_samples=20_000)
    assert found.p_value == pytest.approx(2 / 16, abs=0.01)
    grouped = paired_test([1.0, 2.0, 3.0, 4.0], [0.0] * 4, groups=list("aabb"), num_samples=20_000)
    assert grouped.num_units == 2
    assert grouped.p_value == pytest.approx(2 / 4, abs=0.015)


def test_bad_input():
    with pytest.raises(ValueError, match=r"values must have shape \(clips,\), at least one; it has \(0,\)"):
        bootstrap_interval([])
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1; it is 95"):
        bootstrap_interval([1.0, 2.0], confidence=95)
    with pytest.raises(ValueError, match="groups must name one group for each of the 2 clips; it has 3"):
        bootstrap_interval([1.0, 2.0], ["a", "b", "c"])
    with pytest.raises(ValueError, match="they have 2 and 3"):
        paired_test([1.0, 2.0], [1.0, 2.0, 3.0])


def test_holm_corrects_the_smallest_most_and_keeps_the_order():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0] and holm([]) == []
    with pytest.raises(ValueError, match="must lie in"):
        holm([0.5, 1.5])
