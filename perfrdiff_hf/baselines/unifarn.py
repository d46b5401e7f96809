"""UniFaRN, the winner of REACT2023: reactions are words of three vocabularies, filled in as MaskGIT does.

Written anew from its description and smaller. Kept: a frame of a reaction is a token each of action units, of valence
and arousal and of expressions, sampled independently of its neighbours, so that it flickers; masked modelling, and the
question whether a reaction belongs to a speaker. Where the source reads features of five pre-trained networks, this
reads emotion, coefficients and MFCC. Not kept: one network with two attentions for both forms, whose causal one was
trained with the answer in sight; here the online form sees the speaker's and its own past window, and fills in the new
one as the offline form does. Windows are sampled one after the other, not whole clips. Coefficients come from the
emotion VAE's regressor, in the place of the source's separate network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional

from ..behaviour import AUDIO_CHANNELS, COEFFICIENT_CHANNELS, EMOTION_CHANNELS
from ..data.corpus import Corpus
from ..feature_extraction import PerFRDiffFeatureExtractor
from ..models.emotion_vae import EmotionVAEModel
from ..models.positions import sinusoidal_positions
from ..pipelines.windows import DueWindow
from .emotion_vae import EmotionVAEStage
from .reacting import ReactionSettings, SystemPipeline, SystemReactor, SystemStage
from .reaction_tokenizer import KINDS, ReactionTokenizer
from .recipe import Recipe
from .stage import Draws, Examples, Objective, Parts
from .system import System, register_system
from .token_sampling import fill_in


SWAP_PROBABILITY = 0.2
ALSO_SCORED = 0.2


class UniFaRNTransformerModel(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """A transformer over the speaker's streams and the tokens of a reaction; the defaults are a middle size.

    Args:
        hidden_size: of tokens.
        num_layers: of the transformer.
        num_heads: of each attention.
        dropout: of the layers.
        vocabulary_sizes: at most how many patterns of action units, cells of valence and arousal, and expressions.
        online: whether a window answers the window before and goes on from the own reactions there, or answers the
            window itself.
    """

    config: Any
    _no_split_modules: Any = []

    @register_to_config
    def __init__(
        self,
        hidden_size: int = 128,
        num_layers: int = 4,
        num_heads: int = 4,
        dropout: float = 0.1,
        vocabulary_sizes: Sequence[int] = (512, 256, 256),
        online: bool = True,
    ):
        super().__init__()
        self.tokenizer = ReactionTokenizer(tuple(vocabulary_sizes))
        widths = (EMOTION_CHANNELS, COEFFICIENT_CHANNELS, AUDIO_CHANNELS)
        self.read_speaker = nn.ModuleList(nn.Linear(width, hidden_size) for width in widths)
        self.read_sound = nn.Linear(2 * AUDIO_CHANNELS, hidden_size)
        self.read_tokens = nn.ModuleList(nn.Linear(kind.stop - kind.start, hidden_size) for kind in KINDS)
        self.unknown = nn.Parameter(0.02 * torch.randn(len(KINDS), hidden_size))
        self.modality = nn.Parameter(0.02 * torch.randn(len(widths) + len(KINDS), hidden_size))
        layer = nn.TransformerEncoderLayer(
            hidden_size, num_heads, 4 * hidden_size, dropout, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, num_layers, nn.LayerNorm(hidden_size), enable_nested_tensor=False)
        self.heads = nn.ModuleList(nn.Linear(hidden_size, size, bias=False) for size in vocabulary_sizes)
        self.matching = nn.Linear(hidden_size, 2, bias=False)

    def forward(
        self, speaker: Mapping[str, Tensor], tokens: Tensor, masked: Tensor, past: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """What the tokens of a reaction are, and whether it belongs to the speaker.

        Args:
            speaker: `"audio"`, `"emotion"` and `"coefficients"` (mean face removed), each `(batch, frames, width)`.
            tokens: `(batch, frames, 3)`.
            masked: `(batch, frames, 3)` bool, which are not seen.
            past: online, the tokens of the window before, `(batch, frames, 3)`; negative where there was none.

        Returns:
            Logits of each kind `(batch, frames, size)`, and `(batch, 2)`, of which the second stands for yes.
        """
        frames = tokens.shape[1]
        streams = (speaker["emotion"], speaker["coefficients"], speaker["audio"])
        seen = torch.stack([read(values) for read, values in zip(self.read_speaker, streams)], dim=2)
        positions = sinusoidal_positions(2 * frames, seen.shape[-1]).to(seen)[:, None]
        places = len(self.read_speaker)
        now = positions[frames:] if self.config.online else positions[:frames]
        parts = [self._read(tokens, masked) + self.modality[places:] + now]
        parts.append(seen + self.modality[:places] + positions[:frames])
        if past is not None:
            parts.append(self._read(past.clamp(min=0), past < 0) + self.modality[places:] + positions[:frames])
        sound = torch.cat([speaker["audio"].mean(dim=1), speaker["audio"].std(dim=1)], dim=-1)
        sequence = torch.cat([part.flatten(1, 2) for part in parts] + [self.read_sound(sound)[:, None]], dim=1)
        hidden = self.layers(sequence)
        own = hidden[:, : frames * len(KINDS)].unflatten(1, (frames, len(KINDS)))
        logits = [self._known(kind, head(own[:, :, kind])) for kind, head in enumerate(self.heads)]
        return logits, self.matching(hidden[:, -1])

    def _read(self, tokens: Tensor, masked: Tensor) -> Tensor:
        """`(batch, frames, 3, hidden_size)`: what the words mean, and one vector for all that are not seen."""
        values = self.tokenizer.decode(tokens)
        read = torch.stack([layer(values[..., kind]) for layer, kind in zip(self.read_tokens, KINDS)], dim=2)
        return torch.where(masked[..., None], self.unknown, read)

    def _known(self, kind: int, logits: Tensor) -> Tensor:
        """Words that the vocabulary does not have are impossible."""
        place = torch.arange(logits.shape[-1], device=logits.device)
        return logits.masked_fill(place >= self.tokenizer.counts[kind], -torch.inf)


@dataclass(frozen=True)
class UniFaRNSettings(ReactionSettings):
    """See `ReactionSettings`; the defaults are those of the source's fine-tuned submission.

    Args:
        num_inference_steps: rounds in which a window is filled in.
        temperature: of the choice of each token.
        top_k: how many of the likeliest tokens may be chosen.
        top_p: how much of the probability they may make up together.
    """

    num_inference_steps: int = 1
    temperature: float = 0.33
    top_k: int = 5
    top_p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("num_inference_steps", "top_k"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; given: {getattr(self, name)}.")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0; given: {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must lie in (0, 1]; given: {self.top_p}.")


class UniFaRNReactor(SystemReactor):
    """Fills in the tokens of each reaction, window after window."""

    settings: UniFaRNSettings

    def __init__(
        self,
        model: UniFaRNTransformerModel,
        emotion_vae: EmotionVAEModel,
        settings: UniFaRNSettings,
        batch_size: int,
        feature_extractor: PerFRDiffFeatureExtractor,
    ):
        super().__init__(
            settings,
            batch_size,
            feature_extractor,
            like=model.matching.weight,
            streams=("audio", "emotion", "coefficients"),
            online=model.config.online,
            emotion_vae=emotion_vae,
        )
        self.model = model

    @torch.no_grad()
    def react(self, window: DueWindow) -> Tensor:
        """See `WindowReactor`."""
        repeated = {name: window.speaker[name].repeat_interleave(self.num_reactions, dim=0) for name in self.streams}
        past = None
        if self.model.config.online:
            past = self.model.tokenizer.encode(window.previous.flatten(0, 1))
            past = past if window.start else torch.full_like(past, -1)
        count, settings = window.batch_size * self.num_reactions, self.settings
        tokens = fill_in(
            lambda tokens, masked: self.model(repeated, tokens, masked, past)[0],
            lambda: self.noise(window.batch_size, self.window_size, len(KINDS)).flatten(0, 1),
            (count, self.window_size, len(KINDS)),
            settings.num_inference_steps,
            settings.temperature,
            settings.top_k,
            settings.top_p,
        )
        return self.model.tokenizer.decode(tokens).unflatten(0, (window.batch_size, self.num_reactions))


class UniFaRNReactionPipeline(SystemPipeline):
    """UniFaRN (new implementation) as a pipeline.

    Args:
        unifarn: the model.
        emotion_vae: from emotion to coefficients.
        feature_extractor: the mean face and the window length.
    """

    settings_class = UniFaRNSettings

    unifarn: UniFaRNTransformerModel
    emotion_vae: EmotionVAEModel

    def __init__(
        self,
        unifarn: UniFaRNTransformerModel,
        emotion_vae: EmotionVAEModel,
        feature_extractor: PerFRDiffFeatureExtractor,
    ):
        super().__init__()
        self.register_modules(unifarn=unifarn, emotion_vae=emotion_vae, feature_extractor=feature_extractor)

    def new_reactor(self, settings: UniFaRNSettings, batch_size: int) -> UniFaRNReactor:
        """See `SystemPipeline`."""
        return UniFaRNReactor(self.unifarn, self.emotion_vae, settings, batch_size, self.feature_extractor)


class UniFaRNObjective(Objective):
    """Masked tokens are to be named, and inappropriate reactions to be told from appropriate ones."""

    trained: UniFaRNTransformerModel

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch: that of `ReactionWindows` with two reactions and a negative, and see `MaskDraws`."""
        coefficients = self.feature_extractor.remove_mean_face(batch["speaker_coefficients"])
        speaker = {
            "audio": batch["speaker_audio"], "emotion": batch["speaker_emotion"], "coefficients": coefficients
        }  # fmt: skip
        swapped, masked = batch["swapped"], batch["masked"]
        target = torch.where(swapped[:, None, None], batch["reactions"][:, 1], batch["reactions"][:, 0])
        before = torch.where(swapped[:, None, None], batch["past_reactions"][:, 1], batch["past_reactions"][:, 0])
        model = self.trained
        tokens, past = model.tokenizer.encode(target), None
        if model.config.online:
            past = model.tokenizer.encode(before)
            past = past.masked_fill((before == 0).all(dim=-1, keepdim=True), -1)  # what was before the clip
        logits, _ = model(speaker, tokens, masked, past)
        scored = masked | batch["also_scored"]
        errors = [
            functional.cross_entropy(logits[kind][scored[..., kind]], tokens[..., kind][scored[..., kind]])
            for kind in range(len(KINDS))
        ]
        other = model.tokenizer.encode(batch["negatives"][:, 0])
        shown = torch.zeros_like(masked)
        answers = torch.cat([model(speaker, said, shown, past)[1] for said in (tokens, other)])
        right = torch.arange(2, device=answers.device).flip(0).repeat_interleave(len(tokens))
        parts = {
            "masked_loss": torch.stack(errors).mean(),
            "matching_loss": functional.cross_entropy(answers, right),
        }
        return {"loss": parts["masked_loss"] + parts["matching_loss"], **parts}


