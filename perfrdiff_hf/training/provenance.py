"""What a model was trained with, so that it is never taken for the model of other settings, other parts or other data.

Every checkpoint and every `training.json` holds the settings that decide what its stage learns, and digests of what
went in: the weights of the components that the stage needs, and the data.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

from ..baselines.stage import Stage
from ..baselines.system import System
from ..cards import read_report
from .config import TrainingConfig
from .config_file import plain
from .logs import flat_settings


logger = logging.getLogger(__name__)

CONFIG_NAME = "config.json"
INPUTS = "inputs"
DATA = "data"
# Of a stage's configuration, what changes rounding only.
ROUNDING_ONLY = ("gradient_accumulation_steps",)
REMEDY = "train it again with overwrite_output_dir, or use another output_dir"


def settings_of_stage(stage: Stage, config: TrainingConfig, output_dir: Path, data_digest: str) -> dict[str, Any]:
    """Everything that decides what a stage learns, as plain values.

    Args:
        stage: which.
        config: of the run.
        output_dir: where the components lie that the stage needs; those that are not there yet have no digest.
        data_digest: of the training split.
    """
    read: dict[str, Any] = {"data": {}, "models": {}}
    for name in (*stage.reads, f"models.{stage.name}"):
        section, key = name.split(".")
        read[section][key] = config.arguments(key) if section == "models" else getattr(config.data, key)
    told = {name: value for name, value in vars(config.stages[stage.name]).items() if name not in ROUNDING_ONLY}
    inputs = {name: digest_of_model(output_dir / name) for name in stage.needs if is_model(output_dir / name)}
    settings = {"system": config.system, "seed": config.seed, **read, "stage": told}
    return plain({**settings, INPUTS: {DATA: data_digest, **inputs}})


def check_finished(stage: Stage, saved: dict[str, Any], current: dict[str, Any], folder: Path) -> None:
    """See that a model which was trained before is the one that is asked for.

    Args:
        stage: that trained it.
        saved: its settings.
        current: the settings of this run.
        folder: where it lies.

    Raises:
        ValueError: if not; the message names what changed, and what can be done.
    """
    changed, inputs = _differences(saved, current)
    if changed:
        raise ValueError(
            f"{folder} holds a {stage.name} that was trained with other settings: {_described(changed)}. Give the "
            f"earlier settings, {REMEDY}."
        )
    if inputs:
        raise ValueError(f"{folder} is stale: {stage.name} was trained with another {_names(inputs)}. So {REMEDY}.")


def check_resumable(saved: dict[str, Any], current: dict[str, Any]) -> None:
    """See that a run goes on as it began. How it is optimised may change, which is reported.

    Raises:
        ValueError: if seed, data, models, parts or batch size differ: the order of the examples or the weights would
            not fit.
    """
    changed, inputs = _differences(saved, current)
    if inputs:
        raise ValueError(f"The checkpoint is stale: it was trained with another {_names(inputs)}. So {REMEDY}.")
    if any(not name.startswith("stage.") or name == "stage.batch_size" for name in changed):
        raise ValueError(
            f"The checkpoint was written with other settings: {_described(changed)}. Give the earlier settings, "
            f"{REMEDY}."
        )
    if changed:
        logger.warning(f"The checkpoint was written with other settings: {_described(changed)}. Going on with these.")


def check_parts(system: System, names: set[str], output_dir: Path) -> None:
    """See that components which were trained in a folder were trained with one another.

    Args:
        system: whose components.
        names: those to look at, and all that they need.
        output_dir: the folder. A component that does not say how it was trained, such as a converted one, is taken
            as it is.

    Raises:
        ValueError: if a component was trained with other weights than those that lie there now.
    """
    for stage in system.stages:
        report = read_report(output_dir / stage.name) if stage.name in names else None
        inputs = (report or {}).get("settings", {}).get(INPUTS, {})
        for part in stage.needs:
            digest = inputs.get(part)
            if digest and is_model(output_dir / part) and digest != digest_of_model(output_dir / part):
                raise ValueError(
                    f"{output_dir / stage.name} is stale: it was trained with another {part} than the one in "
                    f"{output_dir / part}. So {REMEDY}."
                )


def is_model(folder: Path) -> bool:
    """Whether a folder holds a model as `save_pretrained` writes it."""
    return (folder / CONFIG_NAME).is_file()


def digest_of_model(folder: Path) -> str:
    """What stands for the model in a folder: a digest of its configuration and its weights."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted([folder / CONFIG_NAME, *folder.glob("*.safetensors")]):
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def _differences(saved: dict[str, Any], current: dict[str, Any]) -> tuple[dict[str, tuple[Any, Any]], list[str]]:
    """Settings that differ, as they were and are, and the names of inputs that differ."""
    before, now = flat_settings(saved), flat_settings(current)
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    prefix = f"{INPUTS}."
    changed = {name: (before.get(name), now.get(name)) for name in names if not name.startswith(prefix)}
    return changed, [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


def _described(changed: dict[str, tuple[Any, Any]]) -> str:
    return "; ".join(f"{name} was {before}, now {now}" for name, (before, now) in changed.items())


def _names(inputs: list[str]) -> str:
    return " and another ".join(inputs)
