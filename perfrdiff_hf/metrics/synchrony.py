"""FRSyn: how many frames a reaction lags behind (or runs ahead of) the speaker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..behaviour import FRAME_RATE
from .inputs import as_clips, as_predictions


# Lags of just under two seconds either way.
MAX_LAG = 2 * FRAME_RATE - 1
LAGS = np.arange(-MAX_LAG, MAX_LAG + 1)
VARIANTS = ("published", "all", "corrected")

# The official code compares float32 means of 25 float32 correlations, each of which may be off by this much. Lags
# closer to the best than that, and than our own rounding, are compared again in the official way.
_DOUBT = 4e-6

# Bound of the rounding in transforms and running sums, relative to what goes into them.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class Offsets:
    """The lag with the highest correlation to the speaker, in frames; positive means that the reaction comes later.

    Args:
        official: `(clips, reactions)` int64, signed, in -49..49: the official figures, constant channels included.
        undefined: `(clips, reactions)` bool, where a constant channel decided the official figure.
        corrected: `(clips, reactions)` float64, signed: only channels that vary in every window are compared; NaN
            where no channel does.
    """

    official: np.ndarray
    undefined: np.ndarray
    corrected: np.ndarray


def frsyn(predictions: Any, speaker: Any, variant: str = "published") -> float:
    """FRSyn: the absolute lag, in frames, at which reaction and speaker correlate most, averaged over clips.

    The correlation at each of 99 lags is the mean over channels of Pearson's. Where one channel of either side is
    constant in the window of some lag, the official code takes the first such lag for the best; a channel that is
    constant all through the clip therefore scores 49 whatever is predicted.

    Args:
        predictions: `(clips, reactions, frames, channels)`.
        speaker: `(clips, frames, channels)`, the speaker's behaviour in the same channels.
        variant: "published" scores only the first reaction to each clip, as the published tables do; "all" scores
            every reaction the same way; "corrected" scores every reaction over the channels that vary in all windows
            of both sides, and leaves out reactions without any.

    Returns:
        Frames, 0 to 49. Up to 50 frames long, "published" and "all" give 49. "corrected" is NaN if no reaction has a
        channel that varies.
    """
    values = frsyn_per_clip(predictions, speaker, variant)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def frsyn_per_clip(predictions: Any, speaker: Any, variant: str = "published") -> np.ndarray:
    """FRSyn of each clip, `(clips,)` float64; NaN where "corrected" has no channel to compare."""
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}; it is {variant!r}.")
    predictions = as_predictions(predictions)
    if variant == "published":
        predictions = predictions[:, :1]
    return lag_per_clip(best_offsets(predictions, speaker), variant)


def lag_per_clip(offsets: Offsets, variant: str) -> np.ndarray:
    """One variant of FRSyn for each clip, `(clips,)` float64, from the offsets of its reactions."""
    if variant == "published":
        return np.abs(offsets.official[:, 0]).astype(np.float64)
    if variant == "all":
        return np.abs(offsets.official).mean(axis=1)
    lags = np.abs(offsets.corrected)
    known = np.isfinite(lags)
    return np.where(known, lags, 0).sum(axis=1) / np.where(known.any(axis=1), known.sum(axis=1), np.nan)


def best_offsets(predictions: Any, speaker: Any) -> Offsets:
    """The best lag of every reaction, officially and corrected.

    Args:
        predictions: `(clips, reactions, frames, channels)`.
        speaker: `(clips, frames, channels)`.
    """
    predictions = as_predictions(predictions)
    speaker = as_clips("speaker", speaker, like=predictions)
    if len(speaker) != len(predictions):
        raise ValueError(f"speaker must have the {len(predictions)} clips of the predictions; it has {len(speaker)}.")
    rows = [_clip_offsets(reactions, clip) for reactions, clip in zip(predictions, speaker)]
    return Offsets(*(np.stack(column) for column in zip(*rows)))


def _clip_offsets(reactions: np.ndarray, speaker: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Official offset, whether a constant channel decided it, and corrected offset of each reaction to one clip."""
    frames = speaker.shape[0]
    constant = _constant_windows(reactions.swapaxes(-1, -2)) | _constant_windows(speaker.T)[..., ::-1]
    if frames <= MAX_LAG + 1:  # at the outermost lag there is no window with two frames
        everywhere = np.ones(len(reactions), dtype=bool)
        return np.full(len(reactions), -MAX_LAG), everywhere, np.full(len(reactions), np.nan)
    correlation, error = _lagged_correlation(reactions, speaker)
    undefined = constant.any(axis=1)
    official = np.empty(len(reactions), dtype=np.int64)
    corrected = np.full(len(reactions), np.nan)
    for k in range(len(reactions)):
        if undefined[k].any():
            official[k] = LAGS[np.argmax(undefined[k])]
        else:
            official[k] = _official_best_lag(correlation[k].mean(axis=0), error[k].mean(axis=0), reactions[k], speaker)
        varying = ~constant[k].any(axis=1)
        if varying.any():
            corrected[k] = LAGS[np.argmax(correlation[k, varying].mean(axis=0))]
    return official, undefined.any(axis=1), corrected


