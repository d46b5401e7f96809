"""What belongs to a head besides its skin: eyeballs, lashes, brows, teeth, tongue, ears, hair, neck and shoulders.

Each function gives points `(n, 3)`, triangles `(m, 3)` and colours `(n, 3)`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .face import EDGE_RADIUS, EYE, EYE_RADIUS, MOUTH, Face, Lids
from .surface import on_skin, skin


# The eyeball is smaller than the room between the lids, which move along straight lines and would cut into it.
BALL_RADIUS = 0.955 * EYE_RADIUS


class Colours(NamedTuple):
    """The colours of a head, each sRGB in [0, 1]; those of the drawn face."""

    skin: tuple[float, float, float] = (0.925, 0.780, 0.678)
    blush: tuple[float, float, float] = (0.910, 0.640, 0.565)
    lip: tuple[float, float, float] = (0.790, 0.470, 0.440)
    mouth: tuple[float, float, float] = (0.300, 0.110, 0.125)
    tongue: tuple[float, float, float] = (0.800, 0.410, 0.400)
    teeth: tuple[float, float, float] = (0.975, 0.960, 0.935)
    hair: tuple[float, float, float] = (0.260, 0.215, 0.215)
    eye: tuple[float, float, float] = (0.985, 0.980, 0.970)
    iris: tuple[float, float, float] = (0.290, 0.440, 0.470)
    pupil: tuple[float, float, float] = (0.075, 0.065, 0.075)
    shirt: tuple[float, float, float] = (0.306, 0.475, 0.588)


COLOURS = Colours()


class Piece(NamedTuple):
    """A piece of surface."""

    points: np.ndarray
    triangles: np.ndarray
    colours: np.ndarray


def eyeball(colours: Colours) -> Piece:
    """The left eyeball about `EYE`, looking ahead: white, iris with a dark rim, pupil, and a glint."""
    # Rings by their angle from ahead; two at the same angle keep a border sharp.
    rim, pupil = np.deg2rad(29), np.deg2rad(13)
    iris = np.array(colours.iris)
    rings = [
        (0.0, colours.pupil), (pupil, colours.pupil), (pupil, 0.75 * iris), (0.7 * rim, iris),
        (0.88 * rim, 0.85 * iris), (rim, 0.42 * iris), (rim + 0.03, colours.eye), (1.0, colours.eye),
        (1.4, colours.eye), (2.0, colours.eye), (np.pi, colours.eye),
    ]  # fmt: skip
    around = 2 * np.pi * np.arange(28) / 28
    rows = []
    for angle, _ in rings:
        circle = np.sin(angle) * np.stack([np.cos(around), np.sin(around)], axis=1)
        ring = np.column_stack([circle, np.full(28, np.cos(angle))])
        # The cornea bulges a little.
        rows.append(ring * BALL_RADIUS * (1 + 0.015 * np.clip(1 - angle / 0.7, 0, 1)))
    ball = _grid(np.stack(rows), np.repeat([colour for _, colour in rings], 28, axis=0), closed=True)
    spots = [_glint((0.23, 0.27), 0.124), _glint((-0.20, -0.24), 0.060)]
    return _moved(joined([ball, *spots]), EYE)


def lashes(face: Face, lids: Lids, colours: Colours) -> Piece:
    """The dark line along the edge of the left eye's upper lid, longest at the outer corner."""
    angles = np.linspace(-0.10, np.pi, 25)
    thick = 0.021 * (1 - np.linspace(0, 1, 25)) ** 0.45 * np.clip((np.pi - angles) / 0.35, 0.15, 1)
    edge = face.margin(lids, np.maximum(angles, 0), EDGE_RADIUS + 0.012)
    edge[0] += np.array([0.045, 0.006, -0.035])  # beyond the corner
    thick[0] = 0.004
    return _tube(edge, thick, np.array([0.0, 0.75, 0.65]), np.array(colours.pupil) + 0.03)


