"""What a training run is told: dataclasses, read from one YAML file, with every unknown key refused."""

from __future__ import annotations

import dataclasses
import difflib
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml


STAGES = ("emotion_vae", "pssl", "gafrg", "pwsg")


@dataclass
class StageConfig:
    """How one stage is optimised. The defaults are the paper's for GAFRG.

    Args:
        batch_size: examples per optimiser step, *over all processes and accumulation steps together*: the same
            configuration means the same training on one device and on eight. An example is a window
            (emotion_vae), a contrastive batch of clips (pssl) or a speaker window with its reactions (gafrg, pwsg).
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
        _check_at_least(self, 1, "batch_size", "max_steps", "epochs", "gradient_accumulation_steps")
        _check_at_least(self, 0, "warmup_steps", "learning_rate", "weight_decay", "momentum", "max_grad_norm")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must lie in [0, 1); given: {self.ema_decay}.")
        if self.batch_size % self.gradient_accumulation_steps:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of gradient_accumulation_steps "
                f"({self.gradient_accumulation_steps}): it counts all examples of an optimiser step."
            )


@dataclass
class DataConfig:
    """What a training example is.

    Args:
        window_size: frames of a window.
        num_reactions: recorded reactions to one speaker window in the GAFRG stage (one to many).
        history_frames: frames of listener history in the PWSG stage.
        contrast: `"within"`: the people of a contrastive batch react to the same speaker behaviour (equation 11);
            `"random"`: they are drawn from everybody.
        style_frames: frames of each clip of a contrastive batch; None takes whole clips.
        style_speakers: speaker clips in a contrastive batch.
        style_listeners: most listeners for each speaker clip of a contrastive batch.
        style_clips: most clips for each listener of a contrastive batch.
        drop_all_conditions: probability that an example loses all conditions at once, in addition to the
            independent losses that the denoiser's `condition_dropout` asks for. Guidance needs the unconditional
            prediction; independent losses train it in 0.8 % of the examples only.
    """

    window_size: int = 50
    num_reactions: int = 10
    history_frames: int = 750
    contrast: Literal["within", "random"] = "within"
    style_frames: int | None = None
    style_speakers: int = 3
    style_listeners: int = 4
    style_clips: int = 16
    drop_all_conditions: float = 0.0

    def __post_init__(self) -> None:
        _check_at_least(self, 1, "window_size", "num_reactions", "history_frames", "style_frames", "style_speakers")
        _check_at_least(self, 2, "style_listeners", "style_clips")
        if not 0 <= self.drop_all_conditions < 1:
            raise ValueError(f"drop_all_conditions must lie in [0, 1); given: {self.drop_all_conditions}.")


@dataclass
class RunConfig:
    """How the run is carried out: what does not change what is learned, up to rounding.

    Args:
        mixed_precision: `"no"`, `"bf16"` or `"fp16"`.
        compile: whether the stage is compiled with `torch.compile`.
        num_workers: processes that prepare examples, for each training process.
        log_every: steps between two log entries.
        checkpoint_every: steps between two checkpoints; 0 writes none, except when the run is interrupted.
        keep_checkpoints: how many checkpoints are kept.
        validate_every: steps between two validations; 0 validates at the end only.
        validation_examples: examples of the validation split for the validation loss.
        validation_clips: speaker clips for FRCorr and FRdist; 0 leaves them out.
        validation_reactions: reactions generated to each of these clips.
        validation_steps: denoising steps of these reactions.
        report_to: tracker, as Accelerate calls it (`"tensorboard"`, `"wandb"`, `"trackio"`), or None.
    """

    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    compile: bool = False
    num_workers: int = 0
    log_every: int = 10
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    validate_every: int = 0
    validation_examples: int = 64
    validation_clips: int = 0
    validation_reactions: int = 3
    validation_steps: int = 20
    report_to: str | None = "tensorboard"

    def __post_init__(self) -> None:
        _check_at_least(self, 1, "log_every", "keep_checkpoints", "validation_reactions", "validation_steps")
        _check_at_least(
            self, 0, "num_workers", "checkpoint_every", "validate_every", "validation_examples", "validation_clips"
        )


@dataclass
class ModelsConfig:
    """Arguments of the four models that differ from their defaults, by component name, and of the scheduler.

    `scheduler` holds what differs from the official `DDIMScheduler`, such as `timestep_spacing: trailing`, which a
    model that is to be sampled in few steps wants: the official spacing does not begin at pure noise.

    `weight_shift_generator.edited_layers` is a list of names of linear layers of the denoiser; the sizes are read
    from the denoiser.
    """

    emotion_vae: dict[str, Any] = field(default_factory=dict)
    style_encoder: dict[str, Any] = field(default_factory=dict)
    denoiser: dict[str, Any] = field(default_factory=dict)
    weight_shift_generator: dict[str, Any] = field(default_factory=dict)
    scheduler: dict[str, Any] = field(default_factory=dict)


@dataclass
class StagesConfig:
    """One `StageConfig` for each stage."""

    emotion_vae: StageConfig
    pssl: StageConfig
    gafrg: StageConfig
    pwsg: StageConfig


@dataclass
class TrainingConfig:
    """Everything that decides what a training run learns, and how it is run."""

    stages: StagesConfig
    models: ModelsConfig = field(default_factory=ModelsConfig)
    data: DataConfig = field(default_factory=DataConfig)
    run: RunConfig = field(default_factory=RunConfig)
    seed: int = 1234

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain dictionaries, lists and numbers."""
        return _plain(dataclasses.asdict(self))


