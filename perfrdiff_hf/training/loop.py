"""One training loop for all stages, on Accelerate. What is learned is the stage's business, not the loop's."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..baselines.stage import Draws, Examples, Objective, Stage
from ..progress import Progress
from .checkpoints import CheckpointFolder, TrainingState, checkpoints_of
from .config import RunConfig, StageConfig, TrainingConfig
from .denormals import denormals_flushed
from .interruption import INTERRUPTED_EXIT_CODE, Agreement, Interruption, outlive_interruption
from .logs import Averages, StepLog
from .optimisers import build_optimizer, learning_rate, set_learning_rate
from .order import ExampleStream, KeyedExamples, mixed_seed
from .provenance import check_resumable


logger = logging.getLogger(__name__)

REMEDY = "Lower the learning rate, set max_grad_norm, or leave fp16; the last checkpoint is from before."


class StageRun:
    """One stage from its first step, or from a checkpoint, to the last.

    Args:
        stage: what is trained; checkpoints and logs are filed under its name.
        objective: what is minimised.
        examples: what is trained on.
        draws: the random numbers of an example.
        config: of the whole training.
        settings: what decides what is learned, to be compared when the run is resumed; see `settings_of_stage`.
        output_dir: where checkpoints and logs go.
        accelerator: of the run.
        validate: called with the objective (moving average in place) and whether training is over; returns figures.
    """

    def __init__(
        self,
        stage: Stage,
        objective: Objective,
        examples: Examples,
        draws: Draws,
        config: TrainingConfig,
        settings: dict[str, Any],
        output_dir: Path,
        accelerator: Accelerator,
        validate: Callable[[Objective, bool], dict[str, float]] | None = None,
    ):
        self.stage = stage
        self.name = stage.name
        self.config = config
        self.settings = settings
        self.stage_config: StageConfig = config.stages[stage.name]
        self.run_config: RunConfig = config.run
        self.accelerator = accelerator
        self.objective = objective.place(accelerator.device)
        self.examples = examples
        self.draws = draws
        self.validate = validate
        self.total_steps = total_steps(self.stage_config, len(examples))
        self.checkpoints = CheckpointFolder(
            checkpoints_of(output_dir, self.name), config.run.keep_checkpoints, accelerator
        )
        self.log = StepLog(output_dir, self.name, config, accelerator)
        self.state = self._prepare()

    def _prepare(self) -> TrainingState:
        if self.run_config.gradient_checkpointing:
            enable_gradient_checkpointing(self.objective)
        if self.run_config.compile:
            self.objective.compile()
        trained = self._trained_parameters()
        ema = None
        if self.stage_config.ema_decay:
            if self.accelerator.distributed_type == DistributedType.FSDP:
                raise ValueError("ema_decay must be 0 under FSDP: the moving average is not sharded.")
            ema = EMAModel(trained, decay=self.stage_config.ema_decay)
        optimizer = build_optimizer(self.stage_config, trained)
        model, optimizer = self.accelerator.prepare(self.objective, optimizer)
        return TrainingState(model, optimizer, ema)

    def resume(self, wanted: str) -> None:
        """Continue from a checkpoint: `"latest"`, or a name. Without any, `"latest"` begins at the beginning.

        Raises:
            FileNotFoundError: if a checkpoint is asked for by name and is not there.
            ValueError: if it was written with other settings, or all are broken.
        """
        found = self.checkpoints.load(self.state, wanted, lambda saved: check_resumable(saved, self.settings))
        if found is None:
            logger.info(f"{self.name}: there is no checkpoint to resume from; beginning at step 0.")
        else:
            logger.info(f"{self.name}: resumed from step {self.state.step} of {self.total_steps}.")

    def train(self) -> dict[str, float]:
        """Run to the last step.

        Returns:
            The figures of the last validation and the last logged loss.

        Raises:
            SystemExit: with code 143, after a checkpoint was written, if SIGTERM or SIGINT arrived.
            FloatingPointError: if the loss or the weights are no longer finite numbers.
        """
        self.log.begin(self.state.step)
        logger.info(
            f"{self.name}: {sum(p.numel() for p in self._trained_parameters()):,} parameters, "
            f"{self.total_steps:,} steps of {self.stage_config.batch_size} examples out of {len(self.examples):,}."
        )
        averages, shown = Averages(), {}
        self.objective.train()
        silent = not self.accelerator.is_local_main_process
        bar = Progress(self.name, self.total_steps, "step", done=self.state.step, silent=silent)
        agreement = Agreement(self.accelerator)
        with Interruption() as interruption, bar, denormals_flushed(), self._batches() as batches:
            started, clips = time.perf_counter(), 0
            while self.state.step < self.total_steps:
                clips += self._step(batches, averages)
                bar.update()
                step, last = self.state.step, self.state.step == self.total_steps
                if last or step % self.run_config.log_every == 0:
                    shown = averages.flush(self.accelerator)
                    rate = clips * self.accelerator.num_processes / (time.perf_counter() - started)
                    bar.show({"loss": f"{shown['loss']:.4f}", "clips/s": f"{rate:.1f}"})
                    self.log.write(step, {**shown, "clips_per_second": rate, "learning_rate": self._rate(step - 1)})
                    _check_loss(shown["loss"], self.name, step)
                    started, clips = time.perf_counter(), 0
                if agreement.reached(interruption.requested):
                    self._stop()
                if last:
                    self._check_weights()
                elif _is_due(step, self.run_config.checkpoint_every):
                    self._save_checkpoint()
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
            batch = {name: self._to_device(value) for name, value in next(batches).items()}
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
        # In fp16 the scaler leaves out steps whose gradients overflow; an average of them would repeat old weights.
        if state.ema is not None and not state.optimizer.step_was_skipped:
            state.ema.step(self._trained_parameters())
        state.step += 1
        return clips

    def _to_device(self, values: Tensor) -> Tensor:
        return values.to(self.accelerator.device, non_blocking=values.is_pinned())

    @contextmanager
    def _batches(self) -> Iterator[Iterator[dict[str, Tensor]]]:
        """Endless batches of this process; the workers that make them end here, whatever happens."""
        batches = iter(self._loader())
        try:
            yield batches
        finally:
            # Else workers would live as long as the traceback of an error, and the program would wait for them.
            getattr(batches, "_shutdown_workers", lambda: None)()

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
            collate_fn=self.stage.collate,
            num_workers=self.run_config.num_workers,
            pin_memory=self.accelerator.device.type == "cuda",
            worker_init_fn=outlive_interruption,
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

    def _save_checkpoint(self) -> bool:
        """Write a checkpoint, unless the run has diverged: good ones must not make way for that."""
        self._check_weights()
        return self.checkpoints.save(self.state, self.settings)

    def _check_weights(self) -> None:
        """See that all weights are finite; all processes call this.

        Raises:
            FloatingPointError: if not.
        """
        local = (getattr(parameter, "_local_tensor", parameter) for parameter in self._trained_parameters())
        broken = torch.stack([~parameter.detach().isfinite().all() for parameter in local]).sum()
        if self.accelerator.reduce(broken.float(), "sum").item():
            raise FloatingPointError(f"{self.name}: weights are not finite after step {self.state.step}. {REMEDY}")

    def _stop(self) -> None:
        written = self._save_checkpoint()
        where = self.checkpoints.path(self.state.step) if written else "nothing: see the error above"
        logger.warning(
            f"{self.name}: interrupted after step {self.state.step} of {self.total_steps}; saved {where}. "
            'Continue with resume_from_checkpoint "latest".'
        )
        self.log.end()
        self.accelerator.wait_for_everyone()
        raise SystemExit(INTERRUPTED_EXIT_CODE)


def total_steps(config: StageConfig, num_examples: int) -> int:
    """Optimiser steps of a stage, whether they are given as steps or as epochs."""
    if config.max_steps is not None:
        return config.max_steps
    return math.ceil((config.epochs or 0) * num_examples / config.batch_size)


def enable_gradient_checkpointing(objective: Objective) -> None:
    """Have the models through which gradients flow compute activations again instead of keeping them, where they can.

    A frozen model counts: the weight-shift generator learns through the generator that it shifts.
    """
    able = 0
    for model in (objective.trained, *objective.frozen.values()):
        switch: Any = getattr(model, "enable_gradient_checkpointing", None)
        if switch is not None and getattr(model, "_supports_gradient_checkpointing", False):
            switch()
            able += 1
    if not able:
        logger.warning("gradient_checkpointing changes nothing here: no model of this stage can do it.")


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _check_loss(loss: float, name: str, step: int) -> None:
    if not math.isfinite(loss):
        raise FloatingPointError(f"{name}: the loss is {loss} at step {step}. {REMEDY}")
