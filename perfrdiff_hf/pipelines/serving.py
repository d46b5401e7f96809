"""Many reaction streams, each with its own listener and at its own point in time, generated as one batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence

from torch import Tensor

from .streaming import ReactionSegment, ReactionStream
from .windows import DueWindow


def serve(streams: Iterable[ReactionStream]) -> list[tuple[ReactionStream, ReactionSegment]]:
    """Generate one window for every stream that waits for one, windows of many streams in one batch.

    Each stream is where it is in its session, and takes what comes with `ReactionStream.hear`. Those with the same
    models and settings and the same kind of listener (generic, or shifts of one layout) share a batch; others are
    served beside them. Each gets what it would have got alone, up to rounding, from the noise of its own generator.

    Returns:
        `(stream, segment)` of every stream that was due; empty if none was. A stream that heard several windows at
        once needs as many calls.
    """
    batches: dict[Hashable, list[tuple[ReactionStream, DueWindow]]] = defaultdict(list)
    for stream in dict.fromkeys(streams):
        if stream.is_due:
            window = stream.due_window()
            batches[stream.reactor.batch_key(stream.batch_size), window.kind].append((stream, window))
    served: list[tuple[ReactionStream, ReactionSegment]] = []
    for batch in batches.values():
        together, windows = zip(*batch)
        served += zip(together, _react(together, windows))
    return served


def _react(streams: Sequence[ReactionStream], windows: Sequence[DueWindow]) -> list[ReactionSegment]:
    """One segment for each stream."""
    sizes = [stream.batch_size for stream in streams]
    reactor = streams[0].reactor
    if len(streams) > 1:
        reactor = reactor.join([stream.reactor for stream in streams[1:]], sizes)
    reactions: Sequence[Tensor] = reactor.react(DueWindow.join(windows)).split(sizes)
    return [stream.show(own) for stream, own in zip(streams, reactions)]
