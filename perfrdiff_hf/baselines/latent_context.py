"""Latent diffusion with context, after the abstract of FRDiff (REACT2023, second place), whose recipe is not public.

The abstract says no more than: latent diffusion, with a denoiser that aggregates features of the context. So this is a
system of its own, and bears FRDiff's name nowhere: latents of the windows of a clip, as BeLFusion has them, denoised
together by a transformer that reads every window of the speaker, sound and face. The online form makes one window
after the other, of the speaker and of its own reactions before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..behaviour import EMOTION_CHANNELS
from ..data.corpus import Corpus
from ..data.reaction_clips import ReactionClips
from ..feature_extraction import PerFRDiffFeatureExtractor
from ..models.emotion_vae import EmotionVAEModel
from ..pipelines.windows import DueWindow
from .belfusion import (
    EMOTION_WEIGHT,
    LATENT_WEIGHT,
    SCHEDULER_CONFIG,
    LatentDenoiserStage,
    LatentDiffusionSystem,
    LatentObjective,
)
from .emotion_vae import EmotionVAEStage
from .latent_denoiser import check_latents, window_latents
from .latent_sampling import LatentDiffusionSettings, denoise, scheduler_of_session
from .latent_sequence import LatentSequenceDenoiserModel
from .masking import known_channels
from .recipe import Recipe
from .stage import Draws, Examples, Objective, Parts
from .system import register_system
from .whole_clips import ClipReactor, ClipSystemPipeline, check_clip_frames, windows_of


@dataclass(frozen=True)
class LatentContextSettings(LatentDiffusionSettings):
    """See `LatentDiffusionSettings`."""

    num_inference_steps: int | None = 10


class LatentContextReactor(ClipReactor):
    """Denoises the latents of a clip together, or one window's after those before it.

    So that a stream can keep them, an online reaction has more channels than emotion: they hold the latents of the
    windows before.
    """

    settings: LatentContextSettings
    emotion_vae: EmotionVAEModel

    def __init__(
        self,
        denoiser: LatentSequenceDenoiserModel,
        emotion_vae: EmotionVAEModel,
        scheduler: Any,
        settings: LatentContextSettings,
        batch_size: int,
        feature_extractor: PerFRDiffFeatureExtractor,
    ):
        kept, size = denoiser.config.context_windows * denoiser.config.latent_size, feature_extractor.window_size
        super().__init__(
            settings,
            batch_size,
            feature_extractor,
            like=denoiser.last.weight,
            streams=("audio", "emotion", "coefficients"),
            online=denoiser.config.online,
            emotion_vae=emotion_vae,
            channels=EMOTION_CHANNELS + -(-kept // size),
            context_windows=denoiser.config.context_windows,
        )
        self.denoiser = denoiser
        self.scheduler = scheduler_of_session(scheduler, settings)

    @torch.no_grad()
    def react(self, window: DueWindow) -> Tensor:
        """See `WindowReactor`."""
        width, most = self.denoiser.config.latent_size, self.denoiser.config.context_windows
        known = min(window.start // self.window_size, most)
        # Before a session there is a window of silence, which is not seen.
        heard = {name: window.speaker[name][:, -max(known, 1) * self.window_size :] for name in self.streams}
        kept = window.previous[..., EMOTION_CHANNELS:].flatten(2)[..., : most * width].unflatten(2, (most, width))
        settled = functional.pad(kept[:, :, most - known :].flatten(0, 1), (0, 0, 0, 1))
        speaker = functional.pad(self._speaker(heard), (0, 0, 0, min(known, 1)))
        noise = self.noise(window.batch_size, width).flatten(0, 1)
        before = torch.zeros_like(settled[:, :-1])  # noise of settled windows is asked for by nobody

        def predict(latents: Tensor, times: Tensor) -> Tensor:
            noisy = torch.cat([before, latents[:, None]], dim=1)
            return self.denoiser(noisy, times, speaker, settled)[:, -1]

        latents = denoise(self.scheduler, noise, predict)
        emotion = self._emotion(latents).unflatten(0, kept.shape[:2])
        kept = torch.cat([kept[:, :, 1:], latents.unflatten(0, kept.shape[:2])[:, :, None]], dim=2).flatten(2)
        room = self.window_size * (self.channels - EMOTION_CHANNELS)
        kept = functional.pad(kept, (0, room - kept.shape[2])).unflatten(2, (self.window_size, -1))
        return torch.cat([emotion, kept], dim=-1)

    def react_to_clips(self, speaker: Mapping[str, Tensor]) -> Tensor:
        """See `ClipReactor`; the speaker's last frame is held to the end of its window."""
        frames = speaker["emotion"].shape[1]
        missing = -frames % self.window_size
        whole = {
            name: torch.cat([values, values[:, -1:].expand(-1, missing, -1)], dim=1)
            for name, values in speaker.items()
            if name in self.streams
        }
        tokens = self._speaker(whole)
        batch, windows = speaker["emotion"].shape[0], tokens.shape[1]
        noise = self.noise(batch, windows, self.denoiser.config.latent_size).flatten(0, 1)
        latents = denoise(self.scheduler, noise, lambda noisy, times: self.denoiser(noisy, times, tokens))
        emotion = self._emotion(latents.flatten(0, 1)).unflatten(0, (batch, self.num_reactions, windows))
        return emotion.flatten(2, 3)[:, :, :frames]

    def decode(self, reactions: Tensor) -> tuple[Tensor, Tensor]:
        """See `SystemReactor`, without the latents."""
        return super().decode(reactions[..., :EMOTION_CHANNELS])

    def _speaker(self, heard: Mapping[str, Tensor]) -> Tensor:
        """Tokens of whole windows `(batch, windows * window_size, width)`, once for each reaction."""
        audio, emotion, movement = (heard[name] for name in ("audio", "emotion", "coefficients"))
        tokens = speaker_tokens(self.denoiser, self.emotion_vae, audio, emotion, movement, self.window_size)
        return tokens.repeat_interleave(self.num_reactions, dim=0)

    def _emotion(self, latents: Tensor) -> Tensor:
        return self.emotion_vae.decode(self.denoiser.restored(latents), self.window_size)


