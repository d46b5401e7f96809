"""FRDiv, FRDvs and FRVar in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from perfrdiff_hf.metrics import frdiv, frdiv_per_clip, frdvs, frdvs_per_clip, frvar, frvar_per_clip


def test_uniform_noise():
    noise = np.random.default_rng(0).random((30, 10, 200, 25), dtype=np.float32)
    assert frdiv(noise) == pytest.approx(1 / 6, rel=2e-3)
    assert frdvs(noise) == pytest.approx(1 / 6, rel=2e-3)
    assert frvar(noise) == pytest.approx(1 / 12, rel=2e-3)


def test_equal_reactions_have_no_diversity(clips):
    equal = np.repeat(clips.predictions[:, :1], 4, axis=1)
    assert frdiv(equal) == 0.0
    assert frdvs(equal) == pytest.approx(frdvs(equal[:, :1]), rel=1e-6)
    assert frdvs(equal[[0, 0, 0]]) == 0.0
    still = np.repeat(equal[:, :, :1], 9, axis=2)
    assert frvar(still) == pytest.approx(0.0, abs=1e-15)


def test_one_reaction_one_clip_one_frame(clips):
    assert frdiv(clips.predictions[:, :1]) == 0.0
    assert np.isnan(frdvs(clips.predictions[:1]))
    assert np.isnan(frvar(clips.predictions[:, :, :1]))


@pytest.mark.parametrize("copies", [1, 5])
def test_against_pairwise_sums(clips, copies):
    """With 30 clips, another arithmetic takes over."""
    rng = np.random.default_rng(1)
    predictions = np.concatenate([clips.predictions + rng.random(1, dtype=np.float32) for _ in range(copies)])
    flat = predictions.reshape(len(predictions), 3, -1).astype(np.float64)
    among_clips = [np.square(a - b).mean() for i, a in enumerate(flat) for j, b in enumerate(flat) if i != j]
    assert frdvs(predictions) == pytest.approx(np.mean(among_clips), rel=1e-6)
    among_reactions = [
        np.square(clip[a] - clip[b]).mean() for clip in flat for a in range(3) for b in range(3) if a != b
    ]
    assert frdiv(predictions) == pytest.approx(np.mean(among_reactions), rel=1e-6)


def test_per_clip_values_have_the_metric_as_mean(clips):
    predictions = clips.predictions
    for metric, per_clip in ((frdiv, frdiv_per_clip), (frvar, frvar_per_clip), (frdvs, frdvs_per_clip)):
        values = per_clip(predictions)
        assert values.shape == (6,)
        assert values.mean() == pytest.approx(metric(predictions), rel=1e-6)


def test_frdvs_per_clip_is_the_jackknife(clips):
    whole = frdvs(clips.predictions)
    for n, value in enumerate(frdvs_per_clip(clips.predictions)):
        without = frdvs(np.delete(clips.predictions, n, axis=0))
        assert value == pytest.approx(6 * whole - 5 * without, rel=1e-5)