def brow(colours: Colours) -> Piece:
    """The left brow, thick beside the nose and thin outside."""
    along = np.linspace(0, 1, 15)
    x = 0.130 + 0.375 * along
    y = 0.285 + 0.075 * np.sin(np.pi * (0.10 + 0.72 * along)) - 0.020 * along
    spine = on_skin(np.stack([x, y], axis=1)) + np.array([0, 0, 0.016])
    thick = 0.040 * (1 - 0.72 * along**1.6) * np.clip(along / 0.08 + 0.55, 0, 1)
    return _tube(spine, thick, np.array([0.0, 1.0, 0.15]), np.array(colours.hair), flat=0.55)


def teeth(colours: Colours, upper: bool) -> Piece:
    """One row of teeth as a smooth band."""
    across = np.linspace(-1, 1, 17)
    heights = [0.050, 0.035, -0.030, -0.040] if upper else [0.000, -0.020, -0.070, -0.085]
    depths = [-0.030, 0.0, 0.004, -0.020] if upper else [-0.020, 0.0, 0.0, -0.030]
    front = float(on_skin(MOUTH[None])[0, 2]) - (0.050 if upper else 0.075)
    wide = 0.300 if upper else 0.240
    rows = []
    for height, depth in zip(heights, depths):
        z = front + depth - 0.24 * across**2
        rows.append(np.stack([wide * np.sin(across * 1.3) / np.sin(1.3), np.full(17, MOUTH[1] + height), z], axis=1))
    return _grid(np.stack(rows), np.tile(colours.teeth, (len(rows) * 17, 1)), closed=False)


def tongue(colours: Colours) -> Piece:
    """The tongue, resting in the lower jaw."""
    front = float(on_skin(MOUTH[None])[0, 2])
    around, along = 2 * np.pi * np.arange(16) / 16, np.linspace(0.02, np.pi - 0.02, 10)[:, None]
    x, y = 0.140 * np.sin(along) * np.cos(around), 0.045 * np.sin(along) * np.sin(around)
    rows = np.stack([x, y, np.broadcast_to(0.190 * np.cos(along), x.shape)], axis=-1)
    rows[..., 2] += front - 0.29
    rows[..., 1] += MOUTH[1] - 0.060
    return _outward(_grid(rows, np.tile(colours.tongue, (160, 1)), closed=True))


def ear(colours: Colours) -> Piece:
    """The left ear: a shell with a raised rim."""
    around = 2 * np.pi * np.arange(26) / 26
    rows, shades = [], []
    for reach, out, shade in [
        (0.0, 0.020, 0.80), (0.35, 0.022, 0.80), (0.62, 0.035, 0.86), (0.80, 0.075, 1.0), (0.95, 0.080, 1.0),
        (1.02, 0.040, 0.98), (0.80, 0.0, 0.95), (0.5, -0.05, 0.95),
    ]:  # fmt: skip
        narrow = np.where(np.sin(around) < 0, 1 - 0.30 * np.sin(around) ** 2, 1.0)
        y, z = 0.20 * reach * np.sin(around), 0.125 * reach * np.cos(around) * narrow
        rows.append(np.stack([np.full(26, out), y, z], axis=1))
        shades.append(np.tile(shade * np.array(colours.skin), (26, 1)))
    grid = _grid(np.stack(rows), np.concatenate(shades), closed=True)
    tilt, flare = np.deg2rad(-10), np.deg2rad(20)
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    about_y = np.array([[np.cos(flare), 0, np.sin(flare)], [0, 1, 0], [-np.sin(flare), 0, np.cos(flare)]])
    placed = grid.points @ (about_y @ about_x).T + [0.835, -0.06, -0.06]
    return _outward(grid._replace(points=placed))


