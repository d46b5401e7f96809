"""Triangles to pixels on the processor: the nearest surface wins, and what vertices know is spread between them."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def rasterise(
    points: np.ndarray, triangles: np.ndarray, values: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw triangles into a square picture.

    Args:
        points: `(vertices, 3)` float64: x to the right and y down in pixels, and how near (more is nearer).
        triangles: `(triangles, 3)` int64; those that turn their back (clockwise in the picture) are left out.
        values: `(vertices, channels)` float64, what is spread between the vertices.
        size: width and height in pixels.

    Returns:
        `(size, size, channels)` values, 0 where nothing is drawn, and `(size, size)` how near, `-inf` there.
    """
    picture = np.zeros((size, size, values.shape[1]))
    near = np.full((size, size), -np.inf)
    for t in range(len(triangles)):
        i, j, k = triangles[t]
        ax, ay, bx, by, cx, cy = points[i, 0], points[i, 1], points[j, 0], points[j, 1], points[k, 0], points[k, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area >= 0:
            continue
        left, right = max(0, int(np.ceil(min(ax, bx, cx)))), min(size - 1, int(np.floor(max(ax, bx, cx))))
        top, bottom = max(0, int(np.ceil(min(ay, by, cy)))), min(size - 1, int(np.floor(max(ay, by, cy))))
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                u = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                v = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                w = 1 - u - v
                if u < 0 or v < 0 or w < 0:
                    continue
                depth = u * points[i, 2] + v * points[j, 2] + w * points[k, 2]
                if depth > near[y, x]:
                    near[y, x] = depth
                    for channel in range(values.shape[1]):
                        picture[y, x, channel] = (
                            u * values[i, channel] + v * values[j, channel] + w * values[k, channel]
                        )
    return picture, near
