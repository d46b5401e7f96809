"""React to a speaker, from a video, sound or face tracks to reactions in every format.

    perfrdiff react --model MODEL --speaker talk.mp4 --listener alice.mp4 --output OUT
    perfrdiff react --model MODEL --speaker speech.wav speaker.csv --listener alice --format glb live_link --output OUT
    perfrdiff react --model MODEL --speaker talk.mp4 --output OUT --json

SPEAKER is a video, a sound, a face track, or several of these: a video gives what the others do not. Where only one
part of a file is wanted, say so: `--speaker sound=talk.mp4`, or `--speaker sound=talk.mp4 face=other.mp4`.
Face tracks are REACT2024 csv or npy, npz, Live Link Face csv, LLV csv, py-feat csv, OpenFace csv, ARKit frames or
animated glTF.
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

from .options import (
    add_sampling_options,
    add_speaker_options,
    add_tracking_options,
    check_rate,
    check_tracking,
    load_pipeline,
    part_and_path,
    refuse_idle,
    sampling_settings,
    speaker_files,
    tracking_settings,
)


if TYPE_CHECKING:
    from ..behaviour import Behaviour
    from ..data.recordings import Recorded
    from ..pipelines.reaction_pipeline import ReactionPipeline


# Beside react2024, which is always written.
FORMATS = ("npz", "live_link", "llv", "arkit_json", "glb")
# More people than this make the still picture too tall to read.
MOST_REACTIONS_IN_PICTURE = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, the files to read, and how to react."""
    parser.add_argument("--model", required=True, help="folder of a saved pipeline, or its name on the Hub")
    add_speaker_options(parser, required=True)
    parser.add_argument(
        "--listener", nargs="+", metavar="PATH", help="of the listener; without it, reactions are generic"
    )
    parser.add_argument("--listener_fps", type=float, help="the same as speaker_fps for the listener's track")
    parser.add_argument("--output", required=True, help="folder to write to; it is made if need be")
    parser.add_argument(
        "--format",
        nargs="+",
        default=[],
        choices=FORMATS,
        help="further formats of the face tracks, beside react2024, which is always written",
    )
    parser.add_argument("--head", type=Path, help="for glb: a .glb with ARKit-named shapes instead of our own head")
    parser.add_argument("--no_video", action="store_true", help="leave out the video, which takes longest")
    add_sampling_options(parser.add_argument_group("sampling"), num_reactions=3)
    add_tracking_options(parser)


def check_options(options: argparse.Namespace) -> None:
    """No option that would do nothing."""
    if "glb" not in options.format:
        refuse_idle(options, ("head",), "--format glb")
    if not options.listener:
        refuse_idle(options, ("listener_fps",), "a listener")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """From the files that the options name to the output folder; what was done."""
    from ..behaviour import FRAME_RATE
    from ..data.recordings import read_speaker
    from ..extras import require
    from ..faces.formats.gltf import check_head
    from ..files import files_into

    # What is wrong is said before minutes of tracking and reacting.
    require("rendering", "Pictures and videos")
    if options.head is not None:
        check_head(options.head)
    audio, face = speaker_files(options.speaker)
    if missing := [path for path in options.listener or () if not Path(path).exists()]:
        raise FileNotFoundError(f"There is no face track at {missing[0]}, nor a video or a saved listener.")
    recordings = [path for path in options.listener or () if not Path(path).is_dir()]
    check_rate(options, "speaker_fps", face)
    check_rate(options, "listener_fps", recordings)
    check_tracking(options, [*face, *recordings])
    clock = _Clock()
    with files_into(options.output) as folder:
        pipeline = load_pipeline(options.model, options.device)
        clock.lap("loading")
        manner, manner_notes = read_listener(pipeline, options)
        speaker = read_speaker(audio, face or None, options.speaker_fps, tracking_settings(options))
        notes = [*speaker.notes, *manner_notes]
        print("\n".join(notes))
        clock.lap("reading")
        reactions = react(pipeline, speaker, manner, options)
        clock.lap("reacting")
        write_reactions(folder, reactions, options.format, options.head)
        draw_reactions(folder, reactions, speaker, title_of(options), video=not options.no_video)
        clock.lap("writing")
        files = sorted(file.name for file in folder.iterdir())
    seconds = len(reactions[0]) / FRAME_RATE
    number = "1 reaction" if len(reactions) == 1 else f"{len(reactions)} reactions"
    print(f"{number} of {seconds:.1f} s in {options.output}")
    print("Seconds: " + ", ".join(f"{what} {took:.1f}" for what, took in clock.laps.items()))
    return {
        "output": options.output,
        "files": files,
        "reactions": len(reactions),
        "seconds": seconds,
        "took_seconds": clock.laps,
        "notes": notes,
    }


def read_listener(pipeline: ReactionPipeline, options: argparse.Namespace) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Whose manner, as arguments of the pipeline's call, and what was found in a recording.

    A folder holds a listener who was personalised, anything else is a recording; without a path it is nobody's.
    """
    from ..data.recordings import read_face

    paths = options.listener
    if not paths:
        return {}, ()
    if len(paths) == 1 and Path(paths[0]).is_dir():
        return {"weight_shifts": personal(pipeline, options.model).load_listener(paths[0])}, ()
    recorded = read_face(paths, options.listener_fps, tracking_settings(options))
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
            if form.name not in forms:
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


def title_of(options: argparse.Namespace) -> str:
    """What was put together, by file names: sound, face and listener need not be of the same conversation."""
    parts = [(part, Path(path).name) for part, path in map(part_and_path, options.speaker)]
    speaker = " + ".join(f"{part} of {name}" if part else name for part, name in parts)
    listener = " + ".join(Path(path).name for path in options.listener or ())
    return f"speaker {speaker}, " + (f"listener {listener}" if listener else "generic")


class _Clock:
    """How long each part took, in seconds."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._began = time.perf_counter()

    def lap(self, what: str) -> None:
        now = time.perf_counter()
        self.laps[what], self._began = round(now - self._began, 2), now
