"""Score reactions with the metrics of the field: a model's, or those that any system wrote to files.

    python examples/evaluate.py --data_dir DATA --model MODEL --output OUT
    python examples/evaluate.py --data_dir DATA --predictions "my system=FOLDER" "baseline=FOLDER" --output OUT

DATA is a folder in the REACT2024 layout. A folder of predictions has one file for each clip of the split, named after
the listener who reacts: SITE/SESSION/PERSON/CLIP with the ending npz (an array `reactions`, (reactions, frames, 25)),
npy (the same array, or (frames, 25) for a single reaction) or csv (the 25 channels as named columns; several reactions
stand below each other, told apart by a column `reaction`).

Two tasks, each with its own table: "mafrg" scores all clips against all listeners' reactions; "pmafrg" leaves out
clip 1 of every session, which is the listener's history, and scores against all listeners' reactions (MAFRG) and
against the same listener's (PMAFRG). For each task, OUT gets NAME.json, NAME.md, NAME.tex, NAME.png and the per-clip
values NAME_clips.npz. A model's reactions are kept in OUT/predictions; an interrupted run goes on from there.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from perfrdiff_hf.baselines import reference_rows
from perfrdiff_hf.behaviour import CLIP_FRAMES, EMOTION_CHANNELS, EMOTION_NAMES
from perfrdiff_hf.data.arrays import ClipArrays
from perfrdiff_hf.data.react2024.appropriateness import load_appropriateness
from perfrdiff_hf.data.react2024.dataset import load_react2024
from perfrdiff_hf.evaluation import ReactionReport, compare
from perfrdiff_hf.metrics import frrea, load_frame_features


TASKS = ("mafrg", "pmafrg")
ENDINGS = (".npz", ".npy", ".csv")


@dataclass(frozen=True)
class Task:
    """The clips of a task: recorded behaviour, which reactions are appropriate, and what each clip is called.

    Args:
        paths: `(clips,)` "site/session/person/clip" of the listener.
        reactions: `(clips, frames, 25)` the recorded reactions.
        speaker: `(clips, frames, 25)` the speakers.
        matrices: `(clips, clips)` booleans by name.
        listeners: `(clips,)`.
    """

    paths: list[str]
    reactions: np.ndarray
    speaker: np.ndarray
    matrices: dict[str, np.ndarray]
    listeners: list[str]


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", required=True, help="folder in the REACT2024 layout")
    parser.add_argument("--split", default="test", choices=("train", "val", "test"))
    parser.add_argument("--task", default="both", choices=(*TASKS, "both"))
    parser.add_argument("--output", required=True, type=Path)
    source = parser.add_argument_group("what is scored")
    source.add_argument("--predictions", nargs="+", default=[], metavar="NAME=FOLDER", help="one system or several")
    source.add_argument("--model", help="folder of a saved pipeline, or its name on the Hub")
    source.add_argument("--num_reactions", type=int, default=10)
    source.add_argument("--num_inference_steps", type=int, default=50)
    source.add_argument("--guidance_scale", type=float, default=7.5)
    source.add_argument("--seed", type=int, default=0)
    source.add_argument("--device", default="cpu")
    source.add_argument("--batch_size", type=int, default=16, help="clips at a time")
    rows = parser.add_argument_group("reference rows and FRRea")
    rows.add_argument("--no_references", action="store_true", help="leave out chance, mime, mean and retrieval rows")
    rows.add_argument(
        "--real_frames", help="Inception features of rendered recorded reactions (npz, npy, safetensors)"
    )
    rows.add_argument("--generated_frames", nargs="+", default=[], metavar="NAME=FILE", help="the same of each system")
    options = parser.parse_args(arguments)
    if not options.model and not options.predictions:
        parser.error("give --predictions NAME=FOLDER, or --model")
    return options


def load_task(data_dir: str, split: str, task: str) -> Task:
    """The clips of a split that a task scores."""
    personal = task == "pmafrg"
    dataset = load_react2024(data_dir, split, personal=personal, streams=("emotion",))
    arrays = ClipArrays.from_dataset(dataset)
    reactions = stacked(arrays)
    matrices = {"MAFRG": load_appropriateness(data_dir, split, dataset=dataset)}
    if personal:
        matrices["PMAFRG"] = load_appropriateness(data_dir, split, personal=True)
    return Task(
        paths=clip_paths(arrays),
        reactions=reactions,
        speaker=reactions[arrays.partner],
        matrices=matrices,
        listeners=[str(name) for name in arrays.listener_ids],
    )


def stacked(arrays: ClipArrays, frames: int | None = None) -> np.ndarray:
    """All clips' emotion channels, `(clips, frames, 25)`, cut to the shortest clip, and to 750 frames at most."""
    frames = frames or min(int(arrays.num_frames.min()), CLIP_FRAMES)
    longest = int(arrays.num_frames.max())
    if longest > frames and longest > CLIP_FRAMES:
        print(f"Clips of up to {longest} frames are cut to their first {frames}.", file=sys.stderr)
    return np.stack([arrays.emotion(row)[:frames] for row in range(len(arrays))])


