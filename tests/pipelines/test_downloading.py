"""What is fetched of a pipeline's repository, and listeners on the Hub: a small one on the loopback address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perfrdiff_hf.pipelines.downloading import files_of_pipeline


@pytest.fixture(scope="module")
def played(play_on_the_hub: Callable, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What happened on the loopback Hub."""
    return play_on_the_hub("hub_listener_scenario.py", tmp_path_factory.mktemp("hub"))


def test_a_listener_comes_back_from_the_hub(played: dict[str, Any]) -> None:
    assert played["url"].startswith("http://127.0.0.1")
    assert played["files"] == ["weight_shifts.safetensors"]
    for event in ("pulled", "pushed again", "older revision", "in a subfolder", "from the cache"):
        assert played[event], event


def test_a_listener_that_is_not_there_or_not_for_this_generator(played: dict[str, Any]) -> None:
    assert played["nobody"].startswith("FileNotFoundError: No weight shifts at tester/listeners/bob")
    assert played["nowhere"].startswith("RepositoryNotFoundError")
    assert played["another generator"].startswith("ValueError: weight_shifts were made for another generator")


def test_only_the_pipeline_itself_is_fetched(played: dict[str, Any]) -> None:
    weights = [path for path in played["plain"] if path.endswith(".safetensors")]
    assert weights == [
        "denoiser/diffusion_pytorch_model.safetensors",
        "emotion_vae/diffusion_pytorch_model.safetensors",
        "style_encoder/model.safetensors",
        "weight_shift_generator/model.safetensors",
    ]
    assert {"README.md", "model_index.json", "feature_extractor/preprocessor_config.json"} <= set(played["plain"])
    assert "notes.txt" not in played["plain"]


def test_a_part_without_the_variant_comes_without_one(played: dict[str, Any]) -> None:
    weights = [path for path in played["fp16"] if path.endswith(".safetensors")]
    assert "denoiser/diffusion_pytorch_model.fp16.safetensors" in weights
    assert "style_encoder/model.fp16.safetensors" in weights
    assert "weight_shift_generator/model.safetensors" in weights
    assert "denoiser/diffusion_pytorch_model.safetensors" not in weights
    shards = [path for path in weights if path.startswith("emotion_vae/")]
    assert len(shards) > 1
    assert all(".fp16-0000" in path for path in shards)
    assert played["variant loads"]
    assert played["bf16"] == played["plain"]


def test_it_loads_offline_and_says_what_is_missing(played: dict[str, Any]) -> None:
    assert played["offline"]
    assert "nowhere" in played["missing"]


def test_files_of_a_pipeline() -> None:
    index = {"_class_name": "X", "denoiser": ["a", "B"], "style_encoder": [None, None], "scheduler": ["c", "D"]}
    files = [
        "denoiser/model.safetensors", "denoiser/model.fp16.safetensors", "denoiser/config.json", "denoiser/model.bin",
        "style_encoder/model.safetensors", "scheduler/scheduler_config.json", "denoiser", "model_index.json",
        "denoiser/model-00001-of-00002.safetensors",
    ]  # fmt: skip
    plain = ["model_index.json", "denoiser/config.json", "scheduler/scheduler_config.json"]
    assert files_of_pipeline(files, index, "fp16") == [*plain, "denoiser/model.fp16.safetensors"]
    assert files_of_pipeline(files, index) == [
        *plain, "denoiser/model.safetensors", "denoiser/model-00001-of-00002.safetensors",
    ]  # fmt: skip
