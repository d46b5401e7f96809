"""Tiny pipelines with random weights, and random behaviour for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from perfrdiff_hf import (
    EmotionVAEModel,
    GAFRGTransformer1DModel,
    PerFRDiffFeatureExtractor,
    PerFRDiffPipeline,
    PSSLConfig,
    PSSLModel,
    PWSGConfig,
    PWSGModel,
)
from perfrdiff_hf.behaviour import MEAN_FACE
from perfrdiff_hf.pipelines.perfrdiff import OFFICIAL_SCHEDULER_CONFIG


def build_pipeline(
    conditions: Sequence[str] = ("audio", "coefficients", "speaker_latent"),
    shift_type: str = "low_rank",
    condition_dropout: float = 0.2,
    fresh: bool = False,
) -> PerFRDiffPipeline:
    """A pipeline of tiny random models; unless `fresh`, its low-rank heads are trained in that they are not zero."""
    torch.manual_seed(0)
    denoiser = GAFRGTransformer1DModel(
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        feed_forward_size=48,
        latent_size=16,
        conditions=conditions,
        condition_dropout=condition_dropout,
    )
    vae = EmotionVAEModel(hidden_size=16, latent_size=8, decoder_sizes=(8,))
    style_encoder = PSSLModel(
        PSSLConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, style_size=8)
    )
    edited = denoiser.editable_layers(["cross_attention", "mapping"], [1])
    generator = PWSGModel(
        PWSGConfig(style_size=8, hidden_size=16, edited_layers=edited, shift_type=shift_type, rank=3)
    )
    if shift_type == "low_rank" and not fresh:
        for head in generator.heads:
            torch.nn.init.normal_(head.core.weight, std=0.5)
    pipeline = PerFRDiffPipeline(
        denoiser.eval(),
        vae.eval(),
        DDIMScheduler(**OFFICIAL_SCHEDULER_CONFIG),
        PerFRDiffFeatureExtractor(),
        style_encoder.eval(),
        generator.eval(),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def make_pipeline() -> Callable[..., PerFRDiffPipeline]:
    return build_pipeline


@pytest.fixture(scope="module")
def pipeline() -> PerFRDiffPipeline:
    return build_pipeline()


@pytest.fixture
def speaker() -> dict[str, np.ndarray]:
    """Two speakers over 130 frames: two windows and a part of a third."""
    random = np.random.default_rng(0)
    shape = (2, 130)
    return {
        "speaker_audio": random.standard_normal((*shape, 78)).astype(np.float32),
        "speaker_emotion": random.uniform(0, 1, (*shape, 25)).astype(np.float32),
        "speaker_3dmm": (MEAN_FACE + 0.1 * random.standard_normal((*shape, 58))).astype(np.float32),
    }


@pytest.fixture
def histories() -> np.ndarray:
    random = np.random.default_rng(1)
    return (MEAN_FACE + 0.3 * random.standard_normal((2, 90, 58))).astype(np.float32)


@pytest.fixture
def seeded() -> Callable[[], torch.Generator]:
    return lambda: torch.Generator().manual_seed(7)
