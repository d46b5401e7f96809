"""What a student learns: to do in few evaluations what its teacher's guided sampler does in many.

Trajectory distillation. The teacher's sampler (deterministic, so that each noise has one reaction) goes its whole way
from noise to a reaction, guidance included. The way is cut at as many time steps as the student is to take. At each of
them the student predicts the clean window with which one step of plain DDIM lands where the teacher was at the next:
the target of progressive distillation (Salimans and Ho, 2022), on the teacher's own way, all its steps at once. With
as many steps as the teacher it is guidance distillation alone: one pass for each step instead of two.

The teacher goes its way with UniPC (Zhao et al., 2023): in 20 steps it ends nearer to where endless steps would lead
than DDIM does, and keeps more of the differences between reactions (docs/live.md).

The guidance scale is an input of the student (Meng et al., 2023): in half of the windows it is the one with which the
teacher is sampled otherwise, and in the others any within a range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from torch import Tensor
from torch.nn import functional

from ...baselines.masking import known_alone
from ...baselines.recipe import Recipe, check_at_least
from ...baselines.stage import Draws, Parts
from ...feature_extraction import PerFRDiffFeatureExtractor
from ...models.gafrg import GAFRGTransformer1DModel
from ...models.gafrg_layers import ConditionCache
from ...models.weight_shifts import WeightShifts
from ...pipelines.sampling import SamplingSettings, join_shown
from .denoising import DenoisingObjective, LossWeights, frames_shown, new_scheduler
from .weight_shift_generator import noisy_style


# The component that is trained, whose arguments say how.
STUDENT_DENOISER = "student_denoiser"


@dataclass(frozen=True)
class Distillation:
    """What a student is taught; the arguments of the stage. How the teacher is guided is the recipe's `sampling`.

    Args:
        num_inference_steps: evaluations that the student takes.
        teacher_steps: denoising steps of the teacher, a multiple of those and a divisor of the diffusion's time steps.
        generic: the part of the windows in which the teacher reacts without a listener.
        guidance_reach: up to which guidance the student can be asked for, as a multiple of its teacher's; no guidance,
            a scale of 1, counts as none.

    Raises:
        ValueError: if a value is out of range.
    """

    num_inference_steps: int = 4
    teacher_steps: int = 20
    generic: float = 0.25
    guidance_reach: float = 2.0

    def __post_init__(self) -> None:
        check_at_least(self, 1, "num_inference_steps", "teacher_steps")
        if self.teacher_steps % self.num_inference_steps:
            raise ValueError(
                f"teacher_steps must be a multiple of num_inference_steps ({self.num_inference_steps}); given: "
                f"{self.teacher_steps}."
            )
        if not 0 <= self.generic <= 1:
            raise ValueError(f"generic must lie in [0, 1]; given: {self.generic}.")
        if self.guidance_reach < 1:
            raise ValueError(f"guidance_reach must be at least 1; given: {self.guidance_reach}.")

    @property
    def steps_each(self) -> int:
        """Steps of the teacher for each of the student's."""
        return self.teacher_steps // self.num_inference_steps

    @classmethod
    def of(cls, recipe: Recipe) -> Distillation:
        """As a recipe says."""
        return cls(**recipe.arguments(STUDENT_DENOISER))


def teacher_settings(recipe: Recipe) -> SamplingSettings:
    """How the teacher is sampled: as the recipe says, with the steps of the distillation."""
    told = recipe.arguments("sampling")
    return SamplingSettings(**{**told, "num_inference_steps": Distillation.of(recipe).teacher_steps})


def guidance_scales(recipe: Recipe) -> tuple[float, float]:
    """The least and the most that a student can be asked for."""
    reach = Distillation.of(recipe).guidance_reach * (teacher_settings(recipe).guidance_scale - 1)
    return min(1.0, 1 + reach), max(1.0, 1 + reach)


def student_scheduler(recipe: Recipe) -> DDIMScheduler:
    """DDIM as the teacher has it, with trailing time steps: those of few steps are among those of many."""
    return DDIMScheduler.from_config(new_scheduler(recipe).config, timestep_spacing="trailing")


def teacher_scheduler(scheduler: DDIMScheduler) -> UniPCMultistepScheduler:
    """With what the teacher of a student with such a scheduler goes its way, at the same time steps."""
    return UniPCMultistepScheduler.from_config(scheduler.config)


