"""Two processes learn what one learns: the same losses, and every example once an epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
import torch

from perfrdiff_hf.training.order import ExampleStream, mixed_seed


@pytest.mark.parametrize("stage", ["emotion_vae", "style_encoder", "denoiser", "weight_shift_generator"])
def test_two_processes_have_the_losses_of_one(
    stage: str, workshop: Any, after_earlier_stages: Callable, read_log: Callable, read_weights: Callable
) -> None:
    output = after_earlier_stages(stage)
    changes = {"stages": {stage: {"max_steps": 50, "max_grad_norm": 1.0}}, "run": {"checkpoint_every": 0}}
    losses = {}
    for processes in (1, 2):
        workshop.train(stage, output, processes, changes=changes, overwrite_output_dir=True)
        losses[processes] = torch.tensor([line["loss"] for line in read_log(output, stage) if "loss" in line])
    assert len(losses[1]) == 50
    torch.testing.assert_close(losses[2], losses[1], rtol=0, atol=1e-5)


def test_two_processes_resume_as_one(
    workshop: Any, after_earlier_stages: Callable, read_log: Callable, read_weights: Callable
) -> None:
    output = after_earlier_stages("weight_shift_generator")
    changes = {"run": {"checkpoint_every": 4, "keep_checkpoints": 9}}
    workshop.train("weight_shift_generator", output, 2, changes=changes)
    whole = read_weights(output, "weight_shift_generator")
    workshop.train("weight_shift_generator", output, 2, changes=changes, resume_from_checkpoint="step-00000004")
    resumed = read_weights(output, "weight_shift_generator")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_accumulation_and_workers_change_nothing(
    workshop: Any, after_earlier_stages: Callable, read_log: Callable
) -> None:
    output = after_earlier_stages("denoiser")
    losses = []
    for changes in (
        {},
        {"stages": {"denoiser": {"gradient_accumulation_steps": 2}}},
        {"run": {"num_workers": 2}},
    ):
        workshop.train("denoiser", output, changes=changes, overwrite_output_dir=True)
        losses.append(torch.tensor([line["loss"] for line in read_log(output, "denoiser") if "loss" in line]))
    torch.testing.assert_close(losses[1], losses[0], rtol=0, atol=1e-5)
    assert torch.equal(losses[2], losses[0])


def test_half_precision_learns_nearly_the_same(
    workshop: Any, trained: Any, after_earlier_stages: Callable, read_log: Callable
) -> None:
    output = after_earlier_stages("weight_shift_generator")
    workshop.train("weight_shift_generator", output, changes={"run": {"mixed_precision": "bf16"}})
    half, whole = (
        torch.tensor([line["loss"] for line in read_log(folder, "weight_shift_generator") if "loss" in line])
        for folder in (output, trained)
    )
    assert not torch.equal(half, whole)
    torch.testing.assert_close(half, whole, rtol=0.02, atol=0)


@pytest.mark.parametrize(("processes", "accumulation"), [(1, 1), (2, 1), (3, 2)])
def test_each_example_once_an_epoch(processes: int, accumulation: int) -> None:
    examples, batch, steps = 35, 12, 35  # 12 epochs to the last example
    seen: Counter = Counter()
    whole = iter(ExampleStream(examples, batch, seed=1))
    streams = [iter(ExampleStream(examples, batch, 1, rank, processes, accumulation)) for rank in range(processes)]
    for _ in range(steps):
        keys = [key for stream in streams for _ in range(accumulation) for key in next(stream)]
        assert sorted(keys) == sorted(next(whole))
        seen.update(keys)
    assert seen == Counter({(epoch, index): 1 for epoch in range(batch) for index in range(examples)})


def test_streams_go_on_where_they_are_told() -> None:
    whole = ExampleStream(7, 4, seed=3)
    expected = [keys for keys, _ in zip(whole, range(9))]
    later = [keys for keys, _ in zip(ExampleStream(7, 4, seed=3, first_step=5), range(4))]
    assert later == expected[5:]
    orders = [tuple(index for epoch, index in chain.from_iterable(expected) if epoch == number) for number in range(4)]
    assert len(set(orders)) > 1


def test_seeds_differ_for_neighbours() -> None:
    seeds = {mixed_seed(seed, epoch, index) for seed in range(5) for epoch in range(5) for index in range(50)}
    assert len(seeds) == 5 * 5 * 50


@pytest.mark.parametrize(("batch", "processes", "accumulation"), [(4, 3, 1), (4, 2, 4)])
def test_batches_that_cannot_be_divided_are_refused(batch: int, processes: int, accumulation: int) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        ExampleStream(10, batch, 0, 0, processes, accumulation)
