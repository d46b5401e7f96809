"""The skin at rest, as a surface over a chart: skull, brow, cheeks, nose and chin, without eyes and lips.

Here and in the other files of this folder lengths are head units: the head is about 1.5 wide and 2 high, its middle
is the origin, x points to the person's own left, y up, z ahead. A point of the chart is the angle from straight ahead,
times the direction in which it is turned: the face lies around the chart's origin, and its rim at pi is one point at
the back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Brush(NamedTuple):
    """A bump: how far `(3,)` the skin moves at `centre (2,)`, and less around it.

    Args:
        centre: x and y.
        reach: where 61 % are left, in x and y.
        move: how far in x, y and z.
    """

    centre: tuple[float, float]
    reach: tuple[float, float]
    move: tuple[float, float, float]

    def at(self, points: np.ndarray) -> np.ndarray:
        """How far points `(..., 3)` of the face are moved, `(..., 3)`; what lies at the back stays."""
        away = (points[..., :2] - np.array(self.centre)) / np.array(self.reach)
        strength = np.exp(-0.5 * (away**2).sum(axis=-1)) * _smooth(points[..., 2] / 0.3 + 0.5)
        return strength[..., None] * np.array(self.move)

    def mirrored(self) -> Brush:
        """The same on the other side."""
        (x, y), (dx, dy, dz) = self.centre, self.move
        return Brush((-x, y), self.reach, (-dx, dy, dz))


# What makes a face of an egg. Those beside the middle stand for both sides.
_FEATURES = (
    Brush((0.0, -0.05), (0.065, 0.16), (0, 0, 0.050)),  # bridge of the nose
    Brush((0.0, -0.245), (0.085, 0.080), (0, -0.010, 0.135)),  # its tip
    Brush((0.085, -0.275), (0.042, 0.042), (0.010, 0, 0.055)),  # its wings
    Brush((0.0, -0.385), (0.10, 0.035), (0, 0, -0.015)),  # under it
    Brush((0.32, 0.02), (0.18, 0.15), (0, 0, -0.035)),  # sockets
    Brush((0.27, 0.31), (0.22, 0.08), (0, 0, 0.020)),  # brow
    Brush((0.42, -0.28), (0.18, 0.16), (0.010, 0, 0.045)),  # cheeks
    Brush((0.0, -0.55), (0.24, 0.15), (0, 0, 0.045)),  # around the mouth
    Brush((0.0, -0.74), (0.16, 0.045), (0, 0, -0.020)),  # under the lower lip
    Brush((0.0, -0.87), (0.17, 0.10), (0, 0, 0.055)),  # chin
)


def both_sides(brushes: Sequence[Brush]) -> list[Brush]:
    """Brushes, and those beside the middle mirrored as well."""
    return [*brushes, *(brush.mirrored() for brush in brushes if brush.centre[0])]


def skin(chart: np.ndarray) -> np.ndarray:
    """Points `(..., 3)` of the skin for points `(..., 2)` of the chart."""
    egg = _egg(chart)
    return egg + sum(brush.at(egg) for brush in both_sides(_FEATURES))


def chart_of(points: np.ndarray) -> np.ndarray:
    """Where in the chart `(..., 2)` the egg has these x and y `(..., 2)` on the side of the face."""
    chart = np.array(points, dtype=np.float64)
    for _ in range(60):
        chart += 0.7 * (points - _egg(chart)[..., :2])
    return chart


def on_skin(points: np.ndarray) -> np.ndarray:
    """The skin's points `(..., 3)` near these x and y `(..., 2)`, with just these x and y."""
    return np.concatenate([points, skin(chart_of(points))[..., 2:]], axis=-1)


def slid(points: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Moves `(..., 3)` of points of the face, bent so that what moves sideways stays on the round of the head."""

    def front(at: np.ndarray) -> np.ndarray:
        return 0.85 * np.sqrt(np.maximum(1 - (at[..., 0] / 0.85) ** 2 - (at[..., 1] / 1.25) ** 2, 0.04))

    bent = moves.copy()
    bent[..., 2] += front(points + moves) - front(points)
    return bent


def _egg(chart: np.ndarray) -> np.ndarray:
    angle = np.linalg.norm(chart, axis=-1, keepdims=True)
    x, y = np.moveaxis(chart * np.sinc(angle / np.pi), -1, 0)
    z = np.cos(angle[..., 0])
    low, high, back = np.maximum(-y, 0), np.maximum(y, 0), np.maximum(-z, 0)
    width = 0.83 - 0.19 * low**2.4 + 0.03 * high**2
    depth = np.where(z > 0, 0.80, 0.93 - 0.12 * low)
    return np.stack(
        [
            x * width,
            y * np.where(y > 0, 1.02, 1.00) + 0.16 * low * back,
            z * depth + 0.24 * low**1.6 * (1 - 0.6 * back),
        ],
        axis=-1,
    )


def _smooth(t: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth between."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)