class StudentDraws:
    """What other draws leave to chance, and two more, each `()`.

    `generic`: whether a window is one without a listener; `guidance_scale`: with which its teacher is guided.

    Args:
        others: the other draws.
        generic: how often a window is.
        usual_scale: the guidance scale of half of the windows.
        scales: the least and the most of the others.
    """

    def __init__(self, others: Draws, generic: float, usual_scale: float, scales: tuple[float, float]):
        self.others = others
        self.generic = generic
        self.usual_scale = usual_scale
        self.scales = scales

    def __call__(self, example: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        drawn = self.others(example, generator)
        generic, unusual, place = torch.rand(3, generator=generator)
        least, most = self.scales
        scale = torch.where(unusual < 0.5, least + place * (most - least), self.usual_scale)
        return drawn | {"generic": generic < self.generic, "guidance_scale": scale}


class StudentObjective(DenoisingObjective):
    """The squared error of the student's predictions, as the sampler uses them, from where its teacher goes.

    Args:
        trained: the student.
        feature_extractor: removes the mean face from coefficients.
        frozen: the teacher (`denoiser`), and what knows listeners.
        scheduler: DDIM with trailing time steps.
        weights: what errors weigh.
        distillation: what is taught.
        teaching: how the teacher is sampled.

    Raises:
        ValueError: if the teacher's shifts replace its weights: then there is no window without a listener.
    """

    trained: GAFRGTransformer1DModel

    def __init__(
        self,
        trained: GAFRGTransformer1DModel,
        feature_extractor: PerFRDiffFeatureExtractor,
        frozen: Parts,
        scheduler: DDIMScheduler,
        weights: LossWeights,
        distillation: Distillation,
        teaching: SamplingSettings,
    ):
        super().__init__(trained, feature_extractor, frozen, scheduler, weights)
        self.distillation = distillation
        self.teaching = teaching
        self.teacher_scheduler = teacher_scheduler(scheduler)

    @property
    def denoiser(self) -> GAFRGTransformer1DModel:
        """The student, which is trained."""
        return self.trained

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch: see `denoising_loss`, with `k` = 1; `history` (b, frames, 58); `generic`, `guidance_scale` (b,)."""
        with torch.no_grad():
            shown, counts = self.shown(batch)
            shifts = self.shifts(batch)
            states = self.teacher_states(batch, shown, counts, shifts)
            targets = self.targets(states)
        steps = self.distillation.num_inference_steps
        timesteps = self.timesteps.to(counts.device)
        cache = self.trained.cache_condition(self.encode(self.trained, batch), shifts, batch["guidance_scale"])
        predicted = self.predict(
            self.trained,
            states[:, :-1].flatten(0, 1),
            timesteps.repeat(len(counts)),
            ConditionCache.interleave([cache] * steps),
            shown.repeat_interleave(steps, dim=0),
            counts.repeat_interleave(steps),
            shifts,
        )
        errors = functional.mse_loss(predicted, targets.flatten(0, 1), reduction="none")
        of_channel = known_alone(self.weights.of_channels(errors), self.feature_extractor)
        of_timestep = self.weights.of_timesteps(timesteps, self.scheduler.alphas_cumprod).repeat(len(counts))
        loss = (errors * (of_channel / of_channel.mean())).mean(dim=-1) * of_timestep[:, None]
        is_new = ~self._marks(counts, predicted.shape[1]).repeat_interleave(steps, dim=0)
        return {"loss": (loss * is_new).sum() / is_new.sum()}

    @property
    def timesteps(self) -> Tensor:
        """The time steps at which the student is evaluated, `(steps,)`, the noisiest first."""
        self.scheduler.set_timesteps(self.distillation.num_inference_steps)
        return self.scheduler.timesteps

    def shown(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Windows `(b, w, channels)` whose first frames were shown, with their noise, and how many they are `(b,)`."""
        clean = self.trained.to_scores(batch["reactions"][:, 0])
        counts = batch.get("shown_frames")
        if counts is None or not self.trained.joins_shown_frames:
            return clean, torch.zeros(len(clean), dtype=torch.long, device=clean.device)
        if "shown_noise" in batch:  # the noise of these frames is used nowhere else
            clean = clean + batch["shown_noise"][:, None, None] * batch["noise"][:, 0]
        return clean, counts

    def shifts(self, batch: Mapping[str, Tensor]) -> WeightShifts:
        """The shifts of the listeners of a batch; those of nobody, which are zero, where a window is generic."""
        style = noisy_style(self.frozen["style_encoder"], self.feature_extractor, batch)
        personal = ~batch["generic"]
        return self.frozen["weight_shift_generator"](style).map(lambda values: values * personal[:, None, None])

    def teacher_states(
        self, batch: Mapping[str, Tensor], shown: Tensor, counts: Tensor, shifts: WeightShifts
    ) -> Tensor:
        """Where the teacher's sampler is at the student's time steps and in the end, `(b, steps + 1, w, channels)`."""
        teacher, scheduler, told = self.frozen["denoiser"], self.teacher_scheduler, self.distillation
        tokens = self.encode(teacher, batch)
        plain, null = (teacher.cache_condition(some, shifts) for some in (tokens, torch.zeros_like(tokens)))
        guided = ConditionCache.interleave([null, plain])
        scheduler.set_timesteps(told.teacher_steps, device=shown.device)
        state = batch["noise"][:, 0]
        states = [state]
        for step, timestep in enumerate(scheduler.timesteps):
            cache = guided if self.teaching.is_guided(step) else plain
            clean = self.predict(teacher, state, timestep, cache, shown, counts, shifts, batch["guidance_scale"])
            state = scheduler.step(self._clipped(clean), timestep, state).prev_sample
            if (step + 1) % told.steps_each == 0:
                states.append(state)
        return torch.stack(states, dim=1)

    def _clipped(self, clean: Tensor) -> Tensor:
        """As DDIM clips what is predicted, where it does."""
        most = self.scheduler.config.clip_sample_range
        return clean.clamp(-most, most) if self.scheduler.config.clip_sample else clean

    def targets(self, states: Tensor) -> Tensor:
        """The clean windows `(b, steps, w, channels)` with which a step of DDIM goes from each state to the next."""
        scheduler, here = self.scheduler, self.timesteps.to(states.device)
        signals = scheduler.alphas_cumprod.to(states.device)
        ahead = here - scheduler.config.num_train_timesteps // self.distillation.num_inference_steps
        now = signals[here]
        after = torch.where(ahead >= 0, signals[ahead.clamp(min=0)], scheduler.final_alpha_cumprod.to(signals))
        noise_kept = ((1 - after) / (1 - now)).sqrt()[:, None, None]
        gain = after.sqrt()[:, None, None] - noise_kept * now.sqrt()[:, None, None]
        return (states[:, 1:] - noise_kept * states[:, :-1]) / gain

    def predict(
        self,
        denoiser: GAFRGTransformer1DModel,
        states: Tensor,
        timestep: Tensor,
        cache: ConditionCache,
        shown: Tensor,
        counts: Tensor,
        shifts: WeightShifts,
        scales: Tensor | None = None,
    ) -> Tensor:
        """The clean windows `(rows, w, channels)` as `WindowSampler` predicts them: guided, joined to shown frames.

        Args:
            denoiser: teacher or student.
            states: `(rows, w, channels)`.
            timestep: one, or one for each row.
            cache: of the condition of each row; twice as many, the null condition before each, where it is guided.
            shown: `(rows, w, channels)`.
            counts: `(rows,)`.
            shifts: of the listeners; their rows stand together.
            scales: `(rows,)` of the guidance, where there is some.
        """
        halves = cache.num_conditions // len(states)
        marks = self._marks(counts, states.shape[1])
        rows = torch.where(marks[..., None], shown, states).repeat_interleave(halves, dim=0)
        told = {"shown": marks.repeat_interleave(halves, dim=0)} if denoiser.joins_shown_frames else {}
        predicted = denoiser(rows, timestep, cache, weight_shifts=shifts, **told).sample.to(states.dtype)
        if halves == 2:
            assert scales is not None
            unconditional, conditional = predicted.unflatten(0, (-1, 2)).unbind(1)
            predicted = unconditional + scales[:, None, None] * (conditional - unconditional)
        return join_shown(predicted, shown, counts)

    def _marks(self, counts: Tensor, frames: int) -> Tensor:
        return frames_shown(counts, torch.Size((len(counts), 1, frames, 0)))[:, 0]
