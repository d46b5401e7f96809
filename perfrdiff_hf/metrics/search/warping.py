"""Dynamic time warping of many pairs at once, sixteen to a vector register."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable

import numba
import numpy as np

from .lanes import LANES, add, add_squared_difference, fill, load, minimum, store


# Columns that are warped before the next row is. So few stay in the fastest cache, and rows overlap in the pipeline.
_TILE = 16
_ALIGNMENT = 64

# Two threads that ask for a kernel for the first time must get the same one, or it is compiled twice.
_KERNELS = threading.Lock()


class Warp:
    """Warping costs between the items of two collections of the same frames and channels.

    The cost of a pair is the smallest sum of squared Euclidean distances along a path of steps (1, 0), (0, 1) and
    (1, 1) from the first frames to the last, without a band; its root is the distance of `tslearn.metrics.dtw`. In
    float64 it agrees with it to the last bit. One object serves one thread: it owns the working memory.

    Args:
        x: `(items, frames, channels)`, float32 or float64, contiguous.
        y: `(items, frames, channels)` of the same dtype.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        frames, channels = x.shape[1:]
        self.x, self.y = x, y
        with _KERNELS:
            self._kernel = _kernel(channels)
        self._lanes_x = _aligned(frames * channels, x.dtype)
        self._lanes_y = _aligned(frames * channels, x.dtype)
        self._column = _aligned(frames, x.dtype)
        self._row = _aligned(_TILE, x.dtype)

    def costs(self, pairs: np.ndarray, limits: np.ndarray | None = None) -> np.ndarray:
        """The cost of each pair.

        Args:
            pairs: `(pairs, 2)` int64, items of x and of y. Neighbours in this list share a register: put pairs of
                similar limits side by side.
            limits: `(pairs,)`; a pair whose cost exceeds its limit may be given up on.

        Returns:
            `(pairs,)` of the items' dtype. What exceeds its limit is a lower bound of the cost, or the cost.
        """
        if limits is None:
            limits = np.full(len(pairs), np.inf)
        costs = np.empty(len(pairs), dtype=self.x.dtype)
        for start in range(0, len(pairs), LANES):
            # The last register is filled up with the last pair.
            lanes = np.minimum(np.arange(start, start + LANES), len(pairs) - 1)
            self._kernel(
                self.x,
                self.y,
                pairs[lanes],
                limits[lanes].astype(self.x.dtype),
                self._lanes_x,
                self._lanes_y,
                self._column,
                self._row,
            )
            found = self._column[-1][: len(pairs) - start]
            costs[start : start + len(found)] = found
        return costs


def relative_error(frames: int, channels: int) -> float:
    """How far a float32 cost can be from the true one, relative to it.

    All terms are squares, so that nothing cancels: every path's sum is off by at most one rounding for each of its
    fewer than `2 * frames` additions, and for the `channels + 2` operations in a local distance; so is the minimum.
    """
    rounding = (2 * frames + channels + 2) * np.finfo(np.float32).eps / 2
    return float(rounding / (1 - rounding))


def _aligned(rows: int, dtype: np.dtype) -> np.ndarray:
    """Uninitialised `(rows, LANES)`, so placed that no register straddles two cache lines."""
    size = rows * LANES * dtype.itemsize
    memory = np.empty(size + _ALIGNMENT, dtype=np.uint8)
    offset = -memory.ctypes.data % _ALIGNMENT
    return memory[offset : offset + size].view(dtype).reshape(rows, LANES)


@numba.njit(cache=True, nogil=True)
def _pack(items: np.ndarray, chosen: np.ndarray, lanes: np.ndarray) -> None:
    """Lay chosen items side by side: row `frame * channels + channel`, one lane an item."""
    channels = items.shape[2]
    for lane in range(len(chosen)):
        item = items[chosen[lane]]
        for frame in range(items.shape[1]):
            for channel in range(channels):
                lanes[frame * channels + channel, lane] = item[frame, channel]


@functools.cache
def _kernel(channels: int) -> Callable[..., None]:
    """The compiled warp for a number of channels, which LLVM unrolls."""

    @numba.njit(cache=True, nogil=True)
    def warp(items_x, items_y, pairs, limits, x, y, column, row):  # type: ignore[no-untyped-def]
        """Leave the costs of `LANES` pairs in the last row of `column`."""
        _pack(items_x, pairs[:, 0], x)
        _pack(items_y, pairs[:, 1], y)
        nothing = fill(x.dtype.type(0))  # type: ignore[call-arg, var-annotated]
        infinity = fill(x.dtype.type(np.inf))  # type: ignore[call-arg, var-annotated]
        frames_x, frames_y = items_x.shape[1], items_y.shape[1]
        for i in range(frames_x):
            store(column, i, infinity)
        for start in range(0, frames_y, _TILE):
            width = min(_TILE, frames_y - start)
            for j in range(width):
                store(row, j, infinity)
            diagonal = nothing if start == 0 else infinity
            lowest = infinity
            for i in range(frames_x):
                before = load(column, i)
                next_diagonal = before
                for j in range(width):
                    cost = nothing
                    for c in range(channels):
                        cost = add_squared_difference(
                            cost, load(x, i * channels + c), load(y, (start + j) * channels + c)
                        )
                    above = load(row, j)
                    before = add(cost, minimum(before, minimum(diagonal, above)))
                    store(row, j, before)
                    diagonal = above
                store(column, i, before)
                lowest = minimum(lowest, before)
                diagonal = next_diagonal
            # Every path crosses this column, so its smallest entry bounds the cost from below.
            if start + width < frames_y:
                store(row, 0, lowest)
                if (row[0] > limits).all():
                    store(column, frames_x - 1, lowest)
                    return

    return warp


def num_threads() -> int:
    """`OMP_NUM_THREADS` if set (launchers of several processes set it), else the cores that this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
