"""FRCorr and FRdist: how near each reaction comes to the nearest of the recorded appropriate ones.

Both search on the device of the predictions if that is an accelerator with float64, else on the CPU; the figures are
the same but for the rounding of float64 sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..behaviour import EMOTION_CHANNELS
from .inputs import CHANNEL_GROUPS, accelerator, as_appropriate, as_clips, as_predictions, groups_of


if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class NearestReactions:
    """The appropriate reaction that each prediction comes nearest to.

    Args:
        score: `(clips, reactions)` float64; its sum over reactions is the clip's official value.
        target: `(clips, reactions)` int64, index of the nearest among the targets.
        groups: what the channel groups contribute, by name, each `(clips, reactions)` float64.
    """

    score: np.ndarray
    target: np.ndarray
    groups: dict[str, np.ndarray]


def frcorr(predictions: Any, targets: Any, appropriate: Any) -> float:
    """FRCorr: concordance with the best-matching appropriate reaction, summed over reactions, averaged over clips.

    Args:
        predictions: `(clips, reactions, frames, channels)`.
        targets: `(clips, frames, channels)` recorded reactions.
        appropriate: `(clips, clips)` booleans: row n marks the targets that are appropriate reactions to clip n.

    Returns:
        Between -reactions and +reactions: with ten reactions, 0.38 means a mean concordance of 0.038. A channel that
        is constant on either side counts 0, so that even recorded reactions score below the maximum.

    Raises:
        ValueError: if shapes do not match, a value is NaN or infinite, or a clip has no appropriate reaction.
        TypeError: if an input is not numeric.
    """
    return float(frcorr_per_clip(predictions, targets, appropriate).mean())


def frcorr_per_clip(predictions: Any, targets: Any, appropriate: Any) -> np.ndarray:
    """FRCorr of each clip (the sum over its reactions), `(clips,)` float64. Arguments as `frcorr`."""
    return most_concordant(predictions, targets, appropriate).score.sum(axis=1)


def frdist(predictions: Any, targets: Any, appropriate: Any) -> float:
    """FRdist: dynamic time warping to the nearest appropriate reaction, summed over reactions, averaged over clips.

    The distance is a weighted sum over three channel groups: action units / 15 + valence arousal + expressions / 8,
    each the root of the accumulated squared distance without a band; the nearest is nearest in the weighted sum.

    Args:
        predictions: `(clips, reactions, frames, 25)`.
        targets: `(clips, frames, 25)` recorded reactions.
        appropriate: `(clips, clips)` booleans: row n marks the targets that are appropriate reactions to clip n.

    Returns:
        At least 0, and 0 for recorded reactions.

    Raises:
        ValueError: if shapes do not match, a value is NaN or infinite, or a clip has no appropriate reaction.
        TypeError: if an input is not numeric.
    """
    return float(frdist_per_clip(predictions, targets, appropriate).mean())


def frdist_per_clip(predictions: Any, targets: Any, appropriate: Any) -> np.ndarray:
    """FRdist of each clip (the sum over its reactions), `(clips,)` float64. Arguments as `frdist`."""
    return nearest_in_time(predictions, targets, appropriate).score.sum(axis=1)


def most_concordant(predictions: Any, targets: Any, appropriate: Any) -> NearestReactions:
    """The appropriate reaction with the highest concordance for each prediction.

    `appropriate` may have fewer rows than columns: predictions for some clips, scored among all targets.
    """
    device = accelerator(predictions)
    predictions, targets, appropriate = _checked(predictions, targets, appropriate)
    return search_concordance(predictions, targets, appropriate, channel_moments(targets), device)


def nearest_in_time(predictions: Any, targets: Any, appropriate: Any) -> NearestReactions:
    """The appropriate reaction at the smallest warped distance from each prediction.

    `appropriate` may have fewer rows than columns: predictions for some clips, scored among all targets.
    """
    return search_distance(*_checked(predictions, targets, appropriate), accelerator(predictions))


def search_concordance(
    predictions: np.ndarray,
    targets: np.ndarray,
    appropriate: np.ndarray,
    moments: tuple[np.ndarray, ...],
    device: torch.device | None = None,
) -> NearestReactions:
    """`most_concordant` for inputs that were checked, with the `channel_moments` of the targets.

    `device` is where to search, by default the CPU.
    """
    if device is None:
        nearest, best = _most_concordant_of_each_clip(predictions, targets, appropriate, moments)
    else:
        from .search.accelerator import most_concordant_on_device  # needs torch

        found = channel_moments(predictions.reshape(-1, *predictions.shape[2:]))
        nearest, best = most_concordant_on_device(predictions, targets, appropriate, (found, moments), device)
    groups = {name: best[..., part].mean(axis=-1) for name, part in groups_of(predictions.shape[-1]).items()}
    return NearestReactions(best.mean(axis=-1), nearest, groups)


def _most_concordant_of_each_clip(
    predictions: np.ndarray, targets: np.ndarray, appropriate: np.ndarray, moments: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Most concordant target `(clips, reactions)`, and concordances with it `(clips, reactions, channels)`."""
    clips, reactions, _, channels = predictions.shape
    best = np.empty((clips, reactions, channels))
    nearest = np.empty((clips, reactions), dtype=np.int64)
    for n in range(clips):
        candidates = np.flatnonzero(appropriate[n])
        concordance = _concordance(predictions[n], targets[candidates], tuple(m[candidates] for m in moments))
        choice = concordance.mean(axis=-1).argmax(axis=1)
        nearest[n] = candidates[choice]
        best[n] = concordance[np.arange(reactions), choice]
    return nearest, best


