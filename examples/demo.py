"""The whole method on a small made-up world, in a few minutes on two cores, without any download.

    python examples/demo.py --output demo_output

writes the synthetic world, trains the four parts at a small size, personalises the generator for listeners that it has
never seen, generates ten reactions to each of their test clips, scores them beside chance, mime and the world's own
oracles, and draws them. Steps that an earlier run has finished are not repeated.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from perfrdiff_hf import Behaviour, PerFRDiffPipeline, load_appropriateness, load_react2024
from perfrdiff_hf.baselines import reference_rows
from perfrdiff_hf.data.arrays import ClipArrays
from perfrdiff_hf.data.audio import read_audio
from perfrdiff_hf.evaluation import compare
from perfrdiff_hf.evaluation.report import ReactionReport
from perfrdiff_hf.rendering.people import SPEAKER, Person, Scene
from perfrdiff_hf.rendering.strips import draw_strips, save_figure
from perfrdiff_hf.rendering.video import write_video
from perfrdiff_hf.synthetic.oracles import oracle_reactions
from perfrdiff_hf.synthetic.world import load_world, write_synthetic_world
from perfrdiff_hf.training.config import load_config
from perfrdiff_hf.training.run import TrainingJob, run_training


CONFIG = Path(__file__).with_name("configs") / "demo.yaml"
NUM_REACTIONS = 10
# The small models need neither fifty steps nor strong guidance; the official values are the pipeline's defaults.
SAMPLING: dict[str, Any] = {"num_inference_steps": 6, "guidance_scale": 1.75}
CLIPS_AT_ONCE = 8
VIDEO_SECONDS = 16


@dataclass
class TestClips:
    """The clips of the PMAFRG task, of listeners that training has not seen.

    Args:
        listeners: the recorded reactions, row after row.
        histories: `(rows, frames, 58)` clip 1 of each row's listener.
        targets: `(rows, frames, 25)` recorded reactions.
        speaker: `(rows, frames, 25)` the speakers' emotion.
        appropriate: the matrices of both tasks.
    """

    listeners: ClipArrays
    histories: np.ndarray
    targets: np.ndarray
    speaker: np.ndarray
    appropriate: Mapping[str, np.ndarray]


def main() -> None:
    """Run the steps one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="folder to write to")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    output, began = options.output, time.perf_counter()
    output.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("perfrdiff_hf").setLevel(logging.INFO)

    with step("Writing the synthetic world"):
        if not (output / "world").exists():
            write_synthetic_world(output / "world", size="demo", seed=options.seed)
    with step("Training the four parts"):
        train(output)
    with step("Reacting to the test clips"):
        pipeline = PerFRDiffPipeline.from_pretrained(str(output / "model"))
        clips = read_test_clips(output)
        systems = {
            "generic GAFRG": react(pipeline, clips, None, options.seed),
            "personalised": react(pipeline, clips, clips.histories, options.seed),
        }
        save_reactions(output / "reactions.npz", systems, clips)
    with step("Scoring them"):
        report = score(output, systems, clips)
        report.save(output)
    with step("Drawing them"):
        draw(output, clips, pipeline, options.seed)

    print(f"\n{report.to_markdown()}\n")
    print_places(output)
    print(f"Done in {time.perf_counter() - began:.0f} s.")


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say what begins, and how long it took."""
    print(f"\n== {title}", flush=True)
    began = time.perf_counter()
    yield
    print(f"   {time.perf_counter() - began:.0f} s", flush=True)


def train(output: Path) -> None:
    """Train all stages and put the pipeline into `output/model`."""
    job = TrainingJob(
        stage="all",
        config=load_config(str(CONFIG), {}),
        data_dir=str(output / "world"),
        output_dir=str(output / "training"),
        cache_dir=str(output / "cache"),
        resume_from_checkpoint="latest",
    )
    run_training(job)
    beside = output / ".model"
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(output / "training" / "model", beside)
    shutil.rmtree(output / "model", ignore_errors=True)
    os.replace(beside, output / "model")


def read_test_clips(output: Path) -> TestClips:
    """The test clips with their histories and matrices."""
    world, cache = str(output / "world"), str(output / "cache")
    everything = ClipArrays.from_dataset(load_react2024(world, "test", cache_dir=cache))
    first_clip = {
        everything.listener_ids[row]: everything.coefficients(row)
        for row in range(len(everything))
        if everything.clips[row] == "1"
    }
    listeners = ClipArrays.from_dataset(load_react2024(world, "test", personal=True, cache_dir=cache))
    rows = range(len(listeners))
    return TestClips(
        listeners=listeners,
        histories=np.stack([first_clip[listeners.listener_ids[row]] for row in rows]),
        targets=np.stack([listeners.emotion(row) for row in rows]),
        speaker=np.stack([listeners.emotion(listeners.partner[row]) for row in rows]),
        # MAFRG on the same clips: every listener's reactions count, clip 1 of each session is left out here too.
        appropriate={
            "MAFRG": generic_appropriateness(world, everything.clips),
            "PMAFRG": load_appropriateness(world, "test", personal=True),
        },
    )


def generic_appropriateness(world: str, clips: np.ndarray) -> np.ndarray:
    """The MAFRG matrix of the rows that are no history."""
    kept = np.asarray(clips) != "1"
    return load_appropriateness(world, "test")[kept][:, kept]


def react(pipeline: PerFRDiffPipeline, clips: TestClips, histories: np.ndarray | None, seed: int) -> np.ndarray:
    """Ten reactions to each clip, `(rows, 10, frames, 25)`: personalised where histories are given."""
    pipeline.set_progress_bar_config(disable=True)
    arrays, reactions = clips.listeners, []
    starts = range(0, len(arrays), CLIPS_AT_ONCE)
    for start in tqdm(starts, desc="generic" if histories is None else "personalised", unit="batch"):
        rows = range(start, min(start + CLIPS_AT_ONCE, len(arrays)))
        speakers = [arrays.partner[row] for row in rows]
        output = pipeline(
            speaker_audio=np.stack([arrays.audio(row) for row in speakers]),
            speaker_emotion=np.stack([arrays.emotion(row) for row in speakers]),
            speaker_coefficients=np.stack([arrays.coefficients(row) for row in speakers]),
            listener_history=None if histories is None else histories[rows.start : rows.stop],
            num_reactions=NUM_REACTIONS,
            generator=[torch.Generator().manual_seed(1_000 * seed + row) for row in rows],
            output_type="np",
            **SAMPLING,
        )
        reactions.append(output.reactions)
    return np.concatenate(reactions)


def save_reactions(path: Path, systems: Mapping[str, np.ndarray], clips: TestClips) -> None:
    """Everything that was generated, by system, and which clip each row is."""
    arrays = clips.listeners
    rows = [f"{listener}/{clip}" for listener, clip in zip(arrays.listener_ids, arrays.clips)]
    arrays_by_name: dict[str, Any] = {name: r.astype(np.float16) for name, r in systems.items()}
    beside = path.with_name(f".{path.name}")
    with beside.open("wb") as file:
        np.savez_compressed(file, listener=np.array(rows), **arrays_by_name)
    os.replace(beside, path)


def score(output: Path, systems: Mapping[str, np.ndarray], clips: TestClips) -> ReactionReport:
    """The metrics of all systems, of the reference rows, and of the world's oracles under the same constraint."""
    world = load_world(output / "world")
    oracles = {
        f"{knowledge} oracle": oracle_reactions(
            world, "test", knowledge=knowledge, personal=True, num_reactions=NUM_REACTIONS
        )
        for knowledge in ("generic", "personal")
    }
    rows = reference_rows(clips.targets, clips.speaker, num_reactions=NUM_REACTIONS)
    table = {name: rows[name] for name in ("recorded reactions", "chance", "mime")}
    return compare(
        {**table, **systems, **oracles},
        clips.targets,
        clips.speaker,
        clips.appropriate,
        listeners=list(clips.listeners.listener_ids),
        progress=True,
    )


