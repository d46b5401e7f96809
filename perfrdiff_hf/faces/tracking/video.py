"""Videos as pictures with their times, and as sound, through PyAV: any container, codec and rate that FFmpeg knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...extras import require


# More pictures in a second tell nothing that 25 frames a second could keep; of faster videos some are skipped. Phones'
# 30 a second come at uneven times, and none of them may be missed.
MOST_PICTURES_A_SECOND = 40
# Larger pictures take longer to read and show faces no better.
LARGEST_SIDE = 1280
_BEGINNINGS = {4: (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"), 0: (b"\x1aE\xdf\xa3",), 8: (b"AVI ",)}


@dataclass(frozen=True)
class Picture:
    """One picture of a video.

    Args:
        pixels: `(height, width, 3)` uint8, red, green and blue, upright.
        seconds: since the first picture.
    """

    pixels: np.ndarray
    seconds: float


def is_video(path: Path) -> bool:
    """Whether a file begins as mp4, mov, webm, mkv or avi do; it need not be there."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        begin = file.read(16)
    return any(begin[at:].startswith(word) for at, words in _BEGINNINGS.items() for word in words)


class Video:
    """The pictures of a video, one after the other.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read as a video, or has no pictures.
        ImportError: if PyAV is not installed.
    """

    def __init__(self, path: Path) -> None:
        require("tracking", "Videos", ["av"])
        if not path.is_file():
            raise FileNotFoundError(f"There is no video {path}.")
        self.path = path
        self.breaks_off: float | None = None  # the time at which it could not be read on
        with open_container(path) as container:
            stream = moving_pictures(container)
            if stream is None:
                raise ValueError(f"{path} has no pictures; it holds sound alone.")
            seconds = float(container.duration or 0) / 1_000_000
            self.expected_pictures = stream.frames or round(seconds * float(stream.average_rate or 25))

    def __iter__(self) -> Iterator[Picture]:
        """The pictures whose times rise, at most 40 a second."""
        import av

        first = last = None
        with open_container(self.path) as container:
            stream = moving_pictures(container)
            stream.thread_type = "AUTO"
            try:
                for frame in container.decode(stream):
                    if frame.time is None:
                        continue
                    first = frame.time if first is None else first
                    seconds = frame.time - first
                    if last is None or seconds - last >= 1 / MOST_PICTURES_A_SECOND:
                        last = seconds
                        yield Picture(_pixels(frame), seconds)
            except av.FFmpegError:
                self.breaks_off = last
        if last is None:
            raise ValueError(f"{self.path} holds no picture that can be read.")


def read_sound(path: Path) -> tuple[np.ndarray, int] | None:
    """The sound of a video, from its first picture on.

    Returns:
        The waveform `(samples, channels)` float32 in [-1, 1] and its sample rate; None if the video has no sound.

    Raises:
        ValueError: if the file cannot be read.
        ImportError: if PyAV is not installed.
    """
    require("tracking", "Videos", ["av"])
    import av

    with open_container(path) as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp", rate=stream.rate)
        parts, begins = [], None
        try:
            for frame in container.decode(stream):
                begins = frame.time if begins is None else begins
                parts += [part.to_ndarray().T for part in resampler.resample(frame)]
        except av.FFmpegError:
            pass  # what was read counts, as with the pictures
        parts += [part.to_ndarray().T for part in resampler.resample(None)] if parts else []
        pictures = moving_pictures(container)
        delay = 0.0 if pictures is None else (begins or 0.0) - _beginning(pictures)
    if not parts:
        return None
    return _delayed(np.concatenate(parts), round(delay * stream.rate)), stream.rate


def streams_of(path: Path) -> set[str]:
    """What a video file holds: "pictures", "sound" or both; `ValueError` if it cannot be read."""
    require("tracking", "Videos", ["av"])
    with open_container(path) as container:
        found = {"pictures": moving_pictures(container), "sound": next(iter(container.streams.audio), None)}
    return {name for name, stream in found.items() if stream is not None}


def moving_pictures(container: Any) -> Any:
    """The first stream of pictures that is no cover of an album; None where there is none."""
    from av.stream import Disposition

    films = (stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic)
    return next(films, None)


def open_container(path: Path) -> Any:
    """A file as PyAV's container, to be closed; `ValueError` if it is none."""
    import av

    try:
        return av.open(str(path))
    except (av.FFmpegError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a video: {error}") from error


def upright(pixels: np.ndarray, degrees: int) -> np.ndarray:
    """A picture `(height, width, 3)` turned counter-clockwise by a multiple of 90 degrees, as phones ask for."""
    return np.rot90(pixels, round(degrees / 90) % 4)


def _pixels(frame: Any) -> np.ndarray:
    shrink = LARGEST_SIDE / max(frame.width, frame.height, LARGEST_SIDE)
    width, height = round(frame.width * shrink), round(frame.height * shrink)
    return upright(frame.to_ndarray(format="rgb24", width=width, height=height), frame.rotation)


def _beginning(stream: Any) -> float:
    """When the first picture is shown, in seconds."""
    return float((stream.start_time or 0) * stream.time_base)


def _delayed(waveform: np.ndarray, samples: int) -> np.ndarray:
    """Sound that begins later, after silence; or earlier, without its beginning."""
    return np.pad(waveform, ((samples, 0), (0, 0))) if samples > 0 else waveform[-samples:]
