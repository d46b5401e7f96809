"""Generate personalised reactions to a speaker, from files to files.

    perfrdiff generate --model MODEL --speaker_audio speech.wav --speaker_face speaker.csv \
        --listener_history listener.csv --output OUT

The speaker's face and the listener's history may be REACT2024 csv or npy, Live Link Face csv, LLV csv, py-feat csv or
OpenFace csv. OUT then holds:

    reactions.npz        reactions (number, frames, 25) and coefficients (number, frames, 58)
    reaction_<k>.csv     emotion of one reaction in REACT2024's format
    reaction_<k>.npy     its coefficients in REACT2024's format, (frames, 1, 58)
    reaction_<k>_<format>.*  a face track for other programs, for each of --format live_link, llv, arkit_json, glb
    reactions.png        faces, action units, valence and arousal over time
    reactions.mp4        the speaker beside the reactions
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import add_sampling_options, load_pipeline, sampling_settings


if TYPE_CHECKING:
    from ..behaviour import Behaviour
    from ..data.recordings import Recorded
    from ..pipelines.reaction_pipeline import ReactionPipeline


# More people than this make the still picture too tall to read.
MOST_REACTIONS_IN_PICTURE = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, the files to read, and how to react."""
    parser.add_argument("--model", required=True, help="folder of a saved pipeline, or its name on the Hub")
    parser.add_argument("--speaker_audio", help="the speaker's sound (wav, flac, mp3, ...)")
    parser.add_argument("--speaker_face", nargs="+", help="the speaker's face track; for REACT2024, its csv and npy")
    parser.add_argument("--speaker_fps", type=float, help="rate of the tracked video, for py-feat and OpenFace")
    parser.add_argument(
        "--listener_history", nargs="+", help="a face track of the listener; without it, reactions are generic"
    )
    parser.add_argument("--history_fps", type=float, help="the same as speaker_fps for the history")
    parser.add_argument("--output", required=True, help="folder to write to; it is made if need be")
    parser.add_argument(
        "--format",
        nargs="+",
        default=[],
        choices=("react2024", "live_link", "llv", "arkit_json", "glb"),
        help="further formats of the face tracks, beside react2024",
    )
    parser.add_argument("--head", type=Path, help="for glb: a .glb with ARKit-named shapes instead of our own head")
    add_sampling_options(parser, num_reactions=3)
    parser.add_argument("--no_video", action="store_true", help="leave out the video, which takes longest")


def check_options(options: argparse.Namespace) -> None:
    """There must be somebody to react to."""
    if not (options.speaker_audio or options.speaker_face):
        raise argparse.ArgumentTypeError("give speaker_audio, speaker_face or both")


def run(options: argparse.Namespace) -> None:
    """From the files that the options name to the output folder."""
    from ..behaviour import FRAME_RATE
    from ..data.recordings import read_face, read_speaker
    from ..faces.formats.gltf import check_head
    from ..files import files_into

    if options.head is not None:
        check_head(options.head)
    with files_into(options.output) as folder:
        speaker = read_speaker(options.speaker_audio, options.speaker_face, options.speaker_fps)
        listener = read_face(options.listener_history, options.history_fps) if options.listener_history else None
        for note in (*speaker.notes, *(listener.notes if listener else ())):
            print(note)
        pipeline = load_pipeline(options.model, options.device)
        reactions = react(pipeline, speaker, listener, options)
        write_reactions(folder, reactions, options.format, options.head)
        draw_reactions(folder, reactions, speaker, described(options), video=not options.no_video)
    print(f"{len(reactions)} reactions of {len(reactions[0]) / FRAME_RATE:.1f} s are in {options.output}")


def react(
    pipeline: ReactionPipeline, speaker: Recorded, listener: Recorded | None, options: argparse.Namespace
) -> list[Behaviour]:
    """Reactions as behaviour with emotion and coefficients."""
    import torch

    output: Any = pipeline(
        speaker=speaker.behaviour,
        listener_history=listener.behaviour if listener else None,
        generator=torch.Generator().manual_seed(options.seed),
        **sampling_settings(options),
    )
    return [output.behaviour(reaction=number) for number in range(options.num_reactions)]


def write_reactions(folder: Path, reactions: Sequence[Behaviour], forms: Sequence[str], head: Path | None) -> None:
    """The reactions as npz, each in REACT2024's formats, and each as tracks of the formats that are asked for."""
    import numpy as np

    from ..faces.formats import FORMATS
    from ..faces.formats.gltf import animate_file
    from ..faces.motion import face_motion
    from ..faces.tracks import write_face_track

    emotion = np.stack([reaction.streams["emotion"] for reaction in reactions])
    coefficients = np.stack([reaction.streams["coefficients"] for reaction in reactions])
    np.savez_compressed(folder / "reactions.npz", reactions=emotion, coefficients=coefficients)
    for number, reaction in enumerate(reactions, start=1):
        write_face_track(reaction, folder / f"reaction_{number}.csv")
        write_face_track(reaction, folder / f"reaction_{number}.npy")
        for form in FORMATS:
            if form.name not in forms or form.name == "react2024":
                continue
            path = folder / f"reaction_{number}_{form.name}{form.suffix}"
            if form.name == "glb":
                animate_file(face_motion(reaction.streams["coefficients"]), path, head)
            else:
                write_face_track(reaction, path, form.name)


def draw_reactions(folder: Path, reactions: Sequence[Behaviour], speaker: Recorded, title: str, video: bool) -> None:
    """The picture and the video."""
    from ..progress import Progress
    from ..rendering.people import reaction_scene
    from ..rendering.strips import draw_strips, save_figure
    from ..rendering.video import write_video

    few = reaction_scene(reactions[:MOST_REACTIONS_IN_PICTURE], speaker.behaviour, speaker.sound, title)
    save_figure(draw_strips(few), folder / "reactions.png")
    if video:
        scene = reaction_scene(reactions, speaker.behaviour, speaker.sound, title)
        with Progress("video", scene.num_frames, "frame") as bar:
            write_video(scene, folder / "reactions.mp4", progress=lambda done, total: bar.update())


def described(options: argparse.Namespace) -> str:
    """What was put together, by file names: sound, face and history need not be of the same conversation."""
    sound = [options.speaker_audio] if options.speaker_audio else None
    parts = {"sound": sound, "face": options.speaker_face, "listener": options.listener_history}
    named = [f"{part} {' + '.join(Path(path).name for path in paths)}" for part, paths in parts.items() if paths]
    return ", ".join(named) + ("" if options.listener_history else " (generic)")
