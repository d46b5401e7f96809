"""A world and models that are small enough to train every stage in a second, in processes that may be killed."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file

from perfrdiff_hf.synthetic.world import WorldSize, write_synthetic_world


STAGES = ("emotion_vae", "style_encoder", "denoiser", "weight_shift_generator")

SETTINGS: dict[str, Any] = {
    "seed": 5,
    "models": {
        "emotion_vae": {"hidden_size": 16, "latent_size": 8, "decoder_sizes": [16]},
        "style_encoder": {
            "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16, "style_size": 8, "dropout": 0.0,
        },
        "denoiser": {
            "hidden_size": 16, "num_layers": 2, "num_heads": 2, "feed_forward_size": 16, "dropout": 0.0,
            "max_positions": 128,
        },
        "weight_shift_generator": {
            "hidden_size": 16, "shift_type": "low_rank", "rank": 2,
            "edited": {"components": ["cross_attention", "mapping"], "layers": [1]},
        },
    },
    "data": {
        "window_size": 20, "num_reactions": 2, "history_frames": 60,
        "style_frames": 40, "style_speakers": 2, "style_clips": 2,
    },
    "stages": {
        name: {"max_steps": 12, "batch_size": 4, "learning_rate": 1e-3, "schedule": "cosine", "ema_decay": 0.9}
        for name in STAGES
    },
    "run": {"log_every": 1, "checkpoint_every": 3, "validation_examples": 4, "report_to": None},
}  # fmt: skip


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three dyads to train on and one to validate with."""
    size = WorldSize(dyads=(3, 1, 1), clips=3, scripts=(3, 3, 3), sample_rate=8000, sound="ULAW")
    folder = tmp_path_factory.mktemp("world") / "small"
    write_synthetic_world(folder, size, seed=1)
    # Unlike REACT's mean face, which stands in where nobody looks into the folder.
    np.save(folder / "mean_face.npy", np.load(folder / "mean_face.npy") + np.linspace(-0.2, 0.3, 58, dtype=np.float32))
    return folder


@dataclass
class Workshop:
    """Trains stages in processes of their own; `launch` returns at once, `train` waits and expects success."""

    folder: Path
    world: Path
    context: Any

    def config_file(self, name: str, changes: dict[str, Any]) -> Path:
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(merged(SETTINGS, changes)))
        return path

    def launch(self, stage: str, output: Path, processes: int = 1, **options: Any) -> list[BaseProcess]:
        changes = options.pop("changes", {})
        config = self.config_file(f"{output.name}-{stage}", changes)
        words = ["--stage", stage, "--config", str(config), "--data_dir", str(options.pop("data_dir", self.world))]
        words += ["--output_dir", str(output), "--cache_dir", str(self.folder / "cache")]
        for name, value in options.items():
            words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        port = free_port()
        started = []
        for rank in range(processes):
            process = self.context.Process(target=train_here, args=(words, rank, processes, port))
            process.start()
            started.append(process)
        return started

    def train(self, stage: str, output: Path, processes: int = 1, **options: Any) -> None:
        for process in self.launch(stage, output, processes, **options):
            process.join(120)
            assert process.exitcode == 0


def train_here(words: list[str], rank: int, processes: int, port: int) -> None:
    """What a process does: as torchrun would have started it."""
    import runpy
    import sys

    import torch

    multiprocessing.set_start_method("fork", force=True)  # of data-loader workers, as in a program of its own
    os.setpgid(0, 0)  # a group of its own, with its data-loader workers, as a job scheduler starts it
    # As torchrun does. Without it Accelerate takes all cores in every process, and they wait for one another.
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    if processes > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    script = Path(__file__).resolve().parents[2] / "examples" / "train.py"
    sys.argv = [str(script), *words]
    runpy.run_path(str(script), run_name="__main__")


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory, small_world: Path) -> Workshop:
    # The server imports torch and the package once; every training process is a fork of it.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["perfrdiff_hf.training.run"])
    return Workshop(tmp_path_factory.mktemp("workshop"), small_world, context)


@pytest.fixture(scope="session")
def trained(workshop: Workshop) -> Path:
    """The output folder of all four stages, trained without interruption in one process."""
    output = workshop.folder / "uninterrupted"
    workshop.train("all", output)
    return output


@pytest.fixture
def after_earlier_stages(trained: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Makes an output folder in which the stages before the given one are trained."""

    def prepare(stage: str) -> Path:
        output = tmp_path / f"run-{stage}"
        output.mkdir()
        for earlier in STAGES[: STAGES.index(stage)]:
            (output / earlier).symlink_to(trained / earlier)
        return output

    return prepare


def merged(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested settings with some of them changed."""
    result = dict(settings)
    for name, value in changes.items():
        result[name] = merged(settings[name], value) if isinstance(settings.get(name), dict) else value
    return result


def logged(output: Path, stage: str) -> list[dict[str, float]]:
    """The log of a stage."""
    path = output / "logs" / f"{stage}.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def weights(output: Path, stage: str) -> dict[str, Any]:
    """The weights that a stage saved."""
    (path,) = (output / stage).glob("*.safetensors")
    return load_file(path)


def free_port() -> int:
    """A port that nobody listens on."""
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="session")
def read_log() -> Callable[[Path, str], list[dict[str, float]]]:
    return logged


@pytest.fixture(scope="session")
def read_weights() -> Callable[[Path, str], dict[str, Any]]:
    return weights
