"""Seams: how much faster reactions move where two windows meet than inside windows.

A sampler that treats windows independently jumps at their borders. This is no metric of the paper; a value of one
means that borders cannot be told from the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .inputs import as_predictions


@dataclass(frozen=True)
class Seams:
    """Mean absolute change at borders and inside windows, per frame and channel.

    Args:
        velocity_at_borders: of the step from the last frame before a border to the first one after it.
        velocity_inside: of all other steps.
        acceleration_at_borders: second difference of the three frames around a border.
        acceleration_inside: of all others.
    """

    velocity_at_borders: float
    velocity_inside: float
    acceleration_at_borders: float
    acceleration_inside: float

    @property
    def velocity_ratio(self) -> float:
        """Velocity at borders over velocity inside; 1 is seamless."""
        return self.velocity_at_borders / self.velocity_inside

    @property
    def acceleration_ratio(self) -> float:
        """Acceleration at borders over acceleration inside; 1 is seamless."""
        return self.acceleration_at_borders / self.acceleration_inside


def measure_seams(predictions: Any, borders: Sequence[int]) -> Seams:
    """Measure the seams of reactions.

    Args:
        predictions: `(clips, reactions, frames, channels)`.
        borders: the first frame of every window but the first; each must lie within [2, frames - 2].

    Raises:
        ValueError: if there is no border, or one lies too near an end.
    """
    values = as_predictions(predictions)
    frames = values.shape[2]
    outside = [border for border in borders if not 2 <= border <= frames - 2]
    if outside or not len(borders):
        raise ValueError(f"borders must hold frames within [2, {frames - 2}]; given: {list(borders)}.")
    velocity = np.abs(np.diff(values, axis=2)).mean(axis=(0, 1, 3))  # entry i: from frame i to i + 1
    acceleration = np.abs(np.diff(values, n=2, axis=2)).mean(axis=(0, 1, 3))  # entry i: around frame i + 1
    at_border = np.zeros(frames, dtype=bool)
    at_border[[border - 1 for border in borders]] = True
    # Two second differences hold the step over a border: the one around its last frame and around its first.
    around = at_border[:-2] | at_border[1:-1]
    return Seams(
        velocity_at_borders=float(velocity[at_border[:-1]].mean()),
        velocity_inside=float(velocity[~at_border[:-1]].mean()),
        acceleration_at_borders=float(acceleration[around].mean()),
        acceleration_inside=float(acceleration[~around].mean()),
    )
