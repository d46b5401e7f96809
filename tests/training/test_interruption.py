"""Interrupted runs end with the weights of uninterrupted ones."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from perfrdiff_hf.training.interruption import Agreement, Interruption


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
    workshop.train(stage, output, resume_from_checkpoint="latest")
    assert not list(output.rglob(".*.partial-*"))

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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_saves_although_workers_get_it_too(
    number: int, workshop: Any, tmp_path: Path, read_log: Callable, read_weights: Callable
) -> None:
    """As systemd, a terminal and job schedulers send it."""
    changes = {
        "stages": {"emotion_vae": {"max_steps": 400}},
        "run": {"checkpoint_every": 0, "num_workers": 2, "validation_examples": 1},
    }
    (process,) = workshop.launch("emotion_vae", tmp_path, changes=changes)
    wait_for_step(read_log, tmp_path, "emotion_vae", 2, process)
    os.killpg(process.pid, number)
    process.join(60)
    assert process.exitcode == 143
    (checkpoint,) = (tmp_path / "checkpoints" / "emotion_vae").iterdir()
    assert "step-00000002" <= checkpoint.name < "step-00000400"


def test_training_in_another_thread_needs_no_handlers() -> None:
    """Only the main thread may have them; a notebook's executor is another."""
    noted: list[Any] = []

    def run() -> None:
        try:
            with Interruption() as interruption:
                noted.append(interruption.requested)
        except BaseException as error:
            noted.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert noted == [False]


def test_a_second_signal_is_not_held_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    heard: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with Interruption() as interruption:
            assert not interruption.requested
            signal.raise_signal(signal.SIGTERM)
            assert interruption.requested and not heard
            signal.raise_signal(signal.SIGTERM)
            assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


class Processes:
    """Stands for an accelerator of two processes, of which the other is never told anything."""

    num_processes = 2
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.asked = 0

    def reduce(self, values: torch.Tensor, how: str) -> torch.Tensor:
        assert how == "mean"
        self.asked += 1
        return values * torch.tensor([0.5, 1.0])


def test_processes_agree_about_once_a_second_and_not_at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    processes: Any = Processes()
    agreement = Agreement(processes)
    for _ in range(400):  # of 10 ms each
        now[0] += 0.01
        assert not agreement.reached(False)
    assert 4 <= processes.asked <= 6
    told = 0
    while not agreement.reached(True):
        now[0] += 0.01
        told += 1
    assert told <= 100


def test_one_process_stops_at_once() -> None:
    processes: Any = Processes()
    processes.num_processes = 1
    agreement = Agreement(processes)
    assert not agreement.reached(False) and agreement.reached(True)
    assert processes.asked == 0


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
