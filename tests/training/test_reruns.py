"""A command that is given again: nothing is overwritten, and no model is taken for one that it is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from perfrdiff_hf.baselines.recipe import DataConfig
from perfrdiff_hf.baselines.stage import Stage
from perfrdiff_hf.cards import REPORT_NAME
from perfrdiff_hf.data.corpus import Corpus
from perfrdiff_hf.files import previous_folder
from perfrdiff_hf.models.emotion_vae import EmotionVAEModel
from perfrdiff_hf.training import run as run_module
from perfrdiff_hf.training.config import load_config
from perfrdiff_hf.training.job import plan_stages
from perfrdiff_hf.training.loop import StageRun
from perfrdiff_hf.training.run import TrainingJob, run_training
from perfrdiff_hf.training.saving import feature_extractor_of
from perfrdiff_hf.training.stages import PERFRDIFF


LATEST = {"resume_from_checkpoint": "latest"}
ANEW = {"overwrite_output_dir": True}


@pytest.fixture
def output(trained: Path, tmp_path: Path) -> Path:
    """A copy of the folder in which all stages are trained."""
    return Path(shutil.copytree(trained, tmp_path / "output"))


@pytest.fixture
def job(workshop: Any) -> Callable[..., TrainingJob]:
    """A job in the tests' settings, with some of them changed by dotted name."""

    def make(stage: str, output: Path, changes: dict[str, str] | None = None, **options: Any) -> TrainingJob:
        config = load_config(workshop.config_file(f"rerun-{output.parent.name}", {}), changes)
        data_dir = options.pop("data_dir", workshop.world)
        return TrainingJob(stage, config, data_dir, output, workshop.folder / "cache", **options)

    return make


def contents(folder: Path) -> dict[str, bytes]:
    names = (path for path in folder.rglob("*") if path.is_file() and "logs" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in names}


def refused(job: TrainingJob, match: str) -> None:
    """The job raises, and nothing has changed on the disk."""
    before = contents(job.output)
    with pytest.raises(ValueError, match=match):
        run_training(job)
    assert contents(job.output) == before


def test_a_repeated_command_overwrites_nothing(output: Path, job: Callable) -> None:
    """Finished models count, not checkpoints alone; all stages are looked at before the first one trains."""
    refused(job("all", output), r"emotion_vae holds a model of an earlier run. .*resume_from_checkpoint \"latest\"")
    shutil.rmtree(output / "checkpoints")
    refused(job("all", output, {"seed": "1"}), "emotion_vae holds a model of an earlier run")
    for name in ("emotion_vae", "style_encoder", "denoiser"):
        shutil.rmtree(output / name)
    refused(job("all", output), "weight_shift_generator holds a model of an earlier run")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": "6"}, "seed was 5, now 6"),
        ({"data.window_size": "25"}, "data.window_size was 20, now 25"),
        ({"models.denoiser.hidden_size": "32"}, "models.denoiser.hidden_size was 16, now 32"),
        (
            {"models.scheduler.timestep_spacing": "trailing"},
            "models.scheduler.timestep_spacing was None, now trailing",
        ),
        ({"stages.style_encoder.max_steps": "11"}, "stage.max_steps was 12, now 11"),
        ({"stages.weight_shift_generator.learning_rate": "2e-3"}, "stage.learning_rate was 0.001, now 0.002"),
    ],
)
def test_a_finished_stage_with_other_settings_is_not_kept(
    output: Path, job: Callable, changes: dict[str, str], named: str
) -> None:
    refused(job("all", output, changes, **LATEST), f"trained with other settings: {named}.*overwrite_output_dir")


def test_what_a_stage_does_not_read_may_change(output: Path, job: Callable) -> None:
    changes = {
        "data.style_clips": "3",
        "run.log_every": "7",
        "stages.denoiser.gradient_accumulation_steps": "2",
        "models.weight_shift_generator.rank": "3",
    }
    asked = job("denoiser", output, changes, **LATEST)
    assert plan_stages(asked, Corpus(asked.data_dir, asked.cache_dir).digest("train")) == []


