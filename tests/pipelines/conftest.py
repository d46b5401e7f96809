"""A pipeline, and random behaviour for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from perfrdiff_hf import PerFRDiffPipeline
from perfrdiff_hf.behaviour import MEAN_FACE


@pytest.fixture(scope="module")
def pipeline(make_pipeline: Callable[..., PerFRDiffPipeline]) -> PerFRDiffPipeline:
    return make_pipeline()


@pytest.fixture
def speaker() -> dict[str, np.ndarray]:
    """Two speakers over 130 frames: two windows and a part of a third."""
    random = np.random.default_rng(0)
    shape = (2, 130)
    return {
        "speaker_audio": random.standard_normal((*shape, 78)).astype(np.float32),
        "speaker_emotion": random.uniform(0, 1, (*shape, 25)).astype(np.float32),
        "speaker_coefficients": (MEAN_FACE + 0.1 * random.standard_normal((*shape, 58))).astype(np.float32),
    }


@pytest.fixture
def histories() -> np.ndarray:
    random = np.random.default_rng(1)
    return (MEAN_FACE + 0.3 * random.standard_normal((2, 90, 58))).astype(np.float32)


@pytest.fixture
def seeded() -> Callable[[], torch.Generator]:
    return lambda: torch.Generator().manual_seed(7)
