"""Standard scores: channels whose spreads differ by more than ten times, brought to one scale inside a model."""

from __future__ import annotations

import torch
from torch import Tensor, nn


# The least spread that counts, as a share of the greatest of all channels: what hardly ever moves is not blown up.
LEAST_SPREAD = 0.005


class Standardiser(nn.Module):
    """`(values - mean) / spread` for each channel; the statistics are buffers, and travel with the model's weights.

    It changes nothing until `fit`.

    Args:
        channels: how many.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("spread", torch.ones(channels))

    @torch.no_grad()
    def fit(self, mean: Tensor, spread: Tensor) -> None:
        """Take over the statistics of data.

        Args:
            mean: `(channels,)`
            spread: `(channels,)` at least 0; one far below the greatest is raised (`LEAST_SPREAD`).

        Raises:
            ValueError: if the shapes are wrong, or no channel has a spread.
        """
        if mean.shape != self.mean.shape or spread.shape != self.spread.shape:
            raise ValueError(
                f"mean and spread must have shape {tuple(self.mean.shape)}; given: {tuple(mean.shape)} and "
                f"{tuple(spread.shape)}."
            )
        greatest = float(spread.max())
        if not greatest > 0:
            raise ValueError("spread must be above 0 in at least one channel: data that never change teach nothing.")
        self.mean.copy_(mean)
        self.spread.copy_(spread.clamp(min=LEAST_SPREAD * greatest))

    def forward(self, values: Tensor) -> Tensor:
        """Values `(..., channels)` as standard scores."""
        return (values - self.mean) / self.spread

    def restore(self, scores: Tensor) -> Tensor:
        """Standard scores `(..., channels)` as values."""
        return scores * self.spread + self.mean
