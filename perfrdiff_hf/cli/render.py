"""Draw a speaker and reactions to them, or any faces side by side, as a video or a picture.

    perfrdiff render OUT/reactions.npz --speaker talk.mp4 --output film.mp4
    perfrdiff render alice.csv bob.npz --output both.mp4
    perfrdiff render OUT/reaction_1.npy --output strips.png

FACE is a face track, a video, or the reactions.npz of `perfrdiff react`. A video (.mp4) has the speaker's sound; a
picture (.png) shows drawn faces, action units, valence and arousal over time. One face alone, and a picture of one
moment, are drawn by `perfrdiff avatar`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import (
    add_rate_option,
    add_speaker_options,
    add_tracking_options,
    check_folder,
    check_rate,
    check_tracking,
    counted,
    refuse_idle,
    speaker_files,
    tracking_settings,
)


if TYPE_CHECKING:
    from ..behaviour import Behaviour
    from ..rendering.people import Scene


SUFFIXES = (".mp4", ".png")
SIZE = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whose faces, and where to."""
    parser.add_argument("face", nargs="+", type=Path, help="face tracks, videos, reactions.npz")
    add_rate_option(parser)
    add_speaker_options(parser, required=False)
    parser.add_argument("--output", required=True, type=Path, help=f"file to write: {', '.join(SUFFIXES)}")
    parser.add_argument("--size", type=counted, help=f"of a face in a video, in pixels (default {SIZE})")
    parser.add_argument("--title", default="", help="what stands above all")
    add_tracking_options(parser)


def check_options(options: argparse.Namespace) -> None:
    """A file that can be written, and no option that would do nothing."""
    if options.output.suffix not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"output must end in {', '.join(SUFFIXES)}; given: {options.output.name}")
    if options.output.suffix != ".mp4":
        refuse_idle(options, ("size",), "an output that ends in .mp4")
    if not options.speaker:
        refuse_idle(options, ("speaker_fps",), "a speaker")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Read and draw."""
    from ..data.recordings import read_speaker
    from ..rendering.people import reaction_scene
    from ..rendering.strips import draw_strips, save_figure

    behaviour = sound = None
    notes: list[str] = []
    check_folder(options.output)
    audio, tracks = speaker_files(options.speaker or ())
    check_rate(options, "face_fps", options.face)
    check_rate(options, "speaker_fps", tracks)
    check_tracking(options, [*options.face, *tracks])
    if options.speaker:
        speaker = read_speaker(audio, tracks or None, options.speaker_fps, tracking_settings(options))
        behaviour, sound = speaker.behaviour, speaker.sound
        notes += speaker.notes
    reactions = [face for path in options.face for face in faces_in(path, options, notes)]
    if notes:
        print("\n".join(notes))
    scene = reaction_scene(reactions, behaviour, sound, options.title)
    if options.output.suffix == ".png":
        save_figure(draw_strips(scene), options.output)
    else:
        film(scene, options.output, options.size or SIZE)
    print(f"Written to {options.output}")
    return {"output": options.output, "faces": len(reactions), "frames": scene.num_frames, "notes": notes}


def faces_in(path: Path, options: argparse.Namespace, notes: list[str]) -> list[Behaviour]:
    """The behaviour in a track or video, and what was assumed of it as notes; of `reactions.npz`, all reactions."""
    from ..data.recordings import counts_frames, read_face, read_reactions

    if reactions := read_reactions(path):
        return reactions
    fps = options.face_fps if options.face_fps is not None and counts_frames(path) else None
    recorded = read_face(path, fps, tracking_settings(options))
    notes += recorded.notes
    return [recorded.behaviour]


def film(scene: Scene, path: Path, size: int = SIZE) -> None:
    """A scene as a video, with a bar while it is drawn."""
    from ..progress import Progress
    from ..rendering.video import write_video

    with Progress("video", scene.num_frames, "frame") as bar:
        write_video(scene, path, size=size, progress=lambda done, total: bar.update())
