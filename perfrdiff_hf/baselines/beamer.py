"""BEAMER, of REACT2023: a Siamese encoder of behaviour, Trans-VAE's latent and decoder, and pairs that contrast.

Written anew from its abstract and a description of its unfinished code. Kept: one encoder reads the emotion of
speakers and listeners; reconstruction with KL and diversity as in Trans-VAE; the decoder is to have the features of
the encoded listener; speakers lie near listeners that react to them and away from others. Where the source reads
features of pixels, this reads coefficients, averaged over 32 frames as those are. Not kept: attention ran over the
clips of a batch, gradients were never zeroed, dropout stayed on while it reacted, and the contrast was taken of frames
along time, with a margin that no cosine reaches; here it is taken of the mean of a clip, in one stage with the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional

from ..behaviour import COEFFICIENT_CHANNELS, EMOTION_CHANNELS, REACTION_CHANNELS
from ..data.corpus import Corpus
from ..data.reaction_clips import ReactionClips
from ..feature_extraction import PerFRDiffFeatureExtractor
from ..pipelines.windows import DueWindow
from .latent_transformer import LatentDecoder, LatentEncoder, TwoLatentDraws, layer_options, sampled
from .losses import variational_losses
from .reacting import ReactionSettings, SystemStage
from .recipe import Recipe
from .stage import Draws, Examples, Objective, Parts
from .system import System, register_system
from .whole_clips import ClipReactor, ClipSystemPipeline, check_clip_frames, windows_of


SUMMARY_FRAMES = 32
JOINT_DROPOUT = 0.3
KL_WEIGHT = 1e-4


class BEAMERModel(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """The encoder of behaviour, and Trans-VAE's latent and decoder; the defaults are the published widths.

    Args:
        hidden_size: width of everything, the latent as well.
        num_heads: of each attention.
        dropout: of layers and positions; the layer that joins both streams has 0.3.
        online: whether it reacts window by window to the past, or to a whole clip at once.
        context_windows: online, how many windows of the speaker's past it reads at most.

    Raises:
        ValueError: if `context_windows` is below 1.
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
        self.read_emotion = nn.Conv1d(EMOTION_CHANNELS, hidden_size, 3)
        self.read_movement = nn.Linear(COEFFICIENT_CHANNELS, hidden_size)
        options = layer_options(hidden_size, dropout)
        self.emotion_layer = nn.TransformerEncoderLayer(hidden_size, num_heads, **options)
        self.movement_layer = nn.TransformerEncoderLayer(hidden_size, num_heads, **options)
        self.joint_layer = nn.TransformerEncoderLayer(hidden_size, num_heads, **(options | {"dropout": JOINT_DROPOUT}))
        self.to_behaviour = nn.Linear(hidden_size, hidden_size)
        self.posterior = LatentEncoder(hidden_size, num_heads, dropout)
        self.decoder = LatentDecoder(hidden_size, num_heads, dropout)

    def encode(self, emotion: Tensor, movement: Tensor) -> Tensor:
        """What somebody does, speaker or listener, as features `(batch, frames, hidden_size)`.

        Args:
            emotion: `(batch, frames, 25)`, three frames at least.
            movement: `(batch, frames, 58)`, mean face removed.
        """
        frames = emotion.shape[1]
        felt = functional.adaptive_max_pool1d(functional.relu(self.read_emotion(emotion.transpose(1, 2))), frames)
        parts = max(frames // SUMMARY_FRAMES, 1)
        summary = functional.adaptive_avg_pool1d(movement.transpose(1, 2), parts).transpose(1, 2)
        moved = functional.relu(self.read_movement(summary))
        both = torch.cat([self.emotion_layer(felt.transpose(1, 2)), self.movement_layer(moved)], dim=1)
        behaviour = self.to_behaviour(self.joint_layer(both)).transpose(1, 2)
        return functional.adaptive_max_pool1d(behaviour, frames).transpose(1, 2)


class BEAMERReactor(ClipReactor):
    """Each reaction, and online each of its windows, decodes a latent of its own."""

    def __init__(
        self,
        model: BEAMERModel,
        settings: ReactionSettings,
        batch_size: int,
        feature_extractor: PerFRDiffFeatureExtractor,
    ):
        super().__init__(
            settings,
            batch_size,
            feature_extractor,
            like=model.decoder.to_emotion.weight,
            streams=("emotion", "coefficients"),
            online=model.config.online,
            channels=REACTION_CHANNELS,
            context_windows=model.config.context_windows,
        )
        self.model = model

    @torch.no_grad()
    def react(self, window: DueWindow) -> Tensor:
        """See `WindowReactor`; before a session there is a window of silence and nothing else."""
        frames = min(window.start, self.context_frames) or self.window_size
        return self._answer({name: window.speaker[name][:, -frames:] for name in self.streams}, self.window_size)

    def react_to_clips(self, speaker: Mapping[str, Tensor]) -> Tensor:
        """See `ClipReactor`."""
        return self._answer(speaker, speaker["emotion"].shape[1])

    def _answer(self, heard: Mapping[str, Tensor], num_frames: int) -> Tensor:
        behaviour = self.model.encode(heard["emotion"], heard["coefficients"])
        mean, logvar = (values[:, None] for values in self.model.posterior(behaviour))
        latent = sampled(mean, logvar, self.noise(len(mean), mean.shape[-1]))
        made = self.model.decoder.read(self.model.decoder(latent.flatten(0, 1), num_frames))
        return made.unflatten(0, latent.shape[:2])


class BEAMERReactionPipeline(ClipSystemPipeline):
    """BEAMER (new implementation) as a pipeline.

    Args:
        beamer: the model.
        feature_extractor: the mean face and the window length.
    """

    beamer: BEAMERModel

    def __init__(self, beamer: BEAMERModel, feature_extractor: PerFRDiffFeatureExtractor):
        super().__init__()
        self.register_modules(beamer=beamer, feature_extractor=feature_extractor)

    @property
    def is_online(self) -> bool:
        """See `ClipSystemPipeline`."""
        return self.beamer.config.online

    def new_reactor(self, settings: ReactionSettings, batch_size: int) -> BEAMERReactor:
        """See `SystemPipeline`."""
        return BEAMERReactor(self.beamer, settings, batch_size, self.feature_extractor)


class BEAMERObjective(Objective):
    """Reconstruction, KL and diversity as in Trans-VAE, features of the listener, and the contrast of pairs."""

    trained: BEAMERModel

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch: the keys of `ReactionClips` with a negative, and `latent_noise` (b, 2, windows, hidden)."""
        model, extractor = self.trained, self.feature_extractor
        people = {
            who: (batch[f"{who}emotion"], extractor.remove_mean_face(batch[f"{who}coefficients"]))
            for who in ("speaker_", "", "negative_")
        }
        behaviour = {who: model.encode(*streams) for who, streams in people.items()}
        size = extractor.window_size if model.config.online else people[""][0].shape[1]
        emotion, movement = (windows_of(stream, size).flatten(0, 1) for stream in people[""])
        heard = self._heard(*people["speaker_"], size) if model.config.online else [behaviour["speaker_"]]
        mean, logvar = (torch.stack(values, dim=1) for values in zip(*map(model.posterior, heard)))
        noise = batch["latent_noise"]
        hidden = model.decoder(sampled(mean, logvar, noise[:, 0]).flatten(0, 1), size)
        made = model.decoder.read(hidden)
        with torch.no_grad():
            latent = sampled(mean, logvar, noise[:, 1]).flatten(0, 1)
            other = model.decoder.read(model.decoder(latent, size))
            listener = model.encode(emotion, movement) if model.config.online else behaviour[""].detach()
        made, other, emotion, movement = (
            windows.unflatten(0, mean.shape[:2]).flatten(1, 2) for windows in (made, other, emotion, movement)
        )
        parts = variational_losses(made, other, emotion, movement, (mean, logvar), KL_WEIGHT, extractor)
        parts["feature_loss"] = functional.mse_loss(hidden, listener)
        parts["contrast_loss"] = contrast(*behaviour.values())
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    def _heard(self, emotion: Tensor, movement: Tensor, size: int) -> list[Tensor]:
        """Online, the behaviour of the speaker before each window; before the first there was silence."""
        most, model = self.trained.config.context_windows * size, self.trained
        heard = [model.encode(torch.zeros_like(emotion[:, :size]), torch.zeros_like(movement[:, :size]))]
        for start in range(size, emotion.shape[1] // size * size, size):
            known = slice(max(0, start - most), start)
            heard.append(model.encode(emotion[:, known], movement[:, known]))
        return heard


class BEAMERStage(SystemStage):
    """Trains BEAMER on clips with the recorded reaction and one that is not appropriate."""

    name = "beamer"
    title = "BEAMER"
    model = BEAMERModel
    reads = ("data.window_size", "data.clip_frames")
    pipeline = BEAMERReactionPipeline

    def new_model(self, recipe: Recipe, parts: Parts) -> BEAMERModel:
        """See `Stage`."""
        check_clip_frames(recipe)
        return BEAMERModel(**recipe.arguments(self.name))

    def examples(self, corpus: Corpus, split: str, recipe: Recipe) -> Examples:
        """See `ReactionClips`."""
        part = corpus.split(split)
        return ReactionClips(part.arrays, recipe.data.clip_frames, recipe.seed, part.appropriate)

    def objective(
        self, model: Any, parts: Parts, feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe
    ) -> BEAMERObjective:
        """See `Stage`."""
        return BEAMERObjective(model, feature_extractor)

    def draws(self, recipe: Recipe, objective: Any) -> Draws:
        """Two latents for each window."""
        config = objective.trained.config
        return TwoLatentDraws(config.hidden_size, recipe.data.window_size if config.online else None)


def contrast(speaker: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """How far speakers are from those who react to them, and how near to others; from 0 to 5.

    Args:
        speaker: `(batch, frames, hidden_size)` features, of which the means over time are compared by their cosine.
        positive: of listeners who react to these speakers.
        negative: of others.
    """
    unit = [functional.normalize(features.mean(dim=1), dim=-1) for features in (speaker, positive, negative)]
    near, far = ((unit[0] * other).sum(dim=-1) for other in unit[1:])
    return ((1 - near).square() + far.clamp(min=0).square()).mean()


BEAMER = register_system(System("beamer", "BEAMER", BEAMERReactionPipeline, (BEAMERStage(),)))
