"""The whole method on a small made-up world, in a few minutes on two cores, without any download.

    perfrdiff demo --output demo_output
    perfrdiff demo --quick --output quick_output     # a minute: does everything work here? Its figures say nothing

writes the synthetic world, trains the four parts at a small size, personalises the generator for listeners that it has
never seen, generates ten reactions to each of their test clips, scores them beside chance, mime, the world's own
reactions and some controls, and draws them. Steps that an earlier run has finished are not repeated.

The controls: the same model with another listener's history, and with a history without movement.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .options import load_pipeline


if TYPE_CHECKING:
    from ..data.arrays import ClipArrays
    from ..data.corpus import Corpus
    from ..evaluation import ReactionReport, Task
    from ..pipelines.reaction_pipeline import ReactionPipeline
    from ..rendering.people import Scene


CLIPS_AT_ONCE = 8
FACE_PIXELS = 160
SHOWN = ("FRCorr MAFRG", "FRCorr PMAFRG", "FRdist PMAFRG", "FRDiv")
PLACES = {
    "world": "the synthetic world, in the REACT2024 layout",
    "model": "the trained pipeline: PerFRDiffPipeline.from_pretrained loads it",
    "predictions": "all generated reactions, and what made them",
    "evaluation.md": "all metrics; evaluation.json has every figure",
    "reactions.png": "a picture of some reactions",
    "reactions.mp4": "and a video",
    "reactions.webp": "its first half without sound, for a page",
}


class Extent(NamedTuple):
    """How much of everything.

    Args:
        world: its size.
        settings: of training, by dotted name, beside those of the configuration `demo`.
        processes: that train together where there is no GPU.
        reactions: to each clip.
        video_seconds: of the video.
    """

    world: str
    settings: dict[str, str]
    processes: int
    reactions: int
    video_seconds: int


FULL = Extent("demo", {}, processes=2, reactions=10, video_seconds=16)
# As much of each step as shows that it works. One process, as starting more would take longest.
QUICK = Extent(
    "quick",
    {f"stages.{stage}.max_steps": "20" for stage in ("emotion_vae", "denoiser", "weight_shift_generator")}
    | {"stages.style_encoder.max_steps": "5"},
    processes=1,
    reactions=3,
    video_seconds=2,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to, and from which seed."""
    parser.add_argument("--output", type=Path, help="folder to write to (default demo_output, or quick_output)")
    parser.add_argument("--quick", action="store_true", help="a tiny world and a few steps, to see that all works")
    parser.add_argument("--seed", type=int, default=0, help="of the world, of training and of the noise")


