"""Sampling one window of reactions: the denoising loop, guidance, and frames that are held fixed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from ..models.gafrg import ConditionCache, GAFRGTransformer1DModel
from ..models.weight_shifts import WeightShifts
from .finishing import finished


Generators = torch.Generator | Sequence[torch.Generator] | None

# Called with the step, counted over all windows, the time step and the tensors; may return some of them changed.
OnStepEnd = Callable[[int, Tensor, dict[str, Tensor]], dict[str, Tensor]]

# The official sampler, in the words of `diffusers.DDIMScheduler`.
OFFICIAL_SCHEDULER_CONFIG = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "sample",
    "clip_sample": True,
    "clip_sample_range": 1.0,
    "timestep_spacing": "leading",
    "steps_offset": 0,
    "set_alpha_to_one": False,
}

OFFICIAL_SAMPLING = {"num_inference_steps": 50, "guidance_scale": 7.5}

# The schedulers of diffusers that can follow a model that predicts samples, tried one by one. Others know no such
# model, have other noise, or end elsewhere than at the prediction.
WORKING_SCHEDULERS = (
    "DDIMScheduler", "DDPMScheduler", "DEISMultistepScheduler", "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler", "LCMScheduler",
    "LMSDiscreteScheduler", "SASolverScheduler", "TCDScheduler", "UniPCMultistepScheduler",
)  # fmt: skip

# What does not fit at the border of two windows fades by a factor of e over so many frames: a third of a second where
# a denoiser knows nothing of shown frames, and less where it goes on from them by itself.
SEAM_FADE_FRAMES = 8
JOIN_FADE_FRAMES = 2


@dataclass(frozen=True)
class SamplingSettings:
    """How reactions are sampled; the same for every window of a session.

    Args:
        num_reactions: reactions to each speaker.
        num_inference_steps: denoising steps of each window.
        guidance_scale: strength of classifier-free guidance; 1 is none.
        guidance_interval: the part of the steps that is guided, as fractions from 0 (most noise) to 1; the other
            steps cost half.
        hop: frames that each window gives. None: a whole window, as in the official sampler. See `DenoisingReactor`
            for what the window holds beside them, and what they answer.
        generator: one source of noise, or one for each speaker.
        eta: noise of each DDIM step, from 0 to 1; other schedulers ignore it.
        binarise_action_units: whether action units are 0 or 1, as in recorded emotion, where they say what occurs. The
            official sampler leaves them as they are predicted, and one that is far from occurring still trembles.
        smooth_emotion: whether valence, arousal and expressions are smoothed over five frames; see `finished`.
        smooth_action_units: whether action units are, before they become 0 or 1 and, near a half, stay what they were.

    Raises:
        TypeError: if a generator is none, or what must be true or false is neither.
        ValueError: if a value lies outside its range.
    """

    num_reactions: int = 10
    num_inference_steps: int = 50
    guidance_scale: float = 7.5
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    hop: int | None = None
    generator: Generators = None
    eta: float = 0.0
    binarise_action_units: bool = False
    smooth_emotion: bool = False
    smooth_action_units: bool = False

    def __post_init__(self) -> None:
        for name in ("num_reactions", "num_inference_steps", "hop"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1; given: {value}.")
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must lie in [0, 1]; given: {self.eta}.")
        for name in ("binarise_action_units", "smooth_emotion", "smooth_action_units"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be true or false; given: {getattr(self, name)!r}.")
        first, last = self.guidance_interval
        object.__setattr__(self, "guidance_interval", (first, last))  # a list would make the settings unhashable
        if not 0 <= first <= last <= 1:
            raise ValueError(f"guidance_interval must rise within [0, 1]; given: {self.guidance_interval}.")
        if self.generator is None or isinstance(self.generator, torch.Generator):
            return
        generators = list(self.generator)  # schedulers know no other sequence
        if not all(isinstance(one, torch.Generator) for one in generators):
            given = [type(one).__name__ for one in generators]
            raise TypeError(f"generator must be a torch.Generator, or one for each speaker; given: {given}.")
        object.__setattr__(self, "generator", generators)

    def is_guided(self, step: int, num_steps: int | None = None) -> bool:
        """Whether a step, counted from 0, is guided.

        Args:
            step: which step.
            num_steps: how many the scheduler makes of `num_inference_steps`, if not as many.
        """
        first, last = self.guidance_interval
        num_steps = num_steps or self.num_inference_steps
        return self.guidance_scale != 1 and first * num_steps <= step < last * num_steps


def check_sampling(sampling: Mapping[str, Any], window_size: int) -> dict[str, Any]:
    """Saved sampling defaults as plain values for json.

    Args:
        sampling: some of the arguments of `SamplingSettings`, but no generator.
        window_size: frames of a window.

    Raises:
        ValueError: if a name is unknown, or a value is out of range.
    """
    names = [field.name for field in fields(SamplingSettings) if field.name != "generator"]
    if unknown := [name for name in sampling if name not in names]:
        raise ValueError(f"sampling may hold {', '.join(names)}; given also: {', '.join(unknown)}.")
    try:
        SamplingSettings(**sampling)
    except (TypeError, ValueError) as error:
        raise ValueError(f"sampling is out of range: {error}") from error
    hop = sampling.get("hop")
    if hop is not None and hop > window_size:
        raise ValueError(f"sampling: hop must lie between 1 and the {window_size} frames of a window; given: {hop}.")
    return {name: list(value) if isinstance(value, tuple) else value for name, value in sampling.items()}


def check_scheduler(scheduler: Any) -> None:
    """See that a scheduler can follow a model that predicts samples.

    Raises:
        ValueError: if it is none of `WORKING_SCHEDULERS`, nor made from one, or is set up for another kind of
            prediction.
    """
    if not any(parent.__name__ in WORKING_SCHEDULERS for parent in type(scheduler).__mro__):
        raise ValueError(
            f"scheduler must be one of {', '.join(WORKING_SCHEDULERS)}; given: {type(scheduler).__name__}."
        )
    prediction = scheduler.config.get("prediction_type", "sample")
    if prediction != "sample":
        raise ValueError(
            f"scheduler must have prediction_type 'sample', as the denoiser predicts clean reactions; given: "
            f"{prediction!r}. Make it with from_config(pipe.scheduler.config)."
        )


@contextmanager
def kept_noise(generators: Iterable[torch.Generator]) -> Iterator[None]:
    """Put generators back to where they were if what is done with them fails."""
    states = [(generator, generator.get_state()) for generator in generators]
    try:
        yield
    except BaseException:
        for generator, state in states:
            generator.set_state(state)
        raise


class WindowSampler:
    """Samples windows of reactions with one denoiser, scheduler and batch of listeners.

    Args:
        denoiser: GAFRG.
        scheduler: one of those that `check_scheduler` takes; a copy of it is used.
        settings: how to sample.
        weight_shifts: the listeners' shifts; None is the generic model.
        on_step_end: called after every denoising step with `(step, timestep, tensors)`, the step counted over all
            windows; may return `latents` to go on with.
        is_interrupted: asked after every step; once it says so, the window ends with the clean reactions as they were
            predicted last.
    """

    def __init__(
        self,
        denoiser: GAFRGTransformer1DModel,
        scheduler: Any,
        settings: SamplingSettings,
        weight_shifts: WeightShifts | None = None,
        on_step_end: OnStepEnd | None = None,
        is_interrupted: Callable[[], bool] | None = None,
    ):
        self.settings = settings
        self.denoiser = denoiser
        self.scheduler = type(scheduler).from_config(scheduler.config)
        self.weight_shifts = weight_shifts
        self._on_step_end = on_step_end
        self._is_interrupted = is_interrupted
        self._null_cache: ConditionCache | None = None
        self._steps_done = 0

    @property
    def is_watched(self) -> bool:
        """Whether somebody looks at the steps, or may end them."""
        return self._on_step_end is not None or self._is_interrupted is not None

    def noise(self, batch_size: int, num_frames: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        """The noise from which a window is denoised, `(batch, num_reactions, frames, channels)`.

        Raises:
            ValueError: if the generators are not one for each speaker.
        """
        generator: Any = self.settings.generator
        if isinstance(generator, list) and len(generator) != batch_size:
            raise ValueError(f"generator must be one, or one for each of {batch_size} clips; given: {len(generator)}.")
        shape = (batch_size, self.settings.num_reactions, num_frames, self.denoiser.config.in_channels)
        return randn_tensor(shape, generator=generator, device=device, dtype=dtype)

    @torch.no_grad()
    def sample(self, tokens: Tensor, latents: Tensor, held: Tensor | None = None) -> Tensor:
        """Denoise one window.

        Args:
            tokens: `(conditions, tokens, hidden_size)` from `encode_condition`: one condition for each speaker, or
                one for each reaction.
            latents: `(batch, num_reactions, frames, channels)` noise.
            held: `(batch, num_reactions, frames, channels)` what the first frames must be.

        Returns:
            `(batch, num_reactions, frames, channels)`, emotion in [-1, 1].
        """
        scheduler = self.scheduler
        scheduler.set_timesteps(self.settings.num_inference_steps, device=latents.device)
        options = self._step_options()
        num_steps = len(scheduler.timesteps)
        plain, guided = self._cache(tokens, num_steps)
        known = None if held is None else self.denoiser.to_scores(held)
        latents = latents * scheduler.init_noise_sigma
        for step, timestep in enumerate(scheduler.timesteps):
            inputs = scheduler.scale_model_input(latents, timestep)
            is_guided = self._is_guided(step, num_steps)
            predictions = self._predict(inputs, timestep, guided if is_guided else plain, known, is_guided)
            latents = scheduler.step(predictions, timestep, latents, **options).prev_sample
            latents = self._end_step(timestep, latents, predictions)
            if self._is_interrupted is not None and self._is_interrupted():
                latents = predictions
                break
        told = self.settings
        window = self.denoiser.from_scores(latents)
        return finished(window, held, told.binarise_action_units, told.smooth_emotion, told.smooth_action_units)

    def _cache(self, tokens: Tensor, num_steps: int) -> tuple[ConditionCache | None, ConditionCache | None]:
        """The window's condition for steps without and with guidance, as far as such steps exist."""
        scale = self.settings.guidance_scale if self.denoiser.config.distilled else None
        plain = self.denoiser.cache_condition(tokens, self.weight_shifts, scale)
        if not any(self._is_guided(step, num_steps) for step in range(num_steps)):
            return plain, None
        return plain, ConditionCache.interleave([self.null_condition(tokens), plain])

    def _is_guided(self, step: int, num_steps: int) -> bool:
        """Whether a step takes two passes; to students the scale is an input."""
        return not self.denoiser.config.distilled and self.settings.is_guided(step, num_steps)

    def null_condition(self, tokens: Tensor) -> ConditionCache:
        """Keys and values of the null condition, as many as `tokens`; computed once for a session."""
        if self._null_cache is None:
            self._null_cache = self.denoiser.cache_condition(torch.zeros_like(tokens), self.weight_shifts)
        return self._null_cache

    def _predict(
        self, latents: Tensor, timestep: Tensor, condition: ConditionCache | None, held: Tensor | None, guided: bool
    ) -> Tensor:
        """The clean window as predicted, its first frames as they are held."""
        if held is None:
            return self._denoise(latents, timestep, condition, guided)
        count = held.shape[2]
        if not self.denoiser.joins_shown_frames:
            predicted = self._denoise(latents, timestep, condition, guided)
            return join_held(predicted, held, meets=count - 1, fade_frames=SEAM_FADE_FRAMES)
        given = torch.cat([held, latents[:, :, count:]], dim=2)
        predicted = self._denoise(given, timestep, condition, guided, count)
        return join_held(predicted, held, meets=count, fade_frames=JOIN_FADE_FRAMES)

    def _denoise(
        self, latents: Tensor, timestep: Tensor, condition: ConditionCache | None, guided: bool, num_shown: int = 0
    ) -> Tensor:
        # Rows: for each condition, where it is guided, the unconditional half and then the conditional one.
        halves = 2 if guided else 1
        num_conditions = condition.num_conditions // halves if condition else 1
        rows = latents.reshape(num_conditions, 1, -1, *latents.shape[2:]).expand(-1, halves, -1, -1, -1)
        rows = rows.flatten(0, 2).to(self.denoiser.dtype)
        marks = {}
        if num_shown:
            marks["shown"] = (torch.arange(rows.shape[1], device=rows.device) < num_shown).expand(len(rows), -1)
        predicted = self.denoiser(rows, timestep, condition, self.weight_shifts, **marks).sample.to(latents.dtype)
        if not guided:
            return predicted.view_as(latents)
        unconditional, conditional = predicted.view(num_conditions, 2, -1, *latents.shape[2:]).unbind(1)
        return (unconditional + self.settings.guidance_scale * (conditional - unconditional)).reshape(latents.shape)

    def _end_step(self, timestep: Tensor, latents: Tensor, predictions: Tensor) -> Tensor:
        if self._on_step_end is not None:
            tensors = {"latents": latents, "predictions": predictions}
            latents = self._on_step_end(self._steps_done, timestep, tensors).get("latents", latents)
        self._steps_done += 1
        return latents

    def _step_options(self) -> dict[str, Any]:
        # Schedulers differ in what their step takes. The official one re-derives epsilon from the clipped sample.
        options = {"generator": self.settings.generator, "eta": self.settings.eta, "use_clipped_model_output": True}
        accepted = inspect.signature(self.scheduler.step).parameters
        return {name: value for name, value in options.items() if name in accepted}


