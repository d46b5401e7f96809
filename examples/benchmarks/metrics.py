"""How fast the metrics are, against plain loops in the same run, and what a full test set costs.

    python examples/benchmarks/metrics.py  # 8 clips x 10 reactions, 30 neighbours: speed-ups
    python examples/benchmarks/metrics.py --full-size  # 1612 clips x 10 reactions, 20 neighbours: time and memory

The plain loops do what the official code does: one pair, one channel, one lag at a time; FRdist through tslearn.
Results must agree, or the benchmark stops. Cores are often shared, so CPU seconds are printed beside wall seconds;
speed-ups are ratios of CPU seconds, and therefore leave out what several cores add.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

from perfrdiff_hf.behaviour import ACTION_UNITS, CLIP_FRAMES, EMOTION_CHANNELS, EXPRESSIONS, VALENCE_AROUSAL
from perfrdiff_hf.evaluation import ReactionReport
from perfrdiff_hf.metrics import ReactionMetrics, frcorr, frdist, frsyn
from perfrdiff_hf.metrics.search.processor import num_threads


TEST_CLIPS, TEST_REACTIONS = 1612, 10


def main() -> None:
    """Parse the command line, run one of the two benchmarks, print it and perhaps write it as json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full-size", action="store_true", help="run the whole report at the size of the test set")
    parser.add_argument("--clips", type=int, help="default 8, or 1612 at full size")
    parser.add_argument(
        "--neighbours", type=int, help="appropriate reactions to a clip; default 30, or 20 at full size"
    )
    parser.add_argument("--frames", type=int, default=CLIP_FRAMES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    clips = arguments.clips or (TEST_CLIPS if arguments.full_size else 8)
    neighbours = arguments.neighbours or (20 if arguments.full_size else 30)
    rng = np.random.default_rng(arguments.seed)
    run = full_size if arguments.full_size else speed_ups
    figures = run(rng, clips, neighbours, arguments.frames)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def speed_ups(rng: np.random.Generator, clips: int, neighbours: int, frames: int) -> dict[str, Any]:
    """FRCorr, FRdist and FRSyn against plain loops."""
    pool = max(clips, 2 * neighbours)
    targets = made_up_behaviour(rng, pool, frames)
    speaker = made_up_behaviour(rng, clips, frames)
    predictions = made_up_predictions(rng, targets[:clips], TEST_REACTIONS)
    appropriate = made_up_matrix(rng, clips, pool, neighbours)
    frames_to_compile = slice(0, 60)
    frdist(predictions[:1, :1, frames_to_compile], targets[:, frames_to_compile], appropriate[:1])
    plain_distance(predictions[0, 0, frames_to_compile], targets[0, frames_to_compile])

    pairs = TEST_REACTIONS * int(appropriate.sum())
    metrics: dict[str, tuple[Callable[[], float], Callable[[], float], int, int]] = {
        "FRdist": (
            lambda: frdist(predictions, targets, appropriate),
            lambda: plain_best(predictions, targets, appropriate, plain_distance, min),
            pairs,
            TEST_CLIPS * TEST_REACTIONS * 20,
        ),
        "FRCorr": (
            lambda: frcorr(predictions, targets, appropriate),
            lambda: plain_best(predictions, targets, appropriate, plain_concordance, max),
            pairs,
            TEST_CLIPS * TEST_REACTIONS * 20,
        ),
        "FRSyn, all reactions": (
            lambda: frsyn(predictions, speaker, variant="all"),
            lambda: plain_synchrony(predictions, speaker),
            clips * TEST_REACTIONS,
            TEST_CLIPS * TEST_REACTIONS,
        ),
    }
    print_size(clips, frames, neighbours)
    print(f"{'metric':22}{'plain CPU s':>12}{'CPU s':>10}{'wall s':>10}{'speed-up':>10}{'full test set, CPU s':>22}")
    found = {}
    for name, (ours, plain, units, full_units) in metrics.items():
        ours()
        value, cpu, wall = timed(ours)
        expected, plain_cpu, plain_wall = timed(plain)
        if abs(value - expected) > 1e-9 * abs(expected):
            sys.exit(f"{name}: {value} differs from the plain loop's {expected}")
        full = cpu / units * full_units
        print(f"{name:22}{plain_cpu:12.2f}{cpu:10.3f}{wall:10.3f}{plain_cpu / cpu:10.1f}{full:22.0f}", flush=True)
        found[name] = {
            "plain_cpu_s": plain_cpu,
            "plain_wall_s": plain_wall,
            "cpu_s": cpu,
            "wall_s": wall,
            "speed_up": plain_cpu / cpu,
            "full_test_set_cpu_s": full,
            "value": value,
        }
    print(
        "The full test set is 1612 clips x 10 reactions with 20 neighbours each; divide by the cores for wall seconds."
    )
    return found


def full_size(rng: np.random.Generator, clips: int, neighbours: int, frames: int) -> dict[str, Any]:
    """The whole report at the size of the test set, with the predictions in memory as a user would have them."""
    targets = made_up_behaviour(rng, clips, frames)
    speaker = made_up_behaviour(rng, clips, frames)
    predictions = made_up_predictions(rng, targets, TEST_REACTIONS)
    appropriate = made_up_matrix(rng, clips, clips, neighbours)
    print_size(clips, frames, neighbours)

    def report() -> ReactionReport:
        metrics = ReactionMetrics(targets, speaker, appropriate)
        for indices in np.array_split(np.arange(clips), max(1, clips // 32)):
            metrics.update(predictions[indices], indices)
        return ReactionReport({"made up": metrics.compute()}, [str(n // 40) for n in range(clips)])

    found, cpu, wall = timed(report)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
    print(found.to_markdown())
    print(f"\nwhole report: {wall:.1f} s wall, {cpu:.1f} s CPU; peak memory {peak:.2f} GiB, inputs included")
    return {"wall_s": wall, "cpu_s": cpu, "peak_memory_gib": peak, "clips": clips, "neighbours": neighbours}


def print_size(clips: int, frames: int, neighbours: int) -> None:
    """The head of either benchmark."""
    size = f"{clips} clips x {TEST_REACTIONS} reactions x {frames} frames, {neighbours} neighbours each"
    print(f"{size}, {num_threads()} threads")


def timed(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """Its result, CPU seconds and wall seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return result, time.process_time() - cpu, time.perf_counter() - wall


def made_up_behaviour(rng: np.random.Generator, clips: int, frames: int) -> np.ndarray:
    """Behaviour with the value ranges and the slowness of recorded behaviour, `(clips, frames, 25)` float32."""
    behaviour = np.empty((clips, frames, EMOTION_CHANNELS), dtype=np.float32)
    for clip in behaviour:
        noise = gaussian_filter1d(rng.standard_normal(clip.shape, dtype=np.float32), 12, axis=0)
        latent = 0.8 * noise / noise.std() + 0.8 * rng.standard_normal(EMOTION_CHANNELS)
        clip[:, ACTION_UNITS] = latent[:, ACTION_UNITS] > 0.8
        clip[:, VALENCE_AROUSAL] = np.tanh(0.35 * latent[:, VALENCE_AROUSAL])
        odds = np.exp(1.5 * latent[:, EXPRESSIONS])
        clip[:, EXPRESSIONS] = odds / odds.sum(axis=1, keepdims=True)
    return behaviour


def made_up_predictions(rng: np.random.Generator, targets: np.ndarray, reactions: int) -> np.ndarray:
    """Reactions that owe a little to the recorded one and more to chance, smooth as a model's are."""
    smooth = gaussian_filter1d(targets, 3, axis=1)
    others = gaussian_filter1d(made_up_behaviour(rng, 20 * reactions, targets.shape[1]), 3, axis=1)
    predictions = np.empty((len(targets), reactions, *targets.shape[1:]), dtype=np.float32)
    for prediction, target in zip(predictions, smooth):
        chosen = others[rng.choice(len(others), reactions, replace=False)]
        prediction[:] = 0.25 * target + 0.75 * np.roll(chosen, rng.integers(target.shape[0]), axis=1)
    return predictions


def made_up_matrix(rng: np.random.Generator, clips: int, targets: int, neighbours: int) -> np.ndarray:
    """Each clip's own target and others at random, `neighbours` in all."""
    matrix = np.eye(clips, targets, dtype=bool)
    for n in range(clips):
        others = np.delete(np.arange(targets), n)
        matrix[n, rng.choice(others, neighbours - 1, replace=False)] = True
    return matrix


def plain_best(
    predictions: np.ndarray, targets: np.ndarray, appropriate: np.ndarray, compare: Callable[..., float], best: Any
) -> float:
    """One pair after the other: the best over neighbours, summed over reactions, averaged over clips."""
    sums = [
        sum(best(compare(reaction, target) for target in targets[row]) for reaction in reactions)
        for reactions, row in zip(predictions, appropriate)
    ]
    return float(np.mean(sums))


def plain_distance(reaction: np.ndarray, target: np.ndarray) -> float:
    """FRdist of one pair through tslearn."""
    from tslearn.metrics import dtw

    parts = [dtw(reaction[:, group], target[:, group]) for group in (ACTION_UNITS, VALENCE_AROUSAL, EXPRESSIONS)]
    return 1 / 15 * parts[0] + 1 * parts[1] + 1 / 8 * parts[2]


def plain_concordance(reaction: np.ndarray, target: np.ndarray) -> float:
    """FRCorr of one pair, a channel at a time."""
    values = []
    for x, y in zip(reaction.T.copy(), target.T.copy()):
        covariance = np.cov(x.astype(np.float64), y.astype(np.float64))
        scale = np.sqrt(covariance[0, 0] * covariance[1, 1])
        correlation = covariance[0, 1] / scale if scale > 0 else 0.0
        spread = x.var() + y.var() + (x.mean() - y.mean()) ** 2 + np.float32(1e-8)
        values.append(2 * correlation * y.std() * x.std() / spread)
    return float(np.mean(values))


def plain_synchrony(predictions: np.ndarray, speaker: np.ndarray) -> float:
    """FRSyn over all reactions: a correlation for each lag and channel."""
    offsets = []
    for reactions, clip in zip(predictions, speaker):
        for reaction in reactions:
            means = []
            for lag in range(-49, 50):
                x = reaction[max(lag, 0) : len(reaction) + min(lag, 0)]
                y = clip[max(-lag, 0) : len(clip) + min(-lag, 0)]
                with np.errstate(invalid="ignore", divide="ignore"):
                    channels = [np.corrcoef(x[:, c], y[:, c])[0, 1] for c in range(x.shape[1])]
                means.append(np.float32(np.mean(np.array(channels, dtype=np.float32))))
            undefined = np.flatnonzero(np.isnan(means))
            offsets.append(abs(49 - (undefined[0] if len(undefined) else int(np.argmax(means)))))
    return float(np.mean(offsets))


if __name__ == "__main__":
    main()
