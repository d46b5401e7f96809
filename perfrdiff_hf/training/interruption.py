"""Being told to stop: SIGTERM and SIGINT are noted, and all processes agree on the step after which they stop."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator


# 128 + SIGTERM, as the shell counts it: a job that was told to stop has not failed, but is not finished either.
INTERRUPTED_EXIT_CODE = 143
SIGNALS = (signal.SIGTERM, signal.SIGINT)
MOST_STEPS_BETWEEN = 100
GRACE_SECONDS = 60


class Interruption:
    """Notes SIGTERM and SIGINT instead of dying of them; a second one ends the program at once.

    Only the main thread can take signals. In another thread, as in a notebook's executor, none are noted: whoever
    started that thread deals with them.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        signal.signal(number, self._previous[number])


class Agreement:
    """Whether any process was told to stop, for all must stop after the same step.

    One process knows by itself. Several ask one another about once a second, not at every step.

    Args:
        accelerator: of the run.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self._steps_to_go = self._interval = 1
        self._asked = time.perf_counter()

    def reached(self, requested: bool) -> bool:
        """To be called once a step by every process.

        Args:
            requested: whether this process was told to stop.
        """
        if self.accelerator.num_processes == 1:
            return requested
        self._steps_to_go -= 1
        if self._steps_to_go:
            return False
        seconds = (time.perf_counter() - self._asked) / self._interval
        told = torch.tensor([float(requested), seconds], device=self.accelerator.device)
        stop, seconds = self.accelerator.reduce(told, "mean").tolist()
        # All computed the same mean, so all ask again after the same number of steps.
        self._steps_to_go = self._interval = max(1, min(MOST_STEPS_BETWEEN, int(1 / max(seconds, 1e-6))))
        self._asked = time.perf_counter()
        return stop > 0


def outlive_interruption(worker: int) -> None:
    """For data-loader workers: the process that they work for is told as well, and ends them when it is ready.

    A signal to the whole group of processes, as job schedulers send it, would otherwise kill the workers first, and
    the run would end in an error instead of a checkpoint. A worker that nobody ends goes by itself after a minute.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(GRACE_SECONDS))
