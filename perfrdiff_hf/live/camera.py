"""Faces as a camera brings them, at any times, as frames of behaviour at 25 a second."""

from __future__ import annotations

from collections import deque

import numpy as np

from ..behaviour import FRAME_RATE, Behaviour
from ..faces.formats.arkit import arkit_track
from ..faces.motion import AHEAD
from ..faces.rules import binary_action_units
from ..faces.tracks import LONGEST_BRIDGE_SECONDS, resample_track
from .messages import FACE_WIDTH, MOST_FACES


# How much of the past is taken for how a face rests.
RESTING_SECONDS = 1.0
# Of a recording from which a listener is made.
MOST_HISTORY_SECONDS = 180
MOST_HISTORY_ROWS = 60 * MOST_HISTORY_SECONDS


class FaceFrames:
    """Turns rows of faces (`messages.FACE_WIDTH`) into frames, each known by its index since the session began.

    Between two rows there is a straight line; where nobody is seen, the last face is held; before the first, a face
    at rest. A row that comes too late for its frame moves the next one.

    Attributes:
        frames: how many were given so far.
        lost_rows: in how many rows nobody was seen.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.lost_rows = 0
        self._face = np.zeros(FACE_WIDTH - 2, dtype=np.float32)
        self._seconds: float | None = None
        self._rest = np.zeros(FACE_WIDTH - 2, dtype=np.float32)
        self._recent: deque[tuple[float, np.ndarray]] = deque(maxlen=MOST_FACES)

    def add(self, rows: np.ndarray) -> np.ndarray:
        """The frames `(frames, 55)` that rows `(rows, 57)` complete, blendshapes on Apple's scale and angles."""
        given = [self._add_row(float(row[0]), bool(row[1] > 0.5), row[2:]) for row in rows]
        return np.concatenate(given)

    def hold(self, until: int) -> np.ndarray:
        """The last face again, for all frames before frame `until` that were not given yet."""
        missing = max(0, until - self.frames)
        self.frames += missing
        return self._from_rest(np.tile(self._face, (missing, 1)))

    def take_rest(self) -> None:
        """Take the mean face of the last second for the person's resting one."""
        if self._recent:
            last = self._recent[-1][0]
            self._rest = np.mean([face for at, face in self._recent if at > last - RESTING_SECONDS], axis=0)

    def _add_row(self, seconds: float, seen: bool, face: np.ndarray) -> np.ndarray:
        until = int(seconds * FRAME_RATE + 1e-4) + 1
        if not seen:
            self.lost_rows += 1
            return self.hold(until)
        self._recent.append((seconds, face))
        before, last = self._face, self._seconds
        self._face, self._seconds = np.array(face, dtype=np.float32), seconds
        if last is None or not 0 < seconds - last <= LONGEST_BRIDGE_SECONDS:
            return self.hold(until)
        at = np.arange(self.frames, until) / FRAME_RATE
        share = np.clip((at - last) / (seconds - last), 0, 1)[:, None]
        self.frames = max(self.frames, until)
        return self._from_rest((before + share * (self._face - before)).astype(np.float32))

    def _from_rest(self, faces: np.ndarray) -> np.ndarray:
        moved = faces - self._rest
        moved[:, :-3] = np.clip(moved[:, :-3], 0, 1)
        return moved


def behaviour_of_faces(faces: np.ndarray) -> Behaviour:
    """Emotion and coefficients of faces `(frames, 55)`, by the rules for Apple's scale (`faces.rules`)."""
    seen = np.ones(len(faces), dtype=bool)
    times = np.arange(len(faces)) / FRAME_RATE
    track = arkit_track("camera", times, seen, faces[:, :-3], faces[:, -3:] + AHEAD, True, [])
    return Behaviour(
        emotion=binary_action_units(track.emotion.astype(np.float32)),
        coefficients=track.coefficients.astype(np.float32),
    )


def history_of_faces(rows: np.ndarray) -> np.ndarray:
    """A listener's history `(frames, 58)` from rows `(rows, 57)` of a recording, at 25 frames per second.

    Raises:
        ValueError: if nobody is seen in any row, or the recording is too long.
    """
    seen = rows[:, 1] > 0.5
    if rows[-1, 0] - rows[0, 0] > MOST_HISTORY_SECONDS:
        raise ValueError(f"A recording may last {MOST_HISTORY_SECONDS} s; it lasts {rows[-1, 0] - rows[0, 0]:.0f} s.")
    if not seen.any():
        raise ValueError("There is no face in this recording.")
    # Two rows of one moment say the same; the first counts.
    times, kept = np.unique(rows[:, 0].astype(np.float64), return_index=True)
    rows, seen = rows[kept], seen[kept]
    times -= times[0]
    faces = resample_track(times, seen, rows[:, 2:], max(1, int(times[-1] * FRAME_RATE) + 1))
    return behaviour_of_faces(faces).streams["coefficients"]