def hair(colours: Colours) -> Piece:
    """A cap of hair, parted on the person's left, whose rim has some thickness."""
    turn = 2 * np.pi * np.arange(64) / 64  # 0 ahead, growing to the own left
    edge = _hairline(turn)
    down = np.linspace(0, 1, 16)
    rows = []
    for share in down:
        polar = share * edge  # from the crown
        chart = _chart_from_crown(polar, turn)
        points = skin(chart)
        out = points / np.linalg.norm(points, axis=1, keepdims=True)
        body = 0.105 * (1 - 0.35 * share**2) * (1 - 0.35 * np.cos(turn) * share)
        wave = 0.014 * np.sin(9 * turn + 5 * share) * share
        sweep = 0.050 * np.exp(-0.5 * ((_around(turn + 0.35)) / 0.55) ** 2) * share**2
        rows.append(points + out * (body + wave + sweep)[:, None])
    tuck = skin(_chart_from_crown(edge * 0.97, turn))
    rows.append((rows[-1] + tuck) / 2)
    rows.append(tuck * 0.985)
    shade = np.array(colours.hair) * (1 + 0.10 * np.sin(9 * turn))[:, None]
    return _grid(np.stack(rows), np.tile(shade, (len(rows), 1)), closed=True)


def neck(colours: Colours) -> Piece:
    """From under the skull to the collar."""
    rows = [
        (-0.45, 0.36, 0.36, -0.20), (-0.90, 0.345, 0.35, -0.17), (-1.05, 0.34, 0.34, -0.17),
        (-1.28, 0.37, 0.36, -0.20), (-1.45, 0.46, 0.40, -0.20),
    ]  # fmt: skip
    shade = np.linspace(0.86, 1.0, len(rows))[:, None] * np.array(colours.skin)
    return _turned(rows, shade)


def shoulders(colours: Colours) -> Piece:
    """A shirt with a collar."""
    rows = [
        (-1.34, 0.340, 0.330, -0.19), (-1.21, 0.385, 0.370, -0.19), (-1.19, 0.43, 0.41, -0.19),
        (-1.23, 0.47, 0.44, -0.19), (-1.31, 0.52, 0.46, -0.19), (-1.38, 0.68, 0.50, -0.19), (-1.45, 0.93, 0.54, -0.20),
        (-1.57, 1.14, 0.56, -0.20), (-1.80, 1.25, 0.58, -0.20), (-2.15, 1.28, 0.58, -0.20),
    ]  # fmt: skip
    dark = np.array([0.8, 0.84, 0.82, 0.84, 1, 1, 1, 1, 1, 1])[:, None] * np.array(colours.shirt)
    return _turned(rows, dark)


def joined(pieces: list[Piece]) -> Piece:
    """Several pieces as one."""
    first = np.cumsum([0, *(len(piece.points) for piece in pieces[:-1])])
    return Piece(
        np.concatenate([piece.points for piece in pieces]),
        np.concatenate([piece.triangles + at for piece, at in zip(pieces, first)]),
        np.concatenate([piece.colours for piece in pieces]),
    )


def mirrored(piece: Piece) -> Piece:
    """The same on the person's right."""
    return Piece(piece.points * [-1, 1, 1], piece.triangles[:, ::-1], piece.colours)


def _outward(piece: Piece) -> Piece:
    """A closed piece with its triangles counter-clockwise as seen from outside."""
    a, b, c = (piece.points[piece.triangles[:, corner]] for corner in range(3))
    inside_out = np.einsum("ij,ij->", a - piece.points.mean(axis=0), np.cross(b - a, c - a)) < 0
    return piece._replace(triangles=piece.triangles[:, ::-1]) if inside_out else piece


def _moved(piece: Piece, by: np.ndarray) -> Piece:
    return piece._replace(points=piece.points + by)


def _hairline(turn: np.ndarray) -> np.ndarray:
    """How far the hair reaches from the crown, as an angle, in each direction: parted on the own left."""
    ahead = 0.93 - 0.16 * np.exp(-0.5 * (_around(turn - 0.30) / 0.28) ** 2) + 0.22 * np.clip(-_around(turn), 0, 1)
    temple, back = 1.42, 2.15
    away = np.abs(_around(turn))
    to_side = _step((away - 0.70) / 0.60)
    to_back = _step((away - 1.80) / 0.35)
    return (ahead * (1 - to_side) + temple * to_side) * (1 - to_back) + back * to_back


