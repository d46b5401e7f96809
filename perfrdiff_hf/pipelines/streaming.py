"""A reaction stream: behaviour goes in as it happens, in chunks of any length, and windows of reactions come out.

The full-clip call of the pipeline is a stream that happens to be complete: both walk through the same windows with the
same numbers, so that they agree to the last bit for the same seed, however the behaviour is cut into chunks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from threading import RLock

import torch
from torch import Tensor

from .hearing import Hearing
from .inputs import ArrayLike
from .sampling import kept_noise
from .windows import DueWindow, WindowReactor


@dataclass
class ReactionSegment:
    """New frames of the reactions.

    Args:
        start: index of the first of them since the stream began.
        reactions: `(batch, num_reactions, frames, 25)` in [-1, 1].
        coefficients: `(batch, num_reactions, frames, 58)`, mean face included.
        whole: `(batch, num_reactions, frames, channels)` the reactions as the system gave them, which it goes on from.
    """

    start: int
    reactions: Tensor
    coefficients: Tensor
    whole: Tensor


class ReactionStream:
    """Reactions to behaviour that arrives bit by bit; made by a pipeline's `stream`.

    Each window gives a segment of new frames, as many as the hop. In a session whose models join shown frames (see
    `WindowReactor`), new frames from `t` on depend on the speaker's frames before `t`, and come out of `push` as soon
    as the speaker's frame `t - 1` is in (equation 3 with w = hop). Else they depend on the speaker's frames before the
    window, of which the first frames are those already shown. The first segment, at frame 0, depends on nothing that
    the speaker did and comes out of the first `push` after which every stream of behaviour was heard.

    What is kept is what a window depends on, however long the session.

    A stream may be used from several threads, such as one that hears and one that serves: hearing does not wait for a
    window that is being generated, no two threads generate for one stream at once, and a window that was begun before
    a `reset` is dropped.

    Args:
        reactor: which generates, and for which listeners.
        batch_size: speakers that are heard at once, each with their own listener.
        sampling_rate: samples per second of the sound that `push` may get; None if it gets audio features.
        streams: which of `"audio"`, `"emotion"` and `"coefficients"` the session has. Each may then come alone, the
            first chunk included. None: the first chunk decides.

    Raises:
        ValueError: if `streams` names an unknown stream, or lacks one that the models need.
    """

    def __init__(
        self,
        reactor: WindowReactor,
        batch_size: int,
        sampling_rate: int | None = None,
        streams: Iterable[str] | None = None,
    ):
        self.reactor = reactor
        self.batch_size = batch_size
        # The lock guards what the stream knows, for moments. The turn is held while a window is generated, and taken
        # first where both are needed.
        self._lock = RLock()
        self._turn = RLock()
        self._hearing = Hearing(reactor, batch_size, sampling_rate, streams)
        self.reset()

    def reset(self) -> None:
        """Forget everything that was pushed; the listeners and the settings stay, the generator goes on."""
        with self._lock:
            self._hearing.reset()
            self._session = object()
            # The reactions over the last two windows before the next new frame.
            self._shown = self.reactor.nothing_shown(self.batch_size, 2 * self.reactor.window_size)
            self._next = 0
            self._ended_at: int | None = None

    @property
    def frames_heard(self) -> int:
        """Frames of the speaker since the stream began, of the stream of behaviour that is furthest behind."""
        with self._lock:
            return self._hearing.frames if self._ended_at is None else self._ended_at

    def push(
        self,
        audio: ArrayLike | None = None,
        emotion: ArrayLike | None = None,
        coefficients: ArrayLike | None = None,
        samples: ArrayLike | None = None,
    ) -> list[ReactionSegment]:
        """Take the next frames of the speaker and give the segments that they complete; see `hear`."""
        self.hear(audio, emotion, coefficients, samples)
        return list(self.segments())

    def hear(
        self,
        audio: ArrayLike | None = None,
        emotion: ArrayLike | None = None,
        coefficients: ArrayLike | None = None,
        samples: ArrayLike | None = None,
    ) -> None:
        """Take the next frames of the speaker, without generating anything yet.

        Which streams of behaviour the session has was said when it was opened, and each may come alone. Else the first
        chunk decides, and every chunk must hold the same ones; but with a `sampling_rate` sound and face may come in
        turns after it. What is ahead waits for what is behind.

        Args:
            audio: `(batch, frames, 78)` audio features.
            emotion: `(batch, frames, 25)`.
            coefficients: `(batch, frames, 58)`, mean face included.
            samples: `(batch, samples)` raw sound in [-1, 1] instead of audio features, any number of samples.

        Raises:
            TypeError, ValueError: if the chunk does not fit the stream: other streams of behaviour than those of the
                session, wrong shapes, NaN, sound that runs away from the face, a session that `flush` ended. The chunk
                is then ignored as a whole, and the stream goes on as before.
        """
        with self._lock:
            self._check_open()
            self._hearing.take(audio, emotion, coefficients, samples)

    def hear_checked(self, chunk: Mapping[str, Tensor]) -> None:
        """Take streams of the speaker that a pipeline has checked already, each `(batch, frames, width)`."""
        with self._lock:
            self._check_open()
            self._hearing.add(chunk)

    def flush(self) -> list[ReactionSegment]:
        """End the session: generate what is due, then hold the speaker's last frame until one more window begins.

        The session takes no more behaviour until `reset`.

        Returns:
            The segments that were due, and the one that answers the speaker's last frames where none did yet; empty
            if a stream of behaviour that the session has was never heard.
        """
        with self._lock:
            if self._ended_at is None:
                self._ended_at = self._hearing.frames
        segments = list(self.segments())
        with self._lock:
            due = self.reactor.answered(self._next)
            missing = due - self._hearing.frames
            if self._ended_at is not None and self._hearing.is_complete and 0 < missing < self.reactor.hop:
                self._hearing.hold(due)
        return segments + list(self.segments())

    def segments(self, until: int | None = None) -> Iterator[ReactionSegment]:
        """Generate what can be generated from what was heard, at most the segments that begin before frame `until`."""
        while (segment := self._generate(until)) is not None:
            yield segment

    def _generate(self, until: int | None) -> ReactionSegment | None:
        with self._turn:
            window = self.due_window()
            if window is None or (until is not None and window.start >= until):
                return None
            with kept_noise(self.reactor.generators):
                segment = self.segment(window, self.reactor.react(window))
            return segment if self.show(window, segment) else None

    def count_segments(self, frames: int) -> int:
        """How many segments begin before a frame, counted from the beginning of the stream."""
        return 1 + max(0, -(-(frames - self.reactor.given_frames(0)) // self.reactor.hop))

    @property
    def is_due(self) -> bool:
        """Whether enough was heard for the next window."""
        with self._lock:
            return self._hearing.is_complete and self.reactor.answered(self._next) <= self._hearing.frames

    def take_turn(self) -> DueWindow | None:
        """The next window, for who will generate it and then call `end_turn`.

        Returns:
            None if no window is due, or another thread has the turn; nothing needs to be ended then.
        """
        if not self._turn.acquire(blocking=False):
            return None
        window = None
        try:
            window = self.due_window()
        finally:
            if window is None:
                self._turn.release()
        return window

    def end_turn(self) -> None:
        """Let others generate for this stream."""
        self._turn.release()

    def due_window(self) -> DueWindow | None:
        """What the next window of reactions depends on; None where none `is_due`."""
        with self._lock:
            if not self.is_due:
                return None
            size, shown = self.reactor.window_size, self.reactor.shown_frames(self._next)
            begin = 2 * size - shown
            return DueWindow(
                self._hearing.before(self.reactor.answered(self._next)),
                self.batch_size,
                previous=self._shown[:, :, begin - size : begin],
                held=self._shown[:, :, begin:] if shown else None,
                start=self._next,
                session=self._session,
            )

    def segment(self, window: DueWindow, reactions: Tensor) -> ReactionSegment:
        """The new frames of the reactions `(batch, num_reactions, window, channels)` to a due window, decoded."""
        shown = self.reactor.shown_frames(window.start)
        new = reactions[:, :, shown : shown + self.reactor.given_frames(window.start)]
        return ReactionSegment(window.start, *self.reactor.decode(new), new)

    def show(self, window: DueWindow, segment: ReactionSegment) -> bool:
        """Go on to the next window.

        Args:
            window: the one that was due.
            segment: the reactions to it.

        Returns:
            Whether it still was due: not where the stream was reset in between, and the segment must be dropped.
        """
        with self._lock:
            if window.session is not self._session or window.start != self._next:
                return False
            new = segment.whole
            self._shown = torch.cat([self._shown, new.to(self._shown)], dim=2)[:, :, new.shape[2] :]
            self._next += new.shape[2]
            self._hearing.forget(self.reactor.answered(self._next))
            return True

    def _check_open(self) -> None:
        if self._ended_at is not None:
            raise ValueError("This session was ended by flush; call reset to begin a new one.")
