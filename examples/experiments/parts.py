"""Stages of a row of an experiment: trained, or borrowed from a row that trained them already."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from perfrdiff_hf.cli import main as perfrdiff


# Contrastive batches come one at a time and cannot be shared by processes, and small stages are not worth it.
ALONE = ("emotion_vae", "style_encoder")


def borrow(source: Path, folder: Path, stages: Sequence[str]) -> None:
    """Stages that were trained in another folder stand in this one by reference.

    Raises:
        FileNotFoundError: if one was not trained there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stage in stages:
        if not (source / stage).exists():
            raise FileNotFoundError(f"{folder.name} needs the {stage} of {source}, which is not trained.")
        if not (folder / stage).exists():
            (folder / stage).symlink_to((source / stage).resolve())


def train_stage(
    stage: str,
    folder: Path,
    config: str | Path,
    data_dir: Path,
    settings: Mapping[str, object],
    processes: int = 1,
    cache_dir: str | None = None,
) -> None:
    """Train a stage as `perfrdiff train` does, on from the latest checkpoint if there is one.

    Args:
        stage: which.
        folder: of the row; what the stage needs lies in it.
        config: a configuration's name or file.
        data_dir: folder of dyads.
        settings: what the row changes, by dotted name.
        processes: that train together.
        cache_dir: where computed features are kept.

    Raises:
        RuntimeError: if training fails in this process.
        subprocess.CalledProcessError: if it fails in processes of its own.
    """
    words = ["--stage", stage, "--config", config, "--data_dir", data_dir, "--output_dir", folder]
    words += ["--cache_dir", cache_dir] if cache_dir else []
    words += ["--resume_from_checkpoint", "latest", *(f"--{name}={value}" for name, value in settings.items())]
    if stage in ALONE or processes == 1:
        if perfrdiff(["train", *map(str, words)]):
            raise RuntimeError(f"The stage {stage} of {folder} could not be trained.")
        return
    together = ["--standalone", "--nproc_per_node", processes, "-m", "perfrdiff_hf.cli.train"]
    run_module("torch.distributed.run", *together, *words)


def run_module(module: str, *arguments: object) -> None:
    """Run a module in a process of its own, one thread a process.

    Raises:
        subprocess.CalledProcessError: if it fails.
    """
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "ACCELERATE_USE_CPU": "true"}
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=True, env=environment)
