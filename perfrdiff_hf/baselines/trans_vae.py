"""Trans-VAE, the baseline of the REACT challenges: a bag of the speaker's frames, one latent, a transformer decoder.

Written anew from its description. Where the source reads pixels, this reads coefficients; audio is MFCC as there.
Kept: an encoder that is blind to the order of frames, a decoder whose only memory is one latent, the loss. Not kept:
online, a window saw the speaker's frames of that very window, here those before it alone (equation 3's constraint);
frames at the end of a clip that fill no window stayed zero, here the last window is cut. Of its own past reactions the
online form here reads the window before, not all, and no gradient flows through them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from ..behaviour import AUDIO_CHANNELS, COEFFICIENT_CHANNELS, EMOTION_CHANNELS, REACTION_CHANNELS
from ..data.corpus import Corpus
from ..data.reaction_clips import ReactionClips
from ..feature_extraction import PerFRDiffFeatureExtractor
from ..pipelines.windows import DueWindow
from .latent_transformer import LatentDecoder, LatentEncoder, TwoLatentDraws, causal_mask, layer_options, sampled
from .losses import variational_losses
from .reacting import ReactionSettings, SystemStage
from .recipe import Recipe
from .stage import Draws, Examples, Objective, Parts
from .system import System, register_system
from .whole_clips import ClipReactor, ClipSystemPipeline, check_clip_frames


KL_WEIGHT = 1e-5


class TransVAEModel(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Encoder and decoder; the defaults are the published widths.

    Args:
        hidden_size: width of everything, the latent as well.
        num_heads: of each attention.
        dropout: of layers and positions.
        online: whether it reacts window by window to the past, or to a whole clip at once.
        context_windows: online, how many windows of the speaker's past it reads at most.
    """

    config: Any
    _no_split_modules: Any = []

    @register_to_config
    def __init__(
        self,
        hidden_size: int = 128,
        num_heads: int = 4,
        dropout: float = 0.1,
        online: bool = True,
        context_windows: int = 15,
    ):
        super().__init__()
        if context_windows < 1:
            raise ValueError(f"context_windows must be at least 1; given: {context_windows}.")
        self.read_face = nn.Linear(COEFFICIENT_CHANNELS, hidden_size)
        self.read_audio = nn.Linear(AUDIO_CHANNELS, hidden_size)
        self.join_streams = nn.Linear(2 * hidden_size, hidden_size)
        self.to_tokens = nn.Linear(hidden_size, hidden_size)
        self.posterior = LatentEncoder(hidden_size, num_heads, dropout)
        self.decoder = LatentDecoder(hidden_size, num_heads, dropout)
        if online:
            self.join_past = nn.Linear(hidden_size + REACTION_CHANNELS, hidden_size)
            self.read_new = nn.Linear(hidden_size, hidden_size)
            self.read_past = nn.Linear(COEFFICIENT_CHANNELS, hidden_size)
            options = layer_options(hidden_size, dropout)
            self.past_decoder = nn.TransformerDecoderLayer(hidden_size, num_heads, **options)
            self.recurrence = nn.LSTM(hidden_size, hidden_size, batch_first=True)

    def encode(self, audio: Tensor, movement: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The distribution of the latent.

        Args:
            audio: `(batch, frames, 78)` of the speaker.
            movement: `(batch, frames, 58)` of the speaker, mean face removed.
            past: online, the own reactions over the last of these frames, `(batch, at most frames, 83)`.

        Returns:
            Mean and logarithm of the variance, each `(batch, hidden_size)`; without `past` they do not depend on the
            order of the frames.
        """
        features = self.join_streams(torch.cat([self.read_face(movement), self.read_audio(audio)], dim=-1))
        if past is not None:
            unknown = past.new_zeros(len(past), features.shape[1] - past.shape[1], past.shape[2])
            features = self.join_past(torch.cat([features, torch.cat([unknown, past], dim=1)], dim=-1))
        return self.posterior(self.to_tokens(features))

    def decode(self, latent: Tensor, num_frames: int, past: Tensor | None = None) -> Tensor:
        """Reactions `(batch, num_frames, 83)`: emotion, then movement.

        Args:
            latent: `(batch, hidden_size)`.
            num_frames: how many.
            past: online, the own reactions of the window before, `(batch, frames, 83)`.
        """
        hidden = self.decoder(latent, num_frames)
        if past is not None:
            hidden = self._continue(hidden, past[..., EMOTION_CHANNELS:])
        return self.decoder.read(hidden)

    def _continue(self, hidden: Tensor, past_movement: Tensor) -> Tensor:
        """A window's features, led on from the movement of the window before."""
        past = self.read_past(past_movement)
        tokens = torch.cat([past, self.read_new(hidden)], dim=1)
        mask = causal_mask(tokens.shape[1], tokens)
        joined = self.past_decoder(tokens, tokens, tgt_mask=mask, tgt_is_causal=True)
        last = past[:, -1][None].contiguous()
        return self.recurrence(joined[:, past.shape[1] :], (last, last))[0]


class TransVAEReactor(ClipReactor):
    """Each reaction, and online each of its windows, decodes a latent of its own."""

    def __init__(
        self,
        model: TransVAEModel,
        settings: ReactionSettings,
        batch_size: int,
        feature_extractor: PerFRDiffFeatureExtractor,
    ):
        super().__init__(
            settings,
            batch_size,
            feature_extractor,
            like=model.decoder.to_emotion.weight,
            streams=("audio", "coefficients"),
            online=model.config.online,
            channels=REACTION_CHANNELS,
            context_windows=model.config.context_windows,
        )
        self.model = model

    @torch.no_grad()
    def react(self, window: DueWindow) -> Tensor:
        """See `WindowReactor`; before a session there is a window of silence and nothing else."""
        frames = min(window.start, self.context_frames) or self.window_size
        heard = {
            name: window.speaker[name][:, -frames:].repeat_interleave(self.num_reactions, dim=0)
            for name in self.streams
        }
        past = window.previous.flatten(0, 1)
        mean, logvar = self.model.encode(heard["audio"], heard["coefficients"], past)
        latent = self._sample(mean, logvar, window.batch_size)
        made = self.model.decode(latent, self.window_size, past)
        return made.unflatten(0, (window.batch_size, self.num_reactions))

    def react_to_clips(self, speaker: Mapping[str, Tensor]) -> Tensor:
        """See `ClipReactor`."""
        batch, frames = speaker["audio"].shape[:2]
        moments = self.model.encode(speaker["audio"], speaker["coefficients"])
        mean, logvar = (values.repeat_interleave(self.num_reactions, dim=0) for values in moments)
        made = self.model.decode(self._sample(mean, logvar, batch), frames)
        return made.unflatten(0, (batch, self.num_reactions))

    def _sample(self, mean: Tensor, logvar: Tensor, batch_size: int) -> Tensor:
        return sampled(mean, logvar, self.noise(batch_size, mean.shape[-1]).flatten(0, 1))


class TransVAEReactionPipeline(ClipSystemPipeline):
    """Trans-VAE (new implementation) as a pipeline.

    Args:
        trans_vae: the model.
        feature_extractor: the mean face and the window length.
    """

    trans_vae: TransVAEModel

    def __init__(self, trans_vae: TransVAEModel, feature_extractor: PerFRDiffFeatureExtractor):
        super().__init__()
        self.register_modules(trans_vae=trans_vae, feature_extractor=feature_extractor)

    @property
    def is_online(self) -> bool:
        """See `ClipSystemPipeline`."""
        return self.trans_vae.config.online

    def new_reactor(self, settings: ReactionSettings, batch_size: int) -> TransVAEReactor:
        """See `SystemPipeline`."""
        return TransVAEReactor(self.trans_vae, settings, batch_size, self.feature_extractor)


class TransVAEObjective(Objective):
    """Reconstruction, KL, and a second sample that the first is not to resemble."""

    trained: TransVAEModel

    @property
    def window_size(self) -> int:
        """Frames of a window."""
        return self.feature_extractor.window_size

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch: the keys of `ReactionClips`, and `latent_noise` (b, 2, windows, hidden)."""
        movement = self.feature_extractor.remove_mean_face(batch["coefficients"])
        noise = batch["latent_noise"]
        made, mean, logvar = self.reactions(batch, noise[:, 0])
        with torch.no_grad():
            other = self.reactions(batch, noise[:, 1])[0]
        frames = made.shape[1]  # online, of whole windows
        recorded = batch["emotion"][:, :frames], movement[:, :frames]
        parts = variational_losses(made, other, *recorded, (mean, logvar), KL_WEIGHT, self.feature_extractor)
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    def reactions(self, batch: Mapping[str, Tensor], noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reactions `(b, frames, 83)` to clips, and the moments of their latents `(b, windows, hidden)`.

        Args:
            batch: of clips.
            noise: `(b, windows, hidden)`; offline there is one window, the clip.
        """
        audio = batch["speaker_audio"]
        face = self.feature_extractor.remove_mean_face(batch["speaker_coefficients"])
        if not self.trained.config.online:
            mean, logvar = self.trained.encode(audio, face)
            latent = sampled(mean, logvar, noise[:, 0])
            return self.trained.decode(latent, audio.shape[1]), mean[:, None], logvar[:, None]
        size, most = self.window_size, self.trained.config.context_windows * self.window_size
        past = audio.new_zeros(len(audio), size, REACTION_CHANNELS)
        rolled: list[tuple[Tensor, Tensor, Tensor]] = []
        for number in range(audio.shape[1] // size):
            heard = slice(max(0, number * size - most), number * size)
            sound, seen = audio[:, heard], face[:, heard]
            if number == 0:  # nothing was heard or seen
                sound, seen = torch.zeros_like(audio[:, :size]), torch.zeros_like(face[:, :size])
            mean, logvar = self.trained.encode(sound, seen, past)
            window = self.trained.decode(sampled(mean, logvar, noise[:, number]), size, past)
            past = window.detach()
            rolled.append((window, mean, logvar))
        made, means, logvars = zip(*rolled)
        return torch.cat(made, dim=1), torch.stack(means, dim=1), torch.stack(logvars, dim=1)


class TransVAEStage(SystemStage):
    """Trains Trans-VAE on clips, one recorded reaction to each."""

    name = "trans_vae"
    title = "Trans-VAE"
    model = TransVAEModel
    reads = ("data.window_size", "data.clip_frames")
    pipeline = TransVAEReactionPipeline

    def new_model(self, recipe: Recipe, parts: Parts) -> TransVAEModel:
        """See `Stage`."""
        check_clip_frames(recipe)
        return TransVAEModel(**recipe.arguments(self.name))

    def examples(self, corpus: Corpus, split: str, recipe: Recipe) -> Examples:
        """See `ReactionClips`."""
        return ReactionClips(corpus.split(split).arrays, recipe.data.clip_frames, recipe.seed)

    def objective(
        self, model: Any, parts: Parts, feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe
    ) -> TransVAEObjective:
        """See `Stage`."""
        return TransVAEObjective(model, feature_extractor)

    def draws(self, recipe: Recipe, objective: Any) -> Draws:
        """Two latents for each window."""
        config = objective.trained.config
        return TwoLatentDraws(config.hidden_size, recipe.data.window_size if config.online else None)


TRANS_VAE = register_system(System("trans_vae", "Trans-VAE", TransVAEReactionPipeline, (TransVAEStage(),)))
