"""One training loop for all stages, on Accelerate. What is learned is the stage's business, not the loop's."""

from __future__ import annotations

import json
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..progress import Progress
from .checkpoints import CheckpointFolder, TrainingState
from .config import RunConfig, StageConfig, TrainingConfig
from .objectives import Objective
from .optimisers import build_optimizer, learning_rate, set_learning_rate
from .order import Draws, Examples, ExampleStream, KeyedExamples, mixed_seed


logger = logging.getLogger(__name__)

# 128 + SIGTERM, as the shell counts it: a job that was told to stop has not failed, but is not finished either.
INTERRUPTED_EXIT_CODE = 143


class Interruption:
    """Notes SIGTERM and SIGINT instead of dying of them; a second one ends the program at once."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        signal.signal(number, self._previous[number])


class Averages:
    """Running means of logged scalars, kept on the device until they are asked for."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach().float()
        self._count += 1

    def flush(self, accelerator: Accelerator) -> dict[str, float]:
        """The means since the last call, over all processes."""
        names = sorted(self._sums)
        means = accelerator.reduce(torch.stack([self._sums[name] for name in names]) / self._count, "mean")
        self._sums, self._count = {}, 0
        return dict(zip(names, means.tolist()))


class StageRun:
    """One stage from its first step, or from a checkpoint, to the saved model.

    Args:
        name: of the stage; checkpoints and logs are filed under it.
        objective: what is minimised.
        examples: what is trained on.
        draws: the random numbers of an example.
        collate: examples to a batch.
        config: of the whole training.
        output_dir: where checkpoints and logs go.
        accelerator: of the run.
        validate: called with the objective (moving average in place) and whether training is over; returns figures.
    """

    def __init__(
        self,
        name: str,
        objective: Objective,
        examples: Examples,
        draws: Draws,
        collate: Callable[[list[dict[str, Tensor]]], dict[str, Tensor]],
        config: TrainingConfig,
        output_dir: Path,
        accelerator: Accelerator,
        validate: Callable[[Objective, bool], dict[str, float]] | None = None,
    ):
        self.name = name
        self.config = config
        self.stage_config: StageConfig = getattr(config.stages, name)
        self.run_config: RunConfig = config.run
        self.accelerator = accelerator
        self.objective = objective.place(accelerator.device)
        self.examples = examples
        self.draws = draws
        self.collate = collate
        self.validate = validate
        self.total_steps = total_steps(self.stage_config, len(examples))
        self.checkpoints = CheckpointFolder(
            output_dir / "checkpoints" / name, config.run.keep_checkpoints, accelerator
        )
        self.log = StepLog(output_dir / "logs", name, config, accelerator)
        self.state = self._prepare()

    def _prepare(self) -> TrainingState:
        if self.run_config.compile:
            self.objective.compile()
        trained = [parameter for parameter in self.objective.parameters() if parameter.requires_grad]
        ema = None
        if self.stage_config.ema_decay:
            if self.accelerator.distributed_type == DistributedType.FSDP:
                raise ValueError("ema_decay must be 0 under FSDP: the moving average is not sharded.")
            ema = EMAModel(trained, decay=self.stage_config.ema_decay)
        optimizer = build_optimizer(self.stage_config, trained)
        model, optimizer = self.accelerator.prepare(self.objective, optimizer)
        return TrainingState(model, optimizer, ema)

    def resume(self, wanted: str) -> None:
        """Continue from a checkpoint: `"latest"`, or a name. Without any, `"latest"` begins at the beginning."""
        settings = self.checkpoints.load(self.state, wanted)
        if settings is None:
            logger.info(f"{self.name}: there is no checkpoint to resume from; beginning at step 0.")
            return
        compare_settings(settings, self._settings())
        logger.info(f"{self.name}: resumed from step {self.state.step} of {self.total_steps}.")

    def train(self) -> dict[str, float]:
        """Run to the last step.

        Returns:
            The figures of the last validation and the last logged loss.

        Raises:
            SystemExit: with code 143, after a checkpoint was written, if SIGTERM or SIGINT arrived.
            FloatingPointError: if the loss is no longer a finite number.
        """
        self.log.begin(self.state.step)
        logger.info(
            f"{self.name}: {sum(p.numel() for p in self._trained_parameters()):,} parameters, "
            f"{self.total_steps:,} steps of {self.stage_config.batch_size} examples out of {len(self.examples):,}."
        )
        batches = iter(self._loader())
        averages, shown, started, clips = Averages(), {}, time.perf_counter(), 0
        self.objective.train()
        silent = not self.accelerator.is_local_main_process
        bar = Progress(self.name, self.total_steps, "step", done=self.state.step, silent=silent)
        with Interruption() as interruption, bar:
            while self.state.step < self.total_steps:
                clips += self._step(batches, averages)
                bar.update()
                step, last = self.state.step, self.state.step == self.total_steps
                if last or step % self.run_config.log_every == 0:
                    shown = averages.flush(self.accelerator)
                    rate = clips * self.accelerator.num_processes / (time.perf_counter() - started)
                    bar.show({"loss": f"{shown['loss']:.4f}", "clips/s": f"{rate:.1f}"})
                    self.log.write(step, {**shown, "clips_per_second": rate, "learning_rate": self._rate(step - 1)})
                    _check_finite(shown["loss"], self.name, step)
                    started, clips = time.perf_counter(), 0
                if self._agree(interruption.requested):
                    self._stop()
                if not last and _is_due(step, self.run_config.checkpoint_every):
                    self.checkpoints.save(self.state, self._settings())
                if last or _is_due(step, self.run_config.validate_every):
                    shown |= self._validate(last)
                    started, clips = time.perf_counter(), 0
        self.log.end()
        return shown

    def _step(self, batches: Iterator[dict[str, Tensor]], averages: Averages) -> int:
        """One optimiser step; returns how many clips this process took."""
        config, state, clips = self.stage_config, self.state, 0
        parts = config.gradient_accumulation_steps
        set_learning_rate(state.optimizer, self._rate(state.step))
        for part in range(parts):
            batch = {name: value.to(self.accelerator.device) for name, value in next(batches).items()}
            # Dropout is the only global randomness. Seeding it here spares checkpoints the random states.
            torch.manual_seed(mixed_seed(self.config.seed, state.step, part, self.accelerator.process_index))
            more_to_come = part < parts - 1
            with self.accelerator.no_sync(state.model) if more_to_come else nullcontext():
                losses = state.model(batch)
                self.accelerator.backward(losses["loss"] / parts)
            averages.add(losses)
            clips += len(next(iter(batch.values())))
        if config.max_grad_norm is not None:
            self.accelerator.clip_grad_norm_(state.model.parameters(), config.max_grad_norm)
        state.optimizer.step()
        state.optimizer.zero_grad()
        if state.ema is not None:
            state.ema.step(self._trained_parameters())
        state.step += 1
        return clips

    def _loader(self) -> DataLoader:
        stream = ExampleStream(
            len(self.examples),
            self.stage_config.batch_size,
            self.config.seed,
            self.accelerator.process_index,
            self.accelerator.num_processes,
            self.stage_config.gradient_accumulation_steps,
            self.state.step,
        )
        return DataLoader(
            KeyedExamples(self.examples, self.draws, self.config.seed),
            batch_sampler=stream,
            collate_fn=self.collate,
            num_workers=self.run_config.num_workers,
            pin_memory=self.accelerator.device.type == "cuda",
            generator=torch.Generator(),  # else the loader would draw from the global random state
        )

    def _rate(self, step: int) -> float:
        return learning_rate(self.stage_config, step, self.total_steps)

    def _trained_parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.objective.parameters() if parameter.requires_grad]

    @contextmanager
    def averaged_weights(self) -> Iterator[Objective]:
        """The objective in eval mode, with the moving average in place of the weights if there is one."""
        ema, parameters = self.state.ema, self._trained_parameters()
        self.objective.eval()
        if ema is not None:
            ema.store(parameters)
            ema.copy_to(parameters)
        try:
            yield self.objective
        finally:
            if ema is not None:
                ema.restore(parameters)
            self.objective.train()

    def _validate(self, last: bool) -> dict[str, float]:
        if self.validate is None or self.accelerator.distributed_type == DistributedType.FSDP:
            return {}
        with self.averaged_weights() as objective, torch.no_grad():
            figures = {f"validation_{name}": value for name, value in self.validate(objective, last).items()}
        self.log.write(self.state.step, figures)
        described = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
        logger.info(f"{self.name}, step {self.state.step}: {described}")
        return figures

    def _agree(self, requested: bool) -> bool:
        """Whether any process was told to stop: all must stop at the same step."""
        if self.accelerator.num_processes == 1:
            return requested
        flag = torch.tensor(float(requested), device=self.accelerator.device)
        return self.accelerator.reduce(flag, "sum").item() > 0

    def _stop(self) -> None:
        written = self.checkpoints.save(self.state, self._settings())
        where = self.checkpoints.path(self.state.step) if written else "nothing: see the error above"
        logger.warning(
            f"{self.name}: interrupted after step {self.state.step} of {self.total_steps}; saved {where}. "
            "Continue with --resume_from_checkpoint latest."
        )
        self.log.end()
        self.accelerator.wait_for_everyone()
        raise SystemExit(INTERRUPTED_EXIT_CODE)

    def _settings(self) -> dict[str, Any]:
        settings = self.config.to_dict()
        return {
            "seed": settings["seed"],
            "data": settings["data"],
            "models": settings["models"],
            "stage": settings["stages"][self.name],
            "num_examples": len(self.examples),
        }


