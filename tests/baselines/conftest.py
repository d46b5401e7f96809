"""Trains the systems to compare with on a small world, each form once in a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from perfrdiff_hf.baselines import load_system
from perfrdiff_hf.data.corpus import Corpus
from perfrdiff_hf.pipelines.reaction_pipeline import ReactionPipeline
from perfrdiff_hf.training.config import load_config
from perfrdiff_hf.training.run import TrainingJob, run_training
from tests.training.conftest import logged, small_world


__all__ = ["small_world"]

CONFIGS = Path(__file__).resolve().parents[2] / "examples" / "configs" / "baselines"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def corpus(small_world: Path, cache: Path) -> Corpus:
    return Corpus(small_world, cache)


@pytest.fixture(scope="session")
def train_system(small_world: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Trains the bench configuration of a system with the ordinary program, for as many steps; the output folder."""
    done: dict[str, Path] = {}

    def train(name: str, steps: int = 8, **changes: Any) -> Path:
        key = f"{name} {steps} {sorted(changes.items())}"
        if key not in done:
            folder = tmp_path_factory.mktemp(name)
            config = load_config(
                CONFIGS / f"{name}_bench.yaml", {key: yaml.safe_dump(v) for key, v in changes.items()}
            )
            for stage in config.stages.values():
                stage.max_steps, stage.batch_size, stage.ema_decay, stage.warmup_steps = steps, 4, 0.0, 0
            config.run.log_every, config.run.validation_examples, config.run.report_to = 1, 2, None
            config.run.validation_clips = 1
            run_training(TrainingJob("all", config, small_world, folder, cache))
            done[key] = folder
        return done[key]

    return train


@pytest.fixture(scope="session")
def load(train_system: Callable[..., Path]) -> Callable[..., ReactionPipeline]:
    """The trained pipeline of a system, without bars."""

    def loaded(name: str, steps: int = 8, **changes: Any) -> ReactionPipeline:
        pipeline = load_system(train_system(name, steps, **changes) / "model")
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return loaded


@pytest.fixture(scope="session")
def read_losses() -> Callable[[Path, str], list[float]]:
    return lambda output, stage: [line["loss"] for line in logged(output, stage) if "loss" in line]
