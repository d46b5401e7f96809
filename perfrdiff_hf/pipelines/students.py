"""Distilled generators: how they are sampled, and what they refuse.

A student predicts, at each of few time steps, where its teacher's whole guided sampler goes until the next of them. So
it is sampled by plain DDIM in one pass a step, at exactly the steps that it was trained for. The guidance scale is an
input, within those with which its teacher was sampled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from .sampling import SamplingSettings


def student_sampling(sampling: Mapping[str, Any], num_inference_steps: int) -> dict[str, Any]:
    """The defaults of a student from those of its teacher.

    Few evaluations leave more action units near a half. Where they become 0 or 1 they would flicker there, and are
    smoothed before; see `finished`.

    Args:
        sampling: the teacher's; some of the arguments of `SamplingSettings`.
        num_inference_steps: the student's.
    """
    kept = {name: value for name, value in sampling.items() if name not in ("guidance_interval", "eta")}
    if kept.get("binarise_action_units"):
        kept["smooth_action_units"] = True
    return {**kept, "num_inference_steps": num_inference_steps}


def check_student(denoiser: Any, scheduler: Any, settings: SamplingSettings) -> None:
    """See that a generator which is a student is sampled as it was trained; others may be sampled in any way.

    Args:
        denoiser: GAFRG; its `distilled` says what it can do.
        scheduler: of the pipeline.
        settings: how it is to be sampled.

    Raises:
        ValueError: if it cannot be; the message names the argument.
    """
    told = denoiser.config.get("distilled")
    if not told:
        return
    steps = told["num_inference_steps"]
    if settings.num_inference_steps != steps:
        raise ValueError(
            f"num_inference_steps must be {steps}: this model was distilled for so many; given: "
            f"{settings.num_inference_steps}. Leave it out, or load another student, or the teacher."
        )
    least, most = told["guidance_scales"]
    if not least <= settings.guidance_scale <= most:
        raise ValueError(
            f"guidance_scale must lie between {least:g} and {most:g}: this model was distilled for these; given: "
            f"{settings.guidance_scale:g}. Leave it out, or load the teacher."
        )
    if settings.guidance_interval != (0.0, 1.0):
        raise ValueError(
            f"guidance_interval must be left out: that of the teacher is built in; given: "
            f"{settings.guidance_interval}. Or load the teacher."
        )
    if settings.eta:
        raise ValueError(f"eta must be 0: a distilled model takes no noise between steps; given: {settings.eta}.")
    spacing = scheduler.config.get("timestep_spacing")
    if not isinstance(scheduler, DDIMScheduler) or spacing != "trailing":
        raise ValueError(
            "scheduler must be a DDIMScheduler with timestep_spacing 'trailing', as this model was distilled with; "
            f"given: {type(scheduler).__name__} with {spacing!r}. Make it with "
            "DDIMScheduler.from_config(pipe.scheduler.config, timestep_spacing='trailing')."
        )
