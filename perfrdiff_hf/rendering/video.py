"""A video of a scene: the speaker, with their sound, beside the reactions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..behaviour import FRAME_RATE
from ..extras import require
from ..faces.motion import face_motion
from ..files import file_beside
from .face import ground_colour
from .head import draw_head, head_of
from .people import Person, Scene


require("rendering", "Pictures and videos")
import av  # noqa: E402
from PIL import Image, ImageDraw, ImageFont  # noqa: E402


_MARGIN, _TITLE_HEIGHT, _HEADING_HEIGHT, _SOUND_HEIGHT = 16, 30, 34, 44
_INK, _FAINT, _PLAYED = (51, 51, 56), (196, 196, 200), (0, 114, 178)
_MOST_COLUMNS = 5
_WEBP_QUALITY = 70
# The first that PyAV was built with. All browsers play the first two.
_VIDEO_CODECS = ("libx264", "libopenh264", "mpeg4")


class _Tile(NamedTuple):
    x: int
    y: int
    size: int


class _Layout(NamedTuple):
    width: int
    height: int
    tiles: list[_Tile]


class _Backdrops(NamedTuple):
    """Everything but the faces, with the sound not yet played and with all of it played."""

    waiting: Image.Image
    played: Image.Image


def write_video(
    scene: Scene, path: str | Path, *, size: int = 256, progress: Callable[[int, int], Any] | None = None
) -> None:
    """Write a scene as mp4: the speaker on the left, the reactions beside them, the sound beneath.

    Args:
        scene: who is shown; its sound becomes the audio track.
        path: the file, ending in `.mp4`; it is written beside and moved when it is complete.
        size: height and width of a reaction's face in pixels.
        progress: called with (frames done, all frames) after each frame.

    Raises:
        ValueError: if `path` does not end in `.mp4`.
        FileNotFoundError: if the folder does not exist.
        ImportError: if PyAV or Pillow is not installed.
    """
    if Path(path).suffix != ".mp4":  # before anything is drawn
        raise ValueError(f"The video's path must end in .mp4; given: {path}.")
    write_pictures(scene_pictures(scene, size, progress), path, scene.sound)


def scene_pictures(
    scene: Scene, size: int = 256, progress: Callable[[int, int], Any] | None = None
) -> Iterator[Image.Image]:
    """The pictures of `write_video`, frame by frame; for the arguments see there."""
    layout = _lay_out(scene, size)
    backdrops = _draw_backdrops(scene, layout)
    for frame in range(scene.num_frames):
        yield _draw_frame(scene, layout, backdrops, frame)
        if progress is not None:
            progress(frame + 1, scene.num_frames)


def write_pictures(
    pictures: Iterable[Image.Image], path: str | Path, sound: tuple[np.ndarray, int] | None = None
) -> None:
    """Write pictures as mp4, 25 a second.

    Args:
        pictures: all of one size, with even sides; at least one.
        path: the file, ending in `.mp4`; it is written beside and moved when it is complete.
        sound: `(samples,)` or `(samples, channels)` in [-1, 1], and its sample rate; cut to the length of the video.

    Raises:
        ValueError: if `path` does not end in `.mp4`, there is no picture, or its sides are odd.
        FileNotFoundError: if the folder does not exist.
    """
    if Path(path).suffix != ".mp4":
        raise ValueError(f"The video's path must end in .mp4; given: {path}.")
    following = iter(pictures)
    first = next(following, None)
    if first is None or first.width % 2 or first.height % 2:
        raise ValueError(f"pictures must be at least one, with even sides; given: {first and first.size}.")
    with file_beside(path) as beside, av.open(str(beside), "w", format="mp4") as container:
        video = _video_stream(container, first.width, first.height)
        track = None if sound is None else container.add_stream("aac", rate=48000, layout="stereo")
        frames = 0
        for picture in chain([first], following):
            frame = av.VideoFrame.from_image(picture)
            frame.pts, frame.time_base = frames, Fraction(1, FRAME_RATE)
            container.mux(video.encode(frame))
            frames += 1
        container.mux(video.encode(None))
        if sound is not None:
            _write_sound(container, track, sound, frames / FRAME_RATE)


def write_animation(pictures: Iterable[Image.Image], path: str | Path, rate: float = FRAME_RATE) -> None:
    """Write pictures as an animated WebP, which web pages show without a player; it has no sound and begins anew.

    Args:
        pictures: all of one size; at least one.
        path: the file, ending in `.webp`; it is written beside and moved when it is complete.
        rate: pictures a second.

    Raises:
        ValueError: if `path` does not end in `.webp`, or there is no picture.
        FileNotFoundError: if the folder does not exist.
    """
    if Path(path).suffix != ".webp":
        raise ValueError(f"The animation's path must end in .webp; given: {path}.")
    following = iter(pictures)
    first = next(following, None)
    if first is None:
        raise ValueError("pictures must be at least one; given: none.")
    with file_beside(path) as beside:
        first.save(
            beside, format="WEBP", save_all=True, append_images=following, duration=round(1000 / rate), loop=0,
            quality=_WEBP_QUALITY, minimize_size=False,
        )  # fmt: skip


def video_frame(scene: Scene, frame: int, *, size: int = 256) -> Image.Image:
    """The picture that `write_video` shows in a frame."""
    layout = _lay_out(scene, size)
    return _draw_frame(scene, layout, _draw_backdrops(scene, layout), frame)


def _lay_out(scene: Scene, size: int) -> _Layout:
    """Where each person stands: the speaker as tall as all rows of reactions, and at most twice their size."""
    columns = min(len(scene.reactions), _MOST_COLUMNS)
    rows = -(-len(scene.reactions) // columns)
    columns = -(-len(scene.reactions) // rows)
    top = _MARGIN + (_TITLE_HEIGHT if scene.title else 0)
    left, tiles = _MARGIN, []
    cell = size + _HEADING_HEIGHT
    if scene.speaker is not None:
        large = min(rows * cell - _HEADING_HEIGHT, 2 * size)
        tiles.append(_Tile(left, top + _HEADING_HEIGHT + (rows * cell - _HEADING_HEIGHT - large) // 2, large))
        left += large + 2 * _MARGIN
    for place in range(len(scene.reactions)):
        row, column = divmod(place, columns)
        tiles.append(_Tile(left + column * (size + _MARGIN), top + row * cell + _HEADING_HEIGHT, size))
    width = left + columns * (size + _MARGIN)
    height = top + rows * cell + _MARGIN + (_SOUND_HEIGHT if scene.sound is not None else 0)
    return _Layout(width + width % 2, height + height % 2, tiles)  # h264 needs even sides


def _draw_backdrops(scene: Scene, layout: _Layout) -> _Backdrops:
    """Titles, and the sound's loudness as bars along the bottom."""
    bars = (layout.width - 2 * _MARGIN) // 4
    loudness = scene.loudness(bars)
    middle = layout.height - _MARGIN / 2 - _SOUND_HEIGHT / 2
    canvases = []
    for colour in (_FAINT, _PLAYED):
        canvas = Image.new("RGB", (layout.width, layout.height), (255, 255, 255))
        draw = ImageDraw.Draw(canvas)
        if scene.title:
            font = _fitting_font(draw, scene.title, layout.width - 2 * _MARGIN)
            draw.text((_MARGIN, _MARGIN - 2), scene.title, fill=_INK, font=font)
        for person, tile in zip(scene.people, layout.tiles):
            at = (tile.x + tile.size / 2, tile.y - _HEADING_HEIGHT / 2)
            draw.text(at, person.title, fill=_INK, font=_fitting_font(draw, person.title, tile.size), anchor="mm")
        for bar, loud in enumerate([] if loudness is None else loudness.tolist()):
            half = 1 + loud * (_SOUND_HEIGHT / 2 - 3)
            draw.rectangle((_MARGIN + 4 * bar, middle - half, _MARGIN + 4 * bar + 2, middle + half), fill=colour)
        canvases.append(canvas)
    return _Backdrops(*canvases)


