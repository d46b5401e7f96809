"""PerFRDiffPipeline: personalise once, then sample many reactions to what a speaker says and shows."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Optional, Union

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from huggingface_hub import snapshot_download
from torch import Tensor

from ..behaviour import EMOTION_CHANNELS, STREAM_WIDTHS
from ..feature_extraction import PerFRDiffFeatureExtractor
from ..models.emotion_vae import EmotionVAEModel
from ..models.gafrg import ConditionCache, GAFRGTransformer1DModel
from ..models.pssl import PSSLModel
from ..models.pwsg import PWSGModel
from ..models.weight_shifts import WeightShifts
from .inputs import ARGUMENTS, ArrayLike, History, check_history, check_speaker
from .streaming import Generators, ReactionStream, SamplingSettings, SessionState


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


@dataclass
class PerFRDiffPipelineOutput(BaseOutput):
    """Reactions to each speaker.

    Args:
        reactions: `(batch, num_reactions, frames, 25)` emotion channels in [-1, 1].
        coefficients: `(batch, num_reactions, frames, 58)` 3DMM coefficients that go with them, mean face included.
    """

    reactions: Union[Tensor, np.ndarray]
    coefficients: Union[Tensor, np.ndarray]


class PerFRDiffPipeline(DiffusionPipeline):
    """Personalised, multiple, appropriate facial reactions, generated online (PerFRDiff, ACM MM 2024).

    Args:
        denoiser: GAFRG.
        emotion_vae: Enc_emo, for the speaker's latent and from generated emotion to coefficients.
        scheduler: any diffusers scheduler that can predict samples; the official one is a `DDIMScheduler` with
            `OFFICIAL_SCHEDULER_CONFIG`.
        feature_extractor: the mean face and the window length.
        style_encoder: PSSL; None for a generic pipeline.
        weight_shift_generator: PWSG; None for a generic pipeline.
    """

    model_cpu_offload_seq: Any = "style_encoder->weight_shift_generator->emotion_vae->denoiser"
    _optional_components = ["style_encoder", "weight_shift_generator"]
    _callback_tensor_inputs = ["latents", "predictions"]

    denoiser: GAFRGTransformer1DModel
    emotion_vae: EmotionVAEModel
    scheduler: Any
    feature_extractor: PerFRDiffFeatureExtractor
    style_encoder: Optional[PSSLModel]
    weight_shift_generator: Optional[PWSGModel]

    def __init__(
        self,
        denoiser: GAFRGTransformer1DModel,
        emotion_vae: EmotionVAEModel,
        scheduler: SchedulerMixin,
        feature_extractor: PerFRDiffFeatureExtractor,
        style_encoder: Optional[PSSLModel] = None,
        weight_shift_generator: Optional[PWSGModel] = None,
    ):
        super().__init__()
        self.register_modules(
            denoiser=denoiser,
            emotion_vae=emotion_vae,
            scheduler=scheduler,
            feature_extractor=feature_extractor,
            style_encoder=style_encoder,
            weight_shift_generator=weight_shift_generator,
        )

    @classmethod
    def download(cls, pretrained_model_name: str, **kwargs: Any) -> Union[str, os.PathLike]:
        """Download a pipeline from the Hub.

        diffusers asks for a Python file beside every component that neither it nor transformers defines; here the
        components come with this package, and the repository holds data only.
        """
        variant = kwargs.get("variant")
        weights = f"*.{variant}*.safetensors" if variant else "*.safetensors"
        names = ("cache_dir", "force_download", "local_files_only", "token", "revision")
        return snapshot_download(
            pretrained_model_name,
            allow_patterns=["*.json", f"*/{weights}", "*.md"],
            **{name: kwargs[name] for name in names if kwargs.get(name) is not None},
        )

    @property
    def window_size(self) -> int:
        """Frames of a window, w of the paper."""
        return self.feature_extractor.window_size

    @torch.no_grad()
    def personalise(self, history: History) -> WeightShifts:
        """The weight shifts of listeners, to be kept and used again (equations 5 and 7).

        Args:
            history: `(listeners, frames, 58)` coefficients of each listener's past behaviour, mean face included; or
                a list with one `(frames, 58)` for each listener, of any lengths.

        Raises:
            ValueError: if the pipeline has no style encoder or no weight-shift generator, or the history is empty, has
                a wrong shape, or holds NaN or infinite values.
        """
        if self.style_encoder is None or self.weight_shift_generator is None:
            raise ValueError("This pipeline is generic: it has no style_encoder or no weight_shift_generator.")
        encoder, generator = self.style_encoder, self.weight_shift_generator
        styles = []
        for one in check_history(history, min_frames=self.window_size):
            centred = self.feature_extractor.remove_mean_face(one.to(encoder.device, encoder.dtype))
            styles.append(encoder(centred).style)
        shifts = generator(torch.cat(styles).to(generator.device, generator.dtype))
        return shifts.to(self.denoiser.device, self.denoiser.dtype)

    def stream(
        self,
        listener_history: Optional[History] = None,
        weight_shifts: Optional[WeightShifts] = None,
        batch_size: int = 1,
        num_reactions: int = 1,
        num_inference_steps: int = 50,
        guidance_scale: float = 7.5,
        generator: Generators = None,
        eta: float = 0.0,
    ) -> ReactionStream:
        """Open a stream of reactions; see `ReactionStream`. The arguments are those of the call."""
        settings = SamplingSettings(num_reactions, num_inference_steps, guidance_scale, generator, eta)
        shifts = self._choose_shifts(listener_history, weight_shifts, batch_size)
        return ReactionStream(self, SessionState(batch_size, settings, shifts))

    @torch.no_grad()
    def __call__(
        self,
        speaker_audio: Optional[ArrayLike] = None,
        speaker_emotion: Optional[ArrayLike] = None,
        speaker_3dmm: Optional[ArrayLike] = None,
        listener_history: Optional[History] = None,
        weight_shifts: Optional[WeightShifts] = None,
        num_reactions: int = 10,
        num_inference_steps: int = 50,
        guidance_scale: float = 7.5,
        generator: Generators = None,
        eta: float = 0.0,
        output_type: str = "pt",
        return_dict: bool = True,
        callback_on_step_end: Optional[Callable[..., dict]] = None,
        callback_on_step_end_tensor_inputs: Iterable[str] = ("latents",),
    ) -> Union[PerFRDiffPipelineOutput, tuple]:
        """Generate reactions to whole clips, window after window, each from the speaker's windows before it.

        Args:
            speaker_audio: `(batch, frames, 78)` audio features.
            speaker_emotion: `(batch, frames, 25)` emotion channels.
            speaker_3dmm: `(batch, frames, 58)` 3DMM coefficients as recorded (mean face included). A stream may be
                missing where the model was trained for it (`condition_dropout` above 0).
            listener_history: `(batch, history_frames, 58)` coefficients of each listener's past, of any length, or
                one for all; None is the generic model.
            weight_shifts: what `personalise` returned, instead of a history.
            num_reactions: reactions to each clip.
            num_inference_steps: denoising steps of each window.
            guidance_scale: strength of classifier-free guidance; 1 is none.
            generator: source of noise, or a list with one for each clip.
            eta: noise of each DDIM step, from 0 to 1.
            output_type: `"pt"` or `"np"`.
            return_dict: return a `PerFRDiffPipelineOutput` rather than a tuple.
            callback_on_step_end: called as `f(pipeline, step, timestep, tensors)` after each denoising step, counted
                over all windows.
            callback_on_step_end_tensor_inputs: which of `"latents"` and `"predictions"` the callback gets.

        Raises:
            TypeError, ValueError: if an argument has a wrong type, shape or value; the message names it.
        """
        speaker = self.check_inputs(
            {"audio": speaker_audio, "emotion": speaker_emotion, "coefficients": speaker_3dmm}, output_type
        )
        batch, frames = next(iter(speaker.values())).shape[:2]
        shifts = self._choose_shifts(listener_history, weight_shifts, batch)
        on_step_end = self._step_callback(callback_on_step_end, callback_on_step_end_tensor_inputs)
        settings = SamplingSettings(
            num_reactions, num_inference_steps, guidance_scale, generator, eta, on_step_end=on_step_end
        )
        state = SessionState(batch, settings, shifts)

        speaker = self.prepare_speaker(speaker)
        windows = [self.silent_window(speaker, batch)]
        for start in range(0, frames - self.window_size, self.window_size):
            windows.append({name: values[:, start : start + self.window_size] for name, values in speaker.items()})
        reactions = torch.cat([self.react(window, state) for window in self.progress_bar(windows)], dim=2)
        reactions = reactions[:, :, :frames]
        coefficients = self.decode(reactions)
        self.maybe_free_model_hooks()

        outputs: tuple = (reactions, coefficients)
        if output_type == "np":
            outputs = tuple(values.cpu().numpy() for values in outputs)
        return PerFRDiffPipelineOutput(*outputs) if return_dict else outputs

    def check_inputs(self, streams: Mapping[str, Optional[ArrayLike]], output_type: str) -> dict[str, Tensor]:
        """See that a call makes sense before any work begins; the speaker's streams as tensors.

        Raises:
            TypeError, ValueError: as the call.
        """
        if output_type not in ("pt", "np"):
            raise ValueError(f"output_type must be 'pt' or 'np'; given: {output_type!r}.")
        speaker = check_speaker(streams, min_frames=self.window_size)
        self._check_missing_streams(speaker)
        return speaker

    def prepare_speaker(self, speaker: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Bring the speaker's streams to the pipeline's device and remove the mean face."""
        self._check_missing_streams(speaker)
        prepared = {name: values.to(self.device, self._sample_dtype) for name, values in speaker.items()}
        if "coefficients" in prepared:
            prepared["coefficients"] = self.feature_extractor.remove_mean_face(prepared["coefficients"])
        return prepared

    def silent_window(self, streams: Iterable[str], batch_size: int) -> dict[str, Tensor]:
        """The window before the speaker's first: zeros, as in the official test."""
        options: dict[str, Any] = {"device": self.device, "dtype": self._sample_dtype}
        return {name: torch.zeros(batch_size, self.window_size, STREAM_WIDTHS[name], **options) for name in streams}

    @torch.no_grad()
    def encode_speaker(
        self, window: Mapping[str, Tensor], previous: Optional[Tensor] = None, repeats: int = 1
    ) -> Tensor:
        """The condition's tokens for one window of the speaker (SBE, equation 4).

        Args:
            window: the speaker's prepared streams, `(batch, window, width)`.
            previous: the reactions of the window before, `(batch * repeats, window, 25)`, where the denoiser is
                conditioned on them (equation 9).
            repeats: how often each speaker's tokens are repeated.

        Returns:
            `(batch * repeats, tokens, hidden_size)`.
        """
        conditions = {name: window[name] for name in ("audio", "coefficients") if name in window}
        if "emotion" in window:
            conditions["speaker_emotion"] = window["emotion"]
            emotion = window["emotion"].to(self.emotion_vae.dtype)
            conditions["speaker_latent"] = self.emotion_vae.encode(emotion).hidden_state
        kinds = self.denoiser.condition_widths
        conditions = {
            kind: values.repeat_interleave(repeats, 0) for kind, values in conditions.items() if kind in kinds
        }
        if previous is not None:
            conditions["past_emotion"] = previous
        conditions = {kind: values.to(self.denoiser.dtype) for kind, values in conditions.items()}
        return self.denoiser.encode_condition(conditions, num_frames=self.window_size)

    @torch.no_grad()
    def react(self, window: Mapping[str, Tensor], state: SessionState) -> Tensor:
        """Generate the next window of reactions from the speaker's window before it.

        Args:
            window: the speaker's prepared streams, `(batch, window, width)`.
            state: the session, which is moved on by one window.

        Returns:
            `(batch, num_reactions, window, 25)` in [-1, 1].
        """
        condition = self._cache_window(window, state)
        latents = self.prepare_latents(state)
        reactions = self._denoise(latents, condition, state).clamp(-1.0, 1.0)
        state.windows += 1
        state.previous = reactions
        return reactions

    def prepare_latents(self, state: SessionState) -> Tensor:
        """The noise from which a window is denoised, `(batch, num_reactions, window, 25)`."""
        shape = (state.batch_size, state.settings.num_reactions, self.window_size, EMOTION_CHANNELS)
        generator = state.settings.generator
        if isinstance(generator, Iterable):
            generator = list(generator)
            if len(generator) != state.batch_size:
                raise ValueError(
                    f"generator must be one, or one for each of {state.batch_size} clips; given: {len(generator)}."
                )
        return randn_tensor(shape, generator=generator, device=self.device, dtype=self._sample_dtype)

    @torch.no_grad()
    def decode(self, reactions: Tensor) -> Tensor:
        """The coefficients `(..., 58)`, mean face included, that go with reactions `(..., 25)`."""
        coefficients = self.emotion_vae.to_coefficients(reactions.to(self.emotion_vae.dtype))
        return self.feature_extractor.add_mean_face(coefficients.to(reactions.dtype))

    def _denoise(self, latents: Tensor, condition: ConditionCache, state: SessionState) -> Tensor:
        settings = state.settings
        scheduler = type(self.scheduler).from_config(self.scheduler.config)
        scheduler.set_timesteps(settings.num_inference_steps, device=latents.device)
        step_options = self._step_options(scheduler, settings)
        latents = latents * scheduler.init_noise_sigma
        first_step = state.windows * len(scheduler.timesteps)
        for step, timestep in enumerate(scheduler.timesteps):
            predictions = self._predict(scheduler.scale_model_input(latents, timestep), timestep, condition, state)
            latents = scheduler.step(predictions, timestep, latents, **step_options).prev_sample
            if settings.on_step_end is not None:
                tensors = {"latents": latents, "predictions": predictions}
                latents = settings.on_step_end(first_step + step, timestep, tensors).get("latents", latents)
        return latents

    def _predict(self, latents: Tensor, timestep: Tensor, condition: ConditionCache, state: SessionState) -> Tensor:
        """The clean reactions that the denoiser predicts, guided: `(batch, num_reactions, window, 25)`."""
        halves = 1 if state.settings.guidance_scale == 1 else 2
        groups = condition.num_conditions // halves
        rows = latents.reshape(groups, 1, -1, *latents.shape[2:]).expand(-1, halves, -1, -1, -1)
        predicted = self.denoiser(
            rows.flatten(0, 2).to(self.denoiser.dtype), timestep, condition, state.weight_shifts
        ).sample.to(latents.dtype)
        if halves == 1:
            return predicted.view_as(latents)
        unconditional, conditional = predicted.view(groups, 2, -1, *latents.shape[2:]).unbind(1)
        guided = unconditional + state.settings.guidance_scale * (conditional - unconditional)
        return guided.reshape(latents.shape)

    def _cache_window(self, window: Mapping[str, Tensor], state: SessionState) -> ConditionCache:
        """Keys and values of the window's condition, and of the unconditional half before each where guidance asks."""
        previous, repeats = None, 1
        if "past_emotion" in self.denoiser.condition_widths:
            # Every reaction has a past of its own, so every reaction is a condition of its own.
            repeats = state.settings.num_reactions
            shape = (state.batch_size * repeats, self.window_size, EMOTION_CHANNELS)
            none_yet = torch.zeros(shape, device=self.device, dtype=self._sample_dtype)
            previous = none_yet if state.previous is None else state.previous.flatten(0, 1)
        tokens = self.encode_speaker(window, previous, repeats)
        cache = self.denoiser.cache_condition(tokens, state.weight_shifts)
        if state.settings.guidance_scale == 1:
            return cache
        if state.null_cache is None:
            state.null_cache = self.denoiser.cache_condition(torch.zeros_like(tokens), state.weight_shifts)
        return ConditionCache.interleave([state.null_cache, cache])

    def _choose_shifts(
        self, history: Optional[History], weight_shifts: Optional[WeightShifts], batch: int
    ) -> Optional[WeightShifts]:
        if history is not None and weight_shifts is not None:
            raise ValueError("Give listener_history or weight_shifts, not both.")
        shifts = weight_shifts if history is None else self.personalise(history)
        if shifts is None:
            return None
        if shifts.num_listeners not in (1, batch):
            name = "listener_history" if weight_shifts is None else "weight_shifts"
            raise ValueError(
                f"{name} must hold 1 or {batch} listeners, as many as speakers; given: {shifts.num_listeners}."
            )
        shifts.check_layers(self.denoiser)
        return shifts.to(self.denoiser.device, self.denoiser.dtype)

    def _check_missing_streams(self, speaker: Mapping[str, Tensor]) -> None:
        needed = {"audio": "audio", "coefficients": "coefficients", "emotion": "speaker_latent"}
        missing = [ARGUMENTS[s] for s, kind in needed.items() if s not in speaker and kind in self._kinds]
        if missing and self.denoiser.config.condition_dropout == 0:
            raise ValueError(
                f"This model was trained with every stream (condition_dropout 0) and needs {', '.join(missing)}."
            )

    @property
    def _kinds(self) -> Iterable[str]:
        return self.denoiser.condition_widths

    @property
    def _sample_dtype(self) -> torch.dtype:
        # Noise and steps stay in float32 where the denoiser computes in less.
        return torch.promote_types(self.denoiser.dtype, torch.float32)

    def _step_options(self, scheduler: Any, settings: SamplingSettings) -> dict[str, Any]:
        # Schedulers differ in what their step takes. The official sampler re-derives epsilon from the clipped sample.
        options = {"generator": settings.generator, "eta": settings.eta, "use_clipped_model_output": True}
        accepted = inspect.signature(scheduler.step).parameters
        return {name: value for name, value in options.items() if name in accepted}

    def _step_callback(self, callback: Optional[Callable[..., dict]], names: Iterable[str]) -> Optional[Callable]:
        if callback is None:
            return None
        names = tuple(names)
        unknown = [name for name in names if name not in self._callback_tensor_inputs]
        if unknown:
            raise ValueError(
                f"callback_on_step_end_tensor_inputs must be among {self._callback_tensor_inputs}; given: {unknown}."
            )
        chosen = callback
        return lambda step, timestep, tensors: chosen(self, step, timestep, {n: tensors[n] for n in names}) or {}
