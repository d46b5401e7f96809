"""PerFRDiffPipeline: personalise once, then sample many reactions to what a speaker says and shows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils import BaseOutput
from huggingface_hub import snapshot_download
from torch import Tensor

from ..behaviour import STREAM_WIDTHS
from ..feature_extraction import PerFRDiffFeatureExtractor
from ..models.emotion_vae import EmotionVAEModel
from ..models.gafrg import GAFRGTransformer1DModel
from ..models.pssl import PSSLModel
from ..models.pwsg import PWSGModel
from ..models.weight_shifts import WeightShifts
from .inputs import ARGUMENTS, ArrayLike, History, check_history, check_speaker
from .sampling import OFFICIAL_SCHEDULER_CONFIG, Generators, SamplingSettings, WindowSampler
from .streaming import DueWindow, ReactionStream


__all__ = ["OFFICIAL_SCHEDULER_CONFIG", "PerFRDiffPipeline", "PerFRDiffPipelineOutput"]


@dataclass
class PerFRDiffPipelineOutput(BaseOutput):
    """Reactions to each speaker.

    Args:
        reactions: `(batch, num_reactions, frames, 25)` emotion channels in [-1, 1].
        coefficients: `(batch, num_reactions, frames, 58)` 3DMM coefficients that go with them, mean face included.
    """

    reactions: Tensor | np.ndarray
    coefficients: Tensor | np.ndarray


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
    style_encoder: PSSLModel | None
    weight_shift_generator: PWSGModel | None

    def __init__(
        self,
        denoiser: GAFRGTransformer1DModel,
        emotion_vae: EmotionVAEModel,
        scheduler: SchedulerMixin,
        feature_extractor: PerFRDiffFeatureExtractor,
        style_encoder: PSSLModel | None = None,
        weight_shift_generator: PWSGModel | None = None,
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
    def download(cls, pretrained_model_name: str, **kwargs: Any) -> str | os.PathLike:
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

    def load_listener(self, folder: str | os.PathLike) -> WeightShifts:
        """A listener from the folder that `WeightShifts.save_pretrained` wrote, ready for this pipeline.

        Raises:
            FileNotFoundError: if there is no listener in the folder.
            ValueError: if the shifts were made for another generator.
        """
        return self._fitting(WeightShifts.from_pretrained(folder))

    def stream(
        self,
        listener_history: History | None = None,
        weight_shifts: WeightShifts | None = None,
        batch_size: int = 1,
        sampling_rate: int | None = None,
        **settings: Any,
    ) -> ReactionStream:
        """Open a stream of reactions; see `ReactionStream`.

        Args:
            listener_history: as for the call.
            weight_shifts: as for the call.
            batch_size: speakers that are heard at once, each with their own listener.
            sampling_rate: samples per second, if sound will come as raw samples.
            settings: `SamplingSettings`: `num_reactions`, `num_inference_steps`, `guidance_scale`, `overlap`,
                `generator` and so on, as for the call.
        """
        shifts = self._choose_shifts(listener_history, weight_shifts, batch_size)
        sampler = WindowSampler(self.denoiser, self.scheduler, SamplingSettings(**settings), shifts)
        return ReactionStream(self, sampler, batch_size, sampling_rate)

    @torch.no_grad()
    def __call__(
        self,
        speaker_audio: ArrayLike | None = None,
        speaker_emotion: ArrayLike | None = None,
        speaker_3dmm: ArrayLike | None = None,
        listener_history: History | None = None,
        weight_shifts: WeightShifts | None = None,
        num_reactions: int = 10,
        num_inference_steps: int = 50,
        guidance_scale: float = 7.5,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        overlap: int = 0,
        generator: Generators = None,
        eta: float = 0.0,
        output_type: str = "pt",
        return_dict: bool = True,
        callback_on_step_end: Callable[..., dict] | None = None,
        callback_on_step_end_tensor_inputs: Iterable[str] = ("latents",),
    ) -> PerFRDiffPipelineOutput | tuple:
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
            guidance_interval: the part of the steps that is guided, as fractions from 0 (most noise) to 1.
            overlap: frames by which each window reaches back over the one before it, held fixed; 0 is official.
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
            num_reactions, num_inference_steps, guidance_scale, guidance_interval, overlap, generator, eta
        )
        sampler = WindowSampler(self.denoiser, self.scheduler, settings, shifts, on_step_end)
        stream = ReactionStream(self, sampler, batch)
        stream.hear(**speaker)
        later_windows = max(0, -(-(frames - self.window_size) // (self.window_size - overlap)))
        with self.progress_bar(total=1 + later_windows) as progress_bar:
            segments = []
            for segment in stream.segments(until=frames):
                segments.append(segment)
                progress_bar.update()
        reactions = torch.cat([segment.reactions for segment in segments], dim=2)[:, :, :frames]
        coefficients = torch.cat([segment.coefficients for segment in segments], dim=2)[:, :, :frames]
        self.maybe_free_model_hooks()

        outputs: tuple = (reactions, coefficients)
        if output_type == "np":
            outputs = tuple(values.cpu().numpy() for values in outputs)
        return PerFRDiffPipelineOutput(*outputs) if return_dict else outputs

    def check_inputs(self, streams: Mapping[str, ArrayLike | None], output_type: str) -> dict[str, Tensor]:
        """See that a call makes sense before any work begins; the speaker's streams as tensors.

        Raises:
            TypeError, ValueError: as the call.
        """
        if output_type not in ("pt", "np"):
            raise ValueError(f"output_type must be 'pt' or 'np'; given: {output_type!r}.")
        speaker = check_speaker(streams, min_frames=self.window_size)
        self.check_streams(speaker)
        return speaker

    def check_streams(self, given: Iterable[str]) -> None:
        """See that the model was trained to do without the streams of behaviour that are missing.

        Raises:
            ValueError: if not.
        """
        needed = {"audio": "audio", "coefficients": "coefficients", "emotion": "speaker_latent"}
        kinds = self.denoiser.condition_widths
        missing = [ARGUMENTS[stream] for stream, kind in needed.items() if stream not in given and kind in kinds]
        if missing and self.denoiser.config.condition_dropout == 0:
            raise ValueError(
                f"This model was trained with every stream (condition_dropout 0) and needs {', '.join(missing)}."
            )

    def prepare_speaker(self, speaker: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Bring the speaker's streams to the pipeline's device and remove the mean face."""
        prepared = {name: values.to(self.device, self._sample_dtype) for name, values in speaker.items()}
        if "coefficients" in prepared:
            prepared["coefficients"] = self.feature_extractor.remove_mean_face(prepared["coefficients"])
        return prepared

    def silent_window(self, streams: Iterable[str], batch_size: int) -> dict[str, Tensor]:
        """The window before the speaker's first: zeros, as in the official test."""
        options: dict[str, Any] = {"device": self.device, "dtype": self._sample_dtype}
        return {name: torch.zeros(batch_size, self.window_size, STREAM_WIDTHS[name], **options) for name in streams}

    @torch.no_grad()
    def encode_speaker(self, window: Mapping[str, Tensor], previous: Tensor | None = None, repeats: int = 1) -> Tensor:
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
    def react(self, window: DueWindow, sampler: WindowSampler) -> Tensor:
        """Generate a window of reactions from the speaker's window before it.

        Returns:
            `(batch, num_reactions, window, 25)` in [-1, 1].
        """
        latents = sampler.noise(window.batch_size, self.window_size, self.device, self._sample_dtype)
        if "past_emotion" not in self.denoiser.condition_widths:
            return sampler.sample(self.encode_speaker(window.speaker), latents, window.held)
        # Every reaction has a past of its own, so every reaction is a condition of its own.
        past = torch.zeros_like(latents) if window.previous is None else window.previous
        tokens = self.encode_speaker(window.speaker, past.flatten(0, 1), repeats=latents.shape[1])
        return sampler.sample(tokens, latents, window.held)

    @torch.no_grad()
    def decode(self, reactions: Tensor) -> Tensor:
        """The coefficients `(..., 58)`, mean face included, that go with reactions `(..., 25)`."""
        coefficients = self.emotion_vae.to_coefficients(reactions.to(self.emotion_vae.dtype))
        return self.feature_extractor.add_mean_face(coefficients.to(reactions.dtype))

    def _choose_shifts(
        self, history: History | None, weight_shifts: WeightShifts | None, batch: int
    ) -> WeightShifts | None:
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
        return self._fitting(shifts)

    def _fitting(self, shifts: WeightShifts) -> WeightShifts:
        shifts.check_layers(self.denoiser)
        return shifts.to(self.denoiser.device, self.denoiser.dtype)

    @property
    def _sample_dtype(self) -> torch.dtype:
        # Noise and steps stay in float32 where the denoiser computes in less.
        return torch.promote_types(self.denoiser.dtype, torch.float32)

    def _step_callback(self, callback: Callable[..., dict] | None, names: Iterable[str]) -> Callable | None:
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
