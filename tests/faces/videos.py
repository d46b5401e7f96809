"""Small videos for tests, and a tracker that reads a face from the colour of their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from perfrdiff_hf.behaviour import BLENDSHAPE_NAMES
from perfrdiff_hf.faces.tracking import Box, FaceTracker, TrackedFace, TrackerScale


SMILES = [BLENDSHAPE_NAMES.index(name) for name in ("mouthSmileLeft", "mouthSmileRight")]
WIDTH, HEIGHT = 64, 48
TICKS = 1000


def write_film(
    path: Path,
    brightness: Sequence[float],
    times: Sequence[float],
    sound: np.ndarray | None = None,
    sound_delay: float = 0.0,
    left_edge: float | None = None,
) -> Path:
    """An mp4 of grey pictures, each of a brightness in [0, 1], at the given times; sound `(samples,)` at 8 kHz.

    A quarter of each picture at its left may have a brightness of its own.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, TICKS)
        video.bit_rate = 2_000_000
        track = None if sound is None else container.add_stream("aac", rate=8000, layout="mono")
        for level, seconds in zip(brightness, times):
            grey = np.full((HEIGHT, WIDTH, 3), round(255 * level), np.uint8)
            if left_edge is not None:
                grey[:, : WIDTH // 4] = round(255 * left_edge)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = round(seconds * TICKS), Fraction(1, TICKS)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound is not None:
            piece = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), format="fltp", layout="mono")
            piece.sample_rate, piece.pts, piece.time_base = 8000, round(sound_delay * 8000), Fraction(1, 8000)
            container.mux(track.encode(piece))
            container.mux(track.encode(None))
    return path


class BrightnessTracker(FaceTracker):
    """Takes brightness for a smile. Dark pictures show no face; with `crowd` bright ones show two."""

    name = "brightness"

    def __init__(self, crowd: bool = False) -> None:
        rest, onset = np.zeros(len(BLENDSHAPE_NAMES), np.float32), np.ones(len(BLENDSHAPE_NAMES), np.float32)
        self.scale = TrackerScale(rest, onset, blind=("cheekSquintLeft", "cheekSquintRight"))
        self.crowd = crowd
        self.seconds: list[float] = []

    def track(self, picture: np.ndarray, seconds: float) -> TrackedFace | None:
        assert picture.shape == (HEIGHT, WIDTH, 3) and picture.dtype == np.uint8
        self.seconds.append(seconds)
        level = picture.mean() / 255
        if level < 0.1:
            return None
        blendshapes = np.zeros(len(BLENDSHAPE_NAMES), np.float32)
        blendshapes[SMILES] = level
        rotation = np.array([0.1 * level, 0.2, 0.0])
        box = Box(16, 8, 48, 40)
        return TrackedFace(blendshapes, rotation, 10 * level * np.ones(3), box, 2 if self.crowd and level > 0.5 else 1)
