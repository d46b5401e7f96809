"""What the losses of the systems to compare with share: errors in the channels that the data have."""

from __future__ import annotations

import torch
from torch import Tensor

from ..behaviour import BLENDSHAPES, COEFFICIENT_CHANNELS, EMOTION_CHANNELS
from ..feature_extraction import PerFRDiffFeatureExtractor


DIVERSITY_WEIGHT = 10.0


def mean_error(
    stream: str,
    made: Tensor,
    recorded: Tensor,
    feature_extractor: PerFRDiffFeatureExtractor,
    channels: slice = slice(None),
) -> Tensor:
    """The mean squared error over the channels of a stream that the data have; 0 where they have none of them.

    Args:
        stream: `"emotion"` or `"coefficients"`.
        made: `(..., frames, width)`.
        recorded: the same shape.
        feature_extractor: knows which channels there are.
        channels: some of the stream's.
    """
    error = (made - recorded)[..., channels].square()
    known = feature_extractor.available(stream)
    if known is not None:
        error = error[..., known[channels].to(error.device)]
    return error.mean() if error.numel() else made.sum() * 0


def reconstruction_losses(
    emotion: Tensor,
    movement: Tensor,
    batch_emotion: Tensor,
    batch_movement: Tensor,
    extractor: PerFRDiffFeatureExtractor,
) -> dict[str, Tensor]:
    """REACT2024's reconstruction loss: emotion and expression count once, the six channels of the pose ten times.

    Args:
        emotion: `(batch, frames, 25)` made.
        movement: `(batch, frames, 58)` made, mean face removed.
        batch_emotion: recorded.
        batch_movement: recorded, mean face removed.
        extractor: knows which channels there are.
    """
    pose = slice(BLENDSHAPES.stop, COEFFICIENT_CHANNELS)
    return {
        "emotion_loss": mean_error("emotion", emotion, batch_emotion, extractor),
        "expression_loss": mean_error("coefficients", movement, batch_movement, extractor, BLENDSHAPES),
        "pose_loss": 10 * mean_error("coefficients", movement, batch_movement, extractor, pose),
    }


def variational_losses(
    made: Tensor,
    other: Tensor,
    emotion: Tensor,
    movement: Tensor,
    moments: tuple[Tensor, Tensor],
    kl_weight: float,
    extractor: PerFRDiffFeatureExtractor,
) -> dict[str, Tensor]:
    """Trans-VAE's loss: reconstruction, KL of the latents, and a second sample that the first is not to resemble.

    Args:
        made: reactions to whole clips `(batch, frames, 83)`, emotion before movement.
        other: the second sample of them, without gradients.
        emotion: `(batch, frames, 25)` recorded.
        movement: `(batch, frames, 58)` recorded, mean face removed.
        moments: mean and logarithm of the variance of each latent, of any equal shape.
        kl_weight: of the KL divergence.
        extractor: knows which channels there are.
    """
    streams = (slice(0, EMOTION_CHANNELS), slice(EMOTION_CHANNELS, None))
    own_emotion, own_movement = (made[..., channels] for channels in streams)
    alike = [sameness(other[..., channels], made[..., channels]) for channels in streams]
    return {
        **reconstruction_losses(own_emotion, own_movement, emotion, movement, extractor),
        "kl_loss": kl_weight * mean_kl(*moments),
        "diversity_loss": DIVERSITY_WEIGHT * (alike[0] + alike[1]),
    }


def sameness(one: Tensor, other: Tensor) -> Tensor:
    """How alike two reactions to the same speakers are, from 0 to 1: the term that keeps samples apart.

    Args:
        one: `(batch, frames, channels)`.
        other: the same shape.
    """
    return torch.exp(-(one - other).square().sum(dim=(1, 2)) / 100).mean()


def mean_kl(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL divergence of N(mean, exp(logvar)) from N(0, 1), averaged over everything, the latent as well."""
    return -0.5 * (1 + logvar - mean.square() - logvar.exp()).mean()
