"""A face track on an avatar: as a file that other programs play, or live over the network.

    perfrdiff avatar reaction_1.npy --output reaction_1.glb
    perfrdiff avatar reaction_1.npy --output reaction_1.glb --head my_head.glb
    perfrdiff avatar reaction_1.npy --output reaction_1.mp4
    perfrdiff avatar reaction_1.npy --send vmc --fps 60

FACE is a face track of any format that `perfrdiff react` reads or writes; of a video, `perfrdiff track` makes one. By
its suffix, OUTPUT becomes an animated glTF head (.glb), Live Link Face (.csv), ARKit frames (.jsonl), a video of the
head (.mp4) or a picture of it (.png).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import add_rate_option, check_rate, refuse_idle


if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from PIL.Image import Image

    from ..faces.motion import FaceMotion
    from ..faces.tracks import FaceTrack


FORMATS = {".csv": "live_link", ".jsonl": "arkit_json"}
SUFFIXES = (".glb", *FORMATS, ".mp4", ".png")
SIZE = 384
FPS = 60
PROTOCOLS = ("live_link", "vmc", "vmc_presets", "arkit_json")
# After the last frame the face is shown for a moment, so that receivers do not lose it while it still moves.
LINGER_SECONDS = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whose face, and where to."""
    parser.add_argument("face", type=Path, help="a face track")
    add_rate_option(parser)
    parser.add_argument("--output", type=Path, help=f"file to write: {', '.join(SUFFIXES)}")
    parser.add_argument("--head", type=Path, help="a .glb with ARKit-named morph targets instead of our own head")
    parser.add_argument("--neutral", type=Path, help="a track of the same person, whose usual face becomes neutral")
    parser.add_argument("--size", type=int, help=f"of a video or picture, in pixels (default {SIZE})")
    parser.add_argument("--at", type=float, help="which moment a picture shows, in seconds (default 0)")
    live = parser.add_argument_group("live")
    live.add_argument("--send", choices=PROTOCOLS, help="protocol")
    live.add_argument("--host", help="where the avatar is (default: this machine)")
    live.add_argument("--port", type=int, help="default: the protocol's own")
    live.add_argument("--fps", type=int, choices=(25, 60), help=f"frames per second (default {FPS})")


def check_options(options: argparse.Namespace) -> None:
    """One of the two ways, a file that can be written, and no option that would do nothing."""
    if (options.output is None) == (options.send is None):
        raise argparse.ArgumentTypeError("give either output or send")
    if options.output is not None and options.output.suffix not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"output must end in {', '.join(SUFFIXES)}; given: {options.output.name}")
    suffix = "" if options.output is None else options.output.suffix
    if suffix:
        refuse_idle(options, ("host", "port", "fps"), "send")
    for name, suffixes in {"head": (".glb",), "size": (".mp4", ".png"), "at": (".png",)}.items():
        if suffix not in suffixes:
            refuse_idle(options, (name,), f"an output that ends in {', '.join(suffixes)}")
    if options.size is not None and (options.size < 16 or options.size % 2):  # videos have even sides
        raise argparse.ArgumentTypeError(f"size must be an even number from 16 on; given: {options.size}")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Read, and write or send; what was done."""
    from ..faces.formats.gltf import check_head
    from ..faces.motion import resting_face

    if options.head is not None:
        check_head(options.head)
    check_rate(options, "face_fps", [options.face])
    track = read_track(options.face, options.face_fps)
    print(track.report)
    coefficients = track.behaviour.streams["coefficients"]
    neutral = None
    if options.neutral is not None:
        neutral = resting_face(read_track(options.neutral).behaviour.streams["coefficients"])
    if options.output is None:
        return send(coefficients, neutral, options)
    write(coefficients, neutral, options)
    print(f"Written to {options.output}")
    return {"output": options.output, "frames": len(coefficients), "notes": track.report.notes}


def read_track(path: Path, fps: float | None = None) -> FaceTrack:
    """A face track; see `read_face_track` for `fps`.

    Raises:
        FileNotFoundError, ValueError: if there is none; of a video, how to make one of it.
    """
    from ..faces import read_face_track
    from ..faces.tracking.video import is_video

    if is_video(path):
        raise ValueError(f"{path} is a video. Track its face first: perfrdiff track {path} --output face.npz")
    return read_face_track(path, fps=fps)


def write(coefficients: np.ndarray, neutral: np.ndarray | None, options: argparse.Namespace) -> None:
    """The file, in the format of its suffix."""
    from ..behaviour import Behaviour
    from ..faces import write_face_track
    from ..faces.formats.gltf import animate_file
    from ..faces.motion import face_motion

    motion = face_motion(coefficients, neutral=neutral)
    suffix = options.output.suffix
    if suffix in FORMATS:
        write_face_track(Behaviour(coefficients=coefficients), options.output, FORMATS[suffix], neutral=neutral)
    elif suffix == ".glb":
        animate_file(motion, options.output, options.head)
    else:
        film(motion, options)


def film(motion: FaceMotion, options: argparse.Namespace) -> None:
    """Our own head as a video or a picture."""
    from ..behaviour import FRAME_RATE
    from ..files import file_beside
    from ..progress import Progress
    from ..rendering.head import draw_head
    from ..rendering.video import write_pictures

    size = options.size or SIZE
    if options.output.suffix == ".png":
        frame = min(max(0, round((options.at or 0.0) * FRAME_RATE)), len(motion) - 1)
        with file_beside(options.output) as beside:
            draw_head(motion.blendshapes[frame], motion.rotation[frame], size).save(beside)
        return
    with Progress("video", len(motion), "frame") as bar:

        def pictures() -> Iterator[Image]:
            for blendshapes, rotation in zip(motion.blendshapes, motion.rotation):
                yield draw_head(blendshapes, rotation, size)
                bar.update()

        write_pictures(pictures(), options.output)


def send(coefficients: np.ndarray, neutral: np.ndarray | None, options: argparse.Namespace) -> dict[str, Any]:
    """Play the track once, in real time; how that went."""
    import time

    from ..behaviour import FRAME_RATE
    from ..live.performing import perform
    from ..live.playout import Playout
    from ..live.senders import Sender

    fps = options.fps or FPS
    with Sender(options.send, options.host or "127.0.0.1", options.port) as sender:
        playout = Playout(neutral)
        began = time.monotonic()
        playout.add(0, coefficients, began)
        ends = began + playout.delay + len(coefficients) / FRAME_RATE + LINGER_SECONDS
        address = f"{sender.address[0]}:{sender.address[1]}"
        print(f"Sending to {address}, {fps} frames a second", flush=True)
        done = perform(playout, sender.send, fps, lambda: time.monotonic() > ends)
    print(f"{done.frames} frames sent, {done.skipped} skipped, longest gap {1000 * done.longest_gap:.0f} ms")
    address = f"{sender.address[0]}:{sender.address[1]}"
    return {
        "address": address,
        "frames": done.frames,
        "skipped": done.skipped,
        "longest_gap_seconds": done.longest_gap,
    }