def _chart_from_crown(polar: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Points of the chart by their angle from the crown, and the direction in which they lie from there."""
    crown = np.deg2rad(-8)  # behind the top
    x, y, z = np.sin(polar) * np.sin(turn), np.cos(polar), np.sin(polar) * np.cos(turn)
    y, z = y * np.cos(crown) - z * np.sin(crown), y * np.sin(crown) + z * np.cos(crown)
    angle = np.arccos(np.clip(z, -1, 1))
    flat = np.maximum(np.hypot(x, y), 1e-9)
    return np.stack([x / flat * angle, y / flat * angle], axis=-1)


def _around(turn: np.ndarray) -> np.ndarray:
    return (turn + np.pi) % (2 * np.pi) - np.pi


def _step(t: np.ndarray) -> np.ndarray:
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def _glint(at: tuple[float, float], radius: float) -> Piece:
    """A white spot on the eyeball; where it is and how large, in radians."""
    around = 2 * np.pi * np.arange(12) / 12
    circle = radius * np.stack([np.cos(around), np.sin(around)], axis=1)
    angles = np.array(at) + np.concatenate([np.zeros((1, 2)), circle])
    length = np.linalg.norm(angles, axis=1, keepdims=True)
    points = np.concatenate([np.sinc(length / np.pi) * angles, np.cos(length)], axis=1)
    fan = np.stack([np.zeros(12, int), 1 + np.arange(12), 1 + (np.arange(12) + 1) % 12], axis=1)
    return Piece(points * BALL_RADIUS * 1.018, fan, np.ones((13, 3)))


def _turned(rows: list[tuple[float, float, float, float]], colours: np.ndarray) -> Piece:
    """A smooth tube along rings, each given by its height, half its width and depth, and its middle's depth."""
    around = 2 * np.pi * np.arange(40) / 40
    cos, sin = np.cos(around), np.sin(around)
    rings = _rounded(np.array(rows))
    points = [np.stack([wide * sin, np.full(40, y), deep * cos + z], axis=1) for y, wide, deep, z in rings]
    return _grid(np.stack(points), np.repeat(_rounded(colours), 40, axis=0), closed=True)


def _rounded(rows: np.ndarray) -> np.ndarray:
    """A line through `(rows, values)` with its corners cut twice; its ends stay."""
    for _ in range(2):
        cut = [0.75 * rows[:-1] + 0.25 * rows[1:], 0.25 * rows[:-1] + 0.75 * rows[1:]]
        rows = np.concatenate([rows[:1], np.stack(cut, axis=1).reshape(-1, rows.shape[1])[1:-1], rows[-1:]])
    return rows


def _tube(spine: np.ndarray, thick: np.ndarray, up: np.ndarray, colour: np.ndarray, flat: float = 0.7) -> Piece:
    """A tube along a spine, as thick as said in the direction `up`, and flatter across it; both ends are closed."""
    ahead = np.gradient(spine, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    across = np.cross(ahead, up)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    upward = np.cross(across, ahead)
    around = 2 * np.pi * np.arange(8) / 8
    rows = spine[:, None] + thick[:, None, None] * (
        np.cos(around)[:, None] * upward[:, None] + flat * np.sin(around)[:, None] * across[:, None]
    )
    ends = [np.broadcast_to(rows[at].mean(axis=0), (1, 8, 3)) for at in (0, -1)]
    rows = np.concatenate([ends[0], rows, ends[1]])
    return _outward(_grid(rows, np.tile(colour, (rows.shape[0] * 8, 1)), closed=True))


def _grid(rows: np.ndarray, colours: np.ndarray, closed: bool) -> Piece:
    """A surface through `(rows, n, 3)` points; `closed`: each row is a ring."""
    count, n = rows.shape[:2]
    columns = np.arange(n if closed else n - 1)
    here = (np.arange(count - 1)[:, None] * n + columns).ravel()
    beside = (np.arange(count - 1)[:, None] * n + (columns + 1) % n).ravel()
    triangles = np.concatenate(
        [np.stack([here, here + n, beside], axis=1), np.stack([beside, here + n, beside + n], axis=1)]
    )
    return Piece(rows.reshape(-1, 3), triangles, np.asarray(colours, dtype=np.float64).reshape(-1, 3))