def test_a_stage_whose_inputs_changed_is_stale(output: Path, job: Callable) -> None:
    other = {"stages.denoiser.max_steps": "2"}
    run_training(job("denoiser", output, other, **ANEW))
    refused(
        job("all", output, other, **LATEST),
        r"weight_shift_generator is stale: .* another denoiser\. So train it again with overwrite_output_dir",
    )
    run_training(job("weight_shift_generator", output, other, **ANEW))
    run_training(job("all", output, other, **LATEST))
    saved, model = (load_file(next((output / name).glob("*.safetensors"))) for name in ("denoiser", "model/denoiser"))
    assert all(torch.equal(saved[name], model[name]) for name in saved)


def test_a_stage_is_stale_before_what_it_needs_is_trained_again(output: Path, job: Callable) -> None:
    shutil.rmtree(output / "emotion_vae")
    refused(job("all", output, **LATEST), r"denoiser is stale: .* another emotion_vae")
    shutil.rmtree(output / "denoiser")  # of which the checkpoints stay
    refused(job("all", output, **LATEST), "The checkpoint is stale: it was trained with another emotion_vae")


def test_parts_that_do_not_belong_together_are_refused(output: Path, job: Callable) -> None:
    """The generator of another emotion VAE, though the stage to be trained knows neither."""
    model = EmotionVAEModel.from_pretrained(str(output / "emotion_vae"))
    with torch.no_grad():
        next(model.parameters()).add_(1)
    model.save_pretrained(str(output / "emotion_vae"))
    refused(
        job("weight_shift_generator", output, **ANEW), r"denoiser is stale: .* another emotion_vae than the one in"
    )


def test_other_data_make_a_model_stale(output: Path, job: Callable, small_world: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(small_world, tmp_path / "moved"))
    asked = job("emotion_vae", output, data_dir=moved, **LATEST)
    assert plan_stages(asked, Corpus(moved, asked.cache_dir).digest("train")) == []  # the same in another place
    np.save(moved / "mean_face.npy", np.zeros(58, np.float32))
    refused(job("emotion_vae", output, data_dir=moved, **LATEST), "emotion_vae was trained with another data")


@pytest.mark.parametrize("report", [None, {"steps": 12, "config": {}}])
def test_a_model_that_does_not_say_how_it_was_trained_is_not_kept(
    output: Path, job: Callable, report: dict[str, Any] | None
) -> None:
    path = output / "emotion_vae" / REPORT_NAME
    path.unlink() if report is None else path.write_text(json.dumps(report))
    refused(job("emotion_vae", output, **LATEST), "does not say with which settings it was trained")