def draw(output: Path, clips: TestClips, pipeline: PerFRDiffPipeline, seed: int) -> None:
    """A picture and a video of reactions to the first clip."""
    scene = first_clip(output, clips, pipeline, seed)
    save_figure(draw_strips(scene), output / "reactions.png")
    with tqdm(total=scene.num_frames, desc="video", unit="frame") as bar:
        write_video(scene, output / "reactions.mp4", progress=lambda done, _: bar.update(done - bar.n))


def first_clip(output: Path, clips: TestClips, pipeline: PerFRDiffPipeline, seed: int) -> Scene:
    """One speaker, three reactions of the listener who met them, and how that listener really reacted.

    The table is made with windows as the paper samples them; what people look at has windows that join.
    """
    arrays, frames = clips.listeners, VIDEO_SECONDS * 25
    row = 0
    speaker = int(arrays.partner[row])
    generated = pipeline(
        speaker_audio=arrays.audio(speaker)[None, :frames],
        speaker_emotion=arrays.emotion(speaker)[None, :frames],
        speaker_coefficients=arrays.coefficients(speaker)[None, :frames],
        listener_history=clips.histories[row : row + 1],
        num_reactions=3,
        overlap=5,
        generator=torch.Generator().manual_seed(seed),
        output_type="np",
        **SAMPLING,
    )
    faces = zip(generated.reactions[0], generated.coefficients[0])
    people = [
        Person(f"Reaction {number}", Behaviour(emotion=emotion, coefficients=coefficients))
        for number, (emotion, coefficients) in enumerate(faces, start=1)
    ]
    recorded = Behaviour(emotion=arrays.emotion(row), coefficients=arrays.coefficients(row))[:frames]
    shown = Behaviour(emotion=arrays.emotion(speaker), coefficients=arrays.coefficients(speaker))[:frames]
    site, session, person = arrays.listener_ids[speaker].split("/")
    sound = output / "world" / "test" / "Audio_files" / site / session / person / f"{arrays.clips[speaker]}.wav"
    waveform, rate = read_audio(sound)
    return Scene(
        reactions=[*people, Person("Recorded", recorded)],
        speaker=Person("Speaker", shown, SPEAKER),
        sound=(waveform[: VIDEO_SECONDS * rate], rate),
    )


def print_places(output: Path) -> None:
    """Where everything lies."""
    places = {
        "world": "the synthetic world, in the REACT2024 layout",
        "model": "the trained pipeline: PerFRDiffPipeline.from_pretrained loads it",
        "reactions.npz": "all generated reactions",
        "evaluation.md": "the table above; evaluation.json has every figure",
        "reactions.png": "a picture of some reactions",
        "reactions.mp4": "and a video",
    }
    for name, what in places.items():
        print(f"{output / name}  {what}")


if __name__ == "__main__":
    main()
