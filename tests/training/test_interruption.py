"""Interrupted runs end with the weights of uninterrupted ones."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch


STAGES = ("emotion_vae", "style_encoder", "denoiser", "weight_shift_generator")


def wait_for_step(read_log: Callable, output: Path, stage: str, step: int, process: Any) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if any(line["step"] >= step for line in read_log(output, stage)):
            return
        assert process.is_alive(), f"the run ended with {process.exitcode} before step {step}"
        time.sleep(0.002)
    raise AssertionError(f"step {step} was not reached")


@pytest.mark.parametrize("stage", STAGES)
def test_killed_three_times_and_resumed(
    stage: str,
    workshop: Any,
    trained: Path,
    after_earlier_stages: Callable,
    read_log: Callable,
    read_weights: Callable,
) -> None:
    output = after_earlier_stages(stage)
    for step in (4, 7, 10):
        (process,) = workshop.launch(stage, output, resume_from_checkpoint="latest")
        wait_for_step(read_log, output, stage, step, process)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not list(output.glob(".*.partial"))
    workshop.train(stage, output, resume_from_checkpoint="latest")

    expected, resumed = read_weights(trained, stage), read_weights(output, stage)
    assert expected.keys() == resumed.keys()
    for name in expected:
        assert torch.equal(expected[name], resumed[name]), name
    assert [line["loss"] for line in read_log(output, stage) if "loss" in line] == [
        line["loss"] for line in read_log(trained, stage) if "loss" in line
    ]


def test_sigterm_saves_and_exits(
    workshop: Any, trained: Path, after_earlier_stages: Callable, read_log: Callable, read_weights: Callable
) -> None:
    output = after_earlier_stages("denoiser")
    changes = {"run": {"checkpoint_every": 0}}
    (process,) = workshop.launch("denoiser", output, changes=changes)
    wait_for_step(read_log, output, "denoiser", 2, process)
    process.terminate()
    process.join(60)
    assert process.exitcode == 143
    (checkpoint,) = (output / "checkpoints" / "denoiser").iterdir()
    assert checkpoint.name >= "step-00000002"
    workshop.train("denoiser", output, changes=changes, resume_from_checkpoint="latest")
    expected, resumed = read_weights(trained, "denoiser"), read_weights(output, "denoiser")
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


def test_dropout_is_resumed_too(workshop: Any, after_earlier_stages: Callable, read_weights: Callable) -> None:
    changes = {"models": {"denoiser": {"dropout": 0.2}}, "run": {"checkpoint_every": 5, "keep_checkpoints": 9}}
    output = after_earlier_stages("denoiser")
    workshop.train("denoiser", output, changes=changes)
    whole = read_weights(output, "denoiser")
    workshop.train("denoiser", output, changes=changes, resume_from_checkpoint="step-00000005")
    resumed = read_weights(output, "denoiser")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_finished_stages_are_kept_when_all_is_resumed(workshop: Any, trained: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.glob("*/*.safetensors")}
    workshop.train("all", trained, resume_from_checkpoint="latest")
    assert {path: path.stat().st_mtime_ns for path in trained.glob("*/*.safetensors")} == before
