"""The generator learns on with the style as an input; before that, it reacts as the generic one."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from perfrdiff_hf import PerFRDiffPipeline
from perfrdiff_hf.baselines import get_system
from perfrdiff_hf.training.config import load_config
from perfrdiff_hf.training.config_file import build
from perfrdiff_hf.training.run import TrainingConfig, TrainingJob, run_training
from perfrdiff_hf.training.stages.personal_denoiser import PersonalDenoiserStage


def recipe(settings: dict[str, Any], form: str) -> TrainingConfig:
    values = copy.deepcopy(settings)
    values["stages"]["personal_denoiser"] = values["stages"].pop("weight_shift_generator")
    del values["models"]["weight_shift_generator"]
    values["models"]["personal_denoiser"] = {"style": form}
    return build(TrainingConfig, {**values, "system": "style_input"})


@pytest.fixture
def settings() -> dict[str, Any]:
    values = load_config("demo").to_dict()
    sizes = {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "feed_forward_size": 16}
    values["models"]["denoiser"] |= sizes
    values["models"]["emotion_vae"] = {"hidden_size": 16, "latent_size": 8, "decoder_sizes": [16]}
    values["models"]["style_encoder"] |= {"hidden_size": 16, "num_hidden_layers": 1, "style_size": 8}
    values["data"] |= {"history_frames": 60, "style_frames": 40, "style_speakers": 2, "style_clips": 2}
    for stage in values["stages"].values():
        stage |= {"max_steps": 3, "batch_size": 2, "warmup_steps": 0}
    values["run"] = {"validation_examples": 2, "report_to": None}
    return values


@pytest.mark.parametrize("form", ["token", "adaptive_norm", "none"])
def test_it_begins_as_the_generic_generator_and_learns_the_style(settings, form, small_world, tmp_path):
    config = recipe(settings, form)
    job = TrainingJob("all", config, small_world, tmp_path, cache_dir=small_world.parent / "cache")
    run_training(job)
    system = get_system("style_input")
    parts = {name: system.stage(name).model.from_pretrained(tmp_path / name) for name in system.stage_names}
    fresh = PersonalDenoiserStage().new_model(config, parts).eval()
    generic, trained = parts["denoiser"].eval(), parts["personal_denoiser"]
    rng = np.random.default_rng(0)
    kinds = {"audio": (1, 50, 78), "coefficients": (1, 50, 58), "speaker_latent": (1, 16)}
    conditions = {kind: torch.from_numpy(rng.standard_normal(shape, np.float32)) for kind, shape in kinds.items()}
    window = torch.from_numpy(rng.standard_normal((1, 50, 83), np.float32))
    known = dict(generic.named_parameters())
    assert all(torch.equal(values, known[name]) for name, values in fresh.named_parameters() if name in known)
    assert any(not torch.equal(values, known[name]) for name, values in trained.named_parameters() if name in known)
    if form == "none":
        with torch.no_grad():
            assert torch.equal(
                fresh(window, 5, fresh.encode_condition(conditions)).sample,
                generic(window, 5, generic.encode_condition(conditions)).sample,
            )
    learned = [values for name, values in trained.named_parameters() if "modulation" in name]
    assert all(values.abs().max() > 0 for values in learned) and bool(learned) == (form == "adaptive_norm")
    pipeline = PerFRDiffPipeline.from_pretrained(str(tmp_path / "model"))
    assert pipeline.is_personal == (form != "none") and pipeline.weight_shift_generator is None


def test_an_unknown_form_is_refused(settings):
    with pytest.raises(ValueError, match="style must be one of"):
        get_system("style_input").check_recipe(recipe(settings, "spell"))
