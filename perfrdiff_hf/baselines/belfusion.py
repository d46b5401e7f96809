"""BeLFusion, the latent diffusion baseline of the REACT challenges: an MLP denoises the latent of a window of emotion.

Written anew from its description, under neutral names; it reads the speaker's emotion alone. Kept: ten steps of
diffusion, ten noises for one window of which the best is trained, independent windows and so seams at their borders.
Not kept: the published program decodes the encoder's last hidden state where the decoder was trained on the latent
(`latent: hidden` brings that back), trains on the first four seconds of clips alone, and teaches its regressor the
mean face. The emotion VAE is PerFRDiff's, of which the published one is a smaller twin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from ..behaviour import EMOTION_CHANNELS
from ..data.corpus import Corpus
from ..feature_extraction import PerFRDiffFeatureExtractor
from ..models.emotion_vae import EmotionVAEModel
from ..pipelines.reaction_pipeline import ReactionPipeline
from ..pipelines.windows import DueWindow
from .emotion_vae import EmotionVAEStage
from .latent_denoiser import LatentDenoiserMLPModel, LatentModel, check_latents, window_latents
from .latent_sampling import LatentDiffusionSettings, denoise, scheduler_of_session
from .masking import known_channels
from .reacting import SystemPipeline, SystemReactor, SystemStage
from .recipe import Recipe
from .stage import Draws, Examples, Objective, Parts
from .system import System, register_system


SCHEDULER_CONFIG = {
    "num_train_timesteps": 10,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "sample",
    "clip_sample": True,
    "set_alpha_to_one": True,
    "timestep_spacing": "leading",
}
LATENT_WEIGHT = 10.0
EMOTION_WEIGHT = 10.0
ENCODED_AT_ONCE = 512


class LatentDiffusionReactor(SystemReactor):
    """Denoises one latent for each reaction and window, and decodes it."""

    settings: LatentDiffusionSettings
    emotion_vae: EmotionVAEModel

    def __init__(
        self,
        denoiser: LatentDenoiserMLPModel,
        emotion_vae: EmotionVAEModel,
        scheduler: Any,
        settings: LatentDiffusionSettings,
        batch_size: int,
        feature_extractor: PerFRDiffFeatureExtractor,
    ):
        super().__init__(
            settings,
            batch_size,
            feature_extractor,
            like=denoiser.last.weight,
            streams=("emotion",),
            online=denoiser.config.online,
            emotion_vae=emotion_vae,
        )
        self.denoiser = denoiser
        self.scheduler = scheduler_of_session(scheduler, settings)

    @torch.no_grad()
    def react(self, window: DueWindow) -> Tensor:
        """See `WindowReactor`."""
        latents = window_latents(self.emotion_vae, window.speaker["emotion"], self.denoiser.latent_kind)
        speaker = self.denoiser.scaled(latents).repeat_interleave(self.num_reactions, dim=0)
        noise = self.noise(window.batch_size, self.denoiser.config.latent_size).flatten(0, 1)
        denoised = denoise(self.scheduler, noise, lambda noisy, times: self.denoiser(noisy, times, speaker))
        emotion = self.emotion_vae.decode(self.denoiser.restored(denoised), self.window_size)
        return emotion.unflatten(0, (window.batch_size, self.num_reactions))


class LatentDiffusionReactionPipeline(SystemPipeline):
    """Latent diffusion of windows, after BeLFusion (new implementation), as a pipeline.

    Args:
        latent_denoiser: the MLP.
        emotion_vae: from windows to latents and back, and from emotion to coefficients.
        scheduler: of the diffusion.
        feature_extractor: the mean face and the window length.

    Raises:
        ValueError: if denoiser and emotion VAE do not fit.
    """

    settings_class = LatentDiffusionSettings

    latent_denoiser: LatentDenoiserMLPModel
    emotion_vae: EmotionVAEModel
    scheduler: Any

    def __init__(
        self,
        latent_denoiser: LatentDenoiserMLPModel,
        emotion_vae: EmotionVAEModel,
        scheduler: Any,
        feature_extractor: PerFRDiffFeatureExtractor,
    ):
        super().__init__()
        check_latents(latent_denoiser, emotion_vae)
        self.register_modules(
            latent_denoiser=latent_denoiser,
            emotion_vae=emotion_vae,
            scheduler=scheduler,
            feature_extractor=feature_extractor,
        )

    def new_reactor(self, settings: LatentDiffusionSettings, batch_size: int) -> LatentDiffusionReactor:
        """See `SystemPipeline`."""
        parts = (self.latent_denoiser, self.emotion_vae, self.scheduler)
        return LatentDiffusionReactor(*parts, settings, batch_size, self.feature_extractor)


class LatentObjective(Objective):
    """The base of objectives of latent diffusion.

    Args:
        trained: the denoiser of latents.
        feature_extractor: knows which channels there are.
        frozen: with the emotion VAE.
        scheduler: of the diffusion.
    """

    def __init__(
        self,
        trained: LatentModel,
        feature_extractor: PerFRDiffFeatureExtractor,
        frozen: Parts,
        scheduler: Any,
    ):
        super().__init__(trained, feature_extractor, frozen)
        self.scheduler = scheduler


class LatentDenoiserObjective(LatentObjective):
    """The best of several predictions, once in latents and once in the emotion that they decode to."""

    trained: LatentDenoiserMLPModel

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch: `speaker_emotion` (b, w, 25), `reactions` (b, 1, w, 25), and see `LatentNoiseDraws`."""
        denoiser, vae = self.trained, self.frozen["emotion_vae"]
        noise, kind = batch["latent_noise"], denoiser.latent_kind
        count, frames = noise.shape[1], batch["reactions"].shape[2]
        with torch.no_grad():
            latents = window_latents(vae, batch["reactions"][:, 0], kind)
            speaker = denoiser.scaled(window_latents(vae, batch["speaker_emotion"], kind))
            target = denoiser.scaled(latents)[:, None].expand(-1, count, -1)
            emotion = vae.decode(latents, frames)[:, None]
        times = batch["timestep"]
        noisy = self.scheduler.add_noise(target, noise, times).flatten(0, 1)
        each = (values.repeat_interleave(count, dim=0) for values in (times, speaker))
        predicted = denoiser(noisy, *each)
        decoded = vae.decode(denoiser.restored(predicted), frames).unflatten(0, (-1, count))
        emotion, decoded = known_channels("emotion", self.feature_extractor, emotion, decoded)
        latent_errors = (predicted.unflatten(0, (-1, count)) - target).abs().mean(dim=-1)
        emotion_errors = (decoded - emotion).square().mean(dim=(-2, -1))
        parts = {
            "latent_loss": LATENT_WEIGHT * latent_errors.amin(dim=1).mean(),
            "emotion_loss": EMOTION_WEIGHT * emotion_errors.amin(dim=1).mean(),
        }
        return {"loss": parts["latent_loss"] + parts["emotion_loss"], **parts}