class UniFaRNStage(SystemStage):
    """Trains UniFaRN on windows of speakers with an appropriate and an inappropriate reaction each."""

    name = "unifarn"
    title = "UniFaRN"
    model = UniFaRNTransformerModel
    needs = ("emotion_vae",)
    reads = ("data.window_size",)
    pipeline = UniFaRNReactionPipeline

    def new_model(self, recipe: Recipe, parts: Parts) -> UniFaRNTransformerModel:
        """See `Stage`."""
        return UniFaRNTransformerModel(**recipe.arguments(self.name))

    def look_at_data(self, model: UniFaRNTransformerModel, corpus: Corpus, recipe: Recipe, parts: Parts) -> None:
        """The vocabularies of all recorded reactions."""
        model.tokenizer.fit(np.asarray(corpus.split("train").arrays.flat["emotion"]), recipe.seed % 2**32)

    def examples(self, corpus: Corpus, split: str, recipe: Recipe) -> Examples:
        """Speaker windows, two appropriate reactions to each, and one that is not."""
        return self.windows(corpus, split, recipe, num_reactions=2, negatives=1)

    def objective(
        self, model: Any, parts: Parts, feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe
    ) -> UniFaRNObjective:
        """See `Stage`."""
        return UniFaRNObjective(model, feature_extractor, parts)

    def draws(self, recipe: Recipe, objective: Any) -> Draws:
        """Which tokens are masked, and which reaction is the target."""
        return MaskDraws(recipe.data.window_size)


class MaskDraws:
    """Which tokens of a window are `masked`, and which are `also_scored`, both `(frames, 3)` bool; whether `swapped`.

    The number of masked tokens follows a cosine and is the same in each kind, their places are independent.

    Args:
        frames: of a window.
    """

    def __init__(self, frames: int):
        self.frames = frames

    def __call__(self, example: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        share = torch.cos(torch.rand((), generator=generator) * torch.pi / 2)
        count = int(torch.ceil(self.frames * share).clamp(min=1))
        ranks = torch.rand(self.frames, len(KINDS), generator=generator).argsort(dim=0).argsort(dim=0)
        return {
            "masked": ranks < count,
            "also_scored": torch.rand(self.frames, len(KINDS), generator=generator) < ALSO_SCORED,
            "swapped": torch.rand((), generator=generator) < SWAP_PROBABILITY,
        }


UNIFARN = register_system(System("unifarn", "UniFaRN", UniFaRNReactionPipeline, (EmotionVAEStage(), UniFaRNStage())))
