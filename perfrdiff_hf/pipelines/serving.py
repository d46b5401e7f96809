"""Many reaction streams, each with its own listener and at its own point in time, generated as one batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor

from ..models.gafrg import ConditionCache
from ..models.weight_shifts import WeightShifts
from .sampling import WindowSampler
from .streaming import DueWindow, ReactionSegment, ReactionStream


def serve(streams: Iterable[ReactionStream]) -> list[tuple[ReactionStream, ReactionSegment]]:
    """Generate one window for every stream that waits for one, windows of many streams in one batch.

    Each stream is where it is in its session, and takes what comes with `ReactionStream.hear`. Those with the same
    pipeline and settings and the same kind of listener (generic, or shifts of one layout) share a batch; others are
    served beside them. Each gets what it would have got alone, up to rounding, from the noise of its own generator.

    Returns:
        `(stream, segment)` of every stream that was due; empty if none was. A stream that heard several windows at
        once needs as many calls.
    """
    batches: dict[Hashable, list[tuple[ReactionStream, DueWindow]]] = defaultdict(list)
    for stream in dict.fromkeys(streams):
        if stream.is_due:
            window = stream.due_window()
            batches[_kind(stream, window)].append((stream, window))
    served: list[tuple[ReactionStream, ReactionSegment]] = []
    for batch in batches.values():
        together, windows = zip(*batch)
        served += zip(together, _react(together, windows))
    return served


def _react(streams: Sequence[ReactionStream], windows: Sequence[DueWindow]) -> list[ReactionSegment]:
    """One segment for each stream."""
    sizes = [stream.batch_size for stream in streams]
    sampler = streams[0].sampler
    if len(streams) > 1:
        sampler = JointSampler([stream.sampler for stream in streams], sizes)
    reactions = streams[0].pipeline.react(_join(windows), sampler).split(sizes)
    return [stream.show(own) for stream, own in zip(streams, reactions)]


def _kind(stream: ReactionStream, window: DueWindow) -> Hashable:
    """What streams must share to be denoised in one batch: everything but speakers, listeners and noise."""
    sampler = stream.sampler
    generator = sampler.settings.generator
    return (
        id(stream.pipeline),
        type(sampler.scheduler),
        repr(sorted(sampler.scheduler.config.items(), key=str)),
        replace(sampler.settings, generator=None),
        None if sampler.weight_shifts is None else sampler.weight_shifts.layout,
        frozenset(window.speaker),
        window.previous is None,
        generator is None,
        # One generator for several speakers cannot be told apart by row: such a stream stays alone.
        id(generator) if isinstance(generator, Generator) and stream.batch_size > 1 else None,
    )


def _join(windows: Sequence[DueWindow]) -> DueWindow:
    def join(tensors: Sequence[Tensor | None]) -> Tensor | None:
        present = [tensor for tensor in tensors if tensor is not None]
        return torch.cat(present) if present else None

    return DueWindow(
        speaker={name: torch.cat([window.speaker[name] for window in windows]) for name in windows[0].speaker},
        batch_size=sum(window.batch_size for window in windows),
        previous=join([window.previous for window in windows]),
        held=join([window.held for window in windows]),
    )


class JointSampler(WindowSampler):
    """One sampler for the speakers of several, one after the other, each with its own listener and generator.

    Args:
        samplers: with the same denoiser, scheduler and settings, and shifts of the same layout.
        batch_sizes: speakers of each.
    """

    def __init__(self, samplers: Sequence[WindowSampler], batch_sizes: Sequence[int]):
        first = samplers[0]
        generators: Any = [sampler.settings.generator for sampler in samplers]
        generators = [one for some in generators for one in (some if isinstance(some, Sequence) else [some])]
        shifts = [_shifts_of_each(sampler, size) for sampler, size in zip(samplers, batch_sizes)]
        super().__init__(
            first.denoiser,
            first.scheduler,
            replace(first.settings, generator=None if None in generators else generators),
            None if first.weight_shifts is None else WeightShifts.stack(shifts),
        )
        self._samplers = samplers
        self._batch_sizes = batch_sizes

    def null_condition(self, tokens: Tensor) -> ConditionCache:
        """The null conditions of all sessions; each session computes and keeps its own."""
        conditions_each = len(tokens) // sum(self._batch_sizes)
        parts = tokens.split([size * conditions_each for size in self._batch_sizes])
        return ConditionCache.concatenate(
            [sampler.null_condition(part) for sampler, part in zip(self._samplers, parts)]
        )


def _shifts_of_each(sampler: WindowSampler, batch_size: int) -> WeightShifts | None:
    """The weight shifts with one listener for each speaker."""
    shifts = sampler.weight_shifts
    if shifts is None or shifts.num_listeners == batch_size:
        return shifts
    return shifts.listener([0] * batch_size)
