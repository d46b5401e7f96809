"""Score reactions with the metrics of the field: a model's, or those that any system wrote to files.

    perfrdiff evaluate --data_dir DATA --model MODEL --output OUT
    perfrdiff evaluate --data_dir DATA --predictions "my system=FOLDER" "baseline=FOLDER" --output OUT

DATA is a folder of dyads, of REACT2024 or any other source; channels that it does not have are not scored. A folder of
predictions has one file for each clip of the split, named after the listener who reacts: SITE/SESSION/PERSON/CLIP with
the ending npz (an array `reactions`, (reactions, frames, 25), and perhaps `coefficients`, (reactions, frames, 58)),
npy (the first array, or (frames, 25) for a single reaction) or csv (the 25 channels as named columns; several
reactions stand below each other, told apart by a column `reaction`).

Beside them stand reference rows: the recorded reactions, chance, mime, means and retrieval from the training clips,
and in a synthetic world reactions of its own.

Two tasks, each with its own table: "mafrg" scores all clips against all listeners' reactions; "pmafrg" leaves out
clip 1 of every session, which is the listener's history, and scores against all listeners' reactions (MAFRG) and
against the same listener's (PMAFRG). For each task, OUT gets NAME.json, NAME.md, NAME.tex, NAME.png and the per-clip
values NAME_clips.npz. A model's reactions are kept in OUT/predictions with what made them: the same command goes on
from there, and another model or other settings are refused unless --overwrite is given.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import add_cache_option, add_sampling_options, add_split_option, load_pipeline, sampling_settings


if TYPE_CHECKING:
    from ..evaluation import ReactionReport, Task
    from ..pipelines.reaction_pipeline import ReactionPipeline


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is scored, on which clips, beside what."""
    parser.add_argument("--data_dir", required=True, help="folder of dyads")
    add_split_option(parser, "test")
    parser.add_argument("--task", default="both", choices=("mafrg", "pmafrg", "both"))
    parser.add_argument("--output", required=True, type=Path)
    add_cache_option(parser)
    parser.add_argument("--batch_size", type=int, default=16, help="clips at a time (default 16)")
    parser.add_argument("--predictions", nargs="+", default=[], metavar="NAME=FOLDER", help="one system or several")
    model = parser.add_argument_group("a model")
    model.add_argument("--model", help="folder of a saved pipeline, or its name on the Hub")
    model.add_argument(
        "--controls",
        nargs="+",
        default=[],
        metavar="CONTROL",
        help="beside a personal model: another_history (of another listener), no_movement (frozen in its mean pose), "
        "another_face (own movement in another's mean pose), one_shift (the mean over training listeners)",
    )
    model.add_argument("--overwrite", action="store_true", help="replace predictions that were made in another way")
    add_sampling_options(model, num_reactions=10)
    rows = parser.add_argument_group("reference rows and FRRea")
    rows.add_argument("--no_references", action="store_true", help="leave out all reference rows")
    rows.add_argument(
        "--real_frames", help="Inception features of rendered recorded reactions (npz, npy, safetensors)"
    )
    rows.add_argument("--generated_frames", nargs="+", default=[], metavar="NAME=FILE", help="the same of each system")


def check_options(options: argparse.Namespace) -> None:
    """Something must be scored."""
    if not options.model and not options.predictions:
        raise argparse.ArgumentTypeError("give --predictions NAME=FOLDER, or --model")
    for option in ("predictions", "generated_frames"):
        for pair in getattr(options, option):
            if "=" not in pair:
                raise argparse.ArgumentTypeError(f"--{option} takes NAME=PATH; given: {pair}")
    if options.generated_frames and not options.real_frames:
        raise argparse.ArgumentTypeError("--generated_frames needs --real_frames")


