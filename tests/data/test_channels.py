"""Means and spreads of channels against NumPy on the clips themselves."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Array2D, Dataset, Features, Value

from perfrdiff_hf.data.arrays import ClipArrays
from perfrdiff_hf.data.channels import channel_statistics, clip_means, movement_statistics


@pytest.fixture(scope="module")
def clips():
    random = np.random.default_rng(0)
    scale = 10.0 ** random.uniform(-2, 1, 58)
    return [5 + scale * (random.standard_normal(58) + random.standard_normal((n, 58))) for n in (40, 70, 70, 40)]


@pytest.fixture(scope="module")
def arrays(clips, tmp_path_factory):
    columns = {
        "listener_id": list("abcd"),
        "clip": ["1"] * 4,
        "partner": [3, 2, 1, 0],
        "num_frames": [len(clip) for clip in clips],
        "coefficients": clips,
    }
    kinds = {"listener_id": Value("string"), "clip": Value("string"), "partner": Value("int64")}
    features = Features({**kinds, "num_frames": Value("int64"), "coefficients": Array2D((None, 58), "float32")})
    return ClipArrays.from_dataset(Dataset.from_dict(columns, features), tmp_path_factory.mktemp("arrays"))


def test_statistics_are_those_of_all_frames(arrays, clips):
    together = np.concatenate(clips)
    mean, spread = channel_statistics(arrays, "coefficients")
    np.testing.assert_allclose(mean, together.mean(0), rtol=1e-5)
    np.testing.assert_allclose(spread, together.std(0), rtol=1e-3)


def test_movement_is_what_is_left_without_the_mean_of_each_clip(arrays, clips):
    np.testing.assert_allclose(clip_means(arrays, "coefficients"), [clip.mean(0) for clip in clips], rtol=1e-5)
    mean, spread = movement_statistics(arrays)
    assert not mean.any()
    left = np.concatenate([clip - clip.mean(0) for clip in clips])
    np.testing.assert_allclose(spread, left.std(0), rtol=1e-3)
