"""What validation measures, against the same computed by hand, and that it leaves training alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from perfrdiff_hf.behaviour import MEAN_FACE, Behaviour
from perfrdiff_hf.data.corpus import Corpus
from perfrdiff_hf.pipelines.perfrdiff import PerFRDiffPipeline, PerFRDiffPipelineOutput
from perfrdiff_hf.training.config import load_config
from perfrdiff_hf.training.order import KeyedExamples
from perfrdiff_hf.training.pictures import draw_reactions, draw_styles
from perfrdiff_hf.training.saving import feature_extractor_of
from perfrdiff_hf.training.stages import PERFRDIFF
from perfrdiff_hf.training.validation import StageValidation, stack_clips


def test_validation_is_the_same_however_often_and_does_not_disturb_training(
    workshop: Any, trained: Path, after_earlier_stages: Callable, read_log: Callable, read_weights: Callable
) -> None:
    output = after_earlier_stages("denoiser")
    changes = {
        "stages": {"denoiser": {"learning_rate": 1e-3}},
        "models": {"sampling": {"num_inference_steps": 2}},
        "run": {"validate_every": 4, "validation_clips": 1, "validation_reactions": 1},
    }
    workshop.train("denoiser", output, changes=changes)
    expected, watched = read_weights(trained, "denoiser"), read_weights(output, "denoiser")
    assert all(torch.equal(expected[name], watched[name]) for name in expected)
    lines = [line for line in read_log(output, "denoiser") if "validation_loss" in line]
    assert [line["step"] for line in lines] == [4, 8, 12]
    assert all({"validation_frcorr", "validation_frdist"} <= line.keys() for line in lines)
    last = [line for line in read_log(trained, "denoiser") if "validation_loss" in line][-1]
    assert lines[-1]["validation_loss"] == last["validation_loss"]
    assert (output / "pictures" / "reactions_denoiser.png").stat().st_size > 10_000


def test_two_processes_validate_as_one(workshop: Any, after_earlier_stages: Callable, read_log: Callable) -> None:
    # A rate of almost nothing: both judge the same model, and what one process sums up is what two do.
    changes = {
        "stages": {"weight_shift_generator": {"learning_rate": 1e-12}},
        "models": {"sampling": {"num_inference_steps": 2}},
        "run": {"validation_clips": 3, "validation_reactions": 1},
    }
    output, figures = after_earlier_stages("weight_shift_generator"), []
    for processes in (1, 2):
        workshop.train("weight_shift_generator", output, processes, changes=changes, overwrite_output_dir=True)
        figures.append([line for line in read_log(output, "weight_shift_generator") if "validation_loss" in line][-1])
    assert figures[0].keys() == figures[1].keys()
    for name in figures[0]:
        assert figures[1][name] == pytest.approx(figures[0][name], rel=1e-5)


def saved_model(folder: Path, name: str) -> Any:
    return PERFRDIFF.stage(name).model.from_pretrained(str(folder / name))


@pytest.fixture
def validate_stage(workshop: Any, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Validates a trained stage in this process; returns the figures, and what the pipeline was called with."""
    corpus = Corpus(workshop.world, workshop.folder / "cache")

    def validate(name: str, **run: Any) -> tuple[dict[str, float], list[dict[str, Any]], Corpus]:
        config = load_config(workshop.config_file(f"validate-{name}", {"run": run}))
        stage, calls = PERFRDIFF.stage(name), []
        parts = {part: saved_model(trained, part) for part in (*stage.needs, name)}
        extractor = feature_extractor_of(corpus, config)
        objective = stage.objective(parts.pop(name).eval(), parts, extractor, config)
        draws = stage.draws(config, objective)
        validation = StageValidation(stage, corpus, config, draws, tmp_path, Accelerator(cpu=True))

        def called(pipeline: PerFRDiffPipeline, **options: Any) -> PerFRDiffPipelineOutput:
            calls.append({**options, "window_size": pipeline.window_size})
            frames, reactions = len(options["speaker"][0]), options["num_reactions"]
            shape = (1, reactions, frames)
            return PerFRDiffPipelineOutput(np.zeros((*shape, 25)), np.zeros((*shape, 58)))

        monkeypatch.setattr(PerFRDiffPipeline, "__call__", called)
        with torch.no_grad():
            return validation(objective, False), calls, corpus

    return validate


