"""PerFRDiffPipeline: personalise once, then sample many reactions to what a speaker says and shows."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from ..behaviour import Behaviour
from ..feature_extraction import PerFRDiffFeatureExtractor
from ..models.conditions import check_conditions, takes_style
from ..models.emotion_vae import EmotionVAEModel
from ..models.gafrg import GAFRGTransformer1DModel
from ..models.pssl import PSSLModel
from ..models.pwsg import PWSGModel
from ..models.weight_shifts import WeightShifts
from .inputs import ArrayLike, History, check_history, speaker_streams
from .reaction_pipeline import ReactionOutput, ReactionPipeline
from .sampling import (
    OFFICIAL_SCHEDULER_CONFIG,
    Generators,
    OnStepEnd,
    SamplingSettings,
    WindowSampler,
    check_sampling,
    check_scheduler,
)
from .students import check_student
from .windows import DenoisingReactor


# The name of the output in version 0.1.
PerFRDiffPipelineOutput = ReactionOutput

__all__ = ["OFFICIAL_SCHEDULER_CONFIG", "PerFRDiffPipeline", "PerFRDiffPipelineOutput"]


class PerFRDiffPipeline(ReactionPipeline):
    """Personalised, multiple, appropriate facial reactions, generated online (PerFRDiff, ACM MM 2024).

    Load it with `PerFRDiffPipeline.from_pretrained`: `DiffusionPipeline.from_pretrained` looks for the class in
    diffusers alone.

    Args:
        denoiser: GAFRG.
        emotion_vae: Enc_emo, for the speaker's latent and from generated emotion to coefficients.
        scheduler: a diffusers scheduler that can follow a model that predicts samples (`WORKING_SCHEDULERS`); the
            official one is a `DDIMScheduler` with `OFFICIAL_SCHEDULER_CONFIG`.
        feature_extractor: the mean face and the window length.
        style_encoder: PSSL; None for a generic pipeline.
        weight_shift_generator: PWSG; None for a generic pipeline.
        sampling: how reactions are sampled where a call does not say: some of the arguments of `SamplingSettings`
            but the generator. They are saved with the pipeline; training fills them in, and converted checkpoints
            have the official ones.

    Raises:
        ValueError: if the denoiser has a condition that no pipeline fills, or `sampling` holds an unknown name or a
            value out of range.
    """

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
        sampling: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        check_conditions(denoiser, style_encoder)
        sampling = check_sampling(sampling or {}, feature_extractor.window_size)
        self.register_modules(
            denoiser=denoiser,
            emotion_vae=emotion_vae,
            scheduler=scheduler,
            feature_extractor=feature_extractor,
            style_encoder=style_encoder,
            weight_shift_generator=weight_shift_generator,
        )
        self.register_to_config(sampling=sampling)

    @property
    def sampling(self) -> dict[str, Any]:
        """How reactions are sampled where a call does not say."""
        return dict(self.config["sampling"])

    @property
    def is_personal(self) -> bool:
        """Whether the pipeline has the parts that personalise it: by shifts of weights, or with the style as input."""
        knows_styles = self.weight_shift_generator is not None or takes_style(self.denoiser)
        return self.style_encoder is not None and knows_styles

    @torch.no_grad()
    def encode_style(self, history: History) -> Tensor:
        """The styles of listeners (equation 5), `(listeners, style_size)` of unit length.

        Args:
            history: as for `personalise`.

        Raises:
            ValueError: if the pipeline has no style encoder, or as `personalise`.
        """
        encoder = self.style_encoder
        if encoder is None:
            raise ValueError("This pipeline is generic: it has no style_encoder.")
        styles = []
        for one in check_history(history, min_frames=self.window_size):
            # In single precision, whatever the encoder computes in: a head's pitch is far from zero beside its spread.
            recorded = one.to(encoder.device, torch.promote_types(encoder.dtype, torch.float32))
            centred = self.feature_extractor.remove_mean_face(recorded)
            styles.append(encoder(centred.to(encoder.dtype)).style)
        return torch.cat(styles)

    @torch.no_grad()
    def personalise(self, history: History) -> WeightShifts:
        """The weight shifts of listeners, to be kept and used again (equations 5 and 7).

        Args:
            history: `(listeners, frames, 58)` coefficients of each listener's past behaviour, mean face included; or
                a `Behaviour`; or a list with one `(frames, 58)` or `Behaviour` for each listener, of any lengths.

        Returns:
            Shifts that know for which denoiser they were made, on its device and in its precision.

        Raises:
            ValueError: if the pipeline has no style encoder or no weight-shift generator, or the history is empty, has
                a wrong shape, or holds NaN or infinite values.

        Example:
            ```python
            alice = pipe.personalise(Behaviour(coefficients=recorded))  # (frames, 58), half a minute of her
            alice.save_pretrained("alice")
            stream = pipe.stream(weight_shifts=pipe.load_listener("alice"))
            ```
        """
        if self.style_encoder is None or self.weight_shift_generator is None:
            raise ValueError("This pipeline is generic: it has no style_encoder or no weight_shift_generator.")
        generator = self.weight_shift_generator
        shifts = generator(self.encode_style(history).to(generator.device, generator.dtype))
        shifts = WeightShifts(shifts, self.denoiser.weight_digests(shifts))
        return shifts.to(self.denoiser.device, self.denoiser.dtype)

    def load_listener(self, name_or_folder: str | os.PathLike, **hub_options: Any) -> WeightShifts:
        """A listener that `WeightShifts.save_pretrained` or `push_to_hub` wrote, ready for this pipeline.

        Args:
            name_or_folder: a folder, or a repository on the Hub.
            hub_options: `revision`, `token`, `subfolder` and so on; see `WeightShifts.from_pretrained`.

        Raises:
            FileNotFoundError: if there is no listener.
            ValueError: if the shifts were made for another generator, or some are fused.
        """
        return self._fitting(WeightShifts.from_pretrained(name_or_folder, **hub_options))

    def window_reactor(
        self,
        listener_history: History | None = None,
        batch_size: int = 1,
        weight_shifts: WeightShifts | None = None,
        on_step_end: OnStepEnd | None = None,
        is_interrupted: Callable[[], bool] | None = None,
        **settings: Any,
    ) -> DenoisingReactor:
        """What turns windows of speakers into reactions in one session.

        Args:
            listener_history: as for the call.
            batch_size: speakers at once, each with their own listener.
            weight_shifts: as for the call.
            on_step_end: see `WindowSampler`.
            is_interrupted: see `WindowSampler`.
            settings: `SamplingSettings`: `num_reactions`, `num_inference_steps`, `guidance_scale`, `hop`,
                `generator` and so on, as for the call; what is missing or None is as the pipeline's `sampling` says.

        Raises:
            TypeError, ValueError: as the call; see also `check_scheduler` and `check_student`.
        """
        check_scheduler(self.scheduler)
        shifts = self._choose_shifts(listener_history, weight_shifts, batch_size)
        given = {name: value for name, value in settings.items() if value is not None}
        chosen = SamplingSettings(**(self.sampling | given))
        check_student(self.denoiser, self.scheduler, chosen)
        sampler = WindowSampler(self.denoiser, self.scheduler, chosen, shifts, on_step_end, is_interrupted)
        style = None
        if listener_history is not None and takes_style(self.denoiser):
            style = self.encode_style(listener_history).to(self.denoiser.device)
            _check_listeners("listener_history", len(style), batch_size)
            style = style.expand(batch_size, -1)
        return DenoisingReactor(sampler, self.emotion_vae, self.feature_extractor, self.device, style)

    @torch.no_grad()
    def __call__(  # type: ignore[override]
        self,
        speaker_audio: ArrayLike | None = None,
        speaker_emotion: ArrayLike | None = None,
        speaker_coefficients: ArrayLike | None = None,
        listener_history: History | None = None,
        weight_shifts: WeightShifts | None = None,
        num_reactions: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        guidance_interval: tuple[float, float] | None = None,
        hop: int | None = None,
        generator: Generators = None,
        eta: float | None = None,
        binarise_action_units: bool | None = None,
        smooth_emotion: bool | None = None,
        smooth_action_units: bool | None = None,
        output_type: str = "pt",
        return_dict: bool = True,
        callback_on_step_end: Callable[..., dict] | None = None,
        callback_on_step_end_tensor_inputs: Iterable[str] = ("latents",),
        speaker: Behaviour | Sequence[Behaviour] | None = None,
        speaker_3dmm: ArrayLike | None = None,
    ) -> ReactionOutput | tuple:
        """Generate reactions to whole clips, window after window, each from the speaker's window before it.

        Equation 3 conditions on everything that the speaker did before; the models here see as many windows as the
        denoiser's `context_windows` says, one in the official program.

        How reactions are sampled is saved with the pipeline (`pipe.sampling`); what is given here goes before it.

        Args:
            speaker_audio: `(batch, frames, 78)` audio features.
            speaker_emotion: `(batch, frames, 25)` emotion channels.
            speaker_coefficients: `(batch, frames, 58)` 3DMM coefficients as recorded (mean face included). A stream
                may be missing where the model was trained for it (`condition_dropout` above 0).
            listener_history: `(batch, history_frames, 58)` coefficients of each listener's past, of any length, or
                one for all; or a `Behaviour`, or a sequence with one of either for each; None is the generic model.
            weight_shifts: what `personalise` returned, instead of a history.
            num_reactions: reactions to each clip; 10 where neither the call nor the pipeline says.
            num_inference_steps: denoising steps of each window; 50.
            guidance_scale: strength of classifier-free guidance; 1 is none; 7.5.
            guidance_interval: the part of the steps that is guided, as fractions from 0 (most noise) to 1; all.
            hop: frames that each window gives; a whole window. See `DenoisingReactor` for what they answer.
            generator: source of noise, or a list with one for each clip.
            eta: noise of each DDIM step, from 0 to 1; 0.
            binarise_action_units: whether action units are 0 or 1, as in recorded emotion; no.
            smooth_emotion: whether valence, arousal and expressions are smoothed over five frames; no.
            smooth_action_units: whether action units are, before they become 0 or 1; no.
            output_type: `"pt"` or `"np"`.
            return_dict: return a `ReactionOutput` rather than a tuple.
            callback_on_step_end: called as `f(pipeline, step, timestep, tensors)` after each denoising step, counted
                over all windows; or one of diffusers' `PipelineCallback` and `MultiPipelineCallbacks`, which say
                themselves what they get. It may return `latents` to go on with, nothing else. Once it sets
                `pipeline._interrupt = True`, the window ends with the clean reactions that were predicted last, and
                what is returned ends with that window.
            callback_on_step_end_tensor_inputs: which of `"latents"` and `"predictions"` the callback gets.
            speaker: instead of the three arrays, a `Behaviour`, or one for each speaker.
            speaker_3dmm: the name of `speaker_coefficients` in version 0.1.

        Raises:
            TypeError, ValueError: if an argument has a wrong type, shape or value; the message names it.

        Example:
            ```python
            speaker = Behaviour(audio=audio, emotion=emotion, coefficients=coefficients)  # (frames, ...) each
            generator = torch.Generator().manual_seed(0)
            output = pipe(speaker=speaker, weight_shifts=alice, num_reactions=10, generator=generator)
            output.reactions  # (1, 10, frames, 25)
            output.coefficients  # (1, 10, frames, 58)
            ```
        """
        if speaker_3dmm is not None:
            warnings.warn("speaker_3dmm is called speaker_coefficients now.", FutureWarning, stacklevel=2)
            speaker_coefficients = speaker_3dmm
        streams = speaker_streams(speaker_audio, speaker_emotion, speaker_coefficients, speaker)
        checked = self.check_inputs(streams, output_type)
        reactor = self.window_reactor(
            listener_history,
            len(next(iter(checked.values()))),
            weight_shifts,
            self._step_callback(callback_on_step_end, callback_on_step_end_tensor_inputs),
            lambda: self.interrupt,
            num_reactions=num_reactions,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            guidance_interval=guidance_interval,
            hop=hop,
            generator=generator,
            eta=eta,
            binarise_action_units=binarise_action_units,
            smooth_emotion=smooth_emotion,
            smooth_action_units=smooth_action_units,
        )
        reactions, coefficients = self.react(checked, reactor)
        return self.output(reactions, coefficients, output_type, return_dict)

    def _choose_shifts(
        self, history: History | None, weight_shifts: WeightShifts | None, batch: int
    ) -> WeightShifts | None:
        if history is not None and weight_shifts is not None:
            raise ValueError("Give listener_history or weight_shifts, not both.")
        only_style = self.weight_shift_generator is None and takes_style(self.denoiser)
        shifts = weight_shifts if history is None or only_style else self.personalise(history)
        if shifts is None:
            return None
        name = "listener_history" if weight_shifts is None else "weight_shifts"
        _check_listeners(name, shifts.num_listeners, batch)
        return self._fitting(shifts)

    def _fitting(self, shifts: WeightShifts) -> WeightShifts:
        self.denoiser.check_weight_shifts(shifts)
        return shifts.to(self.denoiser.device, self.denoiser.dtype)

    def _step_callback(self, callback: Callable[..., dict] | None, names: Iterable[str]) -> OnStepEnd | None:
        if callback is None:
            return None
        if isinstance(callback, (PipelineCallback, MultiPipelineCallbacks)):
            names = callback.tensor_inputs
        names = tuple(dict.fromkeys(names))
        unknown = [name for name in names if name not in self._callback_tensor_inputs]
        if unknown:
            raise ValueError(
                f"callback_on_step_end_tensor_inputs must be among {self._callback_tensor_inputs}; given: {unknown}."
            )
        chosen = callback

        def end_step(step: int, timestep: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            changed = chosen(self, step, timestep, {name: tensors[name] for name in names}) or {}
            refused = [name for name in changed if name != "latents" and changed[name] is not tensors.get(name, ...)]
            if refused:
                raise ValueError(
                    f"callback_on_step_end may change latents only; it changed: {refused}. The step was made from the "
                    "predictions already."
                )
            return changed

        return end_step


def _check_listeners(name: str, listeners: int, speakers: int) -> None:
    if listeners not in (1, speakers):
        raise ValueError(f"{name} must hold 1 or {speakers} listeners, as many as speakers; given: {listeners}.")
