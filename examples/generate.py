"""Generate personalised reactions to a speaker, from files to files.

    python examples/generate.py --model MODEL --speaker_audio speech.wav --speaker_face speaker.csv \
        --listener_history listener.csv --output OUT

The speaker's face and the listener's history may be REACT2024 csv or npy, Live Link Face csv, LLV csv, py-feat csv or
OpenFace csv. OUT then holds:

    reactions.npz        reactions (number, frames, 25) and coefficients (number, frames, 58)
    reaction_<k>.csv     emotion of one reaction in REACT2024's format
    reaction_<k>.npy     its coefficients in REACT2024's format, (frames, 1, 58)
    reactions.png        faces, action units, valence and arousal over time
    reactions.mp4        the speaker beside the reactions
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from perfrdiff_hf import PerFRDiffPipeline
from perfrdiff_hf.behaviour import FRAME_RATE, Behaviour
from perfrdiff_hf.data.audio import mfcc_features, read_audio
from perfrdiff_hf.faces.formats import write_coefficients_npy, write_emotion_csv
from perfrdiff_hf.faces.tracks import combine_tracks, read_face_track


# More people than this make the still picture too tall to read.
_MOST_REACTIONS_IN_PICTURE = 4


@dataclass(frozen=True)
class Speaker:
    """What the speaker says and shows; `sound` is the waveform `(samples, channels)` and its rate, for the video."""

    behaviour: Behaviour
    sound: tuple[np.ndarray, int] | None


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line. Names may be written with `_` or `-`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)

    def option(name: str, **settings: object) -> None:
        parser.add_argument(*dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}")), **settings)  # type: ignore

    option("model", required=True, help="folder of a saved pipeline, or its name on the Hub")
    option("speaker_audio", help="the speaker's sound (wav, flac, mp3, ...)")
    option("speaker_face", nargs="+", help="the speaker's face track; for REACT2024, its csv and its npy")
    option("speaker_fps", type=float, help="rate of the tracked video, for py-feat and OpenFace (default 25)")
    option("listener_history", nargs="+", help="a face track of the listener; without it, reactions are generic")
    option("history_fps", type=float, help="the same as speaker_fps for the history")
    option("output", required=True, help="folder to write to; it is made if need be")
    option("num_reactions", type=int, default=3)
    option("num_inference_steps", type=int, default=50)
    option("guidance_scale", type=float, default=7.5)
    option("seed", type=int, default=0)
    option("device", default="cuda" if torch.cuda.is_available() else "cpu")
    option("no_video", action="store_true", help="leave out the video, which takes longest on a small model")
    options = parser.parse_args(arguments)
    if not (options.speaker_audio or options.speaker_face):
        parser.error("give speaker_audio, speaker_face or both")
    return options


def read_face(paths: Sequence[str], fps: float | None) -> Behaviour:
    """One person's face from one track, or from REACT2024's csv (emotion) and npy (coefficients) together."""
    tracks = [read_face_track(path, fps=fps) for path in paths]
    for track in tracks:
        print(track.report)
    if len(tracks) == 1:
        return tracks[0].behaviour
    by_content = {track.report.recorded: track for track in tracks}
    if len(tracks) != 2 or set(by_content) != {"emotion", "coefficients"}:
        raise ValueError(
            f"Several face files must be REACT2024's csv and npy of one recording; given: {', '.join(paths)}."
        )
    return combine_tracks(by_content["emotion"], by_content["coefficients"])


def read_speaker(audio: str | None, face: Sequence[str] | None, fps: float | None) -> Speaker:
    """The speaker's streams over the same frames: as many as the longer of sound and face has."""
    sound = read_audio(audio) if audio else None
    seen = read_face(face, fps) if face else None
    sound_frames = int(len(sound[0]) / sound[1] * FRAME_RATE) if sound else 0
    frames = max(sound_frames, len(seen) if seen else 0)
    streams: dict[str, np.ndarray] = {}
    if sound:
        print(f"{audio}: {sound_frames / FRAME_RATE:.1f} s of sound -> {frames} frames")
        streams["audio"] = mfcc_features(*sound, num_frames=frames)
        if sound_frames < frames:
            print(
                f"  the sound is shorter than the face: {(frames - sound_frames) / FRAME_RATE:.1f} s of silence follow"
            )
    if seen:
        streams.update({name: _held(values, frames) for name, values in seen.streams.items()})
        if len(seen) < frames:
            held = (frames - len(seen)) / FRAME_RATE
            print(f"  the face is shorter than the sound: its last frame is held for {held:.1f} s")
    missing = [name for name, path in (("sound", audio), ("face", face)) if not path]
    if missing:
        print(f"the speaker's {missing[0]} is not given; the model must have been trained to do without")
    return Speaker(Behaviour(**streams), sound)


def _held(values: np.ndarray, frames: int) -> np.ndarray:
    return np.pad(values, ((0, frames - len(values)), (0, 0)), mode="edge")


