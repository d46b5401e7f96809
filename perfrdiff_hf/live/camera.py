"""Faces as the page's tracker, MediaPipe in the browser, brings them: behaviour at 25 frames a second."""

from __future__ import annotations

from collections import deque

import numpy as np

from ..behaviour import BLENDSHAPES, FRAME_RATE, MEAN_FACE, ROTATION, Behaviour
from ..faces import rules
from ..faces.motion import AHEAD
from ..faces.tracking.channels import emotion_of_faces
from ..faces.tracking.face_landmarker import mediapipe_scale
from ..faces.tracks import LONGEST_BRIDGE_SECONDS, resample_track
from .listeners import LEAST_SECONDS
from .messages import MOST_FACE_RATE, MOST_FACES
from .refusals import RefusedError


SCALE = mediapipe_scale()
# How much of the past is taken for how a face rests.
RESTING_SECONDS = 1.0
# Of a recording from which a listener is made.
MOST_HISTORY_SECONDS = 180
MOST_HISTORY_ROWS = MOST_FACE_RATE * MOST_HISTORY_SECONDS


class FaceFrames:
    """Turns rows of faces (`messages.FACE_WIDTH`) into frames, each known by its index since the session began.

    Between two rows there is a straight line; where nobody is seen, the last face is held; before the first, a face
    at rest. A row that comes too late for its frame moves the next one.

    Attributes:
        frames: how many were given so far.
        lost_rows: in how many rows nobody was seen.
        rest: `(55,)` how this person rests, for `behaviour_of_faces`; as anybody does until `take_rest`.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.lost_rows = 0
        self.rest = resting_face()
        self._face = self.rest
        self._seconds: float | None = None
        self._recent: deque[tuple[float, np.ndarray]] = deque(maxlen=MOST_FACES)

    def add(self, rows: np.ndarray) -> np.ndarray:
        """The frames `(frames, 55)` that rows `(rows, 57)` complete, on the tracker's scale."""
        given = [self._add_row(float(row[0]), bool(row[1] > 0.5), row[2:]) for row in rows]
        return np.concatenate(given)

    def hold(self, until: int) -> np.ndarray:
        """The last face again, for all frames before frame `until` that were not given yet."""
        missing = max(0, until - self.frames)
        self.frames += missing
        return np.tile(self._face, (missing, 1))

    def take_rest(self) -> None:
        """Take the mean face of the last second for the person's resting one."""
        if self._recent:
            last = self._recent[-1][0]
            self.rest = np.mean([face for at, face in self._recent if at > last - RESTING_SECONDS], axis=0)

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
        return (before + share * (self._face - before)).astype(np.float32)


def resting_face() -> np.ndarray:
    """What the tracker says of a face `(55,)` that rests and looks ahead."""
    return np.concatenate([SCALE.rest, np.zeros(3, dtype=np.float32)])


def behaviour_of_faces(faces: np.ndarray, rest: np.ndarray | None = None) -> Behaviour:
    """Emotion and coefficients of faces, as `faces.tracking` has them of a video, without a second reading.

    Args:
        faces: `(frames, 55)` blendshapes on MediaPipe's scale, and angles.
        rest: `(55,)` how this person rests; None: as anybody does.
    """
    rest = resting_face() if rest is None else rest
    activation = SCALE.activation(faces[:, :-3], neutral=rest[:-3])
    coefficients = np.tile(MEAN_FACE, (len(faces), 1))
    coefficients[:, BLENDSHAPES] = rules.react_blendshapes(activation)
    coefficients[:, ROTATION] = AHEAD + faces[:, -3:] - rest[-3:]
    return Behaviour(
        emotion=rules.binary_action_units(emotion_of_faces(activation)), coefficients=coefficients.astype(np.float32)
    )


def history_of_faces(rows: np.ndarray) -> np.ndarray:
    """A listener's history `(frames, 58)` from rows `(rows, 57)` of a recording, at 25 frames per second.

    Raises:
        RefusedError: if a face is seen for less than ten seconds in all, or the recording is too long.
    """
    seen = rows[:, 1] > 0.5
    if rows[-1, 0] - rows[0, 0] > MOST_HISTORY_SECONDS:
        raise RefusedError(
            f"A recording may last {MOST_HISTORY_SECONDS} s; it lasts {rows[-1, 0] - rows[0, 0]:.0f} s."
        )
    if not seen.any():
        raise RefusedError("There is no face in this recording.")
    # Two rows of one moment say the same; the first counts.
    times, kept = np.unique(rows[:, 0].astype(np.float64), return_index=True)
    rows, seen = rows[kept], seen[kept]
    # What is bridged between two sights of the face counts as seen, but no long time without it.
    there = np.minimum(np.diff(times[seen]), LONGEST_BRIDGE_SECONDS).sum()
    if there < LEAST_SECONDS:
        raise RefusedError(
            f"A listener needs {LEAST_SECONDS} s of a face or more; in this recording one is seen for {there:.1f} s."
        )
    times -= times[0]
    faces = resample_track(times, seen, rows[:, 2:], max(1, int(times[-1] * FRAME_RATE) + 1))
    return behaviour_of_faces(faces).streams["coefficients"]
