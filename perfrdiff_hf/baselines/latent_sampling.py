"""How systems of latent diffusion sample: the steps that a call may ask for, and the loop of DDIM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diffusers import DDIMScheduler
from torch import Tensor

from .reacting import ReactionSettings


@dataclass(frozen=True)
class LatentDiffusionSettings(ReactionSettings):
    """See `ReactionSettings`.

    Args:
        num_inference_steps: of the denoising, at most as many as it was trained with; None: all of them.
    """

    num_inference_steps: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_inference_steps is not None and self.num_inference_steps < 1:
            raise ValueError(f"num_inference_steps must be at least 1; given: {self.num_inference_steps}.")


def scheduler_of_session(scheduler: Any, settings: LatentDiffusionSettings) -> Any:
    """A scheduler of one session alone, since it remembers its steps.

    Raises:
        ValueError: if more steps are asked for than it was trained with.
    """
    own: Any = DDIMScheduler.from_config(scheduler.config)
    most = own.config.num_train_timesteps
    steps = settings.num_inference_steps or most
    if steps > most:
        raise ValueError(f"num_inference_steps must be at most {most}, as in training; given: {steps}.")
    own.set_timesteps(steps)
    return own


def denoise(scheduler: Any, noise: Tensor, predict: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Clean latents from noise `(batch, ...)`.

    Args:
        scheduler: with its steps set.
        noise: standard normal.
        predict: from noisy latents and time steps `(batch,)` to the clean latents that are predicted.
    """
    latents = noise
    for timestep in scheduler.timesteps:
        predicted = predict(latents, timestep.expand(len(latents)).to(latents.device))
        latents = scheduler.step(predicted, timestep, latents, use_clipped_model_output=True).prev_sample
    return latents
