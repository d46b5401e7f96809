"""What a latent of a window is, and the denoiser of latents that BeLFusion's description asks for."""

from __future__ import annotations

from typing import Any, Literal

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.embeddings import get_timestep_embedding
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from ..models.emotion_vae import EmotionVAEModel


class LatentModel(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """The base of denoisers: the ranges of the latents of the data, which the diffusion sees as [-1, 1].

    Args:
        latent_size: width of latents.
    """

    config: Any
    _no_split_modules: Any = []
    latent_min: Tensor
    latent_max: Tensor

    def __init__(self, latent_size: int):
        super().__init__()
        self.register_buffer("latent_min", -torch.ones(latent_size))
        self.register_buffer("latent_max", torch.ones(latent_size))

    @property
    def latent_kind(self) -> str:
        """What of the emotion VAE is a latent; see `window_latents`."""
        return str(self.config.get("latent", "mean"))

    @torch.no_grad()
    def fit(self, latents: Tensor) -> None:
        """Take over the ranges of latents `(count, latent_size)`, which the diffusion sees as [-1, 1]."""
        low, high = latents.amin(dim=0), latents.amax(dim=0)
        self.latent_min.copy_(low)
        self.latent_max.copy_(torch.maximum(high, low + 1e-6))  # one that never changes is 0, and stays finite

    def scaled(self, latents: Tensor) -> Tensor:
        """Latents `(..., latent_size)` as the diffusion sees them."""
        return 2 * (latents - self.latent_min) / (self.latent_max - self.latent_min) - 1

    def restored(self, scaled: Tensor) -> Tensor:
        """Latents as the emotion VAE has them."""
        return (scaled + 1) / 2 * (self.latent_max - self.latent_min) + self.latent_min


class LatentDenoiserMLPModel(LatentModel):
    """An MLP whose every layer sees the noisy latent again, and is modulated by time and speaker (after DiffAE).

    The defaults are the published sizes.

    Args:
        latent_size: width of latents.
        hidden_size: of the layers.
        num_layers: how many, the last one included.
        time_size: of the time's sinusoids.
        condition_size: of the time's and of the speaker's embedding each.
        online: whether the speaker's latent is that of the window before, or of the window itself.
        latent: what of the emotion VAE is a latent: the `"mean"` of its distribution, or, as in the published program,
            the encoder's last `"hidden"` state, which the decoder was not trained for.

    Raises:
        ValueError: if there are fewer than two layers, or `latent` is another.
    """

    @register_to_config
    def __init__(
        self,
        latent_size: int = 128,
        hidden_size: int = 1024,
        num_layers: int = 10,
        time_size: int = 64,
        condition_size: int = 128,
        online: bool = True,
        latent: Literal["mean", "hidden"] = "mean",
    ):
        super().__init__(latent_size)
        if num_layers < 2:
            raise ValueError(f"num_layers must be at least 2; given: {num_layers}.")
        if latent not in ("mean", "hidden"):
            raise ValueError(f"latent must be 'mean' or 'hidden'; given: {latent!r}.")
        self.embed_time = _two_layers(time_size, condition_size)
        self.embed_speaker = _two_layers(latent_size, condition_size)
        inputs = [2 * latent_size] + [hidden_size + latent_size] * (num_layers - 2)
        self.layers = nn.ModuleList(nn.Linear(width, hidden_size) for width in inputs)
        self.modulations = nn.ModuleList(nn.Linear(2 * condition_size, hidden_size) for _ in inputs)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_size) for _ in inputs)
        self.last = nn.Linear(hidden_size + latent_size, latent_size)

    def forward(self, noisy: Tensor, timestep: Tensor, speaker: Tensor) -> Tensor:
        """The clean latents that are predicted, scaled.

        Args:
            noisy: `(batch, latent_size)`.
            timestep: `(batch,)` from 0, the least noise.
            speaker: `(batch, latent_size)` scaled latents of the speakers.
        """
        times = get_timestep_embedding(timestep, self.config.time_size).to(noisy)
        condition = nn.functional.silu(torch.cat([self.embed_time(times), self.embed_speaker(speaker)], dim=-1))
        hidden = noisy
        for layer, modulation, norm in zip(self.layers, self.modulations, self.norms):
            inner = layer(torch.cat([hidden, noisy], dim=-1)) * (1 + modulation(condition))
            hidden = nn.functional.silu(norm(inner))
        return self.last(torch.cat([hidden, noisy], dim=-1))


def window_latents(emotion_vae: EmotionVAEModel, emotion: Tensor, latent: str) -> Tensor:
    """The latents `(batch, latent_size)` of windows `(batch, frames, 25)`; see `LatentDenoiserMLPModel`."""
    encoded = emotion_vae.encode(emotion)
    return encoded.mean if latent == "mean" else encoded.hidden_state


def check_latents(denoiser: LatentModel, emotion_vae: EmotionVAEModel) -> None:
    """See that a denoiser's latents are those of an emotion VAE.

    Raises:
        ValueError: if their widths differ.
    """
    width, given = emotion_vae.config.latent_size, denoiser.config.latent_size
    if given != width:
        raise ValueError(f"latent_size is {given}, but the emotion_vae has latents of {width}.")
    if denoiser.latent_kind == "hidden" and emotion_vae.config.hidden_size != width:
        raise ValueError(
            f"latent 'hidden' needs an emotion_vae with equal hidden_size and latent_size; given: "
            f"{emotion_vae.config.hidden_size} and {width}."
        )


def _two_layers(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width))