def _fitting_font(draw: ImageDraw.ImageDraw, text: str, width: int) -> Any:
    """The largest font of up to 19 pixels in which a text is no wider than `width`."""
    fonts = (ImageFont.load_default(size) for size in range(19, 6, -1))
    return next((font for font in fonts if draw.textlength(text, font=font) <= width), ImageFont.load_default(6))


def _draw_frame(scene: Scene, layout: _Layout, backdrops: _Backdrops, frame: int) -> Image.Image:
    canvas = backdrops.waiting.copy()
    if scene.sound is not None:
        top = layout.height - _SOUND_HEIGHT - _MARGIN // 2
        now = round(_MARGIN + (frame + 1) / scene.num_frames * (layout.width - 2 * _MARGIN))
        canvas.paste(backdrops.played.crop((0, top, now, layout.height)), (0, top))
    for person, tile in zip(scene.people, layout.tiles):
        canvas.paste(_portrait(person, frame, tile.size), (tile.x, tile.y))
    return canvas


def _portrait(person: Person, frame: int, size: int) -> Image.Image:
    coefficients, emotion = person.face_at(frame)
    motion = face_motion(coefficients[None])
    ground = ground_colour(emotion)
    return draw_head(motion.blendshapes[0], motion.rotation[0], size, head_of(person.palette), ground)


def _video_stream(container: Any, width: int, height: int) -> Any:
    codec = next(name for name in _VIDEO_CODECS if name in av.codecs_available)
    stream = container.add_stream(codec, rate=FRAME_RATE)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    if codec == "libx264":
        stream.options = {"crf": "20", "preset": "veryfast"}
    else:
        stream.bit_rate = 4_000_000
    return stream


def _write_sound(container: Any, stream: Any, sound: tuple[np.ndarray, int], seconds: float) -> None:
    """The sound, cut to the length of the video."""
    waveform, sample_rate = sound
    mono = waveform if waveform.ndim == 1 else waveform.mean(axis=1)
    mono = mono[: int(seconds * sample_rate)].astype(np.float32)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(mono[None]), format="flt", layout="mono")
    frame.sample_rate = sample_rate
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=48000)
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(stream.encode(part))
    container.mux(stream.encode(None))