class JointSampler(WindowSampler):
    """One sampler for the speakers of several, one after the other, each with its own listener and generator.

    Args:
        samplers: with the same denoiser, scheduler and settings, and shifts of the same layout.
        batch_sizes: speakers of each.
    """

    def __init__(self, samplers: Sequence[WindowSampler], batch_sizes: Sequence[int]):
        first = samplers[0]
        generators: Any = [sampler.settings.generator for sampler in samplers]
        generators = [one for some in generators for one in (some if isinstance(some, Sequence) else [some])]
        shifts = [_shifts_of_each(sampler, size) for sampler, size in zip(samplers, batch_sizes)]
        super().__init__(
            first.denoiser,
            first.scheduler,
            replace(first.settings, generator=None if None in generators else generators),
            None if first.weight_shifts is None else WeightShifts.stack(shifts),
        )
        self._samplers = samplers
        self._batch_sizes = batch_sizes

    def null_condition(self, tokens: Tensor) -> ConditionCache:
        """The null conditions of all sessions; each session computes and keeps its own."""
        conditions_each = len(tokens) // sum(self._batch_sizes)
        parts = tokens.split([size * conditions_each for size in self._batch_sizes])
        return ConditionCache.concatenate(
            [sampler.null_condition(part) for sampler, part in zip(self._samplers, parts)]
        )