def _constant_windows(signals: np.ndarray) -> np.ndarray:
    """Whether the delayed side's window is constant at each lag: `(..., frames)` to `(..., lags)`.

    At lag L >= 0 the window drops the first L frames, at lag -L the last L. The other side's windows are the same in
    reverse order of lags.
    """
    frames = signals.shape[-1]
    changes = signals[..., 1:] != signals[..., :-1]
    changed = changes.any(axis=-1)
    first = np.where(changed, changes.argmax(axis=-1), frames) if frames > 1 else np.full(signals.shape[:-1], 1)
    last = np.where(changed, frames - 2 - changes[..., ::-1].argmax(axis=-1), -1) if frames > 1 else first * 0 - 1
    dropped = np.abs(LAGS)
    return np.where(LAGS >= 0, last[..., None] < dropped, first[..., None] >= frames - 1 - dropped)


def _lagged_correlation(reactions: np.ndarray, speaker: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pearson's correlation at every lag, and how far rounding may have moved it.

    Cross products come from one Fourier transform, moments of the windows from running sums. Both err in proportion to
    what is in the signal, which is much more than what is in a window if the window misses the only movement.

    Returns:
        Two `(reactions, channels, lags)` float64; meaningless where a window is constant.
    """
    import scipy.fft  # slow to import

    x = _centred(reactions.swapaxes(-1, -2).astype(np.float64))
    y = _centred(speaker.T.astype(np.float64))
    size = scipy.fft.next_fast_len(x.shape[-1] + MAX_LAG, real=True)
    spectrum = scipy.fft.rfft(x, size) * scipy.fft.rfft(y, size).conj()
    products = scipy.fft.irfft(spectrum, size)[..., LAGS % size]
    counts = x.shape[-1] - np.abs(LAGS)
    sum_x, sum_y = _window_sums(x), _window_sums(y)[..., ::-1]
    square_x, square_y = _window_sums(x**2), _window_sums(y**2)[..., ::-1]
    spread_x, spread_y = square_x - sum_x**2 / counts, square_y - sum_y**2 / counts
    scale = np.sqrt(np.maximum(spread_x, 0) * np.maximum(spread_y, 0))
    defined = scale > 0
    correlation = np.divide(products - sum_x * sum_y / counts, scale, out=np.zeros_like(products), where=defined)
    norms = np.sqrt(np.square(x).sum(axis=-1) * np.square(y).sum(axis=-1))[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        error = _ROUNDING * (norms / scale + square_x / spread_x + square_y / spread_y)
    return correlation, np.where(defined & (error < 2), error, 2.0)


def _centred(signals: np.ndarray) -> np.ndarray:
    """Minus the mean of the frames that all windows share, if there are any."""
    shared = signals[..., MAX_LAG:-MAX_LAG]
    return signals - (shared if shared.shape[-1] else signals).mean(axis=-1, keepdims=True)


def _window_sums(signals: np.ndarray) -> np.ndarray:
    """Sums over the delayed side's windows at every lag, `(..., frames)` to `(..., lags)`, without any subtraction."""
    late = np.cumsum(signals[..., ::-1], axis=-1)[..., ::-1][..., : MAX_LAG + 1]
    early = np.cumsum(signals, axis=-1)[..., -MAX_LAG - 1 : -1]
    return np.concatenate([early, late], axis=-1)


def _official_best_lag(correlation: np.ndarray, error: np.ndarray, reaction: np.ndarray, speaker: np.ndarray) -> int:
    """The first lag with the largest float32 mean correlation, from the means `(lags,)` and what they may be off."""
    close = np.flatnonzero(correlation + error >= (correlation - error).max() - _DOUBT)
    if len(close) == 1:
        return int(LAGS[close[0]])
    return int(LAGS[close[np.argmax([_official_correlation(reaction, speaker, LAGS[index]) for index in close])]])


def _official_correlation(reaction: np.ndarray, speaker: np.ndarray, lag: int) -> np.float32:
    """The correlation at one lag to the last bit: float64 for each channel, then a float32 mean over channels."""
    frames = len(reaction)
    x = reaction[max(lag, 0) : frames + min(lag, 0)]
    y = speaker[max(-lag, 0) : frames + min(-lag, 0)]
    channels = [np.corrcoef(x[:, c], y[:, c])[0, 1] for c in range(x.shape[1])]
    import torch

    return np.float32(torch.tensor(channels, dtype=torch.float32).mean().item())
