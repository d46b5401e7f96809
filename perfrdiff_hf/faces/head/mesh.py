"""What a three-dimensional head is: parts with their 52 shapes, hung on joints that turn.

Units are metres; x points to the person's own left, y up, z to where the face looks, as in glTF.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


# Each turns with the one before it: the neck takes a share of the head's turn, and the head the rest.
JOINTS = {"body": None, "neck": "body", "head": "neck", "leftEye": "head", "rightEye": "head"}
NECK_SHARE = 0.35


@dataclass(frozen=True)
class Part:
    """One piece of surface.

    Args:
        name: what it is.
        joint: one of `JOINTS`, with which it turns.
        positions: `(vertices, 3)` at rest, where no joint is turned.
        triangles: `(triangles, 3)` indices of vertices, counter-clockwise as seen from outside.
        colours: `(vertices, 3)` sRGB in [0, 1].
        shapes: `(52, vertices, 3)` how far each blendshape at 1 moves each vertex; None: none moves any.
        roughness: 0 shines like a wet eye, 1 not at all.
    """

    name: str
    joint: str
    positions: np.ndarray
    triangles: np.ndarray
    colours: np.ndarray
    shapes: np.ndarray | None = None
    roughness: float = 0.7

    def moved(self, blendshapes: np.ndarray) -> np.ndarray:
        """Positions `(vertices, 3)` for blendshapes `(52,)`; no joint is turned."""
        if self.shapes is None:
            return self.positions
        active = np.flatnonzero(blendshapes)
        return self.positions + np.tensordot(blendshapes[active], self.shapes[active], axes=1)


@dataclass(frozen=True)
class Head:
    """A head with neck and shoulders.

    Args:
        parts: all pieces of surface.
        pivots: about which point `(3,)` each of `JOINTS` turns.
    """

    parts: tuple[Part, ...]
    pivots: dict[str, np.ndarray]


def vertex_normals(positions: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Smooth unit normals `(vertices, 3)`: the mean of the triangles around a vertex, by their size."""
    a, b, c = (positions[triangles[:, corner]] for corner in range(3))
    faces = np.cross(b - a, c - a)
    normals = np.stack(
        [np.bincount(triangles.ravel(), np.repeat(faces[:, axis], 3), len(positions)) for axis in range(3)], axis=1
    )
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    # A vertex that no triangle of any size touches still needs a direction.
    return np.where(lengths > 1e-12, normals / np.maximum(lengths, 1e-12), np.array([0.0, 0.0, 1.0]))
