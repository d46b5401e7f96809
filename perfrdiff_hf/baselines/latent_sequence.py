"""A denoiser of the latents of all windows of a clip together, so that each knows of the others."""

from __future__ import annotations

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import get_timestep_embedding
from diffusers.models.modeling_utils import ModelMixin  # noqa: F401  (diffusers looks for it beside a component)
from torch import Tensor, nn

from ..behaviour import AUDIO_CHANNELS, COEFFICIENT_CHANNELS
from ..models.positions import sinusoidal_positions
from .latent_denoiser import LatentModel


class LatentSequenceDenoiserModel(LatentModel):
    """A transformer decoder whose queries are noisy latents, one a window, and whose memory is the speaker.

    Args:
        latent_size: width of latents.
        hidden_size: of tokens; feed-forward parts have twice as much.
        num_layers: of the decoder.
        num_heads: of each attention.
        dropout: of the layers.
        time_size: of the time's sinusoids.
        online: whether a window knows the speaker and the own reactions of the windows before it, which are made one
            after the other; or all windows of both, which are made together.
        context_windows: online, how many windows before its own a window knows at most.

    Raises:
        ValueError: if `context_windows` is below 1.
    """

    @register_to_config
    def __init__(
        self,
        latent_size: int = 128,
        hidden_size: int = 128,
        num_layers: int = 4,
        num_heads: int = 4,
        dropout: float = 0.1,
        time_size: int = 64,
        online: bool = True,
        context_windows: int = 14,
    ):
        super().__init__(latent_size)
        if context_windows < 1:
            raise ValueError(f"context_windows must be at least 1; given: {context_windows}.")
        self.read_latent = nn.Linear(latent_size, hidden_size)
        self.read_speaker = nn.Linear(latent_size, hidden_size)
        self.read_audio = nn.Linear(AUDIO_CHANNELS, hidden_size)
        self.read_movement = nn.Linear(COEFFICIENT_CHANNELS, hidden_size)
        self.embed_time = nn.Sequential(
            nn.Linear(time_size, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size)
        )
        layer = nn.TransformerDecoderLayer(hidden_size, num_heads, 2 * hidden_size, dropout, batch_first=True)
        self.layers = nn.TransformerDecoder(layer, num_layers)
        self.last = nn.Linear(hidden_size, latent_size)
        if online:  # tells a clean latent from a noisy one
            self.settled = nn.Parameter(0.02 * torch.randn(hidden_size))

    def encode_speaker(self, latents: Tensor, audio: Tensor, movement: Tensor) -> Tensor:
        """The speaker as tokens `(batch, windows, hidden_size)`.

        Args:
            latents: `(batch, windows, latent_size)` of the speaker's windows, scaled.
            audio: `(batch, windows, window_size, 78)`, of which the mean is read.
            movement: `(batch, windows, window_size, 58)`, mean face removed; the same.
        """
        return (
            self.read_speaker(latents) + self.read_audio(audio.mean(dim=2)) + self.read_movement(movement.mean(dim=2))
        )

    def forward(self, noisy: Tensor, timestep: Tensor, speaker: Tensor, settled: Tensor | None = None) -> Tensor:
        """The clean latents `(batch, windows, latent_size)` that are predicted, scaled.

        Args:
            noisy: `(batch, windows, latent_size)`.
            timestep: `(batch,)` from 0, the least noise.
            speaker: `(batch, windows, hidden_size)` from `encode_speaker`; online, the last is not seen.
            settled: online, the clean latents of the same windows, of which each window sees those before its own.
        """
        windows = noisy.shape[1]
        positions = sinusoidal_positions(windows, speaker.shape[2]).to(noisy)
        times = get_timestep_embedding(timestep, self.config.time_size).to(noisy)
        memory = torch.cat([self.embed_time(times)[:, None], speaker + positions], dim=1)
        tokens = self.read_latent(noisy) + positions
        if settled is None:
            return self.last(self.layers(tokens, memory))
        tokens = torch.cat([tokens, self.read_latent(settled) + positions + self.settled], dim=1)
        hidden_tokens, hidden_memory = _hidden(windows, noisy.device)
        seen = self.layers(tokens, memory, tgt_mask=hidden_tokens, memory_mask=hidden_memory)
        return self.last(seen[:, :windows])


def _hidden(windows: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """What noisy latents, and below them settled ones, do not see of each other, and of time and speaker.

    Returns:
        `(2 windows, 2 windows)` and `(2 windows, 1 + windows)`, True where it is hidden.
    """
    place = torch.arange(windows, device=device)
    later = place[:, None] <= place  # hides a window's own place, too
    other = place[:, None] != place
    tokens = torch.cat([torch.cat([other, later], dim=1), torch.cat([torch.ones_like(other), later & other], dim=1)])
    memory = torch.cat([torch.zeros_like(later[:, :1]), later], dim=1)
    return tokens, memory.repeat(2, 1)
