"""Checkpoints of a training run: written beside and renamed, pruned, and read again, the newest whole one first.

A checkpoint is a folder `step-00001000` with the tensors of model, optimiser and moving average in safetensors, and
everything else in JSON; nothing is pickled. There are no random states in it: every draw of a run follows from the
seed, the step and the example. The main process writes; all processes, on all machines, must be able to read.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

from ..files import folder_beside, remove_leftovers


logger = logging.getLogger(__name__)

TENSORS_NAME = "state.safetensors"
STATE_NAME = "state.json"
LATEST = "latest"
NAME = re.compile(r"step-\d{8,}")


@dataclass
class TrainingState:
    """What a run must remember: the wrapped model, the wrapped optimiser, the moving average, and the step.

    Args:
        model: as `Accelerator.prepare` returned it.
        optimizer: as `Accelerator.prepare` returned it.
        ema: moving average of the trained weights, or None.
        step: optimiser steps taken.
    """

    model: nn.Module
    optimizer: Any
    ema: EMAModel | None
    step: int = 0


class CheckpointFolder:
    """The checkpoints of one stage.

    Args:
        folder: where they lie.
        keep: how many are kept.
        accelerator: of the run.
    """

    def __init__(self, folder: Path, keep: int, accelerator: Accelerator):
        self.folder = folder
        self.keep = keep
        self.accelerator = accelerator

    def steps(self) -> list[int]:
        """The steps at which there are checkpoints, oldest first."""
        return steps_in(self.folder)

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step lies."""
        return self.folder / f"step-{step:08d}"

    def save(self, state: TrainingState, settings: dict[str, Any]) -> bool:
        """Write a checkpoint; all processes call this.

        Args:
            state: what to write.
            settings: of the run, to be compared when it is resumed.

        Returns:
            Whether it was written. A full disk is reported, not raised: the run goes on, and the earlier checkpoints
            stay.
        """
        tensors, plain = _pack(state, self.accelerator)
        if not self.accelerator.is_main_process:
            return True
        plain["settings"] = settings
        target = self.path(state.step)
        remove_leftovers(self.folder)
        try:
            with folder_beside(target) as beside:
                save_file(tensors, beside / TENSORS_NAME)
                (beside / STATE_NAME).write_text(json.dumps(plain), encoding="utf-8")
        except (OSError, SafetensorError) as error:
            logger.error(f"The checkpoint of step {state.step} could not be written to {self.folder}: {error}")
            return False
        for step in self.steps()[: -self.keep]:
            shutil.rmtree(self.path(step), ignore_errors=True)
        return True

    def load(
        self, state: TrainingState, wanted: str, check: Callable[[dict[str, Any]], None] | None = None
    ) -> dict[str, Any] | None:
        """Restore `state` from a checkpoint; all processes call this.

        Args:
            state: what to restore.
            wanted: `"latest"`, or the name of a checkpoint (`"step-00001000"`). Where the newest one is broken, that
                is reported and the one before it is used.
            check: gets the settings with which the checkpoint was written, before anything is restored; it raises
                where they do not fit.

        Returns:
            The settings, or None if there is no checkpoint.

        Raises:
            FileNotFoundError: if a checkpoint is asked for by name and is not there.
            ValueError: if every checkpoint is broken, and what `check` raises.
        """
        found = [self._read(wanted)] if self.accelerator.is_main_process else [None]
        outcome = [_without_tensors(found[0])]
        broadcast_object_list(outcome)
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        if outcome[0] is None:
            return None
        plain = outcome[0]
        if check is not None:
            check(plain["settings"])
        tensors = found[0][0] if found[0] is not None else load_file(self.path(plain["step"]) / TENSORS_NAME)
        _unpack(state, tensors, plain, self.accelerator)
        return plain["settings"]

    def _read(self, wanted: str) -> Any:
        """(tensors, plain state), None, or the exception to raise in every process."""
        try:
            steps = steps_in(self.folder, wanted)[::-1]
        except FileNotFoundError as error:
            return error
        for step in steps:
            try:
                plain = json.loads((self.path(step) / STATE_NAME).read_text(encoding="utf-8"))
                return load_file(self.path(step) / TENSORS_NAME), plain
            except (OSError, ValueError, SafetensorError) as error:
                logger.error(f"The checkpoint {self.path(step)} is broken and is passed over: {error}")
        if steps:
            return ValueError(f"Every checkpoint in {self.folder} is broken. Start again with overwrite_output_dir.")
        return None


