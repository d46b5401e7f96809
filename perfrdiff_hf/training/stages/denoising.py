"""What the stages that denoise reactions share: equation 10, its draws, and reactions while training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from diffusers import DDIMScheduler
from torch import Tensor, nn
from torch.nn import functional

from ...baselines.masking import known_alone
from ...baselines.recipe import Recipe
from ...baselines.stage import Draws, Objective, Parts, Stage, Validation
from ...behaviour import BLENDSHAPES, EMOTION_CHANNELS
from ...data.corpus import Corpus
from ...data.windows import ReactionWindows
from ...feature_extraction import PerFRDiffFeatureExtractor
from ...models.conditions import speaker_conditions
from ...models.gafrg import GAFRGTransformer1DModel
from ...models.weight_shifts import WeightShifts
from ...pipelines.perfrdiff import OFFICIAL_SCHEDULER_CONFIG, PerFRDiffPipeline


def new_scheduler(recipe: Recipe) -> Any:
    """The official scheduler, with what the recipe changes in it."""
    return DDIMScheduler(**(OFFICIAL_SCHEDULER_CONFIG | recipe.arguments("scheduler")))


def reaction_windows(corpus: Corpus, split: str, recipe: Recipe, **arguments: Any) -> ReactionWindows:
    """Windows of speakers and reactions, as the denoiser that is described takes them.

    Args:
        corpus: the data.
        split: of them.
        recipe: with the description of the denoiser.
        arguments: more of `ReactionWindows`, such as which reactions are to be learned.
    """
    part, denoiser = corpus.split(split), recipe.arguments("denoiser")
    return ReactionWindows(
        part.arrays,
        part.appropriate,
        seed=recipe.seed,
        mean_face=corpus.mean_face(),
        window_size=recipe.data.window_size,
        context_windows=denoiser.get("context_windows", 1),
        max_shown_frames=denoiser.get("max_shown_frames"),
        with_movement=denoiser.get("in_channels", EMOTION_CHANNELS) > EMOTION_CHANNELS,
        **arguments,
    )


def personal_windows(corpus: Corpus, split: str, recipe: Recipe, whole_windows: float) -> ReactionWindows:
    """The same, each with the recorded reaction and a history of the listener who reacts."""
    history_frames = recipe.data.history_frames
    return reaction_windows(
        corpus, split, recipe, num_reactions=1, history_frames=history_frames, whole_windows=whole_windows
    )


class DenoisingStage(Stage):
    """A stage whose objective is a `DenoisingObjective`; subclasses say which model learns.

    Attributes:
        personal: whether reactions are those of a listener whose history is known.
    """

    personal: ClassVar[bool]

    def draws(self, recipe: Recipe, objective: Any) -> Draws:
        """Time step, noise, and which conditions go missing."""
        return DiffusionDraws(
            objective.scheduler.config.num_train_timesteps,
            len(objective.denoiser.condition_widths),
            objective.denoiser.config.condition_dropout,
            recipe.data.drop_all_conditions,
            recipe.data.shown_noise,
        )

    def figures(self, objective: Any, validation: Validation) -> dict[str, float]:
        """FRCorr and FRdist of reactions to a fixed set of clips: generic ones on MAFRG, personal ones on PMAFRG."""
        parts = {**objective.frozen, self.name: objective.trained}
        pipeline = PerFRDiffPipeline(
            **parts,
            scheduler=objective.scheduler,
            feature_extractor=objective.feature_extractor,
            sampling=validation.recipe.arguments("sampling"),
        )
        return validation.reaction_scores(pipeline, self.personal)


class DiffusionDraws:
    """What equation 10 leaves to chance for one speaker window.

    `timestep`: one for all its reactions; `noise` `(reactions, frames, channels)`: each reaction its own;
    `dropped` `(kinds,)`: which conditions go missing; `shown_noise` `()`: how much noise shown frames have, where they
    may have some.

    Args:
        num_timesteps: of the diffusion.
        num_kinds: how many kinds of condition the generator has.
        drop_each: probability with which each goes missing by itself.
        drop_all: probability with which all go missing together.
        shown_noise: most noise on shown frames.
    """

    def __init__(
        self, num_timesteps: int, num_kinds: int, drop_each: float, drop_all: float, shown_noise: float = 0.0
    ):
        self.num_timesteps = num_timesteps
        self.num_kinds = num_kinds
        self.drop_each = drop_each
        self.drop_all = drop_all
        self.shown_noise = shown_noise

    def __call__(self, example: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        each = torch.rand(self.num_kinds, generator=generator) < self.drop_each
        together = torch.rand(1, generator=generator) < self.drop_all
        drawn = {
            "timestep": torch.randint(self.num_timesteps, (), generator=generator),
            "noise": torch.randn(example["reactions"].shape, generator=generator),
            "dropped": each | together,
        }
        if self.shown_noise:
            drawn["shown_noise"] = self.shown_noise * torch.rand((), generator=generator)
        return drawn


@dataclass(frozen=True)
class LossWeights:
    """What an error weighs in the loss; see `DataConfig` for the three."""

    expression: float = 1.0
    pose: float = 1.0
    max_snr: float = 1.0

    @classmethod
    def of(cls, recipe: Recipe) -> LossWeights:
        """As a recipe says."""
        return cls(recipe.data.expression_weight, recipe.data.pose_weight, recipe.data.max_snr_weight)

    def of_channels(self, errors: Tensor) -> Tensor:
        """One weight for each channel of `errors` `(..., 25 or 83)`."""
        weights = errors.new_ones(errors.shape[-1])
        weights[EMOTION_CHANNELS:] = self.pose
        weights[EMOTION_CHANNELS:][BLENDSHAPES] = self.expression
        return weights

    def of_timesteps(self, timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor:
        """One weight for each of `timesteps`: the signal-to-noise ratio, between 1 and the most.

        It is the weight of Min-SNR (Hang et al., 2023) but for the floor of 1: where there is much noise, the speaker
        and the style decide.
        """
        signal = alphas_cumprod.to(timesteps.device)[timesteps]
        return (signal / (1 - signal)).clamp(1.0, self.max_snr)


class DenoisingObjective(Objective):
    """Equation 10: the mean squared error of the predicted clean reaction.

    Args:
        trained: the denoiser, or the weight-shift generator.
        feature_extractor: removes the mean face from coefficients.
        frozen: see the stages.
        scheduler: of the diffusion, from diffusers.
        weights: what errors weigh.
    """

    def __init__(
        self,
        trained: nn.Module,
        feature_extractor: PerFRDiffFeatureExtractor,
        frozen: Parts,
        scheduler: Any,
        weights: LossWeights = LossWeights(),
    ):
        super().__init__(trained, feature_extractor, frozen)
        self.scheduler = scheduler
        self.weights = weights

    @property
    def denoiser(self) -> GAFRGTransformer1DModel:
        """The generator, trained or frozen."""
        raise NotImplementedError

    def denoising_loss(
        self,
        denoiser: GAFRGTransformer1DModel,
        batch: Mapping[str, Tensor],
        shifts: WeightShifts | None = None,
        style: Tensor | None = None,
    ) -> Tensor:
        """Equation 10 for a batch of speaker windows with `k` reactions each.

        Args:
            denoiser: the generator.
            batch: `reactions`, `noise` and, for equation 9, `past_reactions` (b, k, w, channels); `timestep` (b,);
                `dropped` (b, kinds); `shown_frames` (b,) for a generator that joins them, perhaps `shown_noise` (b,);
                `speaker_audio` (b, n, 78), `speaker_emotion` (b, n, 25), `speaker_coefficients` (b, n, 58), as many
                frames as its context.
            shifts: of `b` listeners; None trains the generic generator.
            style: `(b, style_size)`, for a generator with the style as an input.

        Returns:
            The mean over new frames and weighted channels, in the scores that the diffusion sees.
        """
        reactions, timestep = denoiser.to_scores(batch["reactions"]), batch["timestep"]
        noisy = self.scheduler.add_noise(reactions, batch["noise"], timestep)
        marks: dict[str, Tensor] = {}
        if denoiser.joins_shown_frames:
            shown = frames_shown(batch["shown_frames"], reactions.shape)
            clean = reactions
            if "shown_noise" in batch:  # the noise of these frames is used nowhere else
                clean = reactions + batch["shown_noise"][:, None, None, None] * batch["noise"]
            noisy = torch.where(shown[..., None], clean, noisy)
            marks["shown"] = shown.flatten(0, 1)
        tokens = self.encode(denoiser, batch, style)
        timestep = timestep.repeat_interleave(len(tokens) // len(timestep))
        predicted = denoiser(noisy.flatten(0, 1), timestep, tokens, weight_shifts=shifts, **marks).sample
        errors = functional.mse_loss(predicted, reactions.flatten(0, 1), reduction="none")
        of_channel = known_alone(self.weights.of_channels(errors), self.feature_extractor)
        of_timestep = self.weights.of_timesteps(batch["timestep"], self.scheduler.alphas_cumprod)
        of_timestep = of_timestep.repeat_interleave(reactions.shape[1])[:, None, None]
        loss = errors * of_timestep * (of_channel / of_channel.mean())
        if not marks:
            return loss.mean()
        is_new = ~marks["shown"]
        return (loss.mean(dim=-1) * is_new).sum() / is_new.sum()

    def encode(
        self, denoiser: GAFRGTransformer1DModel, batch: Mapping[str, Tensor], style: Tensor | None = None
    ) -> Tensor:
        """The tokens of the conditions of a batch, without those that are dropped; see `denoising_loss`.

        Returns:
            `(b, tokens, hidden_size)`; `(b * k, ...)` where each reaction has a past, and so a condition, of its own.
        """
        speaker = {
            "audio": batch["speaker_audio"],
            "emotion": batch["speaker_emotion"],
            "coefficients": self.feature_extractor.remove_mean_face(batch["speaker_coefficients"]),
        }
        past = batch.get("past_reactions")
        conditions = speaker_conditions(denoiser, self.frozen.get("emotion_vae"), speaker, past, style)
        repeats = batch["reactions"].shape[1] if "past_emotion" in conditions else 1
        places = {kind: batch["dropped"][:, place] for place, kind in enumerate(denoiser.condition_widths)}
        dropped = {kind: rows.repeat_interleave(repeats) for kind, rows in places.items()}
        return denoiser.encode_condition(conditions, dropped)


def frames_shown(counts: Tensor, shape: torch.Size) -> Tensor:
    """Which frames of windows `(b, k, w)` were shown already, from how many `(b,)`."""
    examples, repeats, frames, _ = shape
    shown = torch.arange(frames, device=counts.device) < counts[:, None]
    return shown[:, None].expand(examples, repeats, frames)
