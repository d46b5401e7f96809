"""From the release's files to a scored pipeline: all four stages, some channels neither trained nor scored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perfrdiff_hf.behaviour import COEFFICIENT_NAMES, EMOTION_NAMES, MEAN_FACE
from perfrdiff_hf.cards import facts_of_pipeline, render_card
from perfrdiff_hf.cli import main as perfrdiff
from perfrdiff_hf.data.corpus import Corpus
from perfrdiff_hf.data.seamless.mapping import MASK
from perfrdiff_hf.pipelines.perfrdiff import PerFRDiffPipeline
from perfrdiff_hf.training.config import load_config
from perfrdiff_hf.training.saving import feature_extractor_of
from perfrdiff_hf.training.stages import PERFRDIFF


# One reaction of emotion and movement, in standard scores, as the configuration `seamless` has it.
CHANGES: dict[str, Any] = {"models": {"denoiser": {"in_channels": 83, "standardised": True}}}
UNKNOWN = {stream: ~MASK.available(stream) for stream in ("emotion", "coefficients")}


@pytest.fixture(scope="session")
def release(seamless_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with matrices, as `perfrdiff similarity` leaves them."""
    folder = tmp_path_factory.mktemp("with_matrices") / "seamless"
    shutil.copytree(seamless_folder, folder)
    for split in ("train", "val", "test"):
        words = ["--split", split, "--threshold", "15", "--write", "--cache_dir", str(folder.parent / "cache")]
        assert perfrdiff(["similarity", str(folder), *words]) == 0
    return folder


@pytest.fixture(scope="session")
def trained(workshop: Any, release: Path) -> Path:
    """The output folder of all four stages, after a few steps on the release."""
    output = workshop.folder / "seamless"
    workshop.train("all", output, changes=CHANGES, data_dir=release)
    return output


def test_unknown_channels_weigh_nothing(workshop: Any, release: Path) -> None:
    corpus = Corpus(release, workshop.folder / "cache")
    config = load_config(workshop.config_file("masked", CHANGES))
    extractor = feature_extractor_of(corpus, config)
    parts: dict[str, Any] = {}
    for stage in PERFRDIFF.stages:
        torch.manual_seed(0)
        model = stage.new_model(config, parts)
        stage.look_at_data(model, corpus, config, parts)
        objective = stage.objective(model, parts, extractor, config)
        examples, draws = stage.examples(corpus, "train", config), stage.draws(config, objective)
        made = examples.__getitems__([0, 1])
        generator = torch.Generator().manual_seed(0)
        batch = stage.collate([one | draws(one, generator) for one in made])
        loss = objective(batch)["loss"]
        if stage.name in ("denoiser", "emotion_vae"):
            loss.backward()
            outputs = {
                "denoiser": [(getattr(model, "mapping", None), np.concatenate(list(UNKNOWN.values())))],
                "emotion_vae": [
                    (getattr(model, "decoder_out", None), UNKNOWN["emotion"]),
                    (getattr(model, "coefficient_regressor", [None])[-1], UNKNOWN["coefficients"]),
                ],
            }[stage.name]
            for layer, unknown in outputs:
                assert not layer.weight[unknown].any() and not layer.weight.grad[unknown].any()
                assert layer.weight.grad[~unknown].any(dim=1).all()
        parts[stage.name] = model.eval().requires_grad_(False)


def test_the_loss_does_not_depend_on_unknown_channels(workshop: Any, release: Path) -> None:
    corpus = Corpus(release, workshop.folder / "cache")
    config = load_config(workshop.config_file("masked", CHANGES))
    extractor = feature_extractor_of(corpus, config)
    vae_stage, _, stage, _ = PERFRDIFF.stages
    parts = {"emotion_vae": vae_stage.new_model(config, {}).eval()}
    model = stage.new_model(config, parts).eval()
    stage.look_at_data(model, corpus, config, parts)
    objective = stage.objective(model, parts, extractor, config)
    examples, draws = stage.examples(corpus, "train", config), stage.draws(config, objective)
    one = examples.__getitems__([0])[0]
    batch = stage.collate([one | draws(one, torch.Generator().manual_seed(0))])
    # The input of those channels is kept out of the comparison: only what is asked of the model changes.
    model.input_projection.weight.data[:, : len(UNKNOWN["emotion"])][:, UNKNOWN["emotion"]] = 0
    expected = objective(batch)["loss"]
    batch["reactions"][..., :25][..., UNKNOWN["emotion"]] += 7
    assert objective(batch)["loss"] == expected


def test_the_pipeline_knows_what_it_was_not_taught(trained: Path, release: Path, workshop: Any) -> None:
    pipeline = PerFRDiffPipeline.from_pretrained(str(trained / "model"))
    assert pipeline.feature_extractor.unavailable == list(MASK.unavailable)
    arrays = Corpus(release, workshop.folder / "cache").split("val").arrays
    pipeline.set_progress_bar_config(disable=True)
    output = pipeline(
        speaker=arrays.behaviour(0)[:60], listener_history=arrays.behaviour(1)[:60], num_reactions=2, output_type="np"
    )
    for channel, name in enumerate(EMOTION_NAMES):
        moved = np.ptp(output.reactions[..., channel]) > 0
        assert moved == (MASK.kind(name) != "unavailable"), name
    for channel, name in enumerate(COEFFICIENT_NAMES):
        values = output.coefficients[..., channel]
        if MASK.kind(name) == "unavailable":
            np.testing.assert_allclose(values, MEAN_FACE[channel], atol=1e-6)
        else:
            assert np.ptp(values) > 0, name


def test_reports_and_cards_say_so(trained: Path) -> None:
    report = json.loads((trained / "denoiser" / "training.json").read_text())
    assert report["data"] == "Seamless Interaction" and report["license"] == "cc-by-nc-4.0"
    assert report["channels"]["unavailable"] == list(MASK.unavailable)
    facts = facts_of_pipeline(trained / "model", "me/listener", trained)
    card = str(render_card(facts))
    assert facts.license == "cc-by-nc-4.0" and "\nlicense: cc-by-nc-4.0\n" in card
    assert "Trained on Seamless Interaction, Meta, 2025" in card
    assert "Neither trained nor scored" in card and "AU23, AU24" in card
    assert "REACT2024" not in card
    # Who publishes may say otherwise, and the credit stays.
    other = facts_of_pipeline(trained / "model", "me/listener", trained, license="cc-by-nc-sa-4.0")
    assert other.license == "cc-by-nc-sa-4.0" and other.credits


def test_it_is_scored_over_the_known_channels(
    trained: Path, release: Path, workshop: Any, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["--data_dir", str(release), "--model", str(trained / "model"), "--output", str(tmp_path / "out")]
    words += ["--num_reactions", "2", "--cache_dir", str(workshop.folder / "cache"), "--num_inference_steps", "2"]
    assert perfrdiff(["evaluate", *words, "--controls", "another_history"]) == 0
    said = capsys.readouterr().out
    assert "Scored are 59 of 83 channels" in said and "do not have AU23, AU24" in said
    for task in ("mafrg", "pmafrg"):
        found = json.loads((tmp_path / "out" / f"{task}.json").read_text())
        assert found["clips"] == 8 and found["channels"]["unavailable"] == list(MASK.unavailable)
        assert {"personalised", "generic", "recorded reactions"} <= set(found["systems"])
        assert found["systems"]["personalised"]["metrics"]["FRSyn"]["value"] is not None