def checkpoints_of(output_dir: Path, stage: str) -> Path:
    """Where the checkpoints of a stage lie in the output folder of a run."""
    return output_dir / "checkpoints" / stage


def steps_in(folder: Path, wanted: str = LATEST) -> list[int]:
    """The steps of the checkpoints in a folder, oldest first.

    Args:
        folder: of one stage.
        wanted: `"latest"` for all of them, or the name of one.

    Raises:
        FileNotFoundError: if one is asked for by name and is not there.
    """
    names = {path.name: path for path in folder.glob("step-*") if NAME.fullmatch(path.name)}
    if wanted != LATEST:
        if wanted not in names or not (names[wanted] / STATE_NAME).is_file():
            there = ", ".join(sorted(names)) or "none"
            raise FileNotFoundError(f"resume_from_checkpoint: there is no {wanted} in {folder}; there: {there}.")
        names = {wanted: names[wanted]}
    return sorted(int(name.removeprefix("step-")) for name in names)


def settings_in(folder: Path, wanted: str = LATEST) -> dict[str, Any] | None:
    """The settings with which a checkpoint was written; None if there is none, or none that can be read.

    Args:
        folder: of one stage.
        wanted: `"latest"`, or the name of one.

    Raises:
        FileNotFoundError: if one is asked for by name and is not there.
    """
    for step in steps_in(folder, wanted)[::-1]:
        try:
            return json.loads((folder / f"step-{step:08d}" / STATE_NAME).read_text(encoding="utf-8"))["settings"]
        except (OSError, ValueError, KeyError):
            continue  # whoever loads it says what is wrong with it
    return None


def _without_tensors(found: Any) -> Any:
    return found[1] if isinstance(found, tuple) else found


def _pack(state: TrainingState, accelerator: Accelerator) -> tuple[dict[str, Tensor], dict[str, Any]]:
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    model, optimizer = get_state_dict(state.model, state.optimizer.optimizer, options=options)
    tensors = {f"model/{name}": value for name, value in model.items()}
    plain: dict[str, Any] = {"step": state.step, "optimizer_values": {}}
    for name, values in optimizer.get("state", {}).items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{name}/{key}"] = value
            else:
                plain["optimizer_values"][f"{name}/{key}"] = value
    plain["param_groups"] = optimizer.get("param_groups", [])
    if accelerator.scaler is not None:
        plain["scaler"] = accelerator.scaler.state_dict()
    if state.ema is not None:
        plain["ema_step"] = state.ema.optimization_step
        tensors |= {f"ema/{index:06d}": value for index, value in enumerate(state.ema.shadow_params)}
    # Model and optimiser were brought to the processor already; only the moving average may be elsewhere.
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}, plain


def _unpack(state: TrainingState, tensors: dict[str, Tensor], plain: dict[str, Any], accelerator: Accelerator) -> None:
    optimizer: dict[str, Any] = {"state": {}, "param_groups": plain["param_groups"]}
    for name, value in (_with_prefix(tensors, "optimizer/") | plain["optimizer_values"]).items():
        parameter, _, key = name.rpartition("/")
        optimizer["state"].setdefault(parameter, {})[key] = value
    set_state_dict(
        state.model,
        state.optimizer.optimizer,
        model_state_dict=_with_prefix(tensors, "model/"),
        optim_state_dict=optimizer,
        options=StateDictOptions(full_state_dict=True, cpu_offload=True),
    )
    if accelerator.scaler is not None and "scaler" in plain:
        accelerator.scaler.load_state_dict(plain["scaler"])
    if state.ema is not None:
        state.ema.optimization_step = plain["ema_step"]
        for index, shadow in enumerate(state.ema.shadow_params):
            shadow.copy_(tensors[f"ema/{index:06d}"])
    state.step = plain["step"]


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
