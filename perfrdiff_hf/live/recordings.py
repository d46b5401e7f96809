"""A reaction that a page recorded, as a file: csv for Live Link, glb, mp4 or npz."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import numpy as np

from ..behaviour import FRAME_RATE, Behaviour
from ..extras import require
from ..faces.formats.gltf import animate_file
from ..faces.motion import face_motion
from ..faces.tracks import write_face_track
from .refusals import RefusedError, refusing


# Suffix -> how a browser should take it.
MEDIA_TYPES = {
    "csv": "text/csv",
    "glb": "model/gltf-binary",
    "mp4": "video/mp4",
    "npz": "application/octet-stream",
}
MOST_SECONDS = 180
MOST_FRAMES = MOST_SECONDS * FRAME_RATE
VIDEO_SIZE = 320
# Drawing a video takes a core for about as long as it lasts.
_one_video = threading.Lock()


def recording_file(emotion: np.ndarray, coefficients: np.ndarray, suffix: str, head: Path | None = None) -> bytes:
    """The bytes of a file.

    Args:
        emotion: `(frames, 25)`.
        coefficients: `(frames, 58)`.
        suffix: one of `MEDIA_TYPES`.
        head: for glb: whose head is animated; None: ours.

    Raises:
        RefusedError: if the suffix is unknown, the head is turned too far for the format, what videos need is not
            installed, or a video is being drawn already.
    """
    if suffix not in MEDIA_TYPES:
        raise RefusedError(f"The format must be one of {', '.join(MEDIA_TYPES)}; given: {suffix!r}.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"reaction.{suffix}"
        if suffix == "npz":
            np.savez_compressed(path, reactions=emotion[None], coefficients=coefficients[None])
        elif suffix == "csv":
            with refusing(ValueError):
                write_face_track(Behaviour(emotion=emotion, coefficients=coefficients), path, "live_link")
        elif suffix == "glb":
            animate_file(face_motion(coefficients), path, head)
        else:
            _film(coefficients, path)
        return path.read_bytes()


def _film(coefficients: np.ndarray, path: Path) -> None:
    with refusing(ImportError, status=501):
        require("rendering", "Videos")
    from ..rendering.head import draw_head
    from ..rendering.video import write_pictures

    if not _one_video.acquire(blocking=False):
        raise RefusedError("A video is being made already; try again when it is done.", 503)
    try:
        motion = face_motion(coefficients)
        pictures = (
            draw_head(blendshapes, rotation, VIDEO_SIZE)
            for blendshapes, rotation in zip(motion.blendshapes, motion.rotation)
        )
        write_pictures(pictures, path)
    finally:
        _one_video.release()
