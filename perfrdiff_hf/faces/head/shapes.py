"""The 52 blendshapes of the head: how far each moves the skin, and what else hangs on the face.

A shape is written down for the person's left side where it has two; the right one is its mirror image. Most are
brushes; lids slide on the eyeballs, the jaw turns about its joint, and lips have weights of their own, since the upper
and the lower one lie at the same place.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np

from ...behaviour import BLENDSHAPE_NAMES
from .face import BORDER, INSIDE, MEET, MIDDLE, MOUTH, MOUTH_HALF_WIDTH, SPOKES, Face, Lids
from .surface import Brush, slid


_CORNER = (0.24, -0.545)
# Those that need nothing but brushes; the ones beside the middle stand for the side that the name says.
BRUSHES: dict[str, tuple[Brush, ...]] = {
    "browDownLeft": (
        Brush((0.24, 0.27), (0.19, 0.10), (-0.030, -0.085, 0.008)),
        Brush((0.08, 0.24), (0.07, 0.10), (-0.020, -0.040, 0.025)),
    ),
    "browInnerUp": (
        Brush((0.12, 0.33), (0.12, 0.13), (0.0, 0.085, 0.010)),
        Brush((-0.12, 0.33), (0.12, 0.13), (0.0, 0.085, 0.010)),
    ),
    "browOuterUpLeft": (Brush((0.42, 0.32), (0.16, 0.13), (0.0, 0.095, 0.0)),),
    "cheekPuff": (
        Brush((0.42, -0.44), (0.16, 0.16), (0.060, 0.0, 0.085)),
        Brush((-0.42, -0.44), (0.16, 0.16), (-0.060, 0.0, 0.085)),
    ),
    "cheekSquintLeft": (Brush((0.37, -0.17), (0.17, 0.10), (0.0, 0.060, 0.040)),),
    "noseSneerLeft": (
        Brush((0.09, -0.24), (0.065, 0.09), (0.006, 0.045, 0.012)),
        Brush((0.17, -0.33), (0.09, 0.10), (0.0, 0.035, 0.010)),
    ),
    "mouthSmileLeft": (Brush((0.40, -0.29), (0.16, 0.12), (0.012, 0.045, 0.040)),),
    "mouthDimpleLeft": (Brush((0.27, -0.535), (0.09, 0.10), (0.035, 0.012, -0.040)),),
    "mouthStretchLeft": (Brush(_CORNER, (0.12, 0.14), (0.085, -0.035, -0.020)),),
    "mouthLeft": (Brush((0.0, -0.56), (0.26, 0.15), (0.085, 0.0, 0.0)),),
}
# How far the corner of the mouth goes; the lips are stretched, and bent like a parabola.
CORNERS: dict[str, tuple[float, float, float]] = {
    "mouthSmileLeft": (0.085, 0.125, -0.025),
    "mouthFrownLeft": (0.010, -0.110, -0.005),
}
_JAW_PIVOT = np.array([0.0, -0.10, -0.05])
_JAW_ANGLE = np.deg2rad(21)


class Shapes:
    """How far each blendshape at 1 moves the vertices of a face.

    Args:
        face: whose.
    """

    def __init__(self, face: Face):
        self.face = face
        self.rest = face.sculpt()

    def skin(self) -> np.ndarray:
        """`(52, vertices, 3)` for the vertices of the face."""
        return np.stack([self._shape(name) for name in BLENDSHAPE_NAMES])

    def carried(self, points: np.ndarray) -> np.ndarray:
        """`(52, n, 3)` for points `(n, 3)` on the upper face, such as brows: what moves the skin moves them."""
        moves = np.zeros((len(BLENDSHAPE_NAMES), *points.shape))
        for row, name in enumerate(BLENDSHAPE_NAMES):
            moves[row] = slid(points, sum((brush.at(points) for brush in _brushes(name)), np.zeros(points.shape)))
        return moves

    def with_jaw(self, points: np.ndarray) -> np.ndarray:
        """`(52, n, 3)` for points `(n, 3)` that are one with the jaw, such as the lower teeth."""
        moves = np.zeros((len(BLENDSHAPE_NAMES), *points.shape))
        for row, name in enumerate(BLENDSHAPE_NAMES):
            moves[row] = _jaw(name, points)
        return moves

    def _shape(self, name: str) -> np.ndarray:
        if name.startswith("eye"):
            return self._eye(name)
        moves = sum((brush.at(self.rest) for brush in _brushes(name)), np.zeros(self.rest.shape))
        moves *= 1 - self._lid_hold[:, None]
        if (corner := CORNERS.get(name.replace("Right", "Left"))) is not None:
            moves = moves + self._corner(-1 if name.endswith("Right") else 1, corner)
        moves = moves + self.jaw_weight[:, None] * _jaw(name, self.rest) + self._lips(name)
        return slid(self.rest, moves) if "jaw" not in name else moves

    def lids(self, name: str) -> Lids:
        """The lids of the eye that an eye's shape moves, where it is 1."""
        lids = Lids()
        return {
            "eyeBlink": lids.closed,
            "eyeWide": replace(lids, upper=lids.upper + 0.040, lower=lids.lower + 0.010),
            "eyeSquint": replace(lids, upper=lids.upper - 0.042, lower=lids.lower - 0.050),
            "eyeLookDown": replace(lids, upper=lids.upper - 0.050, lower=lids.lower + 0.012),
            "eyeLookUp": replace(lids, upper=lids.upper + 0.024, lower=lids.lower - 0.016),
            "eyeLookIn": replace(lids, aside=-0.010),
            "eyeLookOut": replace(lids, aside=0.010),
        }[name.removesuffix("Left").removesuffix("Right")]

    def _eye(self, name: str) -> np.ndarray:
        """Lids that close, open wide, narrow, or go with the gaze."""
        left = name.endswith("Left")
        moves = self.face.sculpt(**{"left" if left else "right": self.lids(name)}) - self.rest
        if name.startswith("eyeSquint"):
            cheek = Brush((0.34 if left else -0.34, -0.13), (0.16, 0.07), (0.0, 0.018, 0.012)).at(self.rest)
            moves += cheek * (1 - self._lid_hold[:, None])
        return moves

    def _lips(self, name: str) -> np.ndarray:
        """What upper and lower lip do on their own, `(vertices, 3)`."""
        upper, lower, (_, y, z) = self._upper[:, None], self._lower[:, None], np.eye(3)
        stem, mirror = name.removesuffix("Left").removesuffix("Right"), -1 if name.endswith("Right") else 1
        side = np.exp(-0.5 * ((mirror * self.rest[:, 0] - 0.12) / 0.10) ** 2)[:, None]
        both, thin = upper + lower, self._to_the_line
        if stem == "mouthUpperUp":
            return side * upper * (0.080 * y + 0.010 * z)
        if stem == "mouthLowerDown":
            return side * lower * (-0.095 * y + 0.005 * z)
        if stem == "noseSneer":
            return side * upper * (0.030 * y)
        if stem == "mouthPress":
            return side * (0.50 * thin - 0.012 * both * z)
        if stem == "mouthRollUpper":
            return upper * (0.85 * thin - 0.035 * z)
        if stem == "mouthRollLower":
            return lower * (0.85 * thin - 0.035 * z)
        if stem == "mouthShrugUpper":
            return upper * (0.025 * y + 0.030 * z)
        if stem == "mouthShrugLower":
            chin = Brush((0.0, -0.80), (0.15, 0.10), (0.0, 0.040, 0.015)).at(self.rest)
            return lower * (0.032 * y + 0.040 * z) + upper * (0.030 * y + 0.012 * z) + chin
        if stem == "mouthPucker":
            return self._narrowed(0.46) + both * (0.085 * z) - 0.35 * thin
        if stem == "mouthFunnel":
            return self._narrowed(0.34) + both * (0.085 * z) + 0.050 * (upper - 1.15 * lower) * y
        if stem == "mouthClose":
            opened = _jaw("jawOpen", self.rest)
            return self._near_lips[:, None] * (0.15 - self.jaw_weight[:, None]) * opened
        if stem == "tongueOut":
            return lower * (-0.050 * y) + upper * (0.012 * y)
        return np.zeros(self.rest.shape)

    def _corner(self, side: int, move: tuple[float, float, float]) -> np.ndarray:
        """`(vertices, 3)` the move of a corner of the mouth, and what it draws with it."""
        along = side * self.rest[:, 0] / MOUTH_HALF_WIDTH
        beyond = np.exp(-0.5 * (np.maximum(along - 1, 0) * MOUTH_HALF_WIDTH / 0.11) ** 2)
        height = np.exp(-0.5 * ((self.rest[:, 1] - MOUTH[1]) / 0.15) ** 2)
        draws = beyond * height * (self.rest[:, 2] > 0)
        inside = np.clip(along, 0, 1)
        return (draws[:, None] * np.stack([inside, inside**2, inside**2], axis=1)) * move * [side, 1, 1]

    def _narrowed(self, share: float) -> np.ndarray:
        away = (self.rest[:, :2] - MOUTH) / np.array([0.24, 0.16])
        reach = np.exp(-0.5 * (away**2).sum(axis=1)) * (self.rest[:, 2] > 0)
        inward = np.zeros(self.rest.shape)
        inward[:, 0] = -share * self.rest[:, 0] * np.minimum(1.35 * reach, 1)
        return inward

    @cached_property
    def _spoke_height(self) -> np.ndarray:
        """`(vertices,)` 1 straight above the mouth, -1 straight below it, 0 beside it."""
        away = self.rest[:, :2] - MOUTH
        height = away[:, 1] / np.maximum(np.linalg.norm(away, axis=1), 1e-6)
        rings = np.arange(len(height)) // SPOKES
        lips = rings <= BORDER
        height[lips] = np.tile(np.sin(self.face.angles), len(height) // SPOKES + 1)[: len(height)][lips]
        return height

    @cached_property
    def _distance(self) -> np.ndarray:
        """How far `(vertices,)` from the lips."""
        away = (self.rest[:, :2] - MOUTH) / np.array([1.0, 1.0])
        away[:, 0] -= np.clip(away[:, 0], -MOUTH_HALF_WIDTH, MOUTH_HALF_WIDTH)
        far = np.linalg.norm(away, axis=1)
        far[: (BORDER + 1) * SPOKES] = 0
        return far

    @cached_property
    def _upper(self) -> np.ndarray:
        """`(vertices,)` 1 on the upper lip, falling to its corners and to the skin around."""
        return self._lip(self._spoke_height)

    @cached_property
    def _lower(self) -> np.ndarray:
        """`(vertices,)` 1 on the lower lip."""
        return self._lip(-self._spoke_height)

    def _lip(self, height: np.ndarray) -> np.ndarray:
        return np.maximum(height, 0) ** 0.6 * self._near_lips

    @cached_property
    def _near_lips(self) -> np.ndarray:
        """`(vertices,)` 1 on the lips, falling into the mouth and to the skin around."""
        near = np.exp(-0.5 * (self._distance / 0.085) ** 2) * (self.rest[:, 2] > 0)
        near[: INSIDE * SPOKES] = np.repeat([0.3, 0.7, 0.9], SPOKES)
        return near

    @cached_property
    def jaw_weight(self) -> np.ndarray:
        """`(vertices,)` how far each goes with the jaw: 1 lower lip and chin, 0.4 the corners of the mouth, 0 nose."""
        height, far = self._spoke_height, self._distance
        # Sharp where the lips part, soft in the cheeks.
        straight = np.clip(np.abs(height), 0, 1) ** (0.55 + 0.85 * (1 - np.exp(-far / 0.10)))
        corners = 0.40 * np.exp(-0.5 * (far / 0.22) ** 2)
        weight = np.where(height < 0, corners + (1 - corners) * straight, corners * (1 - straight))
        beside = np.exp(-0.5 * (np.maximum(np.abs(self.rest[:, 0]) - 0.30, 0) / 0.30) ** 2)
        front = np.clip((self.rest[:, 2] + 0.15) / 0.55, 0, 1)
        weight = weight * np.where(far > 0, beside * front * front * (3 - 2 * front), 1)
        weight[:SPOKES] *= 0.6
        return weight

    @cached_property
    def _to_the_line(self) -> np.ndarray:
        """For each vertex of the lips `(vertices, 3)`, the way up or down to where they meet."""
        way = np.zeros(self.rest.shape)
        rings = way[: (BORDER + 1) * SPOKES].reshape(-1, SPOKES, 3)
        points = self.rest[: (BORDER + 1) * SPOKES].reshape(-1, SPOKES, 3)
        rings[MIDDLE:, :, 1] = (points[MEET] - points[MIDDLE:])[..., 1]
        return way

    @cached_property
    def _lid_hold(self) -> np.ndarray:
        """`(vertices,)` 1 on the edges of the lids, which stay on the eyeballs, falling to 0 where the lids end."""
        rows = np.concatenate([[1.0, 1.0], 1 - self.face.lid_shares[1:]])[self.face.lid_rows]
        return np.concatenate([np.zeros(self.face.num_ring_vertices), rows, rows])


def _brushes(name: str) -> list[Brush]:
    if name.endswith("Right"):
        return [brush.mirrored() for brush in BRUSHES.get(name.removesuffix("Right") + "Left", ())]
    return list(BRUSHES.get(name, ()))


def _jaw(name: str, points: np.ndarray) -> np.ndarray:
    """How the jaw moves points that are one with it."""
    aside = {"jawLeft": (0.075, 0, 0), "jawRight": (-0.075, 0, 0), "jawForward": (0, 0, 0.070)}
    if name in aside:
        return np.broadcast_to(np.array(aside[name]), points.shape)
    if name != "jawOpen":
        return np.zeros(points.shape)
    away = points - _JAW_PIVOT
    cos, sin = np.cos(_JAW_ANGLE), np.sin(_JAW_ANGLE)
    turn = np.array([[0, 0, 0], [0, cos - 1, -sin], [0, sin, cos - 1]])
    return away @ turn.T