def run(options: argparse.Namespace) -> None:
    """The steps one after the other."""
    from ..data.corpus import Corpus
    from ..evaluation import load_task

    extent, began = QUICK if options.quick else FULL, time.perf_counter()
    output = options.output or Path(f"{extent.world}_output")
    output.mkdir(parents=True, exist_ok=True)
    world, cache = output / "world", output / "cache"
    with step("Writing the synthetic world"):
        write_world(world, extent.world, options.seed)
    with step("Training the four parts"):
        train(output, extent, options.seed)
    with step("Reacting to the test clips"):
        corpus = Corpus(world, cache)
        arrays = corpus.split("test").arrays
        task = load_task(world, "test", "pmafrg", cache)
        pipeline = load_pipeline(str(output / "model"), "cpu")
        folders = react(pipeline, output, corpus, task, extent.reactions, options.seed)
    with step("Scoring the reactions"):
        report = score(world, task, folders, extent.reactions, pipeline.sampling.get("hop"))
        report.save(output)
    with step("Drawing some of them"):
        draw(pipeline, output, arrays, task, extent.video_seconds, options.seed)
    print(f"\n{report.to_short_markdown(SHOWN)}\n")
    for name, what in PLACES.items():
        print(f"{output / name}  {what}")
    if options.quick:
        print("Everything works. The model has learned next to nothing: these figures say nothing of the method.")
    print(f"Done in {time.perf_counter() - began:.0f} s.")


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say what begins, and how long it took."""
    print(f"\n== {title}", flush=True)
    began = time.perf_counter()
    yield
    print(f"   {time.perf_counter() - began:.0f} s", flush=True)


def write_world(folder: Path, size: str, seed: int) -> None:
    """The world, unless it is there already.

    Raises:
        FileExistsError: if the folder holds the world of another seed or size.
    """
    from ..synthetic.world import SIZES, load_world, write_synthetic_world

    if not folder.exists():
        write_synthetic_world(folder, size, seed)
        return
    found = load_world(folder)
    if found.seed != seed:
        raise FileExistsError(
            f"{folder} holds the world of seed {found.seed}; take another output folder for seed {seed}."
        )
    if found.size != SIZES[size]:
        raise FileExistsError(f"{folder} holds a world of another size; take another output folder for {size}.")


def train(output: Path, extent: Extent, seed: int) -> None:
    """Train all stages, and put the pipeline into `output/model`."""
    import torch

    from ..training.config import configs_folder
    from ..training.processes import train_stage
    from ..training.stages import PERFRDIFF

    config, settings = configs_folder() / "demo.yaml", {"seed": str(seed), **extent.settings}
    processes = 1 if torch.cuda.is_available() else extent.processes
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more of them add in another order, and training would end elsewhere with other cores
    try:
        for stage in PERFRDIFF.stage_names:
            train_stage(stage, output / "training", config, output / "world", settings, processes, output / "cache")
    finally:
        torch.set_num_threads(threads)
    copy_folder(output / "training" / "model", output / "model")


def copy_folder(source: Path, place: Path) -> None:
    """A folder once more, whole or not at all."""
    from ..files import folder_beside

    with folder_beside(place) as beside:
        shutil.copytree(source, beside, dirs_exist_ok=True)


def react(
    pipeline: ReactionPipeline, output: Path, corpus: Corpus, task: Task, reactions: int, seed: int
) -> dict[str, Path]:
    """Some reactions to each clip of the task: personalised, generic, and as the controls do."""
    from ..evaluation.controls import manners_of
    from ..evaluation.reacting import predict
    from ..evaluation.task import rows_of

    arrays = corpus.split("test").arrays
    manners = manners_of(pipeline, arrays, ["another_history", "no_movement"])
    settings = {**pipeline.sampling, "num_reactions": reactions}
    # What an earlier run of the demo left is made anew if anything has changed since.
    return predict(
        pipeline,
        arrays,
        rows_of(task, arrays),
        manners,
        output / "predictions",
        settings,
        seed,
        CLIPS_AT_ONCE,
        overwrite=True,
    )


def score(world: Path, task: Task, folders: dict[str, Path], reactions: int, hop: int | None) -> ReactionReport:
    """The metrics of all systems, of the reference rows, and of the world's own reactions."""
    from ..baselines import oracle_rows, reference_rows
    from ..behaviour import WINDOW_SIZE
    from ..evaluation import compare
    from ..evaluation.predictions import prediction_rows

    references = reference_rows(task.reactions, task.speaker, reactions, target_coefficients=task.coefficients)
    systems = {name: prediction_rows(folder, task) for name, folder in folders.items()}
    return compare(
        {**references, **systems, **oracle_rows(world, "test", task.paths, reactions)},
        task.reactions,
        task.speaker,
        task.matrices,
        task.listeners,
        progress=True,
        target_coefficients=task.coefficients,
        hop=hop or WINDOW_SIZE,
    )


def draw(pipeline: ReactionPipeline, output: Path, arrays: ClipArrays, task: Task, seconds: int, seed: int) -> None:
    """A picture and a video of reactions to the first clip, and the video's first half for a page."""
    from ..behaviour import FRAME_RATE
    from ..evaluation.task import rows_of
    from ..progress import Progress
    from ..rendering.strips import draw_strips, save_figure
    from ..rendering.video import scene_pictures, write_animation, write_pictures

    scene = scene_of(pipeline, output, arrays, rows_of(task, arrays)[0], seconds, seed)
    save_figure(draw_strips(scene), output / "reactions.png")
    with Progress("video", scene.num_frames, "frame") as bar:
        pictures = list(scene_pictures(scene, FACE_PIXELS, lambda done, total: bar.update()))
    write_pictures(pictures, output / "reactions.mp4", scene.sound)
    write_animation(pictures[: len(pictures) // 2 : 2], output / "reactions.webp", FRAME_RATE / 2)


def scene_of(pipeline: ReactionPipeline, output: Path, arrays: ClipArrays, row: int, seconds: int, seed: int) -> Scene:
    """One speaker, three reactions of the listener who met them, and how that listener really reacted."""
    from ..behaviour import FRAME_RATE, Behaviour
    from ..data.audio import read_audio
    from ..data.react2024.layout import listeners, read_pairs, stream_path
    from ..evaluation.controls import own_history
    from ..evaluation.reacting import react_to_clips, speaker_of
    from ..rendering.people import SPEAKER, Person, Scene

    frames = seconds * FRAME_RATE
    generated = react_to_clips(pipeline, arrays, [row], own_history(arrays), seed, num_reactions=3)
    reactions = [Person(f"Reaction {k + 1}", generated.behaviour(reaction=k)[:frames]) for k in range(3)]
    recorded = Behaviour(emotion=arrays.emotion(row), coefficients=arrays.coefficients(row))[:frames]
    speaker = int(arrays.partner[row])
    world = output / "world"
    recording = listeners(read_pairs(world, "test"))[speaker]
    waveform, rate = read_audio(stream_path(world, "test", recording, "audio"))
    return Scene(
        reactions=[*reactions, Person("Recorded", recorded)],
        speaker=Person("Speaker", speaker_of(arrays, row)[:frames], SPEAKER),
        sound=(waveform[: seconds * rate], rate),
    )
