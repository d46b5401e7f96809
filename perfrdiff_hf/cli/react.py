"""React to a speaker, from a video, sound or face tracks to reactions in every format.

    perfrdiff react --model MODEL --speaker talk.mp4 --listener alice.mp4 --output OUT
    perfrdiff react --model MODEL --speaker speech.wav speaker.csv --listener alice --format glb live_link --output OUT
    perfrdiff react --model MODEL --speaker talk.mp4 --output OUT --json

SPEAKER is a video, a sound, a face track, or several of these: a video gives what the others do not. Face tracks may
be REACT2024 csv or npy, npz, Live Link Face csv, LLV csv, py-feat csv, OpenFace csv, ARKit frames or animated glTF.
LISTENER is a video or track of half a minute of the person, or a folder that `perfrdiff personalise` wrote. OUT holds:

    reactions.npz        reactions (number, frames, 25) and coefficients (number, frames, 58)
    reaction_<k>.csv     emotion of one reaction in REACT2024's format
    reaction_<k>.npy     its coefficients in REACT2024's format, (frames, 1, 58)
    reaction_<k>_<format>.*  a face track for other programs, for each of --format npz, live_link, llv, arkit_json, glb
    reactions.png        faces, action units, valence and arousal over time
    reactions.mp4        the speaker beside the reactions
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import add_sampling_options, add_tracking_options, load_pipeline, sampling_settings, tracking_settings


if TYPE_CHECKING:
    from ..behaviour import Behaviour
    from ..data.recordings import Recorded
    from ..files import PathLike
    from ..pipelines.reaction_pipeline import ReactionPipeline


FORMATS = ("react2024", "npz", "live_link", "llv", "arkit_json", "glb")
# More people than this make the still picture too tall to read.
MOST_REACTIONS_IN_PICTURE = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, the files to read, and how to react."""
    parser.add_argument("--speaker", nargs="+", required=True, metavar="FILE", help="video, sound, face track")
    parser.add_argument("--speaker_fps", type=float, help="rate of the tracked video, for py-feat and OpenFace")
    parser.add_argument(
        "--listener", nargs="+", metavar="PATH", help="of the listener; without it, reactions are generic"
    )
    parser.add_argument("--listener_fps", type=float, help="the same as speaker_fps for the listener's track")
    add_reacting_options(parser)


def add_reacting_options(parser: argparse.ArgumentParser) -> None:
    """Everything but who speaks and who listens."""
    parser.add_argument("--model", required=True, help="folder of a saved pipeline, or its name on the Hub")
    parser.add_argument("--output", required=True, help="folder to write to; it is made if need be")
    parser.add_argument(
        "--format",
        nargs="+",
        default=[],
        choices=FORMATS,
        help="further formats of the face tracks, beside react2024",
    )
    parser.add_argument("--head", type=Path, help="for glb: a .glb with ARKit-named shapes instead of our own head")
    parser.add_argument("--no_video", action="store_true", help="leave out the video, which takes longest")
    add_sampling_options(parser.add_argument_group("sampling"), num_reactions=3)
    add_tracking_options(parser)


def check_options(options: argparse.Namespace) -> None:
    """A head needs a format that has one."""
    if options.head is not None and "glb" not in options.format:
        raise argparse.ArgumentTypeError("head is for --format glb")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """From the files that the options name to the output folder."""
    from ..data.recordings import sort_files

    audio, face = sort_files(options.speaker)
    title = f"speaker {_named(options.speaker)}, " + (
        f"listener {_named(options.listener)}" if options.listener else "generic"
    )
    return produce(options, audio, face, options.listener, options.listener_fps, title)


def produce(
    options: argparse.Namespace,
    audio: PathLike | None,
    face: Sequence[PathLike] | None,
    listener: Sequence[str] | None,
    listener_fps: float | None,
    title: str,
) -> dict[str, Any]:
    """Read, react, write and draw; what was done.

    Args:
        options: those of `add_reacting_options`, and `speaker_fps`.
        audio: the speaker's sound.
        face: the speaker's face.
        listener: whose manner; None: nobody's.
        listener_fps: of the listener's track.
        title: of the picture and the video.
    """
    from ..behaviour import FRAME_RATE
    from ..data.recordings import read_speaker
    from ..extras import require
    from ..faces.formats.gltf import check_head
    from ..files import files_into

    # What is wrong is said before minutes of tracking and reacting.
    require("rendering", "Pictures and videos")
    if options.head is not None:
        check_head(options.head)
    if missing := [path for path in listener or () if not Path(path).exists()]:
        raise FileNotFoundError(f"There is no face track at {missing[0]}, nor a video or a saved listener.")
    clock = _Clock()
    with files_into(options.output) as folder:
        pipeline = load_pipeline(options.model, options.device)
        clock.lap("loading")
        manner, manner_notes = read_listener(pipeline, listener, listener_fps, options)
        speaker = read_speaker(audio, face or None, options.speaker_fps, tracking_settings(options))
        notes = [*speaker.notes, *manner_notes]
        print("\n".join(notes))
        clock.lap("reading")
        reactions = react(pipeline, speaker, manner, options)
        clock.lap("reacting")
        write_reactions(folder, reactions, options.format, options.head)
        draw_reactions(folder, reactions, speaker, title, video=not options.no_video)
        clock.lap("writing")
        files = sorted(file.name for file in folder.iterdir())
    seconds = len(reactions[0]) / FRAME_RATE
    print(f"{len(reactions)} reactions of {seconds:.1f} s are in {options.output}")
    print("Seconds: " + ", ".join(f"{what} {took:.1f}" for what, took in clock.laps.items()))
    return {
        "output": options.output,
        "files": files,
        "reactions": len(reactions),
        "seconds": seconds,
        "took_seconds": clock.laps,
        "notes": notes,
    }


