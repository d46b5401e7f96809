"""One visitor's session: what is heard of the speaker, and one stream of reactions for each listener.

It knows no network and no clock of its own. Behaviour comes from one thread, and another generates (`engine.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..behaviour import FRAME_RATE, STREAMS
from ..data.audio import mfcc_features
from ..faces.motion import face_motion
from ..models.weight_shifts import WeightShifts
from ..pipelines.reaction_pipeline import ReactionPipeline
from ..pipelines.streaming import ReactionSegment, ReactionStream
from .camera import FaceFrames, behaviour_of_faces
from .messages import MOST_FACE_RATE, SAMPLE_RATE, Wishes, encode_segment
from .refusals import RefusedError, refusing


SAMPLES_PER_FRAME = SAMPLE_RATE // FRAME_RATE
# Faces come later than the sound of the same moment, as tracking takes time; who waits longer holds the last face.
FACE_SLACK_FRAMES = FRAME_RATE // 2
STREAMS_OF_FACE = ("emotion", "coefficients")
Deliver = Callable[[bytes], None]
Note = Callable[[str], None]


@dataclass(frozen=True)
class Limits:
    """What a server grants.

    Args:
        sessions: at once.
        session_seconds: how long one may last.
        idle_seconds: after how long without a usable message one ends.
        ahead_seconds: how far what was heard may run ahead of the clock.
        behind_seconds: how far reactions may fall behind what was heard, before what lies between is left out.
        mistakes: how many unusable messages one may send.
    """

    sessions: int = 8
    session_seconds: float = 3600.0
    idle_seconds: float = 30.0
    ahead_seconds: float = 3.0
    behind_seconds: float = 8.0
    mistakes: int = 20


class Session:
    """Streams of reactions of up to three listeners to one speaker.

    Args:
        pipeline: which reacts.
        wishes: how.
        listeners: the shifts of each of `wishes.listeners`; None is the generic model.
        deliver: takes the encoded segments, in the thread that generates.
        note: takes a sentence for the visitor, in any thread.
        limits: see there.

    Raises:
        RefusedError: if the pipeline cannot react like this.
    """

    def __init__(
        self,
        pipeline: ReactionPipeline,
        wishes: Wishes,
        listeners: Sequence[WeightShifts | None],
        deliver: Deliver,
        note: Note,
        limits: Limits,
    ):
        self.wishes, self.limits = wishes, limits
        self._deliver, self._note = deliver, note
        self._lock = threading.Lock()
        self._kinds = _streams_of(pipeline, wishes)
        self.streams = [self._open(pipeline, shifts, number) for number, shifts in enumerate(listeners)]
        self._faces = FaceFrames()
        self._rows = 0
        self._samples = np.zeros(0, dtype=np.float32)
        self._sound_frames = 0
        # Frames of the session before the streams' frame 0, after they had to be begun anew.
        self._base = 0
        self._answered = [0] * len(self.streams)

    @property
    def notes(self) -> list[str]:
        """What the visitor should know before the session begins."""
        notes = []
        if not self.wishes.face and "emotion" in self._kinds:
            notes.append("This model needs a face: a resting one stands for yours.")
        if not self.wishes.sound and "audio" in self._kinds:
            notes.append("This model needs sound: it hears silence.")
        return notes

    def hear_sound(self, samples: np.ndarray, elapsed: float) -> None:
        """Take the next samples of sound.

        Args:
            samples: `(samples,)` in [-1, 1], 16,000 a second.
            elapsed: seconds since the session began, by the server's clock.

        Raises:
            RefusedError: if the session has no sound, or it runs ahead of the clock. The samples are ignored then.
        """
        if not self.wishes.sound:
            raise RefusedError("This session was begun without sound.")
        with self._lock:
            sound = np.concatenate([self._samples, samples])
            frames = len(sound) // SAMPLES_PER_FRAME
            self._check_pace("sound", (self._sound_frames + frames) / FRAME_RATE, elapsed)
            self._samples = sound[frames * SAMPLES_PER_FRAME :]
            if frames:
                used = sound[: frames * SAMPLES_PER_FRAME]
                self._hear("audio", mfcc_features(used, SAMPLE_RATE, frames), self._sound_frames)
                self._sound_frames += frames
            # Without a camera, or where it stands still, the face is held for as long as there is sound.
            slack = FACE_SLACK_FRAMES if self.wishes.face else 0
            self._hear_faces(self._faces.hold(self._sound_frames - slack))

    def hear_faces(self, rows: np.ndarray, elapsed: float) -> None:
        """Take the next faces.

        Args:
            rows: `(rows, 57)`, see `messages.FACE_WIDTH`.
            elapsed: as for `hear_sound`.

        Raises:
            RefusedError: if the session has no face, a row's time is ahead of the clock, or more than 60 rows a second
                come. The rows are ignored then.
        """
        if not self.wishes.face:
            raise RefusedError("This session was begun without a face.")
        with self._lock:
            self._check_pace("a face", float(rows[-1, 0]), elapsed)
            # Rows of one moment cost as much as others, and their times would never end.
            count = self._rows + len(rows)
            self._check_pace(f"face {count} at {MOST_FACE_RATE} a second", count / MOST_FACE_RATE, elapsed)
            self._rows = count
            self._hear_faces(self._faces.add(rows))
            if not self.wishes.sound:
                missing = self._faces.frames - self._sound_frames
                if "audio" in self._kinds and missing > 0:
                    silence = np.zeros(missing * SAMPLES_PER_FRAME, dtype=np.float32)
                    self._hear("audio", mfcc_features(silence, SAMPLE_RATE, missing), self._sound_frames)
                self._sound_frames = max(self._sound_frames, self._faces.frames)

    def take_rest(self) -> None:
        """Take the speaker's face of the last second for the resting one."""
        with self._lock:
            self._faces.take_rest()

    def give(self, stream: ReactionStream, segment: ReactionSegment) -> None:
        """Send a segment that was generated for one of the streams."""
        number = self.streams.index(stream)
        frames = segment.reactions.shape[2]
        self._answered[number] = segment.start + frames
        coefficients = segment.coefficients[0].float().cpu().numpy()
        emotion = segment.reactions[0].float().cpu().numpy()
        motions = [face_motion(one) for one in coefficients]
        reactions = np.concatenate([emotion, coefficients], axis=2)
        self._deliver(encode_segment(number, self._base + segment.start, motions, reactions))

    def catch_up(self) -> None:
        """Where the reactions have fallen too far behind, leave out what lies between; for the thread that generates.

        Without this, what is heard but not answered would grow without end on a machine that is too slow.
        """
        behind = [stream.frames_heard - answered for stream, answered in zip(self.streams, self._answered)]
        if max(behind) <= self.limits.behind_seconds * FRAME_RATE + self.streams[0].reactor.window_size:
            return
        with self._lock:
            heard = max(self._sound_frames, self._faces.frames)
            self._faces.hold(heard)
            for stream in self.streams:
                stream.reset()
            self._base, self._answered = heard, [0] * len(self.streams)
        self._note(
            "The model is slower than you speak, and some seconds were left out. Fewer steps, reactions or listeners "
            "help."
        )

    def _open(self, pipeline: ReactionPipeline, shifts: WeightShifts | None, number: int) -> ReactionStream:
        wishes = self.wishes
        settings: dict[str, Any] = {"num_reactions": wishes.num_reactions}
        if wishes.num_inference_steps is not None:
            settings["num_inference_steps"] = wishes.num_inference_steps
        if wishes.hop is not None:
            settings["hop"] = wishes.hop
        if shifts is not None:
            settings["weight_shifts"] = shifts
        generator = torch.Generator()
        if wishes.seed is None:
            generator.seed()
        else:
            generator.manual_seed(wishes.seed + number)
        with refusing(ValueError, TypeError):  # a TypeError names a setting that the system has not
            return pipeline.stream(streams=self._kinds, generator=generator, **settings)

    def _check_pace(self, what: str, seconds: float, elapsed: float) -> None:
        if seconds > elapsed + self.limits.ahead_seconds:
            raise RefusedError(
                f"This session is {elapsed:.1f} s old, and {what} reaches to {seconds:.1f} s: send it as it happens."
            )

    def _hear_faces(self, faces: np.ndarray) -> None:
        first = self._faces.frames - len(faces)
        if len(faces) and "emotion" in self._kinds:
            behaviour = behaviour_of_faces(faces, self._faces.rest)
            for kind, values in behaviour.streams.items():
                self._hear(kind, values, first)

    def _hear(self, kind: str, values: np.ndarray, first: int) -> None:
        """Let the streams hear frames of one kind, of which the first is known by its index in the session."""
        values = values[max(0, self._base - first) :]
        if len(values):
            for stream in self.streams:
                stream.hear(**{kind: values[None]})


def _streams_of(pipeline: ReactionPipeline, wishes: Wishes) -> tuple[str, ...]:
    """The streams of behaviour of a session: those that will come, or all where the models need all."""
    wanted = (("audio",) if wishes.sound else ()) + (STREAMS_OF_FACE if wishes.face else ())
    try:
        pipeline.window_reactor().check_streams(wanted)
    except ValueError:
        return STREAMS
    return wanted
