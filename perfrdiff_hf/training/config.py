"""What a training run is told: a YAML file, by path or by the name of a shipped one, and overrides of settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..baselines.recipe import Recipe, check_at_least
from ..baselines.system import System, get_system
from .config_file import build, override, plain, read_yaml
from .stages import PERFRDIFF


@dataclass
class StageConfig:
    """How one stage is optimised. The defaults are the paper's for the denoiser (GAFRG).

    Args:
        batch_size: examples per optimiser step, *over all processes and accumulation steps together*: the same
            configuration means the same training on one device and on eight. An example is a window
            (`emotion_vae`), a contrastive batch of clips (`style_encoder`) or a speaker window with its reactions
            (`denoiser`, `weight_shift_generator`).
        max_steps: optimiser steps; exactly one of `max_steps` and `epochs` is given.
        epochs: passes over the training examples, as an alternative.
        optimizer: `"adamw"` or `"sgd"`.
        learning_rate: the highest learning rate.
        weight_decay: decoupled for AdamW, classical for SGD.
        betas: of AdamW.
        momentum: of SGD.
        schedule: `"constant"`, or `"cosine"` to zero at the last step.
        warmup_steps: steps of linear warm-up from zero.
        max_grad_norm: gradients are clipped to this norm; None leaves them.
        ema_decay: decay of the moving average of the weights that is saved and validated; 0 keeps none.
        gradient_accumulation_steps: forward passes per optimiser step and process.
    """

    batch_size: int = 4
    max_steps: int | None = None
    epochs: int | None = None
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = 0
    max_grad_norm: float | None = None
    ema_decay: float = 0.0
    gradient_accumulation_steps: int = 1

    def __post_init__(self) -> None:
        if (self.max_steps is None) == (self.epochs is None):
            raise ValueError("Exactly one of max_steps and epochs must be given for a stage.")
        check_at_least(self, 1, "batch_size", "max_steps", "epochs", "gradient_accumulation_steps")
        check_at_least(self, 0, "warmup_steps", "learning_rate", "weight_decay", "momentum", "max_grad_norm")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must lie in [0, 1); given: {self.ema_decay}.")
        if self.batch_size % self.gradient_accumulation_steps:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of gradient_accumulation_steps "
                f"({self.gradient_accumulation_steps}): it counts all examples of an optimiser step."
            )


@dataclass
class RunConfig:
    """How the run is carried out: what does not change what is learned, up to rounding.

    Args:
        mixed_precision: `"no"`, `"bf16"` or `"fp16"`.
        compile: whether the stage is compiled with `torch.compile`.
        gradient_checkpointing: whether activations are computed again instead of kept, where a model can do so:
            slower, in less memory.
        num_workers: processes that prepare examples, for each training process.
        num_readers: processes that compute the features of a data folder when it is read for the first time; 0 is the
            training process itself.
        log_every: steps between two log entries.
        checkpoint_every: steps between two checkpoints; 0 writes none, except when the run is interrupted.
        keep_checkpoints: how many checkpoints are kept.
        validate_every: steps between two validations; 0 validates at the end only.
        validation_examples: examples of the validation split for the validation loss.
        validation_clips: speaker clips for FRCorr and FRdist; 0 leaves them out.
        validation_reactions: reactions generated to each of these clips.
        report_to: tracker, as Accelerate calls it (`"tensorboard"`, `"wandb"`, `"trackio"`), or None.
    """

    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    compile: bool = False
    gradient_checkpointing: bool = False
    num_workers: int = 0
    num_readers: int = 0
    log_every: int = 10
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    validate_every: int = 0
    validation_examples: int = 64
    validation_clips: int = 0
    validation_reactions: int = 3
    report_to: str | None = "tensorboard"

    def __post_init__(self) -> None:
        check_at_least(self, 1, "log_every", "keep_checkpoints", "validation_reactions")
        check_at_least(
            self, 0, "num_workers", "checkpoint_every", "validate_every", "validation_examples", "validation_clips"
        )


@dataclass(kw_only=True)
class TrainingConfig(Recipe):
    """Everything that decides what a training run learns, and how it is run.

    Args:
        stages: one `StageConfig` for each stage of the system, by the component that it trains.
        run: how it is run.
        system: which system is trained.
    """

    stages: dict[str, StageConfig]
    run: RunConfig = dataclasses.field(default_factory=RunConfig)
    system: str = PERFRDIFF.name

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain dictionaries, lists and numbers."""
        return plain(dataclasses.asdict(self))


def load_config(path: str | Path, overrides: Mapping[str, str] | None = None) -> TrainingConfig:
    """Read a configuration.

    Args:
        path: a YAML file with the keys of `TrainingConfig`, or the name of a shipped one, such as `"demo"`.
        overrides: values by dotted name, such as `{"stages.denoiser.max_steps": "100"}`; the values are YAML, too.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not YAML, a key is unknown, a required one missing, or a value impossible.
    """
    values = read_yaml(_find_config(path))
    for name, text in (overrides or {}).items():
        override(values, name, text)
    system = get_system(str(values.get("system", PERFRDIFF.name)))
    _check_stage_names(values.get("stages"), system)
    return build(TrainingConfig, values)


def configs_folder() -> Path:
    """Where the shipped configurations lie: inside an installed package, or among the examples of a clone."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "examples" / "configs"


def config_names() -> list[str]:
    """The names of the shipped configurations."""
    return sorted(_shipped())


def _shipped() -> dict[str, Path]:
    return {path.stem: path for path in configs_folder().rglob("*.yaml")}


def _find_config(path: str | Path) -> Path:
    found = Path(path)
    if found.is_file() or found.suffix or len(found.parts) != 1:
        return found
    shipped = _shipped()
    if found.name not in shipped:
        raise FileNotFoundError(
            f"config: there is no file {found}, and no shipped configuration of that name; shipped are "
            f"{', '.join(sorted(shipped))}."
        )
    return shipped[found.name]


def _check_stage_names(stages: Any, system: System) -> None:
    given = stages if isinstance(stages, dict) else {}
    for name in given:
        if name not in system.stage_names:
            raise ValueError(
                f"Configuration: unknown key stages.{name}.{system.did_you_mean(str(name))} "
                f"Known keys: {', '.join(system.stage_names)}."
            )
    missing = [f"stages.{name}" for name in system.stage_names if name not in given]
    if missing and (stages is None or isinstance(stages, dict)):
        raise ValueError(f"Configuration: missing {', '.join(missing)}.")