class LatentContextReactionPipeline(ClipSystemPipeline):
    """Latent diffusion with context, after FRDiff's abstract, as a pipeline.

    Args:
        latent_sequence_denoiser: the transformer.
        emotion_vae: from windows to latents and back, and from emotion to coefficients.
        scheduler: of the diffusion.
        feature_extractor: the mean face and the window length.

    Raises:
        ValueError: if denoiser and emotion VAE do not fit.
    """

    settings_class = LatentContextSettings

    latent_sequence_denoiser: LatentSequenceDenoiserModel
    emotion_vae: EmotionVAEModel
    scheduler: Any

    def __init__(
        self,
        latent_sequence_denoiser: LatentSequenceDenoiserModel,
        emotion_vae: EmotionVAEModel,
        scheduler: Any,
        feature_extractor: PerFRDiffFeatureExtractor,
    ):
        super().__init__()
        check_latents(latent_sequence_denoiser, emotion_vae)
        self.register_modules(
            latent_sequence_denoiser=latent_sequence_denoiser,
            emotion_vae=emotion_vae,
            scheduler=scheduler,
            feature_extractor=feature_extractor,
        )

    @property
    def is_online(self) -> bool:
        """See `ClipSystemPipeline`."""
        return self.latent_sequence_denoiser.config.online

    def new_reactor(self, settings: LatentContextSettings, batch_size: int) -> LatentContextReactor:
        """See `SystemPipeline`."""
        parts = (self.latent_sequence_denoiser, self.emotion_vae, self.scheduler)
        return LatentContextReactor(*parts, settings, batch_size, self.feature_extractor)


