"""Whether reactions look alive: whether they keep their course, and whether the head moves as heads do.

No metrics of the paper. Good is near the recorded reactions, which stand beside them in every report.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..behaviour import ACTION_UNITS, FRAME_RATE, ROTATION
from .inputs import as_predictions


# Frequencies in which a head nods, in Hz.
NOD_BAND = (1.0, 4.0)


def switches_per_clip(predictions: Any, borders: Sequence[int]) -> dict[str, np.ndarray]:
    """How many action units change between shown and not shown from one frame to the next.

    An action unit shows above 0.5. A sampler that draws every window anew changes its mind at the borders.

    Args:
        predictions: `(clips, reactions, frames, 25)`.
        borders: the first frame of every window but the first, each within [1, frames - 1].

    Returns:
        `"borders"` and `"inside"`, each `(clips,)` float64: action units for each step over a border, and for each
        other step.

    Raises:
        ValueError: if there is no border, one lies outside, or every step is one.
    """
    shown = as_predictions(predictions)[..., ACTION_UNITS] > 0.5
    frames = shown.shape[2]
    at_border = np.zeros(frames, dtype=bool)
    inside = [border for border in borders if 1 <= border <= frames - 1]
    if len(inside) < len(borders) or not inside:
        raise ValueError(f"borders must hold frames within [1, {frames - 1}]; given: {list(borders)}.")
    at_border[inside] = True
    if at_border[1:].all():
        raise ValueError("borders must leave steps inside windows; given: every frame.")
    switches = (shown[:, :, 1:] != shown[:, :, :-1]).sum(axis=-1).mean(axis=1)  # (clips, steps)
    return {
        "borders": switches[:, at_border[1:]].mean(axis=1),
        "inside": switches[:, ~at_border[1:]].mean(axis=1),
    }


def head_speed_per_clip(coefficients: Any) -> np.ndarray:
    """How fast the head turns: mean absolute change of the three angles, `(clips,)` in radians per second.

    Args:
        coefficients: `(clips, reactions, frames, 58)`, at least two frames.
    """
    return np.abs(np.diff(_rotation(coefficients), axis=2)).mean(axis=(1, 2, 3)) * FRAME_RATE


def head_range_per_clip(coefficients: Any) -> np.ndarray:
    """How far the head turns: standard deviation of each angle over a clip, averaged, `(clips,)` in radians.

    Args:
        coefficients: `(clips, reactions, frames, 58)`.
    """
    return _rotation(coefficients).std(axis=2).mean(axis=(1, 2))


def nods_per_clip(coefficients: Any) -> np.ndarray:
    """How much the head nods: root mean square of the pitch between 1 and 4 Hz, `(clips,)` in radians.

    Args:
        coefficients: `(clips, reactions, frames, 58)`, at least a second.

    Raises:
        ValueError: if there is less than a second.
    """
    pitch = _rotation(coefficients)[..., 0]
    power, frequencies = _spectrum(pitch)
    return np.sqrt(power[..., _in_band(frequencies)].sum(axis=-1).mean(axis=1))


def nod_share_per_clip(coefficients: Any) -> np.ndarray:
    """The share of the pitch's energy that lies between 1 and 4 Hz, `(clips,)` in [0, 1]; 0 where the pitch rests.

    Args:
        coefficients: `(clips, reactions, frames, 58)`, at least a second.

    Raises:
        ValueError: if there is less than a second.
    """
    power, frequencies = _spectrum(_rotation(coefficients)[..., 0])
    nodding, total = power[..., _in_band(frequencies)].sum(axis=-1), power.sum(axis=-1)
    # Energies are summed over the reactions first: a reaction that hardly moves has no say in where energy lies.
    total = total.mean(axis=1)
    return np.divide(nodding.mean(axis=1), total, out=np.zeros_like(total), where=total > 0)


def _rotation(coefficients: Any) -> np.ndarray:
    values = as_predictions(coefficients, "coefficients")
    if values.shape[-1] < ROTATION.stop:
        raise ValueError(f"coefficients must hold the {ROTATION.stop + 3} coefficients; its shape is {values.shape}.")
    return values[..., ROTATION].astype(np.float64)


def _spectrum(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Power of `(..., frames)` without its mean, which sums to its variance, and the frequencies in Hz."""
    frames = signal.shape[-1]
    if frames < FRAME_RATE:
        raise ValueError(f"coefficients must have at least {FRAME_RATE} frames (one second); given: {frames}.")
    transformed = np.fft.rfft(signal - signal.mean(axis=-1, keepdims=True), axis=-1)
    power = np.square(np.abs(transformed)) / frames**2
    power[..., 1:] *= 2  # negative frequencies
    if frames % 2 == 0:
        power[..., -1] /= 2
    return power, np.fft.rfftfreq(frames, 1 / FRAME_RATE)


def _in_band(frequencies: np.ndarray) -> np.ndarray:
    return (frequencies >= NOD_BAND[0]) & (frequencies <= NOD_BAND[1])
