"""Many reaction streams, each with its own listener and at its own point in time, generated as one batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from contextlib import ExitStack

from .sampling import kept_noise
from .streaming import ReactionSegment, ReactionStream
from .windows import DueWindow


Due = tuple[ReactionStream, DueWindow]


def serve(streams: Iterable[ReactionStream]) -> list[tuple[ReactionStream, ReactionSegment]]:
    """Generate one window for every stream that waits for one, windows of many streams in one batch.

    Each stream is where it is in its session, and takes what comes with `ReactionStream.hear`, from other threads too.
    Those with the same models and settings and the same kind of listener (generic, or shifts of one layout) share a
    batch; others are served beside them. Each gets what it would have got alone, up to rounding, from the noise of its
    own generator.

    Nothing is lost if a batch fails: no stream has moved then, and every generator is where it was, so that the next
    call gives what this one would have given.

    Returns:
        `(stream, segment)` of every stream that was due; empty if none was. A stream that heard several windows at
        once needs as many calls; one for which another thread generates at this moment, or that was reset meanwhile,
        is left out.

    Example:
        ```python
        streams = {caller: pipe.stream(weight_shifts=listener) for caller, listener in listeners.items()}
        streams["alice"].hear(emotion=emotion, coefficients=coefficients)
        for stream, segment in serve(streams.values()):
            send(stream, segment.coefficients)
        ```
    """
    with ExitStack() as turns:
        batches: dict[Hashable, list[Due]] = defaultdict(list)
        for stream in dict.fromkeys(streams):
            window = stream.take_turn()
            if window is not None:
                turns.callback(stream.end_turn)
                batches[stream.reactor.batch_key(stream.batch_size), window.kind].append((stream, window))
        sources = [source for batch in batches.values() for stream, _ in batch for source in stream.reactor.generators]
        with kept_noise(sources):
            segments = [(due, segment) for batch in batches.values() for due, segment in zip(batch, _react(batch))]
        return [(stream, segment) for (stream, window), segment in segments if stream.show(window, segment)]


def _react(batch: list[Due]) -> list[ReactionSegment]:
    """One segment for each stream."""
    sizes = [stream.batch_size for stream, _ in batch]
    reactor = batch[0][0].reactor
    if len(batch) > 1:
        reactor = reactor.join([stream.reactor for stream, _ in batch[1:]], sizes)
    reactions = reactor.react(DueWindow.join([window for _, window in batch])).split(sizes)
    return [stream.segment(window, own) for (stream, window), own in zip(batch, reactions)]
