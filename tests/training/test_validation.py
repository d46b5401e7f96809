"""What validation measures, against the same computed by hand, and that it leaves training alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perfrdiff_hf.behaviour import MEAN_FACE, Behaviour
from perfrdiff_hf.training.pictures import draw_reactions, draw_styles
from perfrdiff_hf.training.validation import history_row, stack_clips


def test_validation_is_the_same_however_often_and_does_not_disturb_training(
    workshop: Any, trained: Path, after_earlier_stages: Callable, read_log: Callable, read_weights: Callable
) -> None:
    output = after_earlier_stages("gafrg")
    changes = {
        "stages": {"gafrg": {"learning_rate": 1e-3}},
        "run": {"validate_every": 4, "validation_clips": 1, "validation_reactions": 1, "validation_steps": 2},
    }
    workshop.train("gafrg", output, changes=changes)
    expected, watched = read_weights(trained, "gafrg"), read_weights(output, "gafrg")
    assert all(torch.equal(expected[name], watched[name]) for name in expected)
    lines = [line for line in read_log(output, "gafrg") if "validation_loss" in line]
    assert [line["step"] for line in lines] == [4, 8, 12]
    assert all({"validation_frcorr", "validation_frdist"} <= line.keys() for line in lines)
    last = [line for line in read_log(trained, "gafrg") if "validation_loss" in line][-1]
    assert lines[-1]["validation_loss"] == last["validation_loss"]
    assert (output / "pictures" / "reactions_gafrg.png").stat().st_size > 10_000


def test_two_processes_validate_as_one(workshop: Any, after_earlier_stages: Callable, read_log: Callable) -> None:
    changes = {"run": {"validation_clips": 2, "validation_reactions": 1, "validation_steps": 2}}
    output, figures = after_earlier_stages("pwsg"), []
    for processes in (1, 2):
        workshop.train("pwsg", output, processes, changes=changes, overwrite_output_dir=True)
        figures.append([line for line in read_log(output, "pwsg") if "validation_loss" in line][-1])
    assert figures[0].keys() == figures[1].keys()
    for name in figures[0]:
        assert figures[1][name] == pytest.approx(figures[0][name], rel=1e-3, abs=1e-4)


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


def test_history_is_clip_1_of_the_listener() -> None:
    class Arrays:
        listener_ids = np.array(["a", "b", "a", "c"])
        clips = np.array(["2", "1", "1", "7"])

    arrays: Any = Arrays()
    assert [history_row(arrays, listener) for listener in "abc"] == [2, 1, 3]
