"""What a face tracker is: pictures in, one face out, on the tracker's own scale. MediaPipe's is one of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple

import numpy as np


class Box(NamedTuple):
    """Where a face is in its picture, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def size(self) -> float:
        """The mean of width and height."""
        return (self.right - self.left + self.bottom - self.top) / 2

    @property
    def centre(self) -> np.ndarray:
        """`(2,)` across and down."""
        return np.array([self.left + self.right, self.top + self.bottom]) / 2


@dataclass(frozen=True)
class TrackedFace:
    """One face in one picture.

    Args:
        blendshapes: `(52,)` in [0, 1] on the tracker's scale, in the order of `behaviour.BLENDSHAPE_NAMES`; 0 where
            the tracker has no such shape.
        rotation: `(3,)` pitch, yaw and roll in radians; 0 looks at the camera, and they grow as the face looks down,
            turns to its own left, and leans to its own right.
        translation: `(3,)` where the head is, in centimetres: to the right in the picture, down, away from the camera.
        box: where it is in the picture.
        faces: how many faces the picture shows.
    """

    blendshapes: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    box: Box
    faces: int = 1


@dataclass(frozen=True)
class TrackerScale:
    """What a tracker's blendshapes mean.

    Args:
        rest: `(52,)` what it says of a resting face.
        onset: `(52,)` where a movement begins to be seen; above `rest`.
        blind: blendshapes that it never moves, or hardly.
        doubtful: blendshapes that it moves where others should move, or too little.
    """

    rest: np.ndarray
    onset: np.ndarray
    blind: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()

    def activation(self, blendshapes: np.ndarray, neutral: np.ndarray | None = None) -> np.ndarray:
        """Activation `(frames, 52)` as `faces.rules` has it: 0 at rest, 0.5 where a movement is seen; not cut.

        Args:
            blendshapes: `(frames, 52)` on this scale.
            neutral: `(52,)` the same person's resting face on this scale, in the place of `rest`.
        """
        return (blendshapes - (self.rest if neutral is None else neutral)) / (2 * (self.onset - self.rest))


class FaceTracker(ABC):
    """Follows one face through pictures. Use it as a context, or close it.

    A tracker has a `name`, for reports, and a `scale`. One tracker is for one video: it remembers what it saw.
    """

    name: str
    scale: TrackerScale

    @abstractmethod
    def track(self, picture: np.ndarray, seconds: float) -> TrackedFace | None:
        """The face in a picture, or None where there is none.

        Of several faces the largest is followed, until it is gone for a second.

        Args:
            picture: `(height, width, 3)` uint8, red, green and blue, not mirrored.
            seconds: when it was taken; rising by a millisecond at least from call to call.
        """

    def close(self) -> None:  # noqa: B027
        """Give back what the tracker holds; most hold nothing."""

    def __enter__(self) -> FaceTracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
