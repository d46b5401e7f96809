"""What Trans-VAE and BEAMER share: a latent of a bag of frames, and a transformer that makes reactions of it alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..behaviour import COEFFICIENT_CHANNELS, EMOTION_CHANNELS
from ..models.positions import sinusoidal_positions


class LatentEncoder(nn.Module):
    """The distribution of a latent, read off two learned tokens among those of the frames, which have no positions.

    Args:
        hidden_size: of tokens and latent.
        num_heads: of the attention.
        dropout: of the layer.
    """

    def __init__(self, hidden_size: int, num_heads: int, dropout: float):
        super().__init__()
        self.moments = nn.Parameter(torch.randn(2, hidden_size))
        self.layer = nn.TransformerEncoderLayer(hidden_size, num_heads, **layer_options(hidden_size, dropout))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance, each `(batch, width)`, of tokens `(batch, frames, width)`."""
        encoded = self.layer(torch.cat([self.moments.expand(len(tokens), -1, -1), tokens], dim=1))
        return encoded[:, 0], encoded[:, 1]


class LatentDecoder(nn.Module):
    """Reactions of which every frame knows the latent, its place, and the frames before it.

    Args:
        hidden_size: of everything.
        num_heads: of each attention.
        dropout: of layers and positions.
    """

    def __init__(self, hidden_size: int, num_heads: int, dropout: float):
        super().__init__()
        options = layer_options(hidden_size, dropout)
        self.position_dropout = nn.Dropout(dropout)
        self.latent_layer = nn.TransformerDecoderLayer(hidden_size, num_heads, **options)
        self.self_layer = nn.TransformerDecoderLayer(hidden_size, num_heads, **options)
        self.to_movement = nn.Linear(hidden_size, COEFFICIENT_CHANNELS)
        self.join_movement = nn.Linear(COEFFICIENT_CHANNELS + hidden_size, hidden_size)
        self.to_emotion = nn.Linear(hidden_size, EMOTION_CHANNELS)

    def forward(self, latent: Tensor, num_frames: int) -> Tensor:
        """Features `(batch, num_frames, hidden_size)` of frames, from latents `(batch, hidden_size)`."""
        positions = sinusoidal_positions(num_frames, latent.shape[1]).to(latent)
        queries = self.position_dropout(positions.expand(len(latent), -1, -1))
        mask = causal_mask(num_frames, latent)
        hidden = self.latent_layer(queries, latent[:, None], tgt_mask=mask, tgt_is_causal=True)
        return self.self_layer(hidden, hidden, tgt_mask=mask, tgt_is_causal=True)

    def read(self, hidden: Tensor) -> Tensor:
        """Reactions `(batch, frames, 83)`, emotion and then movement, of the features of frames."""
        movement = self.to_movement(hidden)
        emotion = self.to_emotion(self.join_movement(torch.cat([movement, hidden], dim=-1)))
        return torch.cat([emotion, movement], dim=-1)


class TwoLatentDraws:
    """Standard normal `latent_noise` `(2, windows, latent_size)`, for the reaction and for the one beside it.

    Args:
        latent_size: width of the latent.
        window_size: frames of a window; None: a clip has one latent.
    """

    def __init__(self, latent_size: int, window_size: int | None):
        self.latent_size = latent_size
        self.window_size = window_size

    def __call__(self, example: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        windows = len(example["emotion"]) // self.window_size if self.window_size else 1
        return {"latent_noise": torch.randn(2, windows, self.latent_size, generator=generator)}


def sampled(mean: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
    """Latents that standard normal noise of the same shape chooses."""
    return mean + torch.exp(0.5 * logvar) * noise


def layer_options(hidden_size: int, dropout: float) -> dict[str, Any]:
    """Of all transformer layers: post-norm, ReLU, a feed-forward part of twice the width."""
    return {"dim_feedforward": 2 * hidden_size, "dropout": dropout, "batch_first": True}


def causal_mask(frames: int, like: Tensor) -> Tensor:
    """The mask that hides later frames, `(frames, frames)`."""
    return nn.Transformer.generate_square_subsequent_mask(frames, like.device, like.dtype)
