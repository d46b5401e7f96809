"""Optimisers and learning-rate schedules of the stages."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from .config import StageConfig


def build_optimizer(config: StageConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser that a stage asks for, over the given parameters."""
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
        )
    return torch.optim.AdamW(parameters, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay)


def learning_rate(config: StageConfig, step: int, total_steps: int) -> float:
    """The learning rate of a step: a function of nothing else, so that there is no state to resume.

    Args:
        config: of the stage.
        step: optimiser steps taken so far.
        total_steps: optimiser steps of the whole stage.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    progress = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Give every parameter group this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = value
