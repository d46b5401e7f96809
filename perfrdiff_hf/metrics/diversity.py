"""How much reactions differ: among the reactions to one clip, among clips, and over time."""

from __future__ import annotations

from typing import Any

import numpy as np

from .inputs import as_predictions


# Up to this many rows, torch.cdist takes differences; beyond it, inner products, which cancel badly in float32.
_DIRECT_DISTANCES = 25


def frdiv(predictions: Any) -> float:
    """FRDiv: mean squared difference between two reactions to the same clip (the official `S-MSE`).

    Over ordered pairs of different reactions, averaged over frames and channels, then over clips: twice the unbiased
    variance among the reactions. Uniform noise in [0, 1] scores 1/6. Distances are float32, as in the official code.

    Args:
        predictions: `(clips, reactions, frames, channels)`.

    Returns:
        The mean over clips, at least 0. One reaction to a clip gives 0.0, as in the official code.
    """
    return float(frdiv_per_clip(predictions).mean())


def frdiv_per_clip(predictions: Any) -> np.ndarray:
    """FRDiv of each clip, `(clips,)` float64."""
    predictions = as_predictions(predictions)
    if predictions.shape[1] == 1:
        return np.zeros(len(predictions))
    return np.array([_mean_squared_distance(reactions) for reactions in predictions])


def _mean_squared_distance(items: np.ndarray) -> float:
    """Squared distance between two items, averaged over ordered pairs and over values, in the official float32."""
    import torch

    flat = torch.from_numpy(items).flatten(1)
    squares = torch.cdist(flat, flat) ** 2
    return squares.sum().item() / (len(items) * (len(items) - 1) * flat.shape[1])


def diversity_per_channel(predictions: np.ndarray) -> np.ndarray:
    """FRDiv of each clip and channel, `(clips, channels)` float64."""
    if predictions.shape[1] == 1:
        return np.zeros((predictions.shape[0], predictions.shape[-1]))
    return np.stack([2.0 * clip.var(axis=0, ddof=1, dtype=np.float64).mean(axis=0) for clip in predictions])


def frvar(predictions: Any) -> float:
    """FRVar: unbiased variance over time, averaged over channels, reactions and clips. Uniform noise scores 1/12.

    Args:
        predictions: `(clips, reactions, frames, channels)`.

    Returns:
        The mean over clips, at least 0; NaN for a single frame, which has no variance.
    """
    return float(frvar_per_clip(predictions).mean())


def frvar_per_clip(predictions: Any) -> np.ndarray:
    """FRVar of each clip, `(clips,)` float64."""
    return variance_per_channel(as_predictions(predictions)).mean(axis=-1)


def variance_per_channel(predictions: np.ndarray) -> np.ndarray:
    """FRVar of each clip and channel, `(clips, channels)` float64."""
    clips, _, frames, channels = predictions.shape
    if frames == 1:
        return np.full((clips, channels), np.nan)
    return np.stack([clip.var(axis=1, ddof=1, dtype=np.float64).mean(axis=0) for clip in predictions])


def frdvs(predictions: Any) -> float:
    """FRDvs: mean squared difference between the reactions number k to two different clips.

    Over ordered pairs of clips, averaged over k, frames and channels: twice the unbiased variance among the clips.
    Uniform noise in [0, 1] scores 1/6. Up to 25 clips, distances are float32 as in the official code. From there on
    the official float32 distances are off by up to 3e-4 where clips hardly differ, and this is the exact value.

    Args:
        predictions: `(clips, reactions, frames, channels)`.

    Returns:
        The mean over pairs of clips, at least 0; NaN for a single clip, as in the official code.
    """
    predictions = as_predictions(predictions)
    if 1 < len(predictions) <= _DIRECT_DISTANCES:
        return float(np.mean([_mean_squared_distance(predictions[:, k]) for k in range(predictions.shape[1])]))
    return float(distinction_per_channel(predictions).mean())


def frdvs_per_clip(predictions: Any) -> np.ndarray:
    """What each clip contributes to FRDvs, `(clips,)` float64: the jackknife's pseudo-values.

    FRDvs is a mean over pairs of clips, so clips are not independent terms of it. The pseudo-values are: their mean
    is FRDvs, and their spread gives its standard error and bootstrap intervals as it does for a plain mean.
    """
    return distinction_per_channel(as_predictions(predictions)).mean(axis=-1)


def distinction_per_channel(predictions: np.ndarray) -> np.ndarray:
    """Pseudo-values of FRDvs of each clip and channel, `(clips, channels)` float64."""
    clips, reactions, frames, channels = predictions.shape
    if clips == 1:
        return np.full((clips, channels), np.nan)
    mean = predictions.mean(axis=0, dtype=np.float64)
    # The mean squared distance of clip n to the others follows from its distance to the mean of all clips.
    to_mean = np.stack([np.square(clip - mean).sum(axis=(0, 1)) for clip in predictions]) / (reactions * frames)
    to_others = (clips * to_mean + to_mean.sum(axis=0)) / (clips - 1)
    return pseudo_values(to_others)


def pseudo_values(to_others: np.ndarray) -> np.ndarray:
    """The jackknife's pseudo-values of a mean over pairs, from each item's mean over its pairs, `(items, ...)`."""
    items = len(to_others)
    if items < 3:
        return to_others
    return (2 * (items - 1) * to_others - items * to_others.mean(axis=0)) / (items - 2)