def test_overwriting_keeps_the_model_until_the_new_one_is_saved(
    output: Path, job: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = contents(output / "denoiser")

    def stopped(run: StageRun) -> dict[str, float]:
        assert not (output / "denoiser").exists() and not (output / "checkpoints" / "denoiser").exists()
        raise SystemExit(143)

    with monkeypatch.context() as patch:
        patch.setattr(StageRun, "train", stopped)
        with pytest.raises(SystemExit):
            run_training(job("denoiser", output, {"seed": "8"}, **ANEW))
    assert contents(previous_folder(output / "denoiser")) == old
    # What was forgotten is not taken for the model that is asked for, whichever settings are given.
    run_training(job("denoiser", output, {"seed": "8", "stages.denoiser.max_steps": "2"}, **LATEST))
    assert not previous_folder(output / "denoiser").exists()
    assert contents(output / "denoiser") != old


def test_saving_that_fails_leaves_the_earlier_model(
    output: Path, job: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = contents(output / "emotion_vae")

    def full_disk(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(EmotionVAEModel, "save_pretrained", full_disk)
    changes = {"stages.emotion_vae.max_steps": "4"}
    with pytest.raises(OSError, match="No space left"):
        run_training(job("emotion_vae", output, changes, **ANEW))
    assert contents(previous_folder(output / "emotion_vae")) == old
    assert not list(output.glob(".*.partial-*"))


def test_resuming_with_another_model_says_so_before_anything_is_loaded(output: Path, job: Callable) -> None:
    shutil.rmtree(output / "style_encoder")
    asked = job("style_encoder", output, {"models.style_encoder.hidden_size": "32"}, **LATEST)
    refused(asked, "The checkpoint was written with other settings: models.style_encoder.hidden_size was 16, now 32")
    named = job("style_encoder", output, {"seed": "8"}, resume_from_checkpoint="step-00000009")
    refused(named, "other settings: seed was 5, now 8")


def test_the_learning_rate_may_change_while_a_stage_is_trained(
    output: Path, job: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(output / "style_encoder")
    run_training(job("style_encoder", output, {"stages.style_encoder.learning_rate": "2e-3"}, **LATEST))
    assert "stage.learning_rate was 0.001, now 0.002. Going on with these." in caplog.text


def test_both_ways_at_once_are_refused(output: Path, job: Callable) -> None:
    refused(job("all", output, **LATEST, **ANEW), "Give resume_from_checkpoint or overwrite_output_dir, not both")


def test_a_diverged_run_keeps_its_good_checkpoints(tmp_path: Path, job: Callable) -> None:
    output = tmp_path / "run" / "output"
    changes = {"stages.emotion_vae.ema_decay": "0", "run.log_every": "6", "run.checkpoint_every": "1"}
    (tmp_path / "run").mkdir()
    stage = {"stages.emotion_vae.learning_rate": "1e30", "stages.emotion_vae.schedule": "constant"}
    with pytest.raises(FloatingPointError, match="the last checkpoint is from before"):
        run_training(job("emotion_vae", output, changes | stage))
    for path in (output / "checkpoints" / "emotion_vae").glob("*/*.safetensors"):
        values = load_file(path)
        assert all(value.isfinite().all() for name, value in values.items() if name.startswith("model/")), path
    assert not (output / "emotion_vae").exists()


def test_no_process_waits_for_an_upload(tmp_path: Path, job: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    order = []

    def broken(*_: Any) -> str:
        order.append("push")
        raise OSError("the connection was lost")

    monkeypatch.setattr(run_module.Accelerator, "end_training", lambda self: order.append("end"))
    monkeypatch.setattr(run_module, "push_training", broken)
    (tmp_path / "run").mkdir()
    asked = job("emotion_vae", tmp_path / "run" / "output", {"stages.emotion_vae.max_steps": "1"}, push_to_hub=True)
    asked.hub_model_id = "tester/model"
    with pytest.raises(OSError, match="connection"):
        run_training(asked)
    assert order == ["end", "push"]


class Watched:
    """A recipe that notes which settings are read."""

    def __init__(self, recipe: Any):
        self._recipe, self.read = recipe, set()

    @property
    def data(self) -> Any:
        watched = self

        class Data:
            def __getattr__(self, name: str) -> Any:
                watched.read.add(f"data.{name}")
                return getattr(watched._recipe.data, name)

        return Data()

    def arguments(self, name: str) -> dict[str, Any]:
        self.read.add(f"models.{name}")
        return self._recipe.arguments(name)

    @property
    def seed(self) -> int:
        return self._recipe.seed


@pytest.mark.parametrize("stage", PERFRDIFF.stages, ids=PERFRDIFF.stage_names)
def test_stages_declare_the_settings_that_they_read(stage: Stage, trained: Path, workshop: Any) -> None:
    """Else a change of one would go unnoticed when a run is resumed."""
    watched: Any = Watched(load_config(workshop.config_file("watched", {})))
    corpus = Corpus(workshop.world, workshop.folder / "cache")
    parts = {name: PERFRDIFF.stage(name).model.from_pretrained(str(trained / name)) for name in stage.needs}
    model = stage.new_model(watched, parts)
    stage.examples(corpus, "train", watched)
    extractor = feature_extractor_of(corpus, load_config(workshop.config_file("watched", {})))
    stage.draws(watched, stage.objective(model, parts, extractor, watched))
    assert watched.read == {*stage.reads, f"models.{stage.name}"}
    assert {name.removeprefix("data.") for name in stage.reads if name.startswith("data.")} <= set(
        DataConfig.__annotations__
    )