def generate(
    pipeline: PerFRDiffPipeline, speaker: Speaker, history: Behaviour | None, options: argparse.Namespace
) -> list[Behaviour]:
    """Reactions as behaviour with emotion and coefficients."""
    batched = {name: values[None] for name, values in speaker.behaviour.streams.items()}
    output = pipeline(
        speaker_audio=batched.get("audio"),
        speaker_emotion=batched.get("emotion"),
        speaker_coefficients=batched.get("coefficients"),
        listener_history=history,
        num_reactions=options.num_reactions,
        num_inference_steps=options.num_inference_steps,
        guidance_scale=options.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(options.seed),
        output_type="np",
    )
    return [
        Behaviour(emotion=emotion, coefficients=coefficients)
        for emotion, coefficients in zip(output.reactions[0], output.coefficients[0])
    ]


def write_reactions(folder: Path, reactions: Sequence[Behaviour]) -> None:
    """The reactions as npz, and each in REACT2024's formats."""
    emotion = np.stack([reaction.streams["emotion"] for reaction in reactions])
    coefficients = np.stack([reaction.streams["coefficients"] for reaction in reactions])
    np.savez_compressed(folder / "reactions.npz", reactions=emotion, coefficients=coefficients)
    for number in range(len(reactions)):
        write_emotion_csv(folder / f"reaction_{number + 1}.csv", emotion[number])
        write_coefficients_npy(folder / f"reaction_{number + 1}.npy", coefficients[number])


def draw_reactions(folder: Path, reactions: Sequence[Behaviour], speaker: Speaker, title: str, video: bool) -> None:
    """The picture and the video."""
    from perfrdiff_hf.rendering.people import reaction_scene
    from perfrdiff_hf.rendering.strips import draw_strips, save_figure
    from perfrdiff_hf.rendering.video import write_video

    few = reaction_scene(reactions[:_MOST_REACTIONS_IN_PICTURE], speaker.behaviour, speaker.sound, title)
    save_figure(draw_strips(few), folder / "reactions.png")
    if video:
        scene = reaction_scene(reactions, speaker.behaviour, speaker.sound, title)
        with tqdm(total=scene.num_frames, desc="video", unit="frame") as bar:
            write_video(scene, folder / "reactions.mp4", progress=lambda done, total: bar.update(1))


@contextmanager
def filled_at_once(folder: Path) -> Iterator[Path]:
    """A hidden folder inside `folder` whose files move into it at the end; an error leaves nothing behind.

    Raises:
        OSError: if the folder cannot be made or written to.
    """
    existed = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = tempfile.TemporaryDirectory(prefix=".partial-", dir=folder)
    except OSError as error:
        raise OSError(f"The output folder {folder} cannot be written to: {error}.") from error
    try:
        with partial as name:
            yield Path(name)
            for file in sorted(Path(name).iterdir()):
                os.replace(file, folder / file.name)
    finally:
        if not existed and not any(folder.iterdir()):
            folder.rmdir()


def load_pipeline(model: str, device: str) -> PerFRDiffPipeline:
    """The pipeline in a folder, or from the Hub if no such folder exists and the name could be a repository's."""
    could_be_hub = not Path(model).exists() and model.count("/") == 1 and not model.startswith((".", "/", "~"))
    if not could_be_hub and not (Path(model) / "model_index.json").is_file():
        raise FileNotFoundError(f"There is no saved pipeline at {model}: it has no model_index.json.")
    return PerFRDiffPipeline.from_pretrained(model).to(device)


def described(options: argparse.Namespace) -> str:
    """What was put together, by file names: sound, face and history need not be of the same conversation."""
    parts = {"sound": [options.speaker_audio], "face": options.speaker_face, "listener": options.listener_history}
    named = [
        f"{part} {' + '.join(Path(path).name for path in paths)}"
        for part, paths in parts.items()
        if paths and paths[0]
    ]
    return ", ".join(named) + ("" if options.listener_history else " (generic)")


def run(options: argparse.Namespace) -> None:
    """From the files that the options name to the output folder."""
    with filled_at_once(Path(options.output)) as folder:
        speaker = read_speaker(options.speaker_audio, options.speaker_face, options.speaker_fps)
        history = read_face(options.listener_history, options.history_fps) if options.listener_history else None
        pipeline = load_pipeline(options.model, options.device)
        reactions = generate(pipeline, speaker, history, options)
        write_reactions(folder, reactions)
        draw_reactions(folder, reactions, speaker, described(options), video=not options.no_video)
    print(f"{len(reactions)} reactions of {len(reactions[0]) / FRAME_RATE:.1f} s are in {options.output}")


def main(arguments: list[str]) -> None:
    """Run, and turn what the user can mend into one line instead of a traceback."""
    options = parse_arguments(arguments)
    try:
        run(options)
    except (ValueError, TypeError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