@pytest.mark.parametrize("stage", ["denoiser", "weight_shift_generator"])
def test_reactions_are_scored_on_the_validation_split_with_the_listeners_own_history(
    stage: str, validate_stage: Callable
) -> None:
    _, calls, corpus = validate_stage(stage, validation_clips=99, validation_reactions=1)
    everybody = corpus.split("val").arrays
    part = corpus.split("val", personal=stage == "weight_shift_generator").arrays
    assert len(calls) == len(part) > 2
    for row, call in enumerate(calls):
        assert call["window_size"] == 20  # frames of a window while training
        np.testing.assert_array_equal(call["speaker"][0].audio, part.audio(part.partner[row]))
        if stage == "denoiser":
            assert call["listener_history"] is None
            continue
        own = (everybody.listener_ids == part.listener_ids[row]) & (everybody.clips == "1")
        (history,) = np.flatnonzero(own)
        np.testing.assert_array_equal(call["listener_history"][0], everybody.coefficients(int(history)))
    histories = {np.asarray(call["listener_history"]).tobytes() for call in calls}
    assert len(histories) == (len(set(part.listener_ids)) if stage == "weight_shift_generator" else 1)


def test_nobody_gets_the_clip_that_is_to_be_predicted_as_a_history(
    validate_stage: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in data without a clip 1, where the personal task leaves nothing out."""
    split = Corpus.split
    monkeypatch.setattr(Corpus, "split", lambda corpus, name, personal=False: split(corpus, name))
    _, calls, corpus = validate_stage("weight_shift_generator", validation_clips=99, validation_reactions=1)
    arrays = corpus.split("val").arrays
    assert len(calls) == len(arrays)
    for row, call in enumerate(calls):
        (history,) = call["listener_history"]
        assert not np.array_equal(history, arrays.coefficients(row))
        others = np.flatnonzero(
            (arrays.listener_ids == arrays.listener_ids[row]) & (arrays.clips != arrays.clips[row])
        )
        assert any(np.array_equal(history, arrays.coefficients(int(other))) for other in others)


def test_the_validation_loss_is_that_of_the_validation_split(validate_stage: Callable, workshop: Any) -> None:
    figures, _, corpus = validate_stage("emotion_vae", validation_examples=4)
    config = load_config(workshop.config_file("loss", {}))
    stage = PERFRDIFF.stage("emotion_vae")
    model = saved_model(workshop.folder / "uninterrupted", "emotion_vae")
    objective = stage.objective(model.eval(), {}, feature_extractor_of(corpus, config), config)
    losses = {}
    for split in ("train", "val"):
        examples = stage.examples(corpus, split, config)
        keyed = KeyedExamples(examples, stage.draws(config, objective), config.seed)
        with torch.no_grad():
            losses[split] = objective(stage.collate(keyed.__getitems__([(0, row) for row in range(4)])))["loss"].item()
    assert figures["loss"] == pytest.approx(losses["val"], rel=1e-5)
    assert figures["loss"] != pytest.approx(losses["train"], rel=1e-3)


def test_style_pictures(tmp_path: Path) -> None:
    styles = np.random.default_rng(0).standard_normal((12, 8)).astype(np.float32)
    path = tmp_path / "pictures" / "styles.png"
    assert draw_styles(styles, np.arange(12) // 3, path, seed=0) == path
    assert path.read_bytes().startswith(b"\x89PNG")
    assert draw_styles(styles[:3], np.arange(3), tmp_path / "few.png", seed=0) is None


def test_reaction_pictures(tmp_path: Path) -> None:
    behaviour = Behaviour(emotion=np.full((60, 25), 0.5), coefficients=np.tile(MEAN_FACE, (60, 1)))
    path = tmp_path / "pictures" / "reactions.png"
    assert draw_reactions(behaviour, behaviour, [behaviour], path, "A title") == path
    assert path.read_bytes().startswith(b"\x89PNG")


def test_clips_are_cut_at_the_end_of_the_shortest() -> None:
    clips = [np.ones((2, 5, 3)), np.ones((2, 4, 3))]
    assert stack_clips(clips, axis=1).shape == (2, 2, 4, 3)
