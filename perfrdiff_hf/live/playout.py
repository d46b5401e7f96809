"""Smooth time: segments of a reaction come in bursts, an avatar wants a face at every tick.

A stream gives two seconds at once, and now and then gives them late. A playout keeps what came, and says how the face
is at any time in between: it plays a little behind the source, by as much as the segments of late were late; where it
runs out of frames it slows down and waits, and then catches up by playing slightly faster. It never leaves a frame out
and never jumps; where the source has left out more than it would wait for, it blends into what comes next, and plays
on from there. It reads no clock: the caller says what time it is.
"""

from __future__ import annotations

from collections import deque
from threading import Lock

import numpy as np

from ..behaviour import BLENDSHAPE_NAMES, FRAME_RATE
from ..faces.motion import FaceMotion, face_motion


# The last frames before it runs out are played ever more slowly, so that the face does not stop dead.
BRAKING_FRAMES = 3
# How much faster or slower than the source a face may move to be as far behind as it should: nobody sees a tenth.
LARGEST_CHANGE = 0.1
# From the pose that is shown to the first frame of a session, in seconds.
BLEND_SECONDS = 0.4
_REMEMBERED_SEGMENTS = 8


class Playout:
    """A jitter buffer for one face: `add` what a stream gives, ask with `at` how the face is now.

    Segments may come from another thread. Times are seconds of any clock that only moves forward, and the same for all
    calls.

    Args:
        neutral: `(58,)` how this listener rests; see `faces.motion.face_motion`.
        calibrate: whether blendshapes are moved to Apple's scale; see there.
        min_delay: how far behind the source the face is at least, in seconds.
        max_delay: how far behind it is let fall to wait for late segments, in seconds.

    Raises:
        ValueError: if the delays are negative, or the least is larger than the largest.

    Attributes:
        segments: how many came.
        late_segments: how many of them came when the face had slowed down already for want of frames.
        missing_frames: frames that no segment brought.
    """

    def __init__(
        self,
        neutral: np.ndarray | None = None,
        calibrate: bool = True,
        min_delay: float = 0.2,
        max_delay: float = 2.0,
    ):
        if not 0 <= min_delay <= max_delay:
            raise ValueError(f"delays must be 0 <= min_delay <= max_delay; given: {min_delay}, {max_delay}.")
        self.neutral, self.calibrate = neutral, calibrate
        self.min_delay, self.max_delay = min_delay, max_delay
        self._lock = Lock()
        self._shown = np.zeros(len(BLENDSHAPE_NAMES) + 3)
        self.segments = self.late_segments = self.missing_frames = 0
        self._frames = np.zeros((0, len(self._shown)))
        self._first = self._origin = 0  # index of the first frame that is kept, and of the session's first
        self._position = 0.0  # in frames since the session began
        self._began: float | None = None
        self._last = 0.0
        self._blend_from = self._shown
        self._lateness: deque[float] = deque(maxlen=_REMEMBERED_SEGMENTS)

    def reset(self) -> None:
        """Expect a new session, from frame 0; the face stays as it is until then, and blends into it. Counts stay."""
        with self._lock:
            self._expect_beginning()

    def add(self, start: int, coefficients: np.ndarray, now: float) -> None:
        """Take a segment.

        Args:
            start: index of its first frame since the session began. What came already is left out; a gap is bridged,
                or blended over where it is longer than `max_delay`.
            coefficients: `(frames, 58)`, mean face included, at 25 a second.
            now: when it came.

        Raises:
            TypeError, ValueError: if the coefficients are not whole. The segment is then ignored.
        """
        motion = face_motion(coefficients, neutral=self.neutral, calibrate=self.calibrate)
        frames = np.concatenate([motion.blendshapes, motion.rotation], axis=1, dtype=np.float64)
        with self._lock:
            end = self._first + len(self._frames)
            if self._began is not None and start - end > FRAME_RATE * self.max_delay:
                # A line over so long a gap would keep the face behind for as long again.
                self.missing_frames += start - end
                self._expect_beginning()
            if self._began is None:
                self._began, self._last, end = now, now, start
                self._first, self._origin, self._position = start, start, float(start)
            else:
                self._advance(now)
                self.late_segments += self._position > end - 1 - BRAKING_FRAMES
            self.segments += 1
            self._lateness.append(now - self._began - (start - self._origin) / FRAME_RATE)
            if start > end:
                bridge = np.linspace(self._frames[-1], frames[0], start - end + 2)[1:-1]
                frames, start = np.concatenate([bridge, frames]), end
                self.missing_frames += len(bridge)
            self._frames = np.concatenate([self._frames, frames[end - start :]])

    def at(self, now: float) -> FaceMotion:
        """How the face is now, one frame; before the first segment it rests, or stays as the last session left it."""
        with self._lock:
            if self._began is not None:
                self._advance(now)
                self._shown = self._blended(now)
            shown = self._shown[None].astype(np.float32)
        return FaceMotion(shown[:, :-3], shown[:, -3:])

    @property
    def delay(self) -> float:
        """How far behind the source the face should be, in seconds: as far as segments of late were late, and some."""
        margin = (BRAKING_FRAMES + 2) / FRAME_RATE
        wanted = max(self._lateness, default=0.0) + margin
        return min(max(wanted, self.min_delay, margin), self.max_delay)

    @property
    def buffered(self) -> float:
        """Seconds of frames that came and were not shown yet."""
        with self._lock:
            return max(0.0, self._first + len(self._frames) - 1 - self._position) / FRAME_RATE

    def _expect_beginning(self) -> None:
        self._frames, self._began, self._blend_from = self._frames[:0], None, self._shown
        self._lateness.clear()

    def _advance(self, now: float) -> None:
        """Move on to now, in steps short enough to brake in."""
        assert self._began is not None
        while self._last < now:
            step = min(now - self._last, 0.5 / FRAME_RATE)
            self._last += step
            behind = self._last - self._began - (self._position - self._origin) / FRAME_RATE
            if self._position == self._origin and behind < self.delay:
                continue  # it has not begun to move
            rate = 1 + float(np.clip(behind - self.delay, -LARGEST_CHANGE, LARGEST_CHANGE))
            left = self._first + len(self._frames) - 1 - self._position
            self._position += min(step * FRAME_RATE * rate, left * step * FRAME_RATE / BRAKING_FRAMES)
        done = int(self._position) - self._first
        if done > 0:
            self._frames, self._first = self._frames[done:], self._first + done

    def _blended(self, now: float) -> np.ndarray:
        """The face at the position, and on the way to it from the pose before the session."""
        assert self._began is not None
        whole = int(self._position)
        one = self._frames[whole - self._first]
        other = self._frames[min(whole + 1 - self._first, len(self._frames) - 1)]
        face = one + (self._position - whole) * (other - one)
        share = np.clip((now - self._began) / BLEND_SECONDS, 0, 1)
        share = share * share * (3 - 2 * share)
        return self._blend_from + share * (face - self._blend_from)
