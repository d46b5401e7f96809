"""What a run tells while it goes on: means of logged scalars, a JSON line for each step, and Accelerate's trackers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from .config import TrainingConfig


# Trackers that group the runs of a project and give each a name.
TRACKERS_WITH_NAMES = ("wandb", "trackio")


class Averages:
    """Running means of logged scalars, kept on the device until they are asked for."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, values: dict[str, Tensor]) -> None:
        """Take the scalars of one forward pass."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach().float()
        self._count += 1

    def flush(self, accelerator: Accelerator) -> dict[str, float]:
        """The means since the last call, over all processes."""
        names = sorted(self._sums)
        means = accelerator.reduce(torch.stack([self._sums[name] for name in names]) / self._count, "mean")
        self._sums, self._count = {}, 0
        return dict(zip(names, means.tolist()))


class StepLog:
    """Figures of a run by step: a JSON line each in `logs/<stage>.jsonl`, and the trackers of Accelerate.

    Args:
        output_dir: of the run.
        stage: name of the stage.
        config: of the run.
        accelerator: of the run.
    """

    def __init__(self, output_dir: Path, stage: str, config: TrainingConfig, accelerator: Accelerator):
        self.output_dir = output_dir
        self.path = output_dir / "logs" / f"{stage}.jsonl"
        self.stage = stage
        self.config = config
        self.accelerator = accelerator

    def begin(self, step: int) -> None:
        """Open the log, forgetting what was written after `step`, from which the run goes on."""
        self._begin_trackers()
        if not self.accelerator.is_main_process:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = []
        if step and self.path.is_file():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        self.path.write_text("".join(kept), encoding="utf-8")

    def _begin_trackers(self) -> None:
        """All stages of a system are runs of one project; tensorboard, which has folders only, gets one a stage."""
        tracker = self.config.run.report_to
        named = tracker in TRACKERS_WITH_NAMES
        self.accelerator.init_trackers(
            self.config.system if named else self.stage,
            config=flat_settings(self.config.to_dict()),
            init_kwargs={tracker: {"name": f"{self.output_dir.name}-{self.stage}"}} if named else {},
        )

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Add the figures of a step."""
        self.accelerator.log(figures, step=step)
        if self.accelerator.is_main_process:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **figures}) + "\n")

    def end(self) -> None:
        """Close the trackers."""
        for tracker in self.accelerator.trackers:
            tracker.finish()


def flat_settings(values: dict[str, Any], where: str = "") -> dict[str, Any]:
    """Nested settings as one level of dotted names; lists and None as text, which every tracker can show."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{where}{key}"
        if isinstance(value, dict):
            flat |= flat_settings(value, f"{name}.")
        else:
            flat[name] = value if isinstance(value, (bool, int, float, str)) else json.dumps(value)
    return flat
