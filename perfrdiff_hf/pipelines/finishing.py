"""From the clean window that was sampled to the one that is shown: emotion in its range, and like recorded emotion."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..behaviour import ACTION_UNITS, EMOTION_CHANNELS, EXPRESSIONS, VALENCE_AROUSAL


# Weights of neighbouring frames: binomial, over a fifth of a second.
SMOOTHING = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
SMOOTHED = slice(VALENCE_AROUSAL.start, EXPRESSIONS.stop)
# How near to a half a smoothed action unit stays what it was. Chosen on validation listeners of the bench, where
# students then switch as often as their teacher does without it (docs/live.md).
UNDECIDED = 0.02


def finished(
    window: Tensor,
    held: Tensor | None,
    binarise_action_units: bool,
    smooth_emotion: bool,
    smooth_action_units: bool = False,
) -> Tensor:
    """A window of reactions as it is shown.

    Args:
        window: `(batch, num_reactions, frames, channels)`, emotion first.
        held: `(batch, num_reactions, held, channels)` what the first frames must be.
        binarise_action_units: whether action units become 0 or 1, as in recorded emotion, where they say what occurs.
        smooth_emotion: whether each new frame of valence, arousal and expressions becomes a mean of five, weighted by
            `SMOOTHING`; at the ends of the window, the outermost frame stands for those beyond.
        smooth_action_units: whether action units do so too, before they become 0 or 1, and one that lies within
            `UNDECIDED` of a half then stays what it was. So those of a distilled model, which come near a half more
            often, do not flicker there.

    Returns:
        As `window`, emotion in [-1, 1].
    """
    emotion, movement = window[..., :EMOTION_CHANNELS], window[..., EMOTION_CHANNELS:]
    emotion = in_range(emotion, binarise_action_units=False)
    count = 0 if held is None else held.shape[2]
    if held is not None:
        emotion[:, :, :count] = held[..., :EMOTION_CHANNELS]
        movement = torch.cat([held[..., EMOTION_CHANNELS:], movement[:, :, count:]], dim=2)
    if smooth_emotion:
        emotion[:, :, count:, SMOOTHED] = _smoothed(emotion[..., SMOOTHED])[:, :, count:]
    if smooth_action_units:
        emotion[:, :, count:, ACTION_UNITS] = _smoothed(emotion[..., ACTION_UNITS])[:, :, count:]
        if binarise_action_units:
            emotion[:, :, count:, ACTION_UNITS] = _decided(emotion[..., ACTION_UNITS])[:, :, count:]
    emotion[:, :, count:] = in_range(emotion[:, :, count:], binarise_action_units)
    return torch.cat([emotion, movement], dim=-1)


def in_range(emotion: Tensor, binarise_action_units: bool) -> Tensor:
    """Emotion `(..., 25)` clamped to [-1, 1], a copy; with action units that are 0 or 1, if so asked."""
    emotion = emotion.clamp(-1.0, 1.0)
    if binarise_action_units:
        units = emotion[..., ACTION_UNITS]
        emotion[..., ACTION_UNITS] = (units > 0.5).to(units)
    return emotion


def _smoothed(values: Tensor) -> Tensor:
    """Means over neighbouring frames of `(batch, num_reactions, frames, channels)`."""
    frames, reach = values.shape[2], len(SMOOTHING) // 2
    by_channel = values.flatten(0, 1).movedim(1, -1)
    padded = functional.pad(by_channel, (reach, reach), mode="replicate")
    mean = sum(weight * padded[..., place : place + frames] for place, weight in enumerate(SMOOTHING))
    assert isinstance(mean, Tensor)
    return mean.movedim(-1, 1).unflatten(0, values.shape[:2])


def _decided(units: Tensor) -> Tensor:
    """Action units `(batch, num_reactions, frames, 15)`, near a half as they were before; the first frame as it is."""
    clear = (units - 0.5).abs() > UNDECIDED
    frames = torch.arange(units.shape[2], device=units.device)[:, None]
    last_clear = torch.where(clear, frames, 0).cummax(dim=2).values
    return units.gather(2, last_clear)
