"""Cards, and the way to a Hub and back; the Hub is a small one on the loopback address."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard

from perfrdiff_hf.cards import (
    CardFacts,
    Measurement,
    facts_of_component,
    facts_of_pipeline,
    measurements_of_report,
    render_card,
    templates_folder,
)
from perfrdiff_hf.hub import variant_of


SYSTEM_CARDS = ("reaction_pipeline", "component")
NAMES = ("pipeline", "emotion_vae", "style_encoder", "denoiser", "weight_shift_generator")


@pytest.fixture(scope="module")
def played(play_on_the_hub: Callable, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What happened on the loopback Hub."""
    return play_on_the_hub("hub_scenario.py", tmp_path_factory.mktemp("hub"))


def test_a_pipeline_comes_back_from_the_hub_as_it_was(played: dict[str, Any]) -> None:
    assert played["url"].startswith("http://127.0.0.1")
    assert played["pulled equals local"]
    assert {"model_index.json", "README.md", "denoiser/config.json"} <= set(played["files"])
    weights = [path for path in played["files"] if path.startswith("weight_shift_generator/")]
    assert "weight_shift_generator/model.safetensors" in weights
    assert not any(path.endswith((".bin", ".pkl", ".pt", ".pth")) for path in played["files"])


def test_a_single_component_comes_back_too(played: dict[str, Any]) -> None:
    assert played["component equals local"]


def test_an_upload_that_breaks_leaves_the_earlier_revision_whole(played: dict[str, Any]) -> None:
    assert played["broken upload"] != "went through"
    assert played["revision kept"]
    assert played["after broken upload equals local"]


def test_a_second_upload_and_an_older_revision(played: dict[str, Any]) -> None:
    assert played["second upload equals local"]
    assert played["older revision equals local"]


def test_the_uploaded_card_tells_what_was_trained(played: dict[str, Any]) -> None:
    card = ModelCard(played["card"])
    assert card.data.license == "other"
    assert card.data.library_name == "perfrdiff_hf"
    results = {(result.metric_type, result.dataset_name): result.metric_value for result in card.data.eval_results}
    assert results == {("frcorr", "react-tiny"): 0.375, ("frdist", "react-tiny"): 91.5}
    how = "PMAFRG, personalised (3 reactions, 20 steps, guidance 7.5, 16 clips, no interval)"
    assert {result.metric_name for result in card.data.eval_results} == {f"FRCorr {how}", f"FRdist {how}"}
    for expected in ("1,234 steps of 4 examples", "sgd with a learning rate of 0.001", "precision bf16", "tester/"):
        assert expected in card.text
    assert "**weight-shift generator (PWSG)**: stage `weight_shift_generator`" in card.text
    assert "Published tables have ten" in card.text


def test_no_weights_of_an_earlier_upload_stay(played: dict[str, Any]) -> None:
    """An old whole file beside new shards would be preferred by every loader."""
    assert played["sharded equals local"]
    assert "denoiser/diffusion_pytorch_model.safetensors" not in played["sharded files"]
    assert any("denoiser/diffusion_pytorch_model-00001-of-" in path for path in played["sharded files"])
    assert "denoiser/diffusion_pytorch_model.fp16.safetensors" in played["sharded files"]
    assert played["unsharded again equals local"]
    assert not any("-of-" in path or "index.json" in path.rpartition("/")[2][11:] for path in played["last files"])


def test_a_pipeline_pushed_by_itself_has_the_whole_card(played: dict[str, Any]) -> None:
    card = ModelCard(played["own card"])
    assert (card.data.license, card.data.library_name) == ("cc-by-nc-4.0", "perfrdiff_hf")
    assert [result.metric_name for result in card.data.eval_results] == ["FRCorr PMAFRG"]
    for expected in ("consent", "hidden_size", "Weights: cc-by-nc-4.0", "PerFRDiffPipeline.from_pretrained"):
        assert expected in card.text
    assert "More Information Needed" not in card.text