class StepLog:
    """Figures of a run by step: a JSON line each in `logs/<stage>.jsonl`, and the trackers of Accelerate."""

    def __init__(self, folder: Path, name: str, config: TrainingConfig, accelerator: Accelerator):
        self.path = folder / f"{name}.jsonl"
        self.name = name
        self.config = config
        self.accelerator = accelerator

    def begin(self, step: int) -> None:
        """Open the log, forgetting what was written after `step`, from which the run goes on."""
        self.accelerator.init_trackers(self.name, config=flat_settings(self.config.to_dict()))
        if not self.accelerator.is_main_process:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = []
        if step and self.path.is_file():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        self.path.write_text("".join(kept), encoding="utf-8")

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


def total_steps(config: StageConfig, num_examples: int) -> int:
    """Optimiser steps of a stage, whether they are given as steps or as epochs."""
    if config.max_steps is not None:
        return config.max_steps
    return math.ceil((config.epochs or 0) * num_examples / config.batch_size)


def compare_settings(saved: dict[str, Any], current: dict[str, Any]) -> None:
    """See that a run goes on as it began.

    Raises:
        ValueError: if seed, data, models, batch size or number of examples differ: the order of the examples or the
            weights would not fit. Other differences are reported and accepted.
    """
    before, now = flat_settings(saved), flat_settings(current)
    changed = {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
    described = "; ".join(f"{name} was {before.get(name)}, now {now.get(name)}" for name in sorted(changed))
    if any(not name.startswith("stage.") or name == "stage.batch_size" for name in changed):
        raise ValueError(f"The checkpoint was written with other settings: {described}. Use another --output_dir.")
    if changed:
        logger.warning(f"The checkpoint was written with other settings: {described}. Going on with the new ones.")


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


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _check_finite(loss: float, name: str, step: int) -> None:
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"{name}: the loss is {loss} at step {step}. Lower the learning rate, set max_grad_norm, or leave fp16; "
            "the last checkpoint is from before."
        )
