"""A face track on an avatar: as a file that other programs play, or live over the network.

    perfrdiff avatar reaction_1.npy --output reaction_1.glb
    perfrdiff avatar reaction_1.npy --output reaction_1.glb --head my_head.glb
    perfrdiff avatar reaction_1.npy --output reaction_1.mp4
    perfrdiff avatar reaction_1.npy --send vmc --fps 60

FACE is a track of any format that `perfrdiff generate` reads or writes. By its suffix, OUTPUT becomes an animated glTF
head (.glb), Live Link Face (.csv), ARKit frames (.jsonl), a video of the head (.mp4) or a picture of it (.png).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from PIL.Image import Image

    from ..faces.motion import FaceMotion


FORMATS = {".csv": "live_link", ".jsonl": "arkit_json"}
SUFFIXES = (".glb", *FORMATS, ".mp4", ".png")
PROTOCOLS = ("live_link", "vmc", "vmc_presets", "arkit_json")
# After the last frame the face is shown for a moment, so that receivers do not lose it while it still moves.
LINGER_SECONDS = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whose face, and where to."""
    parser.add_argument("face", type=Path, help="a face track")
    parser.add_argument("--output", type=Path, help=f"file to write: {', '.join(SUFFIXES)}")
    parser.add_argument("--head", type=Path, help="a .glb with ARKit-named morph targets instead of our own head")
    parser.add_argument("--neutral", type=Path, help="a track of the same person, whose usual face becomes neutral")
    parser.add_argument("--size", type=int, default=384, help="of a video or picture, in pixels (default 384)")
    parser.add_argument("--at", type=float, default=0.0, help="which moment a picture shows, in seconds (default 0)")
    live = parser.add_argument_group("live")
    live.add_argument("--send", choices=PROTOCOLS, help="protocol")
    live.add_argument("--host", default="127.0.0.1", help="where the avatar is (default: this machine)")
    live.add_argument("--port", type=int, help="default: the protocol's own")
    live.add_argument("--fps", type=int, default=60, choices=(25, 60), help="frames per second (default 60)")


def check_options(options: argparse.Namespace) -> None:
    """One of the two ways, and a file that can be written."""
    if (options.output is None) == (options.send is None):
        raise argparse.ArgumentTypeError("give either output or send")
    if options.output is not None and options.output.suffix not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"output must end in {', '.join(SUFFIXES)}; given: {options.output.name}")
    if options.head is not None and (options.output is None or options.output.suffix != ".glb"):
        raise argparse.ArgumentTypeError("head is for an output that ends in .glb")


def run(options: argparse.Namespace) -> None:
    """Read, and write or send."""
    from ..faces import read_face_track
    from ..faces.formats.gltf import check_head

    if options.head is not None:
        check_head(options.head)
    track = read_face_track(options.face)
    print(track.report)
    coefficients = track.behaviour.streams["coefficients"]
    neutral = _neutral(options.neutral)
    if options.output is None:
        send(coefficients, neutral, options)
    else:
        write(coefficients, neutral, options)
        print(f"Written to {options.output}")


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

    if options.output.suffix == ".png":
        frame = min(max(0, round(options.at * FRAME_RATE)), len(motion) - 1)
        with file_beside(options.output) as beside:
            draw_head(motion.blendshapes[frame], motion.rotation[frame], options.size).save(beside)
        return
    with Progress("video", len(motion), "frame") as bar:

        def pictures() -> Iterator[Image]:
            for blendshapes, rotation in zip(motion.blendshapes, motion.rotation):
                yield draw_head(blendshapes, rotation, options.size)
                bar.update()

        write_pictures(pictures(), options.output)


def send(coefficients: np.ndarray, neutral: np.ndarray | None, options: argparse.Namespace) -> None:
    """Play the track once, in real time."""
    import time

    from ..behaviour import FRAME_RATE
    from ..live.performing import perform
    from ..live.playout import Playout
    from ..live.senders import Sender

    with Sender(options.send, options.host, options.port) as sender:
        playout = Playout(neutral)
        began = time.monotonic()
        playout.add(0, coefficients, began)
        ends = began + playout.delay + len(coefficients) / FRAME_RATE + LINGER_SECONDS
        print(f"Sending to {sender.address[0]}:{sender.address[1]}, {options.fps} frames a second", flush=True)
        done = perform(playout, sender.send, options.fps, lambda: time.monotonic() > ends)
    print(f"{done.frames} frames sent, {done.skipped} skipped, longest gap {1000 * done.longest_gap:.0f} ms")


def _neutral(path: Path | None) -> np.ndarray | None:
    from ..faces import read_face_track
    from ..faces.motion import resting_face

    return None if path is None else resting_face(read_face_track(path).behaviour.streams["coefficients"])
