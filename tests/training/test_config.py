"""Configurations: the files that are shipped, overrides, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from perfrdiff_hf.training.config import STAGES, StageConfig, load_config
from perfrdiff_hf.training.optimisers import learning_rate
from perfrdiff_hf.training.stages import check_models


CONFIGS = Path(__file__).resolve().parents[2] / "examples" / "configs"
LEAST = {"stages": {name: {"max_steps": 5} for name in STAGES}}


def write(folder: Path, values: dict[str, Any]) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize("name", ["paper", "demo", "bench"])
def test_shipped_configurations_describe_models_that_can_be_built(name: str) -> None:
    check_models(load_config(CONFIGS / f"{name}.yaml"))


def test_paper_configuration_is_the_papers() -> None:
    config = load_config(CONFIGS / "paper.yaml")
    stages = config.stages
    assert (stages.gafrg.optimizer, stages.gafrg.learning_rate, stages.gafrg.batch_size) == ("adamw", 1e-4, 4)
    assert (stages.pssl.optimizer, stages.pssl.learning_rate, stages.pssl.epochs) == ("adamw", 1e-4, 200)
    assert (stages.pwsg.optimizer, stages.pwsg.learning_rate, stages.pwsg.momentum) == ("sgd", 1e-3, 0.9)
    assert (stages.emotion_vae.learning_rate, stages.emotion_vae.weight_decay) == (1e-3, 5e-4)
    assert config.data.num_reactions == 10
    assert config.models.denoiser == {}  # the models' defaults are the official sizes


def test_overrides_by_dotted_name(tmp_path: Path) -> None:
    overrides = {"stages.gafrg.learning_rate": "3e-4", "seed": "7", "models.denoiser.conditions": "[audio]"}
    config = load_config(write(tmp_path, LEAST), overrides)
    assert (config.stages.gafrg.learning_rate, config.seed) == (3e-4, 7)
    assert config.models.denoiser == {"conditions": ["audio"]}
    assert config.stages.pssl.learning_rate == StageConfig(max_steps=1).learning_rate


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"stages.gafrg.learning_rat": "1"}, "unknown key stages.gafrg.learning_rat. Did you mean learning_rate"),
        ({"stage.gafrg.learning_rate": "1"}, "unknown key stage"),
        ({"stages.gafrg.learning_rate": "fast"}, "stages.gafrg.learning_rate must be float; given: 'fast'"),
        ({"stages.gafrg.batch_size": "2.5"}, "stages.gafrg.batch_size must be int; given: 2.5"),
        ({"stages.gafrg.batch_size": "0"}, "stages.gafrg: batch_size must be at least 1"),
        ({"stages.gafrg.optimizer": "adam"}, "must be one of adamw, sgd"),
        ({"stages.gafrg.betas": "[0.9]"}, "must be a list of 2 values"),
        ({"stages.gafrg.epochs": "3"}, "Exactly one of max_steps and epochs"),
        ({"stages.gafrg.ema_decay": "1.0"}, "ema_decay must lie in"),
        ({"stages.gafrg.gradient_accumulation_steps": "3"}, "must be a multiple of gradient_accumulation_steps"),
        ({"data.contrast": "between"}, "must be one of within, random"),
        ({"run.mixed_precision": "fp8"}, "must be one of no, bf16, fp16"),
        ({"run": "5"}, "run must hold keys and values"),
        ({"seed": "3", "seed.gafrg": "5"}, "seed is a single value"),
    ],
)
def test_refused(tmp_path: Path, overrides: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_config(write(tmp_path, LEAST), overrides)


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_config(tmp_path / "absent.yaml")
    path = tmp_path / "config.yaml"
    path.write_text("stages: [")
    with pytest.raises(ValueError, match="not valid YAML"):
        load_config(path)
    path.write_text("- 1")
    with pytest.raises(ValueError, match="must hold keys and values"):
        load_config(path)
    path.write_text("stages: {pssl: {max_steps: 3}}")
    with pytest.raises(ValueError, match=r"missing stages.emotion_vae, stages.gafrg, stages.pwsg"):
        load_config(path)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"models.denoiser.hidden_size": "30", "models.denoiser.num_heads": "4"}, "denoiser: hidden_size"),
        ({"models.denoiser.hiden_size": "32"}, "unknown key models.denoiser.hiden_size"),
        ({"models.denoiser.conditions": "[audio, smell]"}, "denoiser: conditions"),
        ({"models.denoiser.conditions": "[audio, personal]"}, "cannot be trained here"),
        ({"models.style_encoder.hidden_size": "30"}, "models.style_encoder"),
        ({"models.style_encoder.layers": "3"}, "unknown key models.style_encoder.layers"),
        ({"models.weight_shift_generator.edited": "{layers: [9]}"}, "layers must lie between 0 and 6"),
        ({"models.weight_shift_generator.shift_type": "sparse"}, "shift_type"),
        ({"models.emotion_vae.latent_size": "-3"}, "models.emotion_vae"),
        ({"data.window_size": "400"}, "window_size"),
    ],
)
def test_impossible_models_are_found_without_building_them(
    tmp_path: Path, overrides: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_models(load_config(write(tmp_path, LEAST), overrides))


def test_learning_rates() -> None:
    cosine = StageConfig(max_steps=100, learning_rate=2.0, schedule="cosine", warmup_steps=10)
    assert learning_rate(cosine, 0, 100) == pytest.approx(0.2)
    assert learning_rate(cosine, 9, 100) == learning_rate(cosine, 10, 100) == 2.0
    assert learning_rate(cosine, 55, 100) == pytest.approx(1.0)
    assert learning_rate(cosine, 100, 100) == pytest.approx(0.0)
    constant = StageConfig(max_steps=100, learning_rate=2.0)
    assert learning_rate(constant, 0, 100) == learning_rate(constant, 99, 100) == 2.0