def run(options: argparse.Namespace) -> None:
    """React where there is a model, and score task after task."""
    from ..behaviour import WINDOW_SIZE
    from ..evaluation import load_task
    from ..evaluation.task import TASKS

    names = TASKS if options.task == "both" else (options.task,)
    tasks = {name: load_task(options.data_dir, options.split, name, options.cache_dir) for name in names}
    folders = named(options.predictions)
    hop = options.hop
    if options.model:
        pipeline = load_pipeline(options.model, options.device)
        folders |= react(options, pipeline, list(tasks.values()))
        hop = hop or pipeline.sampling.get("hop")
    for name, task in tasks.items():
        report = score(options, task, folders, hop or WINDOW_SIZE)
        report.save(options.output, name)
        draw(report, options.output / f"{name}.png")
        print(f"\n## {name}, {options.split}\n\n{report.to_markdown()}\n")


def react(options: argparse.Namespace, pipeline: ReactionPipeline, tasks: list[Task]) -> dict[str, Path]:
    """The model's reactions to the clips of the tasks, in every manner; the folder of each."""
    from ..data.corpus import Corpus
    from ..evaluation.controls import manners_of
    from ..evaluation.reacting import predict
    from ..evaluation.task import rows_of

    corpus = Corpus(options.data_dir, options.cache_dir)
    arrays = corpus.split(options.split).arrays
    training = corpus.split("train").arrays if "one_shift" in options.controls else None
    return predict(
        pipeline,
        arrays,
        sorted({row for task in tasks for row in rows_of(task, arrays)}),
        manners_of(pipeline, arrays, options.controls, training),
        options.output / "predictions",
        sampling_settings(options),
        seed=options.seed,
        batch_size=options.batch_size,
        overwrite=options.overwrite,
    )


def score(options: argparse.Namespace, task: Task, folders: dict[str, Path], hop: int) -> ReactionReport:
    """One task's report over all systems and reference rows."""
    import numpy as np

    from ..evaluation import compare
    from ..evaluation.predictions import prediction_rows
    from ..metrics import frrea, load_frame_features

    systems = {name: prediction_rows(folder, task) for name, folder in folders.items()}
    num_reactions = next(iter(systems.values()))(np.array([0])).emotion.shape[1]
    references: dict[str, Any] = {} if options.no_references else reference_systems(options, task, num_reactions)
    report = compare(
        {**references, **systems},
        task.reactions,
        task.speaker,
        task.matrices,
        task.listeners,
        options.batch_size,
        progress=True,
        target_coefficients=task.coefficients,
        hop=hop,
        mask=task.mask,
    )
    for name, path in named(options.generated_frames).items():
        real = load_frame_features(options.real_frames)
        report.scores[name].overall["FRRea"] = frrea(real, load_frame_features(path))
    return report


def reference_systems(options: argparse.Namespace, task: Task, num_reactions: int) -> dict[str, Any]:
    """The reference rows: those made from training clips where these are long enough, and oracles where there are."""
    from ..baselines import oracle_rows, reference_rows
    from ..data.catalogue import load_dyads
    from ..evaluation.task import stacked

    seen = load_dyads(None, options.data_dir, "train", streams=("emotion",), cache_dir=options.cache_dir).arrays
    reactions = speakers = None
    if int(seen.num_frames.min()) >= task.num_frames:
        reactions = stacked(seen, task.num_frames)
        speakers = reactions[seen.partner]
    rows = reference_rows(
        task.reactions, task.speaker, num_reactions, reactions, speakers, target_coefficients=task.coefficients
    )
    return rows | oracle_rows(options.data_dir, options.split, task.paths, num_reactions)


def draw(report: ReactionReport, path: Path) -> None:
    """The report as a picture; a note where the library for it is not installed."""
    try:
        from ..evaluation.pictures import draw_report
    except ImportError as error:
        print(f"No picture: {error}", file=sys.stderr)
        return
    draw_report(report, path)


def named(pairs: list[str]) -> dict[str, Path]:
    """NAME=PATH arguments as a dictionary."""
    return {name: Path(path) for name, path in (pair.split("=", 1) for pair in pairs)}
