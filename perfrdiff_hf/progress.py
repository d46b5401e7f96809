"""Progress, on standard error: a bar where somebody looks, one line at the end where nobody does."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TypeVar

from tqdm.auto import tqdm


Item = TypeVar("Item")
_IS_SILENCED = ContextVar("_IS_SILENCED", default=False)


@contextmanager
def silenced() -> Iterator[None]:
    """Inside, no progress is shown in any case."""
    before = _IS_SILENCED.set(True)
    try:
        yield
    finally:
        _IS_SILENCED.reset(before)


def is_watched() -> bool:
    """Whether a bar can be drawn over itself: standard error is a terminal, or belongs to a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


class Progress:
    """A bar that is moved by hand, as a context.

    In a log file a bar would leave a copy of itself at every step; there it is one line, once everything is done.

    Args:
        title: what is done.
        total: how many steps there are.
        unit: what a step is, in the singular.
        done: how many were done before.
        silent: whether to show nothing at all, in any case.
    """

    def __init__(self, title: str, total: int, unit: str, done: int = 0, silent: bool = False):
        self.title, self.unit, self.silent, self.done = title, unit, silent or _IS_SILENCED.get(), 0
        self._began = time.perf_counter()
        watched = is_watched() and not self.silent
        self._bar = tqdm(total=total, desc=title, unit=unit, initial=done, mininterval=0.5) if watched else None

    def update(self, steps: int = 1) -> None:
        """Some steps are done."""
        self.done += steps
        if self._bar is not None:
            self._bar.update(steps)

    def show(self, figures: dict[str, str]) -> None:
        """Show figures behind the bar; where there is none they belong into a log."""
        if self._bar is not None:
            self._bar.set_postfix(figures)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif kind is None and self.done and not self.silent:
            many = "" if self.done == 1 else "es" if self.unit.endswith("ch") else "s"
            seconds = time.perf_counter() - self._began
            print(f"{self.title}: {self.done} {self.unit}{many} in {seconds:.0f} s", file=sys.stderr, flush=True)


def follow(items: Iterable[Item], title: str, unit: str, total: int | None = None) -> Iterator[Item]:
    """Go through items and show how far one is.

    Args:
        items: what is gone through.
        title: what is done.
        unit: what an item is, in the singular.
        total: how many there are; by default their length.
    """
    count = len(items) if total is None else total  # type: ignore[arg-type]
    with Progress(title, count, unit) as progress:
        for item in items:
            yield item
            progress.update()


def quieten_libraries() -> None:
    """Where nobody looks, the libraries' own bars are left out as well, those of libraries yet to be imported too."""
    if is_watched() and not _IS_SILENCED.get():
        return
    for variable in ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        os.environ.setdefault(variable, "1")
    # Those that were imported before the variables were set.
    for module, switch in (
        ("datasets.utils.tqdm", "disable_progress_bars"), ("transformers.utils.logging", "disable_progress_bar")
    ):  # fmt: skip
        if module in sys.modules:
            getattr(sys.modules[module], switch)()


def quieten_pipelines() -> None:
    """The same for diffusers, which listens to no variable and takes seconds to import: before a pipeline loads."""
    from diffusers.utils import logging

    if _IS_SILENCED.get() or not is_watched():
        logging.disable_progress_bar()
