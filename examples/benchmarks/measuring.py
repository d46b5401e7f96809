"""Seconds, memory and the speed of this machine, for the benchmarks."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch


class Seconds(NamedTuple):
    """What something took: on the clock, and of the processor."""

    wall: float
    processor: float


class Speed(NamedTuple):
    """Operations per second of a large matrix product: on the clock, and of the processor."""

    wall: float
    processor: float


def product_speed() -> Speed:
    """Operations per second of a large matrix product."""
    a, b = torch.rand(2000, 2000), torch.rand(2000, 2000)
    took = median([timed_once(lambda: a @ b) for _ in range(20)])
    return Speed(*(2 * 2000**3 / seconds for seconds in took))


def timed_once(function: Callable[[], Any]) -> Seconds:
    """What one call takes."""
    wall, processor = time.perf_counter(), time.process_time()
    function()
    return Seconds(time.perf_counter() - wall, time.process_time() - processor)


def median(times: list[Seconds]) -> Seconds:
    """Medians of both."""
    return Seconds(*np.median(times, axis=0).tolist())


def reset_peak() -> None:
    """Count the peak memory of this process anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_megabytes() -> float:
    """Peak memory of this process since `reset_peak`."""
    return memory("VmHWM")


def memory(field: str) -> float:
    """A field of this process's memory report, in MB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def machine() -> dict[str, Any]:
    """On what was measured."""
    return {
        "processor": platform.processor() or platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
