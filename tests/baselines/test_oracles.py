"""The rows of a synthetic world's own reactions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perfrdiff_hf.baselines import oracle_rows
from perfrdiff_hf.baselines.oracles import ORACLE_NAMES
from perfrdiff_hf.synthetic.cast import WORLD_FILE, World, plan_world
from perfrdiff_hf.synthetic.oracles import mean_oracle_reactions, oracle_reactions
from perfrdiff_hf.synthetic.world import WorldSize


@pytest.fixture(scope="module")
def world() -> World:
    return plan_world(WorldSize(dyads=(1, 1, 2), clips=2, scripts=(1, 1, 2), sample_rate=8000, sound="ULAW"), seed=0)


@pytest.fixture
def folder(world: World, tmp_path: Path) -> Path:
    world.save(tmp_path / WORLD_FILE)
    return tmp_path


def test_rows_are_the_oracles_own(world: World, folder: Path) -> None:
    performances = world.of_split("test")
    paths = [f"{row.listener_id}/{row.clip}" for row in performances][1:]  # as a task that leaves out clips
    rows = oracle_rows(folder, "test", paths, num_reactions=2)
    assert tuple(rows) == ORACLE_NAMES
    drawn = oracle_reactions(world, "test", knowledge="personal", num_reactions=2)
    mean = mean_oracle_reactions(world, "test", knowledge="generic", num_reactions=2)
    clips = np.array([3, 0])
    for name, expected in (
        ("the world's own, of the listener", drawn),
        ("the world's own, of anybody, mean of 40", mean),
    ):
        found = rows[name](clips)
        np.testing.assert_array_equal(found.emotion, expected.emotion[[4, 1]])
        np.testing.assert_array_equal(found.coefficients, expected.coefficients[[4, 1]])
    assert found.emotion.strides[1] == found.coefficients.strides[1] == 0  # scored once, counts for all


def test_a_folder_that_is_no_world_has_none(tmp_path: Path) -> None:
    assert oracle_rows(tmp_path, "test", ["a/b/c/1"]) == {}


def test_clips_of_another_world_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"paths must be clips of the split test .*; NoXI/900/P9/1 is none"):
        oracle_rows(folder, "test", ["NoXI/900/P9/1"])