class LatentDenoiserStage(SystemStage):
    """Trains the denoiser on windows, with the emotion VAE frozen."""

    name = "latent_denoiser"
    title = "latent denoiser"
    model = LatentDenoiserMLPModel
    needs = ("emotion_vae",)
    reads = ("data.window_size", "data.num_predictions", "models.scheduler")
    pipeline: ClassVar[type[SystemPipeline]] = LatentDiffusionReactionPipeline
    scheduler_config: ClassVar[dict[str, Any]] = SCHEDULER_CONFIG

    def new_scheduler(self, recipe: Recipe) -> Any:
        """DDIM, with what the recipe's `models.scheduler` changes in it."""
        return DDIMScheduler(**(self.scheduler_config | recipe.arguments("scheduler")))

    def new_model(self, recipe: Recipe, parts: Parts) -> Any:
        """See `Stage`; the width of latents is the emotion VAE's."""
        vae = parts["emotion_vae"]
        width = {"latent_size": vae.config.latent_size}
        denoiser = self.model(**(width | recipe.arguments(self.name)))
        check_latents(denoiser, vae)
        return denoiser

    @torch.no_grad()
    def look_at_data(self, model: LatentModel, corpus: Corpus, recipe: Recipe, parts: Parts) -> None:
        """The ranges of the latents of everybody's windows, one after the other."""
        vae, arrays = parts["emotion_vae"].eval(), corpus.split("train").arrays
        size, latents = recipe.data.window_size, []
        windows = np.concatenate(
            [
                clip[: len(clip) // size * size].reshape(-1, size, EMOTION_CHANNELS)
                for clip in map(arrays.emotion, range(len(arrays)))
            ]
        )
        for some in torch.from_numpy(windows).split(ENCODED_AT_ONCE):
            latents.append(window_latents(vae, some, model.latent_kind))
        model.fit(torch.cat(latents))

    def examples(self, corpus: Corpus, split: str, recipe: Recipe) -> Examples:
        """Speaker windows and the recorded reaction."""
        return self.windows(corpus, split, recipe, num_reactions=1)

    def components(self, objective: Any) -> dict[str, Any]:
        """See `SystemStage`."""
        return {**super().components(objective), "scheduler": objective.scheduler}

    def objective(
        self, model: Any, parts: Parts, feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe
    ) -> Objective:
        """See `Stage`."""
        return LatentDenoiserObjective(model, feature_extractor, parts, self.new_scheduler(recipe))

    def draws(self, recipe: Recipe, objective: Any) -> Draws:
        """A time step, and several noises."""
        steps = objective.scheduler.config.num_train_timesteps
        return LatentNoiseDraws(steps, recipe.data.num_predictions, objective.trained.config.latent_size)


class LatentNoiseDraws:
    """One `timestep` `()` for a window, and standard normal `latent_noise` `(count, latent_size)`.

    Args:
        num_timesteps: of the diffusion.
        count: of noises.
        latent_size: width of a latent.
    """

    def __init__(self, num_timesteps: int, count: int, latent_size: int):
        self.num_timesteps = num_timesteps
        self.count = count
        self.latent_size = latent_size

    def __call__(self, example: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        return {
            "timestep": torch.randint(self.num_timesteps, (), generator=generator),
            "latent_noise": torch.randn(self.count, self.latent_size, generator=generator),
        }


class LatentDiffusionSystem(System):
    """A system whose pipeline has a scheduler besides what is trained."""

    def assemble(self, parts: Parts, feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe) -> ReactionPipeline:
        """See `System`."""
        pipeline: Any = self.pipeline
        (stage,) = (stage for stage in self.stages if isinstance(stage, LatentDenoiserStage))
        return pipeline(**parts, scheduler=stage.new_scheduler(recipe), feature_extractor=feature_extractor)


BELFUSION = register_system(
    LatentDiffusionSystem(
        name="belfusion",
        title="BeLFusion",
        pipeline=LatentDiffusionReactionPipeline,
        stages=(EmotionVAEStage(), LatentDenoiserStage()),
        extra_models=("scheduler",),
    )
)
