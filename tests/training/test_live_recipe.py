"""The recipe for live use as a whole: movement, hops and standard scores, trained in all stages and then sampled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perfrdiff_hf import PerFRDiffPipeline
from perfrdiff_hf.data.channels import channel_statistics, movement_statistics
from perfrdiff_hf.data.corpus import Corpus
from perfrdiff_hf.training.config import load_config
from perfrdiff_hf.training.stages import PERFRDIFF


CHANGES: dict[str, Any] = {
    "models": {
        "style_encoder": {"movement": True},
        "denoiser": {"in_channels": 83, "max_shown_frames": 6, "standardised": True, "context_windows": 2},
        "scheduler": {"clip_sample": False, "timestep_spacing": "trailing"},
        "sampling": {"num_inference_steps": 2, "guidance_scale": 1.0, "hop": 8},
    },
    "data": {
        "num_reactions": 2,
        "expression_weight": 0.2,
        "pose_weight": 2.0,
        "max_snr_weight": 5.0,
        "whole_windows": 0.3,
        "personal_whole_windows": 0.6,
    },
    "run": {"validation_clips": 1, "validation_reactions": 1},
}


@pytest.fixture(scope="module")
def live(workshop: Any) -> Path:
    output = workshop.folder / "live"
    workshop.train("all", output, changes=CHANGES)
    return output


@pytest.fixture(scope="module")
def pipeline(live: Path) -> PerFRDiffPipeline:
    pipeline = PerFRDiffPipeline.from_pretrained(str(live / "model"))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_the_models_know_the_statistics_of_the_training_data(workshop: Any, pipeline: PerFRDiffPipeline) -> None:
    corpus = Corpus(workshop.world, workshop.folder / "cache")
    arrays = corpus.split("train").arrays
    emotion, movement = channel_statistics(arrays, "emotion"), movement_statistics(arrays)
    denoiser, encoder = pipeline.denoiser, pipeline.style_encoder
    assert encoder is not None
    np.testing.assert_allclose(denoiser.reaction_scores.mean, np.concatenate([emotion.mean, movement.mean]))
    spread = 2 * np.concatenate([emotion.spread, movement.spread])
    np.testing.assert_allclose(denoiser.reaction_scores.spread, spread.clip(0.005 * spread.max()), rtol=1e-6)
    np.testing.assert_allclose(
        denoiser.speaker_scores["coefficients"].mean,
        channel_statistics(arrays, "coefficients").mean - corpus.mean_face(),
        atol=1e-6,
    )
    moved = movement.spread
    np.testing.assert_allclose(encoder.standardiser.spread, moved.clip(0.005 * moved.max()), rtol=1e-6)


def test_it_reacts_as_it_was_saved(workshop: Any, live: Path, pipeline: PerFRDiffPipeline, read_log: Any) -> None:
    assert pipeline.sampling == CHANGES["models"]["sampling"]
    arrays = Corpus(workshop.world, workshop.folder / "cache").split("val").arrays
    output = pipeline(
        speaker=arrays.behaviour(0)[:90],
        listener_history=arrays.behaviour(1),
        num_reactions=2,
        generator=torch.Generator().manual_seed(0),
    )
    assert output.reactions.shape == (1, 2, 90, 25) and output.coefficients.shape == (1, 2, 90, 58)
    # Movement is of the size of recorded movement, round the mean face.
    spread = output.coefficients.std(dim=2).mean(dim=(0, 1)).numpy()
    recorded = movement_statistics(arrays).spread
    assert 0.2 < np.median(spread[recorded > 0] / recorded[recorded > 0]) < 5
    line = read_log(live, "weight_shift_generator")[-1]
    assert {"validation_loss", "validation_frcorr"} <= line.keys()


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        ({"hop": 21}, "models.sampling: hop must lie between 1 and the 20 frames of a window; given: 21"),
        ({"steps": 3}, "models.sampling may hold num_reactions, .*; given also: steps"),
    ],
)
def test_sampling_that_cannot_be_is_found_before_training(
    workshop: Any, sampling: dict[str, Any], message: str
) -> None:
    changes = {**CHANGES, "models": {**CHANGES["models"], "sampling": sampling}}
    with pytest.raises(ValueError, match=message):
        PERFRDIFF.check_recipe(load_config(workshop.config_file("wrong", changes)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pose_weight": -1}, "pose_weight must be at least 0"),
        ({"max_snr_weight": 0.5}, "max_snr_weight must be at least 1"),
        ({"whole_windows": 1.5}, r"in \[0, 1\]"),
    ],
)
def test_shares_and_weights_out_of_range(workshop: Any, change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_config(workshop.config_file("out-of-range", {"data": change}))
