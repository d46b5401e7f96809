"""How sure a figure is: bootstrap intervals over clips or over listeners, paired tests and their correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A mean and the interval around it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """Whether system A differs from system B on the same clips.

    Args:
        difference: mean of A minus mean of B, with its bootstrap interval.
        p_value: two-sided, from flipping the signs of the differences at random.
        num_units: how many independent units (clips, or groups of clips) the test rests on.
    """

    difference: Interval
    p_value: float
    num_units: int


def bootstrap_interval(
    values: Any,
    groups: Sequence[Any] | None = None,
    confidence: float = 0.95,
    num_samples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The mean of per-clip values with a percentile bootstrap interval.

    Args:
        values: `(clips,)`; NaN marks clips without a value, which are left out.
        groups: `(clips,)` labels, such as listener ids. Whole groups are drawn instead of clips: clips of one listener
            are not independent, and an interval over clips would be too narrow for a claim about other listeners.
        confidence: share of resampled means inside the interval, between 0 and 1.
        num_samples: resamples.
        seed: the same seed draws the same resamples.

    Returns:
        Mean and interval; all NaN where no clip has a value, bounds NaN where there is only one unit to draw.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1; it is {confidence}.")
    sums, counts = _unit_sums(_one_per_clip("values", values), groups)
    if len(sums) == 0:
        return Interval(np.nan, np.nan, np.nan)
    value = float(sums.sum() / counts.sum())
    if len(sums) == 1:
        return Interval(value, np.nan, np.nan)
    means = _resampled_means(sums, counts, num_samples, seed)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high))


def paired_test(
    a: Any,
    b: Any,
    groups: Sequence[Any] | None = None,
    confidence: float = 0.95,
    num_samples: int = 10_000,
    seed: int = 0,
) -> PairedTest:
    """Compare the per-clip values of two systems on the same clips.

    Under the null hypothesis that the two systems are exchangeable, the difference of each unit has either sign with
    equal odds; the p-value is the share of sign patterns with a mean difference at least as large as the one observed.

    Args:
        a: `(clips,)` values of system A.
        b: `(clips,)` values of system B on the same clips.
        groups: `(clips,)` labels: the clips of a group keep a common sign and are drawn together.
        confidence: of the interval around the difference.
        num_samples: sign patterns, and resamples of the interval.
        seed: of both.

    Raises:
        ValueError: if the two differ in length.
    """
    a, b = _one_per_clip("a", a), _one_per_clip("b", b)
    if len(a) != len(b):
        raise ValueError(f"a and b must be values of the same clips; they have {len(a)} and {len(b)}.")
    difference = bootstrap_interval(a - b, groups, confidence, num_samples, seed)
    sums, _ = _unit_sums(a - b, groups)
    rng = np.random.default_rng(seed)
    observed = abs(sums.sum())
    as_large = 0
    for size in _chunks(num_samples):
        signs = 1.0 - 2.0 * rng.integers(0, 2, (size, len(sums)))
        as_large += int((np.abs(signs @ sums) >= observed * (1 - 1e-9)).sum())
    # The observed pattern counts as one of the samples, so that p is never 0.
    return PairedTest(difference, (as_large + 1) / (num_samples + 1), len(sums))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, so that together they are wrong no more often than one (Holm, 1979).

    Args:
        p_values: of all comparisons that are made, in any order.

    Raises:
        ValueError: if one lies outside [0, 1].
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p_values must lie in [0, 1]; given: {values.tolist()}.")
    order = np.argsort(values, kind="stable")
    steps = values[order] * (len(values) - np.arange(len(values)))
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected.tolist()


def _one_per_clip(name: str, values: Any) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0:
        raise ValueError(f"{name} must have shape (clips,), at least one; it has {array.shape}.")
    return array


def _unit_sums(values: np.ndarray, groups: Sequence[Any] | None) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the values of each unit that is drawn: a clip, or a group of clips."""
    known = np.isfinite(values)
    if groups is None:
        return values[known], np.ones(int(known.sum()))
    if len(groups) != len(values):
        raise ValueError(f"groups must name one group for each of the {len(values)} clips; it has {len(groups)}.")
    _, unit = np.unique(np.asarray(groups)[known], return_inverse=True)
    return np.bincount(unit, weights=values[known]), np.bincount(unit).astype(np.float64)


def _resampled_means(sums: np.ndarray, counts: np.ndarray, num_samples: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    units = len(sums)
    means = []
    for size in _chunks(num_samples):
        # How often each sample draws each unit: counted over all samples at once, each in its own range of numbers.
        drawn = rng.integers(0, units, (size, units)) + units * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units).astype(np.float64)
        means.append((times @ sums) / (times @ counts))
    return np.concatenate(means)


def _chunks(num_samples: int, size: int = 500) -> list[int]:
    """Numbers of samples that are drawn together; few enough to bound memory."""
    return [min(size, num_samples - start) for start in range(0, num_samples, size)]
