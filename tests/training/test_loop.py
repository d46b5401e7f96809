"""One stage in the loop: what steps do to the average, memory against time, trackers, and how processes are set up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer

from perfrdiff_hf.data.corpus import Corpus
from perfrdiff_hf.data.react2024 import source as source_module
from perfrdiff_hf.training import run as run_module
from perfrdiff_hf.training.config import TrainingConfig, load_config
from perfrdiff_hf.training.denormals import is_flushing
from perfrdiff_hf.training.job import TrainingJob
from perfrdiff_hf.training.logs import Averages, StepLog
from perfrdiff_hf.training.loop import StageRun
from perfrdiff_hf.training.saving import feature_extractor_of
from perfrdiff_hf.training.stages import PERFRDIFF


@pytest.fixture
def make_run(workshop: Any, trained: Path, tmp_path: Path) -> Callable[..., StageRun]:
    """A stage that is about to begin, in this process."""
    corpus = Corpus(workshop.world, workshop.folder / "cache")

    def make(name: str, changes: dict[str, str] | None = None) -> StageRun:
        config = load_config(workshop.config_file(f"loop-{tmp_path.name}", {}), changes)
        stage = PERFRDIFF.stage(name)
        parts = {part: PERFRDIFF.stage(part).model.from_pretrained(str(trained / part)) for part in stage.needs}
        torch.manual_seed(0)
        objective = stage.objective(
            stage.new_model(config, parts), parts, feature_extractor_of(corpus, config), config
        )
        examples, draws = stage.examples(corpus, "train", config), stage.draws(config, objective)
        return StageRun(stage, objective, examples, draws, config, {}, tmp_path, Accelerator(cpu=True))

    return make


def step(run: StageRun) -> tuple[dict[str, float], list[torch.Tensor]]:
    """The losses of one step, and the weights after it."""
    averages = Averages()
    with run._batches() as batches:
        run._step(batches, averages)
    return averages.flush(run.accelerator), [value.detach().clone() for value in run._trained_parameters()]


def test_the_average_does_not_follow_steps_that_were_left_out(
    make_run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In fp16 the scaler leaves steps out whose gradients overflow."""
    run = make_run("emotion_vae")
    step(run)
    assert run.state.ema is not None and run.state.ema.optimization_step == 1
    monkeypatch.setattr(AcceleratedOptimizer, "step_was_skipped", True)
    before = [value.clone() for value in run.state.ema.shadow_params]
    step(run)
    assert run.state.ema.optimization_step == 1
    assert all(torch.equal(old, new) for old, new in zip(before, run.state.ema.shadow_params))
    assert run.state.step == 2


def test_averages_that_come_to_rest_near_zero_do_not_slow_steps(
    make_run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of weights whose gradients are zero for good; outside the loop they are computed with as before."""
    run, one_step, flushing = make_run("emotion_vae"), StageRun._step, []

    def watched(self: StageRun, *given: Any) -> int:
        flushing.append(is_flushing())
        return one_step(self, *given)

    monkeypatch.setattr(StageRun, "_step", watched)
    run.train()
    assert flushing == [True] * run.total_steps and not is_flushing()


@pytest.mark.parametrize("stage", ["denoiser", "weight_shift_generator"])
def test_gradient_checkpointing_learns_the_same(
    stage: str, make_run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weight-shift generator learns through a frozen generator, whose activations count as well."""
    plain, saving = make_run(stage), make_run(stage, {"run.gradient_checkpointing": "true"})
    denoiser = saving.objective.denoiser
    assert denoiser.gradient_checkpointing and not plain.objective.denoiser.gradient_checkpointing
    called = []
    again = denoiser._gradient_checkpointing_func
    monkeypatch.setattr(denoiser, "_gradient_checkpointing_func", lambda *given: called.append(1) or again(*given))
    (losses, weights), (expected, others) = step(saving), step(plain)
    assert called
    assert losses["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    for one, other in zip(weights, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_stage_that_cannot_save_memory_says_so(make_run: Callable, caplog: pytest.LogCaptureFixture) -> None:
    make_run("emotion_vae", {"run.gradient_checkpointing": "true"})
    assert "gradient_checkpointing changes nothing here" in caplog.text


def test_compiled_stages_learn_the_same(make_run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    compile_module = torch.nn.Module.compile

    def traced(module: torch.nn.Module) -> None:
        compiled.append(module)
        compile_module(module, backend="eager")  # traced as always, without the minutes that a compiler takes

    monkeypatch.setattr(torch.nn.Module, "compile", traced)
    plain, fast = make_run("denoiser"), make_run("denoiser", {"run.compile": "true"})
    assert compiled == [fast.objective]
    assert step(fast)[0]["loss"] == pytest.approx(step(plain)[0]["loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("tracker", "project", "name"), [("wandb", "perfrdiff", "out-denoiser"), ("tensorboard", "denoiser", None)]
)
def test_trackers_get_one_project_and_a_name_for_each_run(
    tracker: str, project: str, name: str | None, workshop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config: TrainingConfig = load_config(workshop.config_file("tracker", {}), {"run.report_to": tracker})
    begun: dict[str, Any] = {}

    def begin(self: Accelerator, project_name: str, config: dict, init_kwargs: dict) -> None:
        begun.update(project=project_name, config=config, **init_kwargs)

    monkeypatch.setattr(Accelerator, "init_trackers", begin)
    StepLog(tmp_path / "out", "denoiser", config, Accelerator(cpu=True)).begin(0)
    assert begun["project"] == project
    assert begun["config"]["stages.denoiser.batch_size"] == 4
    assert begun.get(tracker) == (None if name is None else {"name": name})


def test_processes_wait_for_the_one_that_reads(workshop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of a large corpus take longer than the ten minutes after which processes give one another up."""
    config = load_config(workshop.config_file("readers", {}), {"run.num_readers": "3"})
    job = TrainingJob("emotion_vae", config, workshop.world, tmp_path, workshop.folder / "cache")
    accelerator = run_module._accelerator(job)
    assert accelerator.init_handler.timeout == run_module.LONGEST_WAIT
    asked, load = [], source_module.load_react2024

    def watched(*given: Any, num_proc: int | None = None, **options: Any) -> Any:
        asked.append(num_proc)
        return load(*given, **options)

    monkeypatch.setattr(source_module, "load_react2024", watched)
    run_module._open_corpus(job, accelerator)
    assert asked == [3, 3]