def search_distance(
    predictions: np.ndarray, targets: np.ndarray, appropriate: np.ndarray, device: torch.device | None = None
) -> NearestReactions:
    """`nearest_in_time` for inputs that were checked. `device` is where to search, by default the CPU."""
    if predictions.shape[-1] != EMOTION_CHANNELS:
        raise ValueError(
            f"predictions must have the {EMOTION_CHANNELS} emotion channels, which FRdist weighs by group; "
            f"shape {predictions.shape}."
        )
    if device is None:
        from .search.processor import nearest_of_each_clip  # numba takes half a second to import

        nearest, distances = nearest_of_each_clip(predictions, targets, appropriate)
    else:
        from .search.accelerator import nearest_on_device  # needs torch

        nearest, distances = nearest_on_device(predictions, targets, appropriate, device)
    groups = {name: distances[..., g] for g, name in enumerate(CHANNEL_GROUPS)}
    return NearestReactions(distances[..., 0] + distances[..., 1] + distances[..., 2], nearest, groups)


def channel_moments(clips: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What concordance needs of each clip: float32 mean, variance and deviation, each `(clips, channels)`."""
    found = [_moments(clip.T) for clip in clips]
    return tuple(np.stack(values) for values in zip(*found))  # type: ignore[return-value]


def _checked(predictions: Any, targets: Any, appropriate: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    predictions = as_predictions(predictions)
    targets = as_clips("targets", targets, like=predictions)
    return predictions, targets, as_appropriate(appropriate, len(predictions), len(targets))


def _moments(signals: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, variance and standard deviation of `(..., frames)`, in float32 and with ddof 0 as in the official code."""
    signals = np.ascontiguousarray(signals)
    variance = signals.var(axis=-1)
    return signals.mean(axis=-1), variance, np.sqrt(variance)


def _concordance(reactions: np.ndarray, targets: np.ndarray, moments: tuple[np.ndarray, ...]) -> np.ndarray:
    """Concordance of every reaction with every target, `(reactions, targets, channels)` float64."""
    x, y = _channels_first(reactions), _channels_first(targets)
    mean_x, variance_x, deviation_x = (m[:, None] for m in _moments(x.swapaxes(0, 1)))
    mean_y, variance_y, deviation_y = (m[None] for m in moments)
    centred_x, norm_x = _centred(x)
    centred_y, norm_y = _centred(y)
    products = centred_x @ centred_y.swapaxes(-1, -2)
    scale = norm_x[:, :, None] * norm_y[:, None, :]
    # A constant channel has no correlation; it counts 0.
    correlation = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0).clip(-1, 1)
    denominator = variance_x + variance_y + (mean_x - mean_y) ** 2 + np.float32(1e-8)
    return 2.0 * correlation.transpose(1, 2, 0) * deviation_y * deviation_x / denominator


def _channels_first(clips: np.ndarray) -> np.ndarray:
    """`(clips, frames, channels)` as contiguous `(channels, clips, frames)`."""
    return np.ascontiguousarray(clips.transpose(2, 0, 1))


def _centred(signals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows `(..., frames)` minus their mean, and their norms, in float64: exactly 0 for a constant row.

    (Sums of equal float32 numbers are exact in float64.)
    """
    centred = signals.astype(np.float64)
    centred -= centred.mean(axis=-1, keepdims=True)
    return centred, np.sqrt(np.einsum("...t,...t->...", centred, centred))
