"""The same seed gives the same examples: however they are batched, in workers, threads and processes."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader

from perfrdiff_hf.data.style_clips import StyleClips
from perfrdiff_hf.data.windows import EmotionWindows, ReactionWindows
from tests.data.windows.conftest import PAIRS, W


def everything(dataset, **options) -> list[np.ndarray]:
    loader = DataLoader(dataset, **options)
    seen = []
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        seen += [value.numpy().copy() for batch in loader for value in batch.values()]
    return seen


def test_workers_do_not_change_examples(arrays, appropriate):
    for dataset, size in (
        (ReactionWindows(arrays, appropriate, 2, W), 5),
        (EmotionWindows(arrays, W), 5),
        (StyleClips(arrays, appropriate, frames=30), None),
    ):
        alone = everything(dataset, batch_size=size)
        for options in ({"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}):
            for one, other in zip(alone, everything(dataset, batch_size=size, **options), strict=True):
                np.testing.assert_array_equal(one, other)
        first_epoch, second_epoch = alone[: len(alone) // 2], alone[len(alone) // 2 :]
        assert any(one.shape != other.shape or (one != other).any() for one, other in zip(first_epoch, second_epoch))


def test_seed_and_batching_fix_the_examples(arrays, appropriate):
    one, same, other = (ReactionWindows(arrays, appropriate, 2, W, seed=seed) for seed in (3, 3, 4))
    batch = one.__getitems__([9, 2, 17])
    for index, item in zip([9, 2, 17], batch):
        for name, value in same[index].items():
            assert torch.equal(item[name], value)
    assert any(not torch.equal(one[index]["reactions"], other[index]["reactions"]) for index in range(5))
    with pytest.raises(IndexError):
        one[2 * PAIRS]


def test_threads_do_not_change_examples(arrays, appropriate):
    """Two threads at one dataset, as a notebook or a server has them, each get what one alone would."""
    windows = ReactionWindows(arrays, appropriate, 2, W)
    alone = [windows[index]["reactions"] for index in range(2 * PAIRS)]
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            together = list(threads.map(lambda index: windows[index % (2 * PAIRS)]["reactions"], range(40 * PAIRS)))
    finally:
        sys.setswitchinterval(usual)
    for index, reactions in enumerate(together):
        assert torch.equal(reactions, alone[index % (2 * PAIRS)])


def test_accelerate_shards_the_same_examples(arrays, appropriate):
    dataset = ReactionWindows(arrays, appropriate, 2, W)
    whole = torch.cat([batch["reactions"] for batch in DataLoader(dataset, batch_size=4)])
    shards = [
        list(
            prepare_data_loader(
                DataLoader(dataset, batch_size=4), num_processes=2, process_index=process, put_on_device=False
            )
        )
        for process in (0, 1)
    ]
    interleaved = torch.cat([batch["reactions"] for pair in zip(*shards) for batch in pair])
    torch.testing.assert_close(interleaved[: len(whole)], whole, rtol=0, atol=0)