@pytest.mark.parametrize("name", [*NAMES, *SYSTEM_CARDS])
def test_every_card_renders_and_speaks_of_limits(name: str) -> None:
    measured = [Measurement("frcorr", 0.38, "REACT2024", "test", "PMAFRG, personalised", 10, 50, 7.5, 40, (0.3, 0.5))]
    facts = CardFacts(name, "somebody/my-model", {"hidden_size": 16}, 1_234_567, {}, measured, kind="ToyPipeline")
    how = "10 reactions, 50 steps, guidance 7.5, 40 clips, 95 % interval 0.3 to 0.5"
    card = render_card(facts)
    assert card.data.eval_results[0].metric_value == 0.38
    assert card.data.eval_results[0].metric_name == f"FRCorr PMAFRG, personalised ({how})"
    assert "REACT2024" in card.data.tags
    for expected in (
        "# my-model", "hidden_size: 16", "1,234,567 parameters", "consent", "identity", "MIT", "somebody/my-model",
        f"| FRCorr | PMAFRG, personalised | {how} | REACT2024 | test | 0.3800 |", "no licence is stated",
    ):  # fmt: skip
        assert expected in card.text, expected
    assert "{{" not in card.text and "{%" not in card.text


@pytest.mark.parametrize("name", NAMES)
def test_the_code_on_a_card_runs(name: str, make_pipeline: Callable, tmp_path: Path) -> None:
    pipeline = make_pipeline()
    pipeline.save_pretrained(str(tmp_path))
    code = (templates_folder() / f"{name}.md").read_text().split("```python")[1].split("```")[0]
    folder = tmp_path if name == "pipeline" else tmp_path / name
    audio, emotion, coefficients = (torch.rand(1, 50, width) for width in (78, 25, 58))
    latent, style = torch.randn(1, 16), torch.randn(1, 8)
    conditions = {"audio": audio, "coefficients": coefficients, "speaker_latent": latent}
    known = {
        "audio": audio, "emotion": emotion, "coefficients": coefficients, "latent": latent, "style": style,
        "speaker_audio": audio, "speaker_emotion": emotion, "speaker_coefficients": coefficients,
        "listener_history": torch.rand(1, 60, 58), "noisy": torch.randn(1, 50, 25), "timestep": 500,
        "denoiser": pipeline.denoiser, "tokens": pipeline.denoiser.encode_condition(conditions),
    }  # fmt: skip
    with torch.no_grad():
        exec(code.replace("{{ facts.repo_id }}", str(folder)), known)
    shapes = {"clean": (1, 50, 25), "style": (1, 8), "coefficients": (1, 50, 58)}
    for made, shape in shapes.items():
        if f"{made} = " in code:
            assert known[made].shape == shape
    if name == "pipeline":
        assert known["output"].reactions.shape == (1, 10, 50, 25)


def test_unknown_card_and_missing_model(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no card template"):
        render_card(CardFacts("poem", "a/b", {}, 0))
    with pytest.raises(FileNotFoundError, match="holds no trained denoiser"):
        facts_of_component(tmp_path, "denoiser", "a/b")
    with pytest.raises(FileNotFoundError, match="holds no saved pipeline"):
        facts_of_pipeline(tmp_path, "a/b")


def test_only_what_was_measured_of_reactions_says_how_they_were_made() -> None:
    report = {
        "data": "REACT2024",
        "setting": "MAFRG, generic",
        "figures": {"validation_loss": 0.5, "validation_frcorr": 2.0},
        "measured": {"num_reactions": 3, "num_inference_steps": 20, "guidance_scale": 1.75, "clips": 16},
    }
    loss, frcorr = measurements_of_report(report)
    assert (loss.metric, loss.conditions) == ("loss", "")
    assert (frcorr.metric, frcorr.conditions) == (
        "frcorr",
        "3 reactions, 20 steps, guidance 1.75, 16 clips, no interval",
    )


@pytest.mark.parametrize(
    ("path", "variant"),
    [
        ("denoiser/diffusion_pytorch_model.safetensors", None),
        ("model-00001-of-00002.safetensors", None),
        ("a/model.fp16.safetensors", "fp16"),
        ("a/model.fp16-00001-of-00002.safetensors", "fp16"),
        ("a/model.safetensors.index.json", None),
        ("a/model.safetensors.index.fp16.json", "fp16"),
    ],
)
def test_variants_are_read_from_names(path: str, variant: str | None) -> None:
    assert variant_of(path) == variant