def clip_paths(arrays: ClipArrays) -> list[str]:
    """What each clip's file of predictions is called, without its ending."""
    return [f"{listener}/{clip}" for listener, clip in zip(arrays.listener_ids, arrays.clips)]


def prediction_files(folder: Path, paths: list[str]) -> list[Path]:
    """The file of each clip.

    Raises:
        FileNotFoundError: if a clip has none.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder of predictions at {folder}.")
    found = [next((file for end in ENDINGS if (file := folder / f"{path}{end}").is_file()), None) for path in paths]
    missing = [path for path, file in zip(paths, found) if file is None]
    if missing:
        raise FileNotFoundError(
            f"{folder} has no predictions for {len(missing)} of {len(paths)} clips; the first would be "
            f"{folder / missing[0]} with the ending {', '.join(ENDINGS)}."
        )
    return [file for file in found if file is not None]


def read_predictions(files: list[Path], frames: int, clips: np.ndarray) -> np.ndarray:
    """The reactions in the files of some clips, `(batch, reactions, frames, 25)`."""
    return np.stack([read_reactions(files[clip], frames) for clip in clips])


def read_reactions(path: Path, frames: int) -> np.ndarray:
    """One file's reactions, `(reactions, frames, 25)` float32, cut to `frames`.

    Raises:
        ValueError: if the file is incomplete, or does not hold reactions of at least that many frames.
    """
    try:
        if path.suffix == ".csv":
            reactions = _read_csv(path)
        else:
            loaded = np.load(path, allow_pickle=False)
            reactions = loaded if isinstance(loaded, np.ndarray) else loaded["reactions"]
    except (ValueError, EOFError, OSError, KeyError) as error:
        raise ValueError(f"{path} is not a complete file of reactions: {error}") from error
    reactions = reactions[None] if reactions.ndim == 2 else reactions
    if reactions.ndim != 3 or reactions.shape[1] < frames or reactions.shape[2] != EMOTION_CHANNELS:
        raise ValueError(
            f"{path} must hold reactions of shape (reactions, at least {frames} frames, {EMOTION_CHANNELS}); "
            f"it holds {reactions.shape}."
        )
    return reactions[:, :frames].astype(np.float32)


def _read_csv(path: Path) -> np.ndarray:
    with open(path, encoding="utf-8-sig") as file:
        header = [name.strip() for name in file.readline().split(",")]
        table = np.loadtxt(file, delimiter=",", ndmin=2)
    missing = [name for name in EMOTION_NAMES if name not in header]
    if missing:
        raise ValueError(f"columns {', '.join(missing)} are missing")
    values = table[:, [header.index(name) for name in EMOTION_NAMES]]
    if "reaction" not in header:
        return values
    number = table[:, header.index("reaction")]
    parts = [values[number == which] for which in np.unique(number)]
    return np.stack(parts)


def generate(options: argparse.Namespace, folder: Path) -> dict[str, Path]:
    """Let a model react to every clip of the split, generically and (if it can) personalised, one file a clip.

    Files that are there already are kept. A clip's noise depends on the seed and the clip alone. A listener's history
    is clip 1 of the session, or for clip 1 itself the next one, so that no model sees what it has to predict.

    Returns:
        The folder of predictions of each system.
    """
    from perfrdiff_hf import PerFRDiffPipeline

    pipeline = PerFRDiffPipeline.from_pretrained(options.model).to(options.device)
    pipeline.set_progress_bar_config(disable=True)
    dataset = load_react2024(options.data_dir, options.split)
    arrays = ClipArrays.from_dataset(dataset)
    systems = ["generic"]
    if pipeline.style_encoder is not None and pipeline.weight_shift_generator is not None:
        systems.append("personalised")
    paths = clip_paths(arrays)
    for system in systems:
        files = [folder / system / f"{path}.npz" for path in paths]
        rows = [row for row, file in enumerate(files) if not file.is_file()]
        for batch in tqdm(list(batches_of_equal_length(arrays, rows, options.batch_size)), desc=f"{system} reactions"):
            history = None
            if system == "personalised":
                history = [np.array(arrays.coefficients(history_row(arrays, row))) for row in batch]
            for row, reactions in zip(batch, react(pipeline, arrays, batch, history, options)):
                write_reactions(files[row], reactions)
    return {system: folder / system for system in systems}


def react(
    pipeline: Any,
    arrays: ClipArrays,
    rows: list[int],
    history: list[np.ndarray] | None,
    options: argparse.Namespace,
) -> np.ndarray:
    """A model's reactions to some clips, `(batch, reactions, frames, 25)`."""
    import torch

    speakers = arrays.partner[rows]
    output = pipeline(
        speaker_audio=np.stack([arrays.audio(row) for row in speakers]),
        speaker_emotion=np.stack([arrays.emotion(row) for row in speakers]),
        speaker_coefficients=np.stack([arrays.coefficients(row) for row in speakers]),
        listener_history=history,
        num_reactions=options.num_reactions,
        num_inference_steps=options.num_inference_steps,
        guidance_scale=options.guidance_scale,
        generator=[torch.Generator().manual_seed(options.seed * 1_000_003 + row) for row in rows],
    )
    return output.reactions.float().cpu().numpy()