class LatentSequenceObjective(LatentObjective):
    """The error of all windows of a clip at one time step, in latents and in the emotion that they decode to."""

    trained: LatentSequenceDenoiserModel

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch: the keys of `ReactionClips`, and see `SequenceNoiseDraws`."""
        denoiser, vae, size = self.trained, self.frozen["emotion_vae"], self.feature_extractor.window_size
        movement = self.feature_extractor.remove_mean_face(batch["speaker_coefficients"])
        speaker = speaker_tokens(denoiser, vae, batch["speaker_audio"], batch["speaker_emotion"], movement, size)
        with torch.no_grad():
            latents = window_latents(vae, windows_of(batch["emotion"], size).flatten(0, 1), denoiser.latent_kind)
            target = denoiser.scaled(latents).unflatten(0, (len(speaker), -1))
            emotion = vae.decode(latents, size)
        noisy = self.scheduler.add_noise(target, batch["latent_noise"], batch["timestep"])
        settled = target if denoiser.config.online else None
        predicted = denoiser(noisy, batch["timestep"], speaker, settled)
        decoded = vae.decode(denoiser.restored(predicted.flatten(0, 1)), size)
        emotion, decoded = known_channels("emotion", self.feature_extractor, emotion, decoded)
        parts = {
            "latent_loss": LATENT_WEIGHT * functional.mse_loss(predicted, target),
            "emotion_loss": EMOTION_WEIGHT * functional.mse_loss(decoded, emotion),
        }
        return {"loss": parts["latent_loss"] + parts["emotion_loss"], **parts}


class LatentSequenceDenoiserStage(LatentDenoiserStage):
    """Trains the denoiser on clips, with the emotion VAE frozen."""

    name = "latent_sequence_denoiser"
    title = "latent sequence denoiser"
    model = LatentSequenceDenoiserModel
    pipeline = LatentContextReactionPipeline
    reads = ("data.window_size", "data.clip_frames", "models.scheduler")
    scheduler_config = {**SCHEDULER_CONFIG, "num_train_timesteps": 50, "timestep_spacing": "trailing"}

    def new_model(self, recipe: Recipe, parts: Parts) -> Any:
        """See `Stage`."""
        check_clip_frames(recipe)
        return super().new_model(recipe, parts)

    def examples(self, corpus: Corpus, split: str, recipe: Recipe) -> Examples:
        """See `ReactionClips`."""
        return ReactionClips(corpus.split(split).arrays, recipe.data.clip_frames, recipe.seed)

    def objective(
        self, model: Any, parts: Parts, feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe
    ) -> Objective:
        """See `Stage`."""
        return LatentSequenceObjective(model, feature_extractor, parts, self.new_scheduler(recipe))

    def draws(self, recipe: Recipe, objective: Any) -> Draws:
        """A time step, and a noise for each window."""
        steps = objective.scheduler.config.num_train_timesteps
        return SequenceNoiseDraws(steps, recipe.data.window_size, objective.trained.config.latent_size)


class SequenceNoiseDraws:
    """One `timestep` `()` for a clip, and standard normal `latent_noise` `(windows, latent_size)`.

    Args:
        num_timesteps: of the diffusion.
        window_size: frames of a window.
        latent_size: width of a latent.
    """

    def __init__(self, num_timesteps: int, window_size: int, latent_size: int):
        self.num_timesteps = num_timesteps
        self.window_size = window_size
        self.latent_size = latent_size

    def __call__(self, example: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        windows = len(example["emotion"]) // self.window_size
        return {
            "timestep": torch.randint(self.num_timesteps, (), generator=generator),
            "latent_noise": torch.randn(windows, self.latent_size, generator=generator),
        }


def speaker_tokens(
    denoiser: LatentSequenceDenoiserModel,
    emotion_vae: EmotionVAEModel,
    audio: Tensor,
    emotion: Tensor,
    movement: Tensor,
    window_size: int,
) -> Tensor:
    """Tokens `(batch, windows, hidden_size)` of a speaker's streams `(batch, frames, width)`, mean face removed."""
    audio, emotion, movement = (windows_of(values, window_size) for values in (audio, emotion, movement))
    with torch.no_grad():
        latents = window_latents(emotion_vae, emotion.flatten(0, 1), denoiser.latent_kind)
    return denoiser.encode_speaker(denoiser.scaled(latents).unflatten(0, emotion.shape[:2]), audio, movement)


LATENT_CONTEXT = register_system(
    LatentDiffusionSystem(
        name="latent_context",
        title="latent diffusion with context, after FRDiff's abstract",
        pipeline=LatentContextReactionPipeline,
        stages=(EmotionVAEStage(), LatentSequenceDenoiserStage()),
        extra_models=("scheduler",),
    )
)
