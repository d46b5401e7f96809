"""The face as one mesh: rings around the mouth that end at the back of the head, with an eye cut in on each side.

The mesh does not change; `sculpt` says where its vertices are for a pose, and a blendshape is the difference of two
poses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .surface import chart_of, on_skin, skin


SPOKES = 96
MOUTH = np.array([0.0, -0.545])
MOUTH_HALF_WIDTH = 0.235
EYE = np.array([0.305, 0.045, 0.475])
EYE_RADIUS = 0.235
EYE_HALF_WIDTH = 0.172
# The edges of the lids lie on a ball around the eyeball.
EDGE_RADIUS = 1.055 * EYE_RADIUS
# From the inside out: the bag of the mouth, the inner edge of the lips, where they meet, their middle, their border.
INSIDE, MEET, MIDDLE, BORDER = 3, 4, 5, 6
# How wide and how high each of these rings is beside the lips' border, and how far it stands out.
_LIP_RINGS = (
    (0.0, 0.0, -0.42), (1.0, 1.0, -0.34), (1.05, 0.9, -0.12), (0.97, 0.30, -0.035), (0.985, 0.0, 0.020),
    (1.01, 0.52, 0.048), (1.06, 1.0, 0.008),
)  # fmt: skip
_SKIN_RINGS = 38
_LID_RINGS = 8
# Which rings and spokes the left eye takes the place of.
_EYE_RINGS, _EYE_SPOKES = slice(17, 25), slice(10, 23)


@dataclass(frozen=True)
class Lids:
    """The opening of one eye: heights of the lids over the line between its corners, and how far it is moved aside."""

    upper: float = 0.128
    lower: float = 0.092
    aside: float = 0.0

    @property
    def closed(self) -> Lids:
        """Where the lids meet: low, and a little arched downwards."""
        return replace(self, upper=-0.070, lower=0.064)


class Face:
    """The mesh of the face: which vertices there are, and how they hang together."""

    @cached_property
    def ring_chart(self) -> np.ndarray:
        """Points of the chart `(rings, SPOKES, 2)` for the skin outside the lips."""
        border = chart_of(self.lip_points[BORDER, :, :2])
        along = np.linspace(0, 1, _SKIN_RINGS + 1)[1:]
        along = np.expm1(2.3 * along) / np.expm1(2.3)
        rim = np.pi * np.stack([np.cos(self.angles), np.sin(self.angles)], axis=1)
        return border + along[:, None, None] * (rim - border)

    @cached_property
    def angles(self) -> np.ndarray:
        """The direction of each spoke `(SPOKES,)`, from the person's left corner of the mouth over the nose."""
        return 2 * np.pi * np.arange(SPOKES) / SPOKES

    @cached_property
    def lip_points(self) -> np.ndarray:
        """Points `(7, SPOKES, 3)` of the bag of the mouth and the lips at rest."""
        cos, sin = np.cos(self.angles), np.sin(self.angles)
        up = sin >= 0
        bow = (1 - 0.30 * np.exp(-((cos / 0.16) ** 2))) * np.abs(sin) ** 0.8
        full = np.where(up, 0.058 * bow, -0.078 * np.abs(sin) ** 0.75)
        line = 0.016 * np.cos(2 * self.angles) * np.abs(sin) - 0.004
        points = np.zeros((BORDER + 1, SPOKES, 3))
        for ring, (wide, high, depth) in enumerate(_LIP_RINGS):
            xy = np.stack([MOUTH_HALF_WIDTH * wide * cos, line + high * full], axis=1) + MOUTH
            points[ring] = on_skin(xy)
            points[ring, :, 2] += depth if ring < MEET else depth * (0.35 + 0.65 * np.abs(sin) ** 0.6)
        return points

    @cached_property
    def rings(self) -> int:
        """Rings in all: those of the mouth, then those of the skin."""
        return BORDER + 1 + _SKIN_RINGS

    @cached_property
    def _taken(self) -> tuple[np.ndarray, np.ndarray]:
        """Rings and spokes around the left eye: the loop of vertices that its lids hang from, counter-clockwise."""
        rings, spokes = _EYE_RINGS, _EYE_SPOKES
        right = [(ring, spokes.start) for ring in range(rings.start, rings.stop)]
        top = [(rings.stop, spoke) for spoke in range(spokes.start, spokes.stop)]
        left = [(ring, spokes.stop) for ring in range(rings.stop, rings.start, -1)]
        bottom = [(rings.start, spoke) for spoke in range(spokes.stop, spokes.start, -1)]
        loop = np.array([*right, *top, *left, *bottom])
        return loop[:, 0], loop[:, 1]

    @cached_property
    def loop(self) -> np.ndarray:
        """Vertices of the rings that the lids of the left eye hang from, beginning at the outer corner."""
        rings, spokes = self._taken
        points = skin(self.ring_chart)[rings - BORDER - 1, spokes]
        away = points[:, :2] - EYE[:2]
        first = int(np.argmin(np.abs(np.arctan2(away[:, 1], away[:, 0]))))
        return np.roll(rings * SPOKES + spokes, -first)

    @cached_property
    def num_ring_vertices(self) -> int:
        """Vertices of the rings; those of the lids come after them."""
        return self.rings * SPOKES

    @cached_property
    def lid_angles(self) -> np.ndarray:
        """For each vertex of the loop the direction in which its lid vertices lie, 0 outside and pi inside."""
        points = skin(self.ring_chart).reshape(-1, 3)[self.loop - (BORDER + 1) * SPOKES]
        away = points[:, :2] - EYE[:2]
        inner = int(np.argmax(np.abs(np.unwrap(np.arctan2(away[:, 1], away[:, 0])) - np.pi) * -1))
        upper = np.linspace(0, np.pi, inner + 1)
        lower = np.linspace(np.pi, 2 * np.pi, len(away) - inner + 1)
        return np.concatenate([upper, lower[1:-1]])

    @cached_property
    def skin_points(self) -> np.ndarray:
        """Points `(vertices, 3)` of the skin where the vertices outside the lips are at rest, the lids' included."""
        return skin(self._even_chart)

    @cached_property
    def _even_chart(self) -> np.ndarray:
        """The chart `(vertices, 2)`, evened out around the eyes: each vertex goes to the middle of its neighbours."""
        edge = chart_of(self.margin(Lids(), self.lid_angles, EDGE_RADIUS)[:, :2])
        around = self.ring_chart.reshape(-1, 2)[self.loop - (BORDER + 1) * SPOKES]
        shares = np.concatenate([[0], self.lid_shares])
        lids = (edge + (around - edge) * shares[:, None, None]).reshape(-1, 2)
        lips = chart_of(self.lip_points[..., :2]).reshape(-1, 2)
        chart = np.concatenate([lips, self.ring_chart.reshape(-1, 2), lids, lids * [-1, 1]])
        pairs = np.concatenate([self.triangles, self.triangles[:, ::-1]])
        here, there = pairs[:, [0, 1, 2]].ravel(), pairs[:, [1, 2, 0]].ravel()
        count = np.bincount(here, minlength=len(chart))[:, None]
        near = np.linalg.norm(0.85 * np.abs(chart * [1, 0]) + 0.85 * chart * [0, 1] - EYE[:2], axis=1)
        free = np.clip((0.52 - near) / 0.15, 0, 1)[:, None] * (count > 0)
        free[: (BORDER + 3) * SPOKES] = 0
        free[self.num_ring_vertices :][np.concatenate([self.lid_rows, self.lid_rows]) < 2] = 0
        for _ in range(60):
            mean = np.stack([np.bincount(here, chart[there, axis], len(chart)) for axis in range(2)], axis=1)
            chart = chart + 0.6 * free * (mean / np.maximum(count, 1) - chart)
            # Neighbours across a cell lie on one side only; the face is to be the same on both.
            chart = (chart + chart[self.image] * [-1, 1]) / 2
        return chart

    @cached_property
    def image(self) -> np.ndarray:
        """For each vertex `(vertices,)` the one that is its mirror image."""
        spokes = (SPOKES // 2 - np.arange(SPOKES)) % SPOKES
        rings = (np.arange(self.rings)[:, None] * SPOKES + spokes).ravel()
        lids = np.arange(2 * len(self.lid_rows)).reshape(2, -1)[::-1].ravel()
        return np.concatenate([rings, self.num_ring_vertices + lids])

    @cached_property
    def lid_shares(self) -> np.ndarray:
        """How far `(_LID_RINGS - 1,)` each row of a lid, from its edge on, lies on the way to the loop."""
        return np.linspace(0, 1, _LID_RINGS)[:-1]

    @cached_property
    def lid_rows(self) -> np.ndarray:
        """To which row each vertex of one eye's lids belongs: 0 the inner rim, 1 the edge, and outwards."""
        return np.repeat(np.arange(_LID_RINGS), len(self.loop))

    def sculpt(self, left: Lids | None = None, right: Lids | None = None) -> np.ndarray:
        """Where the vertices `(vertices, 3)` are at rest, or with other lids."""
        lips = (BORDER + 1) * SPOKES
        rings = np.concatenate([self.lip_points.reshape(-1, 3), self.skin_points[lips : self.num_ring_vertices]])
        sides = [self._lid_points(left or Lids()), self._lid_points(right or Lids())]
        return np.concatenate([rings, sides[0].reshape(-1, 3), sides[1].reshape(-1, 3) * [-1, 1, 1]])

    def margin(self, lids: Lids, angles: np.ndarray, radius: float) -> np.ndarray:
        """The edges of the left eye's lids `(..., 3)` in these directions, on a ball of that radius."""
        cos, sin = np.cos(angles), np.sin(angles)
        arch = np.abs(sin) ** 0.85
        height = np.where(sin >= 0, lids.upper, -lids.lower) * arch + 0.014 * cos
        # The highest point of an upper lid lies inside of the middle, the lowest of a lower one outside.
        x = EYE_HALF_WIDTH * (cos - 0.10 * sin * np.abs(sin)) + lids.aside * arch
        z = np.sqrt(np.maximum(radius**2 - x**2 - height**2, 0.2 * radius**2))
        return np.stack([x, height, z], axis=-1) + EYE

    def _lid_points(self, lids: Lids) -> np.ndarray:
        """`(_LID_RINGS, loop, 3)`: the inner rim, the edge, and the left eye's lids up to the loop they hang from."""
        n = len(self.loop)
        rest = self.skin_points[self.num_ring_vertices :][: _LID_RINGS * n].reshape(_LID_RINGS, n, 3)
        rim = self.margin(lids, self.lid_angles, 0.97 * EYE_RADIUS)
        edge = self.margin(lids, self.lid_angles, EDGE_RADIUS)
        shift = edge - self.margin(Lids(), self.lid_angles, EDGE_RADIUS)
        points = [rim, edge]
        for share, row in zip(self.lid_shares[1:], rest[2:]):
            flat = row[:, :2] + shift[:, :2] * (1 - share) ** 1.3
            away = flat - EYE[:2]
            ball = np.sqrt(np.maximum((1.01 * EDGE_RADIUS) ** 2 - (away**2).sum(axis=1), 0)) + EYE[2]
            deep = on_skin(flat)[:, 2]
            mix = np.clip(share * 1.1, 0, 1) ** 1.3
            z = np.maximum((1 - mix) * np.maximum(ball, deep - 0.12) + mix * deep, ball)
            # The fold over the upper lid.
            z -= 0.020 * np.exp(-(((share - 0.42) / 0.15) ** 2)) * np.maximum(np.sin(self.lid_angles), 0)
            points.append(np.concatenate([flat, z[:, None]], axis=1))
        return np.stack(points)

    @cached_property
    def triangles(self) -> np.ndarray:
        """`(triangles, 3)` of the whole mesh."""
        mirror = self.image[:SPOKES]
        kept = np.ones((self.rings, SPOKES), dtype=bool)
        kept[_EYE_RINGS, _EYE_SPOKES] = False
        other = np.ones_like(kept)
        # A cell lies between its spoke and the next: mirrored, between the one before and its own.
        other[:, (mirror - 1) % SPOKES] = kept
        ring, spoke = np.nonzero((kept & other)[:-1])
        cells = _cells(ring * SPOKES + spoke, ring * SPOKES + (spoke + 1) % SPOKES, SPOKES)
        left = self._lid_triangles(self.loop, self.num_ring_vertices)
        right = self._lid_triangles(self.image[self.loop], self.num_ring_vertices + _LID_RINGS * len(self.loop))[
            :, ::-1
        ]
        return np.concatenate([cells, left, right])

    def _lid_triangles(self, loop: np.ndarray, first: int) -> np.ndarray:
        """Triangles between the lids' rings, and from the last of them to the loop."""
        n = len(loop)
        rows = [first + row * n + np.arange(n) for row in range(_LID_RINGS)]
        return np.concatenate([_between(inner, outer) for inner, outer in zip(rows, [*rows[1:], loop])])


def _cells(here: np.ndarray, beside: np.ndarray, step: int) -> np.ndarray:
    return np.concatenate(
        [np.stack([here, here + step, beside], axis=1), np.stack([beside, here + step, beside + step], axis=1)]
    )


def _between(inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """Triangles between two closed rows of as many vertices, counter-clockwise rows seen from outside."""
    a, b, c, d = inner, np.roll(inner, -1), outer, np.roll(outer, -1)
    return np.concatenate([np.stack([a, c, b], axis=1), np.stack([b, c, d], axis=1)])