def read_listener(
    pipeline: ReactionPipeline, paths: Sequence[str] | None, fps: float | None, options: argparse.Namespace
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Whose manner, as arguments of the pipeline's call, and what was found in a recording.

    A folder holds a listener who was personalised, anything else is a recording; without a path it is nobody's.
    """
    from ..data.recordings import read_face

    if not paths:
        return {}, ()
    if len(paths) == 1 and Path(paths[0]).is_dir():
        return {"weight_shifts": personal(pipeline, options.model).load_listener(paths[0])}, ()
    recorded = read_face(list(paths), fps, tracking_settings(options))
    return {"listener_history": recorded.behaviour}, recorded.notes


def react(
    pipeline: ReactionPipeline, speaker: Recorded, manner: dict[str, Any], options: argparse.Namespace
) -> list[Behaviour]:
    """Reactions as behaviour with emotion and coefficients."""
    import torch

    output: Any = pipeline(
        speaker=speaker.behaviour,
        generator=torch.Generator().manual_seed(options.seed),
        **manner,
        **sampling_settings(options),
    )
    return [output.behaviour(reaction=number) for number in range(options.num_reactions)]


def personal(pipeline: ReactionPipeline, model: str) -> Any:
    """The pipeline, if it keeps listeners as files.

    Raises:
        ValueError: if it is of a system that does not.
    """
    if not hasattr(pipeline, "load_listener"):
        raise ValueError(f"{model} is a {type(pipeline).__name__}, which keeps no listeners; give a video or track.")
    return pipeline


def write_reactions(folder: Path, reactions: Sequence[Behaviour], forms: Sequence[str], head: Path | None) -> None:
    """The reactions as npz, each in REACT2024's formats, and each as tracks of the formats that are asked for."""
    import numpy as np

    from ..faces import formats
    from ..faces.formats.gltf import animate_file
    from ..faces.motion import face_motion
    from ..faces.tracks import write_face_track

    emotion = np.stack([reaction.streams["emotion"] for reaction in reactions])
    coefficients = np.stack([reaction.streams["coefficients"] for reaction in reactions])
    np.savez_compressed(folder / "reactions.npz", reactions=emotion, coefficients=coefficients)
    for number, reaction in enumerate(reactions, start=1):
        write_face_track(reaction, folder / f"reaction_{number}.csv")
        write_face_track(reaction, folder / f"reaction_{number}.npy")
        for form in formats.FORMATS:
            if form.name not in forms or form.name == "react2024":
                continue
            path = folder / f"reaction_{number}_{form.name}{form.suffix}"
            if form.name == "glb":
                animate_file(face_motion(reaction.streams["coefficients"]), path, head)
            else:
                write_face_track(reaction, path, form.name)


def draw_reactions(folder: Path, reactions: Sequence[Behaviour], speaker: Recorded, title: str, video: bool) -> None:
    """The picture and the video."""
    from ..rendering.people import reaction_scene
    from ..rendering.strips import draw_strips, save_figure
    from .render import film

    few = reaction_scene(reactions[:MOST_REACTIONS_IN_PICTURE], speaker.behaviour, speaker.sound, title)
    save_figure(draw_strips(few), folder / "reactions.png")
    if video:
        film(reaction_scene(reactions, speaker.behaviour, speaker.sound, title), folder / "reactions.mp4")


class _Clock:
    """How long each part took, in seconds."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._began = time.perf_counter()

    def lap(self, what: str) -> None:
        now = time.perf_counter()
        self.laps[what], self._began = round(now - self._began, 2), now


def _named(paths: Sequence[str]) -> str:
    return " + ".join(Path(path).name for path in paths)
