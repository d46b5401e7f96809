"""The head as a whole: skin and pieces, their colours, and what the blendshapes move."""

from __future__ import annotations

from functools import cache

import numpy as np

from ...behaviour import BLENDSHAPE_NAMES
from . import pieces
from .face import BORDER, EYE, MIDDLE, SPOKES, Face, Lids
from .mesh import JOINTS, Head, Part
from .pieces import COLOURS, Colours, Piece
from .shapes import Shapes


# A head of two units is 24 cm high.
METRES = 0.12
_HEAD_PIVOT = np.array([0.0, -0.62, -0.20])
_NECK_PIVOT = np.array([0.0, -1.25, -0.20])


@cache
def build_head(colours: Colours = COLOURS) -> Head:
    """The head, in metres; the middle of the skull is the origin.

    Args:
        colours: of skin, hair and so on.
    """
    face = Face()
    shapes = Shapes(face)
    skin = Piece(shapes.rest, face.triangles, _skin_colours(face, shapes.rest, colours))
    brow = pieces.joined([pieces.brow(colours), pieces.mirrored(pieces.brow(colours))])
    lower, tongue = pieces.teeth(colours, upper=False), pieces.tongue(colours)
    lashes, lash_shapes = _lashes(face, colours)
    ears = pieces.joined([pieces.ear(colours), pieces.mirrored(pieces.ear(colours))])
    eye = pieces.eyeball(colours)
    parts = (
        _part("face", "head", skin, shapes.skin(), 0.62),
        _part("brows", "head", brow, shapes.carried(brow.points), 0.9),
        _part("lashes", "head", lashes, lash_shapes, 0.9),
        _part("upperTeeth", "head", pieces.teeth(colours, upper=True), roughness=0.3),
        _part("lowerTeeth", "head", lower, shapes.with_jaw(lower.points), 0.3),
        _part("tongue", "head", tongue, _tongue_shapes(shapes, tongue), 0.4),
        _part("ears", "head", ears, roughness=0.65),
        _part("hair", "head", pieces.hair(colours), roughness=0.75),
        _part("leftEye", "leftEye", eye, roughness=0.12),
        _part("rightEye", "rightEye", _right_eye(eye), roughness=0.12),
        _part("neck", "neck", pieces.neck(colours), roughness=0.65),
        _part("shoulders", "body", pieces.shoulders(colours), roughness=0.95),
    )
    pivots = [np.zeros(3), _NECK_PIVOT, _HEAD_PIVOT, EYE, EYE * [-1, 1, 1]]
    return Head(parts, {joint: METRES * pivot for joint, pivot in zip(JOINTS, pivots)})


def _part(name: str, joint: str, piece: Piece, shapes: np.ndarray | None = None, roughness: float = 0.7) -> Part:
    points = (METRES * piece.points).astype(np.float32)
    if shapes is not None:
        shapes = METRES * shapes
        # What cannot be seen is not stored: a sixtieth of a millimetre.
        shapes = np.where(np.abs(shapes).max(axis=2, keepdims=True) < 1.5e-5, 0, shapes).astype(np.float32)
    colours = np.clip(piece.colours, 0, 1).astype(np.float32)
    return Part(name, joint, points, piece.triangles.astype(np.int64), colours, shapes, roughness)


def _right_eye(eye: Piece) -> Piece:
    """The left eyeball on the other side; its glint stays where the light is."""
    return eye._replace(points=eye.points - EYE * [2, 0, 0])


def _skin_colours(face: Face, points: np.ndarray, colours: Colours) -> np.ndarray:
    """Skin with a blush on cheeks, nose and ears, lips, and a dark mouth."""
    painted = np.tile(np.array(colours.skin), (len(points), 1))
    for centre, reach, strength in [((0.43, -0.28), (0.15, 0.12), 0.55), ((0.0, -0.25), (0.10, 0.08), 0.25)]:
        away = (np.abs(points[:, :2] * [1, 1]) - np.array([centre[0], -centre[1]])) / reach
        away[:, 1] = (points[:, 1] - centre[1]) / reach[1]
        glow = strength * np.exp(-0.5 * (away**2).sum(axis=1)) * (points[:, 2] > 0)
        painted += glow[:, None] * (np.array(colours.blush) - painted)
    rings = np.arange(len(points)) // SPOKES
    painted[rings <= MIDDLE] = colours.lip
    painted[rings == BORDER] = 0.55 * np.array(colours.lip) + 0.45 * np.array(colours.skin)
    painted[rings <= 2] = colours.mouth
    painted[rings == 3] = 0.6 * np.array(colours.lip)
    rows = np.concatenate([face.lid_rows, face.lid_rows])
    painted[face.num_ring_vertices :][rows == 0] = colours.blush
    return painted


def _lashes(face: Face, colours: Colours) -> tuple[Piece, np.ndarray]:
    """The lashes of both eyes, and how they go with the lids."""
    shapes = Shapes(face)
    rest = pieces.lashes(face, Lids(), colours)
    moves = np.zeros((len(BLENDSHAPE_NAMES), 2 * len(rest.points), 3))
    for row, name in enumerate(BLENDSHAPE_NAMES):
        if name.startswith("eye"):
            move = pieces.lashes(face, shapes.lids(name), colours).points - rest.points
            if name.endswith("Left"):
                moves[row, : len(move)] = move
            else:
                moves[row, len(move) :] = move * [-1, 1, 1]
    return pieces.joined([rest, pieces.mirrored(rest)]), moves


def _tongue_shapes(shapes: Shapes, tongue: Piece) -> np.ndarray:
    """The tongue goes with the jaw, and comes out."""
    moves = shapes.with_jaw(tongue.points)
    moves[BLENDSHAPE_NAMES.index("jawOpen")] *= 0.8
    tip = np.clip((tongue.points[:, 2] - tongue.points[:, 2].min()) / 0.38, 0, 1)[:, None]
    out = tip * np.array([0.0, 0.020, 0.340]) - tip**3 * np.array([0.0, 0.09, 0.0])
    moves[BLENDSHAPE_NAMES.index("tongueOut")] = out
    return moves
