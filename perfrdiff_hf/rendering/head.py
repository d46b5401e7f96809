"""Pictures of the three-dimensional head (`perfrdiff_hf.faces.head`), drawn on the processor."""

from __future__ import annotations

import numpy as np

from ..extras import require
from ..faces.head import Head, build_head
from ..faces.head.mesh import JOINTS, NECK_SHARE, vertex_normals
from ..faces.head.pieces import Colours
from ..faces.motion import gaze, rotation_matrices
from .face import NEUTRAL_GROUND, Palette
from .pen import Colour
from .raster import rasterise


require("rendering", "Pictures and videos")
from PIL import Image  # noqa: E402


SUPERSAMPLING = 2
# What the picture shows, in metres: how wide, and the height of its middle.
_VIEW, _MIDDLE = 0.36, -0.035
# From where the light comes: above, the viewer's right, and behind the viewer.
_LIGHT = np.array([0.40, 0.55, 0.73], dtype=np.float32)
# Between the light and the viewer, where a mirror would show the light.
_HALFWAY = _LIGHT + np.array([0, 0, 1], dtype=np.float32)
_HALFWAY /= np.linalg.norm(_HALFWAY)
_WARM = np.array([1.0, 0.97, 0.92], dtype=np.float32)
_SKY, _GROUND = np.array([0.50, 0.52, 0.56], dtype=np.float32), np.array([0.34, 0.30, 0.28], dtype=np.float32)
# Light in [0, 1] as sRGB, finely enough for the dark.
_BYTES = np.round(255 * np.linspace(0, 1, 8192) ** (1 / 2.2)).astype(np.uint8)


def draw_head(
    blendshapes: np.ndarray,
    rotation: np.ndarray,
    size: int = 256,
    head: Head | None = None,
    ground: Colour = NEUTRAL_GROUND,
) -> Image.Image:
    """Draw one head.

    Args:
        blendshapes: `(52,)` on Apple's scale.
        rotation: `(3,)` pitch, yaw and roll in radians, in the directions of `faces.motion.FaceMotion`.
        size: width and height in pixels.
        head: which; None: the one of our own making.
        ground: the colour behind it.

    Returns:
        An RGB image of `size` x `size` pixels; not mirrored: the person's left is on the right.

    Raises:
        ValueError: if `size` is below 16.
        ImportError: if Pillow is not installed.
    """
    if size < 16:
        raise ValueError(f"size must be at least 16 pixels; it is {size}.")
    head = build_head() if head is None else head
    turns = joint_rotations(blendshapes, rotation)
    places = {joint: _placed(joint, turns, head) for joint in JOINTS if joint in head.pivots}
    points, normals, colours, shine = [], [], [], []
    for part in head.parts:
        matrix, offset = places[part.joint]
        moved = part.moved(blendshapes) @ matrix.T + offset
        points.append(moved)
        normals.append(vertex_normals(moved, part.triangles))
        colours.append(part.colours**2.2)  # as light adds up
        shine.append(np.full((len(moved), 1), 1 - part.roughness))
    values = np.concatenate([np.concatenate(normals), np.concatenate(colours), np.concatenate(shine)], axis=1)
    pixels = size * SUPERSAMPLING
    scale = pixels / _VIEW
    there = np.concatenate(points)
    flat = np.stack(
        [pixels / 2 + scale * there[:, 0], pixels / 2 - scale * (there[:, 1] - _MIDDLE), there[:, 2]], axis=1
    )
    picture, near = rasterise(flat.astype(np.float64), _all_triangles(head), values.astype(np.float64), pixels)
    return Image.fromarray(_shaded(picture, near, ground)).reduce(SUPERSAMPLING)


def joint_rotations(blendshapes: np.ndarray, rotation: np.ndarray) -> dict[str, np.ndarray]:
    """How each joint is turned against the one before it, as matrices `(3, 3)`."""
    whole, neck = rotation_matrices(rotation), rotation_matrices(NECK_SHARE * rotation)
    eyes = rotation_matrices(gaze(blendshapes))
    return {"body": np.eye(3), "neck": neck, "head": neck.T @ whole, "leftEye": eyes, "rightEye": eyes}


def _placed(joint: str, turns: dict[str, np.ndarray], head: Head) -> tuple[np.ndarray, np.ndarray]:
    """Where a joint's points go: a matrix and an offset."""
    pivot = head.pivots[joint]
    matrix, offset = turns[joint], pivot - turns[joint] @ pivot
    before = JOINTS[joint]
    if before is None:
        return matrix, offset
    outer, shift = _placed(before, turns, head)
    return outer @ matrix, outer @ offset + shift


def _all_triangles(head: Head) -> np.ndarray:
    first = np.cumsum([0, *(len(part.positions) for part in head.parts[:-1])])
    return np.concatenate([part.triangles + at for part, at in zip(head.parts, first)])


def head_of(palette: Palette) -> Head:
    """Our own head in the colours of a person."""
    return build_head(Colours(*(_fraction(getattr(palette, name)) for name in Colours._fields)))


def _fraction(colour: Colour) -> tuple[float, float, float]:
    red, green, blue = colour
    return red / 255, green / 255, blue / 255


def _shaded(picture: np.ndarray, near: np.ndarray, ground: Colour) -> np.ndarray:
    """Light on what was drawn: from the lamp, from the sky, and the lamp's reflection where a surface shines."""
    drawn = near > -np.inf
    seen = picture[drawn].astype(np.float32)
    normals = seen[:, :3] / np.maximum(np.linalg.norm(seen[:, :3], axis=1, keepdims=True), 1e-9)
    colours, shine = seen[:, 3:6], seen[:, 6]
    lamp = np.clip((normals @ _LIGHT + 0.25) / 1.25, 0, 1)[:, None]
    sky = _GROUND + (normals[:, 1:2] + 1) / 2 * (_SKY - _GROUND)
    edge = 1 - np.abs(normals[:, 2:])
    light = colours * (0.78 * lamp * _WARM + sky + 0.10 * edge * edge * edge)
    towards = np.clip(normals @ _HALFWAY, 0, 1)
    glossy = towards > 0.5  # elsewhere nothing is left of it
    light[glossy] += (towards[glossy] ** (8 + 120 * shine[glossy] ** 2) * 0.35 * shine[glossy])[:, None]
    image = np.tile(np.array(ground, dtype=np.uint8), (*near.shape, 1))
    image[drawn] = _BYTES[np.clip(light * (len(_BYTES) - 1), 0, len(_BYTES) - 1).astype(np.int32)]
    return image