def batches_of_equal_length(arrays: ClipArrays, rows: list[int], size: int) -> Iterator[list[int]]:
    """Rows in batches; the clips of a batch have the same number of frames."""
    speakers_frames = {row: int(arrays.num_frames[arrays.partner[row]]) for row in rows}
    for frames in sorted(set(speakers_frames.values())):
        same = [row for row in rows if speakers_frames[row] == frames]
        yield from (same[start : start + size] for start in range(0, len(same), size))


def history_row(arrays: ClipArrays, row: int) -> int:
    """The row with a listener's history: the lowest other clip of the same session and person."""
    others = np.flatnonzero(arrays.listener_ids == arrays.listener_ids[row])
    others = others[arrays.clips[others] != arrays.clips[row]]
    if len(others) == 0:
        raise ValueError(f"{arrays.listener_ids[row]} has no other clip than {arrays.clips[row]} to serve as history.")
    return int(min(others, key=lambda other: (len(arrays.clips[other]), arrays.clips[other])))


def write_reactions(path: Path, reactions: np.ndarray) -> None:
    """One clip's predictions, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb") as file:
            np.savez(file, reactions=reactions)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def evaluate(options: argparse.Namespace, task_name: str, folders: Mapping[str, Path]) -> ReactionReport:
    """One task's report over all systems and reference rows."""
    task = load_task(options.data_dir, options.split, task_name)
    frames = task.reactions.shape[1]
    rows: dict[str, Any] = {}
    for name, folder in folders.items():
        rows[name] = partial(read_predictions, prediction_files(folder, task.paths), frames)
    num_reactions = len(next(iter(rows.values()))(np.array([0]))[0])
    references: dict[str, Any] = {}
    if not options.no_references:
        seen = ClipArrays.from_dataset(load_react2024(options.data_dir, "train", streams=("emotion",)))
        long_enough = int(seen.num_frames.min()) >= frames
        known = stacked(seen, frames) if long_enough else None
        references = reference_rows(
            task.reactions, task.speaker, num_reactions, known, None if known is None else known[seen.partner]
        )
    systems = {**references, **rows}
    report = compare(
        systems, task.reactions, task.speaker, task.matrices, task.listeners, options.batch_size, progress=True
    )
    for name, path in named(options.generated_frames, "--generated_frames").items():
        real = load_frame_features(options.real_frames)
        report.scores[name].overall["FRRea"] = frrea(real, load_frame_features(path))
    return report


def draw(report: ReactionReport, path: Path) -> None:
    """Every metric of every system with its interval, as a picture; nothing if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("No picture: install matplotlib for it.", file=sys.stderr)
        return
    names, columns = list(report.figures), 5
    lines = -(-len(report.metrics) // columns)
    figure = Figure(figsize=(3 * columns + 1, lines * (0.32 * len(names) + 1)), layout="constrained")
    axes = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for axis, metric in zip(axes, report.metrics):
        for place, name in enumerate(names):
            interval = report.figures[name][metric].over_clips
            axis.plot([interval.low, interval.high], [place, place], color="0.6", linewidth=3)
            axis.plot(interval.value, place, "o", color="C0" if name in report.systems else "0.3")
        axis.set_title(metric, fontsize=10)
        axis.grid(axis="x", color="0.92")
        axis.set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()  # shared by all
    for axis in axes[len(report.metrics) :]:
        axis.remove()
    figure.savefig(path, dpi=150)


def named(pairs: list[str], option: str) -> dict[str, Path]:
    """NAME=PATH arguments as a dictionary."""
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"{option} takes NAME=PATH; given: {pair}")
    return {name: Path(path) for name, path in (pair.split("=", 1) for pair in pairs)}


def main(arguments: list[str]) -> None:
    """Run, and turn what the user can mend into one line instead of a traceback."""
    options = parse_arguments(arguments)
    try:
        folders = named(options.predictions, "--predictions")
        if options.model:
            folders.update(generate(options, options.output / "predictions"))
        for task in TASKS if options.task == "both" else (options.task,):
            report = evaluate(options, task, folders)
            report.save(options.output, task)
            draw(report, options.output / f"{task}.png")
            print(f"\n## {task}, {options.split}\n\n{report.to_markdown()}\n")
    except (ValueError, TypeError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
