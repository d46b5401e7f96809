"""A stage trained by several processes of this machine, from inside one program."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from .checkpoints import LATEST
from .config import load_config
from .job import TrainingJob
from .run import run_training


# Contrastive batches come one at a time and cannot be shared by processes, and small stages are not worth it.
ALONE = ("emotion_vae", "style_encoder")


def train_stage(
    stage: str,
    output_dir: str | Path,
    config: str | Path,
    data_dir: str | Path,
    overrides: Mapping[str, str],
    processes: int = 1,
    cache_dir: str | Path | None = None,
) -> None:
    """Train a stage as `perfrdiff train` does, on from the latest checkpoint if there is one.

    Args:
        stage: which.
        output_dir: what the stage needs lies in it.
        config: a configuration's name or file.
        data_dir: folder of dyads.
        overrides: settings by dotted name, as written in YAML.
        processes: that train together on the processor, each with one thread; 1: this one, as it is.
        cache_dir: where computed features are kept.

    Raises:
        ChildProcessError: if training fails in processes of its own; what failed, they say on standard error.
        ValueError: see `run_training`, as for other errors of this process.
    """
    if stage in ALONE or processes == 1:
        job = TrainingJob(stage, load_config(config, overrides), data_dir, output_dir, cache_dir, LATEST)
        run_training(job)
        return
    options = {
        "stage": stage,
        "config": config,
        "data_dir": data_dir,
        "output_dir": output_dir,
        "resume_from_checkpoint": LATEST,
        **({} if cache_dir is None else {"cache_dir": cache_dir}),
        **overrides,
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    launcher = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, "-m", *launcher, "-m", "perfrdiff_hf.cli.train", *words]
    if subprocess.run(command, env=environment).returncode:
        raise ChildProcessError(f"The stage {stage} could not be trained in {output_dir}; the reason is told above.")
