"""Means and spreads of channels over the clips of a split, for models that see standard scores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .arrays import ClipArrays


class ChannelStatistics(NamedTuple):
    """Of each channel.

    Args:
        mean: `(channels,)` float32.
        spread: `(channels,)` float32, the standard deviation.
    """

    mean: np.ndarray
    spread: np.ndarray


def channel_statistics(arrays: ClipArrays, stream: str) -> ChannelStatistics:
    """Mean and spread of a stream over all frames of all clips.

    Args:
        arrays: the clips.
        stream: "audio", "emotion" or "coefficients".
    """
    values = arrays.flat[stream]
    mean = values.mean(axis=0, dtype=np.float64)
    return ChannelStatistics(mean.astype(np.float32), _root(_mean_square(arrays, stream) - np.square(mean)))


def movement_statistics(arrays: ClipArrays) -> ChannelStatistics:
    """The same for movement: coefficients without the mean of their clip, so that their own mean is zero."""
    rest = _clip_means(arrays, "coefficients")
    frames = arrays.num_frames[:, None]
    among_clips = (frames * np.square(rest)).sum(axis=0) / frames.sum()
    spread = _root(_mean_square(arrays, "coefficients") - among_clips)
    return ChannelStatistics(np.zeros_like(spread), spread)


def clip_means(arrays: ClipArrays, stream: str) -> np.ndarray:
    """The mean of a stream over each clip, `(rows, channels)` float32: for coefficients, how a face rests."""
    return _clip_means(arrays, stream).astype(np.float32)


def _clip_means(arrays: ClipArrays, stream: str) -> np.ndarray:
    clips = zip(arrays.offsets, arrays.num_frames)
    return np.stack([arrays.flat[stream][at : at + frames].mean(axis=0, dtype=np.float64) for at, frames in clips])


def _mean_square(arrays: ClipArrays, stream: str) -> np.ndarray:
    values = arrays.flat[stream]
    # In parts, since float64 of all frames at once would not fit into memory.
    parts = np.array_split(values, -(-len(values) // 4096))
    return np.sum([np.square(part, dtype=np.float64).sum(axis=0) for part in parts], axis=0) / len(values)


def _root(variance: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(variance, 0)).astype(np.float32)
