"""Configurations: the files that are shipped, overrides, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from perfrdiff_hf.baselines import get_system
from perfrdiff_hf.training.config import StageConfig, TrainingConfig, config_names, load_config
from perfrdiff_hf.training.optimisers import learning_rate
from perfrdiff_hf.training.stages import PERFRDIFF


STAGES = PERFRDIFF.stage_names
CONFIGS = Path(__file__).resolve().parents[2] / "examples" / "configs"
LEAST = {"stages": {name: {"max_steps": 5} for name in STAGES}}


def write(folder: Path, values: dict[str, Any]) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize("name", config_names())
def test_shipped_configurations_describe_models_that_can_be_built(name: str) -> None:
    config = load_config(name)
    get_system(config.system).check_recipe(config)


def test_systems_to_compare_with_have_configurations_with_names() -> None:
    assert {"trans_vae", "trans_vae_bench", "bench", "demo"} <= set(config_names())
    assert load_config("trans_vae_bench") == load_config(CONFIGS / "baselines" / "trans_vae_bench.yaml")
    files = [path.stem for path in CONFIGS.rglob("*.yaml")]
    assert len(set(files)) == len(files)


def test_paper_configuration_is_the_papers() -> None:
    config = load_config(CONFIGS / "paper.yaml")
    vae, style, denoiser, shifts = (config.stages[name] for name in STAGES)
    assert (denoiser.optimizer, denoiser.learning_rate, denoiser.batch_size) == ("adamw", 1e-4, 4)
    assert (style.optimizer, style.learning_rate, style.epochs) == ("adamw", 1e-4, 200)
    assert (shifts.optimizer, shifts.learning_rate, shifts.momentum) == ("sgd", 1e-3, 0.9)
    assert (vae.learning_rate, vae.weight_decay) == (1e-3, 5e-4)
    assert config.data.num_reactions == 10
    # The models' defaults are the official sizes; equations 9 and 3 are what the official program leaves out.
    official = load_config("official")
    assert official.arguments("denoiser") == {}
    assert "past_emotion" in config.arguments("denoiser")["conditions"]
    assert config.arguments("denoiser")["context_windows"] == 2
    assert (config.stages, config.data) == (official.stages, official.data)
    for one in (config, official):
        assert one.arguments("sampling") == {"num_inference_steps": 50, "guidance_scale": 7.5}


def test_the_papers_configuration_for_eight_processes_differs_in_batches_only() -> None:
    one, eight = (load_config(name).to_dict() for name in ("paper", "paper_8gpu"))
    for config in (one, eight):
        for stage in config["stages"].values():
            del stage["batch_size"]
    assert one == eight


def test_overrides_by_dotted_name(tmp_path: Path) -> None:
    overrides = {"stages.denoiser.learning_rate": "3e-4", "seed": "7", "models.denoiser.conditions": "[audio]"}
    config = load_config(write(tmp_path, LEAST), overrides)
    assert (config.stages["denoiser"].learning_rate, config.seed) == (3e-4, 7)
    assert config.arguments("denoiser") == {"conditions": ["audio"]}
    assert config.stages["style_encoder"].learning_rate == StageConfig(max_steps=1).learning_rate


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"stages.denoiser.learning_rat": "1"},
            "unknown key stages.denoiser.learning_rat. Did you mean learning_rate",
        ),
        ({"stage.gafrg.learning_rate": "1"}, "unknown key stage"),
        ({"stages.denoiser.learning_rate": "fast"}, "stages.denoiser.learning_rate must be float; given: 'fast'"),
        ({"stages.denoiser.batch_size": "2.5"}, "stages.denoiser.batch_size must be int; given: 2.5"),
        ({"stages.denoiser.batch_size": "0"}, "stages.denoiser: batch_size must be at least 1"),
        ({"stages.denoiser.optimizer": "adam"}, "must be one of adamw, sgd"),
        ({"stages.denoiser.betas": "[0.9]"}, "must be a list of 2 values"),
        ({"stages.denoiser.epochs": "3"}, "Exactly one of max_steps and epochs"),
        ({"stages.denoiser.ema_decay": "1.0"}, "ema_decay must lie in"),
        ({"stages.denoiser.gradient_accumulation_steps": "3"}, "must be a multiple of gradient_accumulation_steps"),
        ({"data.contrast": "between"}, "must be one of within, random"),
        ({"run.mixed_precision": "fp8"}, "must be one of no, bf16, fp16"),
        ({"run": "5"}, "run must hold keys and values"),
        ({"seed": "3", "seed.denoiser": "5"}, "seed is a single value"),
        ({"seed": "["}, "seed: '\\[' is not valid YAML"),
    ],
)
def test_refused(tmp_path: Path, overrides: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_config(write(tmp_path, LEAST), overrides)


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="config: there is no file"):
        load_config(tmp_path / "absent.yaml")
    with pytest.raises(
        FileNotFoundError, match="no shipped configuration of that name; shipped are beamer, beamer_bench, belfusion"
    ):
        load_config("absent")
    path = tmp_path / "config.yaml"
    path.write_text("stages: [")
    with pytest.raises(ValueError, match="not valid YAML"):
        load_config(path)
    path.write_text("- 1")
    with pytest.raises(ValueError, match="must hold keys and values"):
        load_config(path)
    path.write_text("stages: {style_encoder: {max_steps: 3}}")
    with pytest.raises(
        ValueError, match=r"missing stages.emotion_vae, stages.denoiser, stages.weight_shift_generator"
    ):
        load_config(path)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"models.denoiser.hidden_size": "30", "models.denoiser.num_heads": "4"}, "denoiser: hidden_size"),
        ({"models.denoiser.hiden_size": "32"}, r"unknown key models.denoiser.hiden_size. Did you mean hidden_size\?"),
        ({"models.denoser.hidden_size": "32"}, r"unknown key models.denoser. Did you mean denoiser\?"),
        ({"models.gafrg.hidden_size": "32"}, r"unknown key models.gafrg. Did you mean denoiser\?"),
        (
            {"models.weight_shift_generator.edited_layers": "{}"},
            "unknown key models.weight_shift_generator.edited_layers",
        ),
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
        PERFRDIFF.check_recipe(load_config(write(tmp_path, LEAST), overrides))


def test_a_shipped_configuration_is_known_by_its_name_unless_a_file_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config("demo", {"seed": "3"}) == load_config(CONFIGS / "demo.yaml", {"seed": "3"})
    (tmp_path / "demo").write_text(yaml.safe_dump(LEAST))
    assert load_config("demo").stages["denoiser"].max_steps == 5


def test_a_configuration_survives_being_written(tmp_path: Path) -> None:
    config = load_config("bench")
    assert load_config(write(tmp_path, config.to_dict())) == config
    assert isinstance(config, TrainingConfig)


def test_learning_rates() -> None:
    cosine = StageConfig(max_steps=100, learning_rate=2.0, schedule="cosine", warmup_steps=10)
    assert learning_rate(cosine, 0, 100) == pytest.approx(0.2)
    assert learning_rate(cosine, 9, 100) == learning_rate(cosine, 10, 100) == 2.0
    assert learning_rate(cosine, 55, 100) == pytest.approx(1.0)
    assert learning_rate(cosine, 100, 100) == pytest.approx(0.0)
    constant = StageConfig(max_steps=100, learning_rate=2.0)
    assert learning_rate(constant, 0, 100) == learning_rate(constant, 99, 100) == 2.0
