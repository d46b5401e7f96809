"""Enc_emo: the GRU VAE over windows of emotion, and the step from emotion to 3DMM coefficients.

The generator uses the encoder's last hidden state as the speaker's latent (equation 4); the regressor turns generated
emotion into the coefficients that drive a face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn

from ..behaviour import COEFFICIENT_CHANNELS, EMOTION_CHANNELS


@dataclass
class EmotionVAEEncoderOutput(BaseOutput):
    """What the encoder says of a window.

    `hidden_state` is `(batch, hidden_size)`, `mean` and `logvar` are `(batch, latent_size)`.
    """

    hidden_state: Tensor
    mean: Tensor
    logvar: Tensor


@dataclass
class EmotionVAEOutput(BaseOutput):
    """A window and what the VAE makes of it.

    `emotion` is `(batch, frames, 25)`, `coefficients` `(batch, frames, 58)` with the mean face removed, `mean` and
    `logvar` `(batch, latent_size)`.
    """

    emotion: Tensor
    coefficients: Tensor
    mean: Tensor
    logvar: Tensor


class EmotionVAEModel(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """A variational autoencoder of emotion windows whose decoder is followed by a regressor to 3DMM coefficients.

    Args:
        emotion_channels: channels of the emotion stream.
        coefficient_channels: channels of the coefficient stream.
        hidden_size: width of both GRUs and of the regressor.
        latent_size: width of the latent.
        decoder_sizes: widths of the tanh layers between the decoder's GRU and its output.
    """

    config: Any
    _no_split_modules: Any = []

    @register_to_config
    def __init__(
        self,
        emotion_channels: int = EMOTION_CHANNELS,
        coefficient_channels: int = COEFFICIENT_CHANNELS,
        hidden_size: int = 512,
        latent_size: int = 512,
        decoder_sizes: Sequence[int] = (128, 128),
    ):
        super().__init__()
        self.encoder = nn.GRU(emotion_channels, hidden_size, batch_first=True)
        self.to_mean = nn.Linear(hidden_size, latent_size)
        self.to_logvar = nn.Linear(hidden_size, latent_size)
        self.from_latent = nn.Linear(latent_size, hidden_size)
        self.decoder = nn.GRUCell(hidden_size + emotion_channels, hidden_size)
        sizes = [hidden_size, *decoder_sizes]
        self.decoder_layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        self.decoder_out = nn.Linear(sizes[-1], emotion_channels)
        self.coefficient_regressor = nn.Sequential(
            nn.Linear(emotion_channels, hidden_size), nn.Tanh(), nn.Linear(hidden_size, coefficient_channels)
        )

    def encode(self, emotion: Tensor) -> EmotionVAEEncoderOutput:
        """Encode windows of emotion `(batch, frames, 25)`."""
        _, last = self.encoder(emotion)
        hidden = last[0]
        return EmotionVAEEncoderOutput(hidden, self.to_mean(hidden), self.to_logvar(hidden))

    def decode(self, latent: Tensor, num_frames: int) -> Tensor:
        """Decode latents `(batch, latent_size)` to windows of emotion `(batch, num_frames, 25)`, frame after frame."""
        context = self.from_latent(latent)
        frame = context.new_zeros(len(context), self.config.emotion_channels)
        hidden = context.new_zeros(len(context), self.config.hidden_size)
        frames = []
        for _ in range(num_frames):
            hidden = self.decoder(torch.cat([context, frame], dim=-1), hidden)
            inner = hidden
            for layer in self.decoder_layers:
                inner = torch.tanh(layer(inner))
            frame = self.decoder_out(inner)
            frames.append(frame)
        return torch.stack(frames, dim=1)

    def to_coefficients(self, emotion: Tensor) -> Tensor:
        """The 3DMM coefficients (mean face removed) `(..., 58)` that go with emotion `(..., 25)`, frame by frame."""
        return self.coefficient_regressor(emotion)

    def forward(
        self,
        emotion: Tensor,
        sample_posterior: bool = False,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
    ) -> EmotionVAEOutput | tuple[Tensor, Tensor, Tensor, Tensor]:
        """Encode windows, decode them again, and regress their coefficients.

        Args:
            emotion: `(batch, frames, 25)`.
            sample_posterior: decode a draw from the posterior (training) instead of its mean.
            generator: source of the draw.
            return_dict: return an `EmotionVAEOutput` rather than a tuple.
        """
        encoded = self.encode(emotion)
        latent = encoded.mean
        if sample_posterior:
            noise = randn_tensor(latent.shape, generator=generator, device=latent.device, dtype=latent.dtype)
            latent = latent + torch.exp(0.5 * encoded.logvar) * noise
        decoded = self.decode(latent, emotion.shape[1])
        outputs = (decoded, self.to_coefficients(decoded), encoded.mean, encoded.logvar)
        return EmotionVAEOutput(*outputs) if return_dict else outputs
