"""What the metrics accept: NumPy arrays or torch tensors on any device, checked once and clearly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..behaviour import (
    ACTION_UNITS,
    BLENDSHAPES,
    COEFFICIENT_CHANNELS,
    EMOTION_CHANNELS,
    EXPRESSIONS,
    ROTATION,
    TRANSLATION,
    VALENCE_AROUSAL,
)


if TYPE_CHECKING:
    import torch


# The three kinds of emotion channels: figures are broken down by them, and FRdist weighs them differently.
CHANNEL_GROUPS = {"action units": ACTION_UNITS, "valence arousal": VALENCE_AROUSAL, "expressions": EXPRESSIONS}
# What the three channel groups weigh. Officially valence and arousal are not divided by their number.
GROUP_WEIGHTS = {"action units": 1 / 15, "valence arousal": 1.0, "expressions": 1 / 8}
# The three kinds of coefficients, by which figures are broken down in the same way.
COEFFICIENT_GROUPS = {"blendshapes": BLENDSHAPES, "rotation": ROTATION, "translation": TRANSLATION}

# Torch devices that metrics are not computed on: the CPU has a faster way, Apple's lacks float64.
_WITHOUT_SEARCH = ("cpu", "mps")


def groups_of(channels: int) -> dict[str, slice]:
    """The kinds of channels that behaviour of so many channels has: emotion, coefficients; others have none."""
    return {EMOTION_CHANNELS: CHANNEL_GROUPS, COEFFICIENT_CHANNELS: COEFFICIENT_GROUPS}.get(channels, {})


def accelerator(values: Any) -> torch.device | None:
    """Where to search for the nearest appropriate reaction: the device of a tensor on one, None for the CPU."""
    device = getattr(values, "device", None)  # of a NumPy array, this is a string
    return device if getattr(device, "type", "cpu") not in _WITHOUT_SEARCH else None


def as_predictions(predictions: Any, name: str = "predictions") -> np.ndarray:
    """Predictions as a float32 array `(clips, reactions, frames, channels)`."""
    return _as_behaviour(name, predictions, ("clips", "reactions", "frames", "channels"))


def as_clips(name: str, clips: Any, like: np.ndarray | None = None) -> np.ndarray:
    """Recorded behaviour as a float32 array `(clips, frames, channels)`, of the frames and channels of `like`."""
    clips = _as_behaviour(name, clips, ("clips", "frames", "channels"))
    if like is not None and clips.shape[-2:] != like.shape[-2:]:
        raise ValueError(
            f"{name} must have the frames and channels of the predictions, {like.shape[-2:]}; "
            f"it has {clips.shape[-2:]} (shape {clips.shape})."
        )
    return clips


def as_appropriate(appropriate: Any, num_clips: int, num_targets: int) -> np.ndarray:
    """The appropriateness matrix as booleans `(clips, targets)` with at least one True in every row."""
    matrix = _to_numpy(appropriate)
    if matrix.shape != (num_clips, num_targets):
        raise ValueError(
            f"appropriate must have shape {(num_clips, num_targets)}, one row a clip of predictions and one column "
            f"a recorded reaction in targets; it has {matrix.shape}."
        )
    if matrix.dtype != np.bool_ and not np.isin(matrix, (0, 1)).all():
        raise ValueError("appropriate must hold booleans, or zeros and ones only; it holds other values.")
    matrix = matrix.astype(bool)
    empty = np.flatnonzero(~matrix.any(axis=1))
    if len(empty):
        raise ValueError(
            f"appropriate names no appropriate reaction for {len(empty)} of {num_clips} clips, the first is clip "
            f"{empty[0]}. Leave these clips out of predictions, targets and both sides of the matrix."
        )
    return matrix


def _as_behaviour(name: str, values: Any, axes: tuple[str, ...]) -> np.ndarray:
    array = _to_numpy(values)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold numbers; its dtype is {array.dtype}.")
    if array.ndim != len(axes) or 0 in array.shape:
        raise ValueError(f"{name} must have shape ({', '.join(axes)}), none of them 0; it has {array.shape}.")
    array = np.ascontiguousarray(array, dtype=np.float32)
    for index, clip in enumerate(array):  # clip by clip: a mask of everything would be large
        if not np.isfinite(clip).all():
            raise ValueError(f"{name} holds NaN or infinite values, first in clip {index}. Bridge or remove them.")
    return array


def _to_numpy(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):  # a torch tensor; torch itself is not needed here
        values = values.detach().cpu()
        if values.is_floating_point():
            values = values.float()
        return values.numpy()
    return np.asarray(values)