def configs_folder() -> Path:
    """Where the configurations that come with the package lie: inside an installed package, or beside a clone's."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "examples" / "configs"


def load_config(path: str | Path, overrides: dict[str, str] | None = None) -> TrainingConfig:
    """Read a configuration file.

    Args:
        path: a YAML file with the keys of `TrainingConfig`, or the name of one that comes with the package: "demo",
            "bench" or "paper".
        overrides: values by dotted name, such as `{"stages.gafrg.max_steps": "100"}`; the values are YAML, too.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not YAML, a key is unknown, a required one missing, or a value impossible.
    """
    shipped = {file.stem: file for file in sorted(configs_folder().glob("*.yaml"))}
    path = shipped.get(str(path), Path(path))
    if not path.is_file():
        raise FileNotFoundError(f"--config: there is no file {path}, nor is it one of {', '.join(shipped)}.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"--config: {path} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"--config: {path} must hold keys and values; it holds a {type(values).__name__}.")
    for name, value in (overrides or {}).items():
        _set_dotted(values, name, yaml.safe_load(value))
    return _build(TrainingConfig, values, "")


def _set_dotted(values: dict[str, Any], name: str, value: Any) -> None:
    *parents, last = name.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ValueError(f"--{name}: {parent} is a single value; it has no keys.")
    values[last] = value


def _build(kind: type, values: Any, where: str) -> Any:
    """A dataclass from nested dictionaries; `where` is the dotted name of its place, for messages."""
    if not isinstance(values, dict):
        raise ValueError(f"Configuration: {where} must hold keys and values; it is {values!r}.")
    hints = get_type_hints(kind)
    for name in values:
        if name not in hints:
            near = difflib.get_close_matches(str(name), hints, n=1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise ValueError(
                f"Configuration: unknown key {_dotted(where, name)}.{meant} Known keys: {', '.join(sorted(hints))}."
            )
    arguments = {name: _convert(hints[name], value, _dotted(where, name)) for name, value in values.items()}
    required = [item.name for item in dataclasses.fields(kind) if _is_required(item) and item.name not in arguments]
    if required:
        raise ValueError(f"Configuration: missing {', '.join(_dotted(where, name) for name in required)}.")
    try:
        return kind(**arguments)
    except ValueError as error:
        raise ValueError(f"Configuration: {where or 'top level'}: {error}") from None


def _is_required(item: dataclasses.Field) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING


def _dotted(where: str, name: Any) -> str:
    return f"{where}.{name}" if where else str(name)


def _convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type that `hint` asks for; YAML reads 1e-4 as text, and an int may stand for a float."""
    origin, options = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, where)  # type: ignore[arg-type]
    if origin in (Union, types.UnionType):
        return None if value is None else _convert(options[0], value, where)
    if origin is Literal:
        if value is False and "no" in options:  # YAML reads a bare `no` as false
            value = "no"
        if value not in options:
            raise ValueError(f"Configuration: {where} must be one of {', '.join(options)}; given: {value!r}.")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)) or len(value) != len(options):
            raise ValueError(f"Configuration: {where} must be a list of {len(options)} values; given: {value!r}.")
        return tuple(_convert(option, item, where) for option, item in zip(options, value))
    if origin is dict:
        if value is not None and not isinstance(value, dict):
            raise ValueError(f"Configuration: {where} must hold keys and values; given: {value!r}.")
        return dict(value or {})
    return _scalar(hint, value, where)


def _scalar(kind: type, value: Any, where: str) -> Any:
    if kind is float and not isinstance(value, bool):
        try:
            return float(value)
        except (TypeError, ValueError):
            pass
    elif isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise ValueError(f"Configuration: {where} must be {kind.__name__}; given: {value!r}.")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _check_at_least(config: Any, least: float, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}; given: {value}.")