def _shifts_of_each(sampler: WindowSampler, batch_size: int) -> WeightShifts | None:
    """The weight shifts with one listener for each speaker."""
    shifts = sampler.weight_shifts
    if shifts is None or shifts.num_listeners == batch_size:
        return shifts
    return shifts.listener([0] * batch_size)


def join_held(predictions: Tensor, held: Tensor, meets: int, fade_frames: float) -> Tensor:
    """A predicted clean window, with its first frames as they were shown and the others led up to them.

    The clean value of the first frames is known, and the scheduler moves them along their own path to it. That alone
    leaves a jump: most of where the new frames go is decided in the first steps, when the held ones are still noise.
    So the new frames are shifted by what the prediction misses at the border, fading out. This happens in every step:
    the denoiser goes on from a window without a jump and makes it plausible.

    Args:
        predictions: `(batch, num_reactions, frames, channels)`.
        held: `(batch, num_reactions, held, channels)`.
        meets: the frame whose prediction ought to be the last held frame: that one itself, or where a denoiser has
            learned nothing of shown frames, the first new one.
        fade_frames: over how many frames the shift fades by a factor of e.
    """
    count, frames = held.shape[2], predictions.shape[2]
    missing = held[:, :, -1:] - predictions[:, :, meets : meets + 1]
    ahead = torch.arange(1, frames - count + 1, device=held.device, dtype=held.dtype)
    fade = torch.exp(-ahead / fade_frames)[:, None]
    return torch.cat([held, predictions[:, :, count:] + missing * fade], dim=2)


def join_shown(predictions: Tensor, shown: Tensor, counts: Tensor, fade_frames: float = JOIN_FADE_FRAMES) -> Tensor:
    """As `join_held` for a denoiser that joins shown frames, where each row has its own number of them.

    Args:
        predictions: `(rows, frames, channels)`.
        shown: `(rows, frames, channels)`, of which the first count.
        counts: `(rows,)` how many were shown; 0 leaves a row as it was predicted.
        fade_frames: see `join_held`.
    """
    rows, frames = torch.arange(len(counts), device=counts.device), predictions.shape[1]
    ahead = torch.arange(frames, device=counts.device) + 1 - counts[:, None]
    missing = shown[rows, (counts - 1).clamp(min=0)] - predictions[rows, counts.clamp(max=frames - 1)]
    fade = torch.exp(-ahead / fade_frames) * (counts > 0)[:, None]
    return torch.where((ahead <= 0)[..., None], shown, predictions + missing[:, None] * fade[..., None])
