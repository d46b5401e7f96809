"""Drawing curves on a head that turns: an ellipsoid under a pen."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from ..behaviour import MEAN_FACE, ROTATION
from ..extras import require


require("rendering", "Pictures and videos")
from PIL import Image, ImageDraw  # noqa: E402


Colour = tuple[int, int, int]

SUPERSAMPLING = 2
# Head units: the head is about 1.5 wide and 2 high; this many of them fit into the picture.
_VIEW = 3.0
HEAD_CENTRE = (0.0, -0.08)
GROUND_RADIUS = 0.485 * _VIEW
_RADII = np.array([0.82, 1.08, 0.62])
_NECK_PIVOT = np.array([0.0, 0.80])
_LARGEST_ANGLES = np.array([0.55, 0.80, 0.60])


@dataclass
class Pen:
    """Draws curves given in head units, of which the picture is 3 wide; the origin is the middle of the head.

    `on_head` and `rolled` say where points of the frontal view come to lie when the head has turned.

    Args:
        size: width and height of the picture in pixels.
        rotation: `(3,)` pitch, yaw and roll in radians, as recorded.
    """

    size: int
    rotation: np.ndarray
    image: Image.Image = field(init=False)
    draw: ImageDraw.ImageDraw = field(init=False)

    def __post_init__(self) -> None:
        pixels = self.size * SUPERSAMPLING
        self.image = Image.new("RGB", (pixels, pixels), (255, 255, 255))
        self.draw = ImageDraw.Draw(self.image)
        self.scale = pixels / _VIEW
        # The mean pitch belongs to how the cameras of REACT stand, so the face at MEAN_FACE looks ahead.
        angles = np.clip(self.rotation - MEAN_FACE[ROTATION], -_LARGEST_ANGLES, _LARGEST_ANGLES)
        self.pitch, self.yaw, self.roll = (float(angle) for angle in angles)

    def picture(self) -> Image.Image:
        """What was drawn, at the size that was asked for."""
        return self.image.reduce(SUPERSAMPLING)

    def on_head(self, points: np.ndarray, lift: float = 1.0) -> np.ndarray:
        """Where points `(n, 2)` of the frontal view come to lie when the head turns.

        `lift` is their distance from the head's centre in units of its radius: above 1 for what stands out.
        """
        flat = np.asarray(points, dtype=np.float64)
        inside = np.clip(1 - ((flat / _RADII[:2]) ** 2).sum(axis=1), 0, None)
        depth = lift * _RADII[2] * np.sqrt(inside)
        x = flat[:, 0] * np.cos(self.yaw) + depth * np.sin(self.yaw)
        depth = depth * np.cos(self.yaw) - flat[:, 0] * np.sin(self.yaw)
        y = flat[:, 1] * np.cos(self.pitch) + depth * np.sin(self.pitch)
        return self.rolled(np.stack([x, y], axis=1))

    def rolled(self, points: np.ndarray) -> np.ndarray:
        """Points `(n, 2)` after the head has leant to its side, about the neck."""
        x, y = (np.asarray(points) - _NECK_PIVOT).T
        cos, sin = np.cos(self.roll), np.sin(self.roll)
        return np.stack([x * cos + y * sin, y * cos - x * sin], axis=1) + _NECK_PIVOT

    def fill(self, points: np.ndarray, colour: Colour) -> None:
        """A filled outline `(n, 2)`."""
        self.draw.polygon(self._pixels(points), fill=colour)

    def line(self, points: np.ndarray, width: float, colour: Colour) -> None:
        """A line with round ends; `width` in head units."""
        pixels, thick = self._pixels(points), max(1, round(width * self.scale))
        self.draw.line(pixels, fill=colour, width=thick, joint="curve")
        for x, y in (pixels[0], pixels[-1]):
            self.draw.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=colour)

    def disc(self, centre: np.ndarray, radius: float, colour: Colour) -> None:
        """A filled circle about `centre (2,)`."""
        (x, y), r = self._pixels(centre[None])[0], radius * self.scale
        self.draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def _pixels(self, points: np.ndarray) -> list[tuple[float, float]]:
        moved = (np.asarray(points) + np.array(HEAD_CENTRE) + _VIEW / 2) * self.scale
        return [(x, y) for x, y in moved.tolist()]


def arc(left: ArrayLike, middle: ArrayLike, right: ArrayLike, steps: int = 17) -> np.ndarray:
    """A smooth curve `(steps, 2)` from `left` to `right` that passes through `middle` half way."""
    t = np.linspace(0, 1, steps)[:, None]
    start, through, end = (np.asarray(point, dtype=np.float64) for point in (left, middle, right))
    control = 2 * through - (start + end) / 2
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end


def ellipse(x: float, y: float, width: float, height: float, steps: int = 40) -> np.ndarray:
    """Points `(steps, 2)` around an ellipse; `width` and `height` are its half axes."""
    angle = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], axis=1)


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """The colour that lies `share` (0 to 1) of the way from one to the other."""
    share = min(1.0, max(0.0, share))
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(one, other))
    return red, green, blue
