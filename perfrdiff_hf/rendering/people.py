"""The people of a picture or video: what each shows, under which title and in which colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..behaviour import FRAME_RATE, Behaviour
from .face import LISTENER, SPEAKER, Palette


@dataclass(frozen=True)
class Person:
    """One person of a picture or video.

    Args:
        title: what stands above the face.
        behaviour: must hold coefficients; emotion is shown where it is known.
        palette: the colours.
    """

    title: str
    behaviour: Behaviour
    palette: Palette = LISTENER

    def __post_init__(self) -> None:
        if self.behaviour.coefficients is None:
            raise ValueError(f"{self.title} has no coefficients, so there is no face to draw.")

    def face_at(self, frame: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Coefficients `(58,)` and emotion `(25,)` of a frame; the last frame is held to the end."""
        frame = min(frame, len(self.behaviour) - 1)
        assert self.behaviour.coefficients is not None
        return self.behaviour.coefficients[frame], None if self.behaviour.emotion is None else self.behaviour.emotion[
            frame
        ]


@dataclass(frozen=True)
class Scene:
    """A speaker with the reactions to them, over the same time.

    Args:
        reactions: at least one.
        speaker: None if the speaker's face is not known.
        sound: the speaker's sound, `(samples,)` or `(samples, channels)` in [-1, 1], and its sample rate.
        title: what stands above all.
    """

    reactions: Sequence[Person]
    speaker: Person | None = None
    sound: tuple[np.ndarray, int] | None = None
    title: str = ""

    def __post_init__(self) -> None:
        if not self.reactions:
            raise ValueError("A scene needs at least one reaction.")

    @property
    def people(self) -> list[Person]:
        """The speaker, if there is one, and then the reactions."""
        return [*([self.speaker] if self.speaker else []), *self.reactions]

    @property
    def num_frames(self) -> int:
        """Frames of the longest reaction."""
        return max(len(person.behaviour) for person in self.reactions)

    def loudness(self, steps: int) -> np.ndarray | None:
        """The sound's peak in each of `steps` equal parts of the scene, `(steps,)` in [0, 1]; None without sound."""
        if self.sound is None:
            return None
        waveform, sample_rate = self.sound
        mono = np.abs(waveform if waveform.ndim == 1 else waveform.mean(axis=1))
        samples = int(self.num_frames / FRAME_RATE * sample_rate)
        mono = np.pad(mono[:samples], (0, max(0, samples - len(mono))))
        peaks = np.array([part.max(initial=0) for part in np.array_split(mono, steps)])
        return peaks / max(float(peaks.max()), 1e-6)


def reaction_scene(
    reactions: Sequence[Behaviour],
    speaker: Behaviour | None = None,
    sound: tuple[np.ndarray, int] | None = None,
    title: str = "",
) -> Scene:
    """A scene with the usual titles and colours: "Speaker", "Reaction 1", "Reaction 2", ...

    A speaker of whom only the sound is known has no face in the scene.
    """
    has_face = speaker is not None and speaker.coefficients is not None
    return Scene(
        reactions=[Person(f"Reaction {number}", behaviour) for number, behaviour in enumerate(reactions, start=1)],
        speaker=Person("Speaker", speaker, SPEAKER) if speaker is not None and has_face else None,
        sound=sound,
        title=title,
    )
