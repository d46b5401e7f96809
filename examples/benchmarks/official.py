"""What benchmarks of generation time: a pipeline of the official size, and one window of a stream that it makes."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from measuring import Seconds, timed_once

from perfrdiff_hf import (
    EmotionVAEModel,
    GAFRGTransformer1DModel,
    PerFRDiffFeatureExtractor,
    PerFRDiffPipeline,
    PSSLConfig,
    PSSLModel,
    PWSGConfig,
    PWSGModel,
    WeightShifts,
    use_onnx_runtime,
)
from perfrdiff_hf.behaviour import FRAME_RATE, MEAN_FACE, WINDOW_SIZE
from perfrdiff_hf.pipelines.sampling import OFFICIAL_SCHEDULER_CONFIG, SamplingSettings, WindowSampler
from perfrdiff_hf.pipelines.streaming import ReactionStream
from perfrdiff_hf.pipelines.windows import DenoisingReactor


WINDOW_SECONDS = WINDOW_SIZE / FRAME_RATE


def in_bfloat16(pipe: PerFRDiffPipeline) -> PerFRDiffPipeline:
    """The same pipeline with a denoiser that computes in bfloat16."""
    denoiser: Any = copy.deepcopy(pipe.denoiser)
    return PerFRDiffPipeline(**{**pipe.components, "denoiser": denoiser.to(torch.bfloat16)})


def in_onnx_runtime(pipe: PerFRDiffPipeline, int8: bool = False) -> PerFRDiffPipeline:
    """The same pipeline with a denoiser that takes its steps in ONNX Runtime."""
    denoiser: Any = copy.deepcopy(pipe.denoiser)
    use_onnx_runtime(denoiser, int8)
    return PerFRDiffPipeline(**{**pipe.components, "denoiser": denoiser})


@dataclass
class Row:
    """One way to sample, as it is timed."""

    name: str
    settings: SamplingSettings
    listeners: int = 1
    shifts: WeightShifts | None = None
    sampler: type[WindowSampler] = WindowSampler
    scheduler: Any = DDIMScheduler


def official_pipeline() -> PerFRDiffPipeline:
    """The official sizes with random weights, and our low-rank PWSG with shifts that are not zero."""
    torch.manual_seed(0)
    denoiser = GAFRGTransformer1DModel().eval()
    generator = PWSGModel(PWSGConfig(shift_type="low_rank")).eval()
    for head in generator.heads:
        torch.nn.init.normal_(head.core.weight, std=0.01)  # type: ignore[arg-type]
    return PerFRDiffPipeline(
        denoiser,
        EmotionVAEModel().eval(),
        DDIMScheduler(**OFFICIAL_SCHEDULER_CONFIG),
        PerFRDiffFeatureExtractor(),
        PSSLModel(PSSLConfig()).eval(),
        generator,
    )


def window_times(pipe: PerFRDiffPipeline, row: Row, windows: int) -> list[Seconds]:
    """Seconds for each of some windows, from the speaker's last frame to the segment."""
    warm_up = replace(row, settings=replace(row.settings, num_inference_steps=1))
    open_stream(pipe, warm_up).push(**behaviour(row.listeners, 1))
    stream = open_stream(pipe, row)
    chunk = behaviour(row.listeners, WINDOW_SIZE)
    times = []
    for _ in range(windows):
        stream.hear(**chunk)
        times.append(timed_once(lambda: next(stream.segments())))
    return times


def open_stream(pipe: PerFRDiffPipeline, row: Row) -> ReactionStream:
    """A stream with the row's way of sampling."""
    scheduler = row.scheduler.from_config(pipe.scheduler.config)
    sampler = row.sampler(pipe.denoiser, scheduler, row.settings, row.shifts)
    reactor = DenoisingReactor(sampler, pipe.emotion_vae, pipe.feature_extractor, pipe.device)
    return ReactionStream(reactor, batch_size=row.listeners)


def behaviour(batch: int, frames: int) -> dict[str, np.ndarray]:
    """Made-up behaviour of some speakers."""
    random = np.random.default_rng(0)
    return {
        "audio": random.standard_normal((batch, frames, 78)).astype(np.float32),
        "emotion": random.uniform(0, 1, (batch, frames, 25)).astype(np.float32),
        "coefficients": (MEAN_FACE + 0.1 * random.standard_normal((batch, frames, 58))).astype(np.float32),
    }


def histories(listeners: int) -> np.ndarray:
    """Made-up histories of 30 s."""
    return behaviour(listeners, 750)["coefficients"] + np.random.default_rng(1).normal(0, 0.1, (listeners, 1, 58))


def window_operations(denoiser: GAFRGTransformer1DModel, settings: SamplingSettings) -> float:
    """Floating-point operations (two for each multiply-add) that one window needs at least."""
    config = denoiser.config
    width, inner, frames = config.hidden_size, config.feed_forward_size, WINDOW_SIZE
    memory = 2 * WINDOW_SIZE + 1  # audio and coefficients frame by frame, and the speaker's latent
    per_frame = 4 * width * width + 2 * frames * width  # self-attention
    per_frame += 2 * width * width + 2 * (memory + 1) * width  # cross-attention, keys and values at hand
    per_frame += 2 * width * inner
    per_pass = frames * (config.num_layers * per_frame + 2 * config.in_channels * width)
    passes = sum(2 if settings.is_guided(step) else 1 for step in range(settings.num_inference_steps))
    cached = config.num_layers * 2 * memory * width * width
    return 2.0 * (settings.num_reactions * passes * per_pass + cached)
