"""The loop that plays a face in real time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..faces.motion import FaceMotion
from .playout import Playout


FRAME_RATES = (25, 60)
# What is done with a frame, given its number and frames per second, such as `Sender.send`.
Show = Callable[[FaceMotion, int, int], None]


@dataclass
class Performance:
    """What a performance was like.

    Args:
        frames: how many were shown.
        skipped: ticks that were left out because the machine was busy elsewhere; what was shown stays on time.
        longest_gap: the longest time between two frames, in seconds.
    """

    frames: int = 0
    skipped: int = 0
    longest_gap: float = 0.0
    _last: float | None = field(default=None, repr=False)

    def note(self, now: float) -> None:
        """Count a frame that was shown."""
        if self._last is not None:
            self.longest_gap = max(self.longest_gap, now - self._last)
        self._last = now
        self.frames += 1


def perform(
    playout: Playout,
    show: Show,
    fps: int = 60,
    is_over: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
    performance: Performance | None = None,
) -> Performance:
    """Show a face `fps` times a second until `is_over`.

    Each frame is due at a multiple of `1 / fps` after the first: what one takes longer, the next sleeps less. A frame
    that is late by more than a whole tick is left out, so that no bursts follow.

    Args:
        playout: says how the face is.
        show: what is done with it.
        fps: 25 or 60 frames per second, or any other number.
        is_over: asked before each frame.
        clock: seconds; the segments' times must be of the same clock.
        sleep: waits for some seconds.
        performance: counts on; None: a new one.

    Raises:
        ValueError: if `fps` is not positive.
    """
    if fps <= 0:
        raise ValueError(f"fps must be positive; it is {fps}.")
    performance = Performance() if performance is None else performance
    began, tick = clock(), 0
    while not is_over():
        now = clock()
        due = began + tick / fps
        if now < due:
            sleep(due - now)
            continue
        overdue = int((now - due) * fps)
        performance.skipped += overdue
        tick += overdue
        show(playout.at(now), tick, fps)
        performance.note(now)
        tick += 1
    return performance


@contextmanager
def performing(playout: Playout, show: Show, fps: int = 60) -> Iterator[Performance]:
    """`perform` in a thread of its own for as long as the block lasts; what `show` raises is raised at its end.

    Example:
        ```python
        playout = Playout(neutral=resting_face(history.coefficients))
        with Sender("vmc") as sender, performing(playout, sender.send):
            for emotion, coefficients in camera:
                for segment in stream.push(emotion=emotion, coefficients=coefficients):
                    playout.add(segment.start, segment.coefficients[0, 0].numpy(), time.monotonic())
        ```
    """
    over = threading.Event()
    performance = Performance()
    failed: list[Exception] = []

    def run() -> None:
        try:
            perform(playout, show, fps, over.is_set, sleep=over.wait, performance=performance)
        except Exception as error:  # it is raised where it is seen
            failed.append(error)

    thread = threading.Thread(target=run, name="performing", daemon=True)
    thread.start()
    try:
        yield performance
    finally:
        over.set()
        thread.join()
    if failed:
        raise failed[0]
