"""Measure one trained model as the quality goals ask: on listeners never seen, beside oracles and controls.

    perfrdiff world bench --size bench
    perfrdiff train --stage all --config bench --data_dir bench --output_dir trained
    python examples/experiments/quality.py --model trained/model --world bench --output results/quality/bench_0.json

The model is sampled as it was saved, and in other ways to see whether a shorter hop gains and what guidance does. What
is written is small: for each system and measure one value a listener. `report.py --check quality` reads it.

What a short hop gains is little beside what listeners differ by, so it is measured once more, on many listeners:

    perfrdiff world listeners --size listeners --seed 2
    python examples/experiments/quality.py --model trained/model --world listeners --only hops \
        --output results/hops/bench_0.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import uniform_filter1d

from perfrdiff_hf import PerFRDiffPipeline
from perfrdiff_hf.baselines import oracle_rows, reference_rows
from perfrdiff_hf.baselines.reference import RECORDED, Predictions, Row
from perfrdiff_hf.behaviour import WINDOW_SIZE
from perfrdiff_hf.data.arrays import ClipArrays
from perfrdiff_hf.data.corpus import Corpus
from perfrdiff_hf.evaluation import compare, load_task
from perfrdiff_hf.evaluation.controls import PERSONALISED, Manner, manners_of, own_history
from perfrdiff_hf.evaluation.predictions import prediction_rows
from perfrdiff_hf.evaluation.reacting import predict
from perfrdiff_hf.evaluation.task import Task, rows_of
from perfrdiff_hf.files import file_beside
from perfrdiff_hf.metrics.reaction_metrics import Scores
from perfrdiff_hf.synthetic.world import load_world


NUM_REACTIONS = 10
# The own history, sampled in other ways: with a shorter and a longer hop, and without guidance, which makes reactions
# more alike and so raises FRCorr by itself.
HOPS: dict[str, dict[str, Any]] = {
    f"{PERSONALISED}, hop 50": {"hop": 50},
    f"{PERSONALISED}, hop 10": {"hop": 10},
}
# A control: a short hop also makes reactions smoother, which raises FRCorr by itself. The mean of five frames brings
# the FRVar of the longest hop to that of the shortest.
SMOOTHED, SMOOTHED_FRAMES = f"{PERSONALISED}, hop 50", 5
OTHERWISE = HOPS | {f"{PERSONALISED}, no guidance": {"guidance_scale": 1.0}}
CONTROLS = ("another_history", "no_movement", "another_face")


def main(arguments: list[str] | None = None) -> None:
    """Measure a model and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a saved pipeline")
    parser.add_argument("--world", required=True, type=Path, help="folder of a synthetic world")
    parser.add_argument("--output", required=True, type=Path, help="json file to write")
    parser.add_argument("--predictions", type=Path, help="where predictions are kept (default: beside the output)")
    parser.add_argument("--split", default="test", help="val for tuning, test to report")
    parser.add_argument("--cache_dir", help="where computed features are kept")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--only", choices=("own", "hops"), help="own history alone: as saved, or with two hops")
    parser.add_argument("--sampling", type=json.loads, default={}, help="json, instead of what was saved")
    options = parser.parse_args(arguments)
    pipeline = PerFRDiffPipeline.from_pretrained(options.model)
    pipeline.set_progress_bar_config(disable=True)
    arrays = Corpus(options.world, options.cache_dir).split(options.split).arrays
    task = load_task(options.world, options.split, "pmafrg", options.cache_dir)
    sampling = {**pipeline.sampling, **options.sampling, "num_reactions": NUM_REACTIONS}
    figures = {
        "world": {"seed": load_world(options.world).seed, "split": options.split},
        "sampling": sampling,
        "persons_found": persons_found(pipeline, arrays),
        "systems": measure(pipeline, arrays, task, sampling, options),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with file_beside(options.output) as beside:
        beside.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


@torch.no_grad()
def persons_found(pipeline: PerFRDiffPipeline, arrays: ClipArrays) -> float:
    """The share of clips whose nearest other clip, by style, is of the same person."""
    encoder, extractor = pipeline.style_encoder, pipeline.feature_extractor
    assert encoder is not None
    clips = [torch.from_numpy(np.array(arrays.coefficients(row)))[None] for row in range(len(arrays))]
    styles = torch.cat([encoder(extractor.remove_mean_face(clip)).style for clip in clips])
    nearest = (styles @ styles.T).fill_diagonal_(-2).argmax(dim=1).numpy()
    return float(np.mean(arrays.listener_ids[nearest] == arrays.listener_ids))


def measure(
    pipeline: PerFRDiffPipeline, arrays: ClipArrays, task: Task, sampling: dict[str, Any], options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Each system's measures, one value a listener, and its overall figures."""
    sampling = {**sampling, "hop": int(sampling.get("hop") or WINDOW_SIZE)}
    folder = options.predictions or options.output.with_suffix("")
    systems: dict[str, tuple[Any, int]] = {}
    if options.only != "hops":
        references = reference_rows(task.reactions, task.speaker, NUM_REACTIONS, target_coefficients=task.coefficients)
        oracles = oracle_rows(options.world, options.split, task.paths, NUM_REACTIONS, hop=sampling["hop"])
        systems = {name: (row, sampling["hop"]) for name, row in {RECORDED: references[RECORDED], **oracles}.items()}
    for manners, settings in ways_to_sample(pipeline, arrays, sampling, options.only):
        folders = predict(
            pipeline, arrays, rows_of(task, arrays), manners, folder, settings, options.seed, batch_size=8,
            overwrite=True,
        )  # fmt: skip
        systems |= {name: (prediction_rows(place, task), settings["hop"]) for name, place in folders.items()}
    if SMOOTHED in systems:
        row, hop = systems[SMOOTHED]
        systems[f"{SMOOTHED}, smoothed"] = (partial(smoothed, row), hop)
    return {name: scored(task, row, hop) for name, (row, hop) in systems.items()}


def ways_to_sample(
    pipeline: PerFRDiffPipeline, arrays: ClipArrays, sampling: dict[str, Any], only: str | None
) -> list[tuple[list[Manner], dict[str, Any]]]:
    """In whose manner, and with which settings: as saved, then the own history with others."""
    own = own_history(arrays)
    as_saved = [] if only == "hops" else [(manners_of(pipeline, arrays, () if only else CONTROLS), sampling)]
    changes = {None: OTHERWISE, "own": {}, "hops": HOPS}[only]
    return as_saved + [([Manner(name, own)], {**sampling, **changed}) for name, changed in changes.items()]


def smoothed(row: Row, clips: np.ndarray) -> Predictions:
    """A system's predictions, each frame of emotion the mean of those around it."""
    predictions = row(clips)
    return predictions._replace(emotion=uniform_filter1d(np.asarray(predictions.emotion), SMOOTHED_FRAMES, axis=-2))


def scored(task: Task, row: Any, hop: int) -> dict[str, Any]:
    """One system's figures."""
    report = compare(
        {"system": row}, task.reactions, task.speaker, task.matrices, task.listeners,
        target_coefficients=task.coefficients, hop=hop,
    )  # fmt: skip
    scores: Scores = report.scores["system"]
    return {
        "listeners": {name: by_listener(values, task.listeners) for name, values in scores.values.items()},
        "overall": {name: rounded(value) for name, value in scores.overall.items()},
    }


def by_listener(values: np.ndarray, listeners: Sequence[str]) -> list[float | None]:
    """The mean over each listener's clips, in the order of their names."""
    names = np.array(listeners)
    return [rounded(float(values[names == name].mean())) for name in np.unique(names)]


def rounded(value: float) -> float | None:
    """Five significant figures; None for NaN."""
    return float(f"{value:.5g}") if np.isfinite(value) else None


if __name__ == "__main__":
    main()
