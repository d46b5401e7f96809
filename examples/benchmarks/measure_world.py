"""Measure a synthetic world: what each kind of knowledge is worth in FRCorr, and how well one clip shows a style.

```
perfrdiff world world --size bench
python examples/benchmarks/measure_world.py world --output world_report.json
```
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from perfrdiff_hf.behaviour import CLIP_FRAMES
from perfrdiff_hf.data.react2024.appropriateness import load_appropriateness
from perfrdiff_hf.data.react2024.dataset import load_react2024
from perfrdiff_hf.metrics import frcorr_per_clip
from perfrdiff_hf.metrics.statistics import Interval, bootstrap_interval
from perfrdiff_hf.synthetic.cast import World
from perfrdiff_hf.synthetic.oracles import Knowledge, mean_oracle_reactions, oracle_reactions
from perfrdiff_hf.synthetic.people import FACTORS
from perfrdiff_hf.synthetic.world import load_world


NUM_REACTIONS = 10


def measure_knowledge(world: World, data_dir: Path, cache_dir: str | None) -> dict[str, Interval]:
    """PMAFRG FRCorr on the test split for what a system may know, with intervals over listeners."""
    rows = load_react2024(data_dir, "test", personal=True, streams=("emotion",), cache_dir=cache_dir)
    recorded = np.stack(rows.with_format("numpy")["emotion"][:])
    speaker = recorded[np.array(rows["partner"])]
    appropriate = load_appropriateness(data_dir, "test", personal=True)
    rng = np.random.default_rng(0)

    def oracle(knowledge: Knowledge, **options: Any) -> np.ndarray:
        options = {"personal": True, "num_reactions": NUM_REACTIONS, **options}
        return oracle_reactions(world, "test", knowledge=knowledge, **options).emotion

    def mean_oracle(knowledge: Knowledge) -> np.ndarray:
        draws = mean_oracle_reactions(world, "test", knowledge=knowledge, personal=True, num_reactions=NUM_REACTIONS)
        return draws.emotion

    systems = {
        "recorded reactions": np.repeat(recorded[:, None], NUM_REACTIONS, axis=1),
        "personal oracle": oracle("personal"),
        "personal oracle, hop of 10 frames": oracle("personal", hop=10),
        "personal oracle, whole clip known": oracle("personal", online=False),
        "mean of many draws of the personal oracle": mean_oracle("personal"),
        "generic oracle": oracle("generic"),
        "generic oracle, whole clip known": oracle("generic", online=False),
        "mean of many draws of the generic oracle": mean_oracle("generic"),
        "personal oracle, another listener's style": oracle("swapped"),
        "reactions recorded with other clips": recorded[rng.integers(len(recorded), size=(len(rows), NUM_REACTIONS))],
        "mime": np.repeat(speaker[:, None], NUM_REACTIONS, axis=1),
        "chance": rng.random((len(rows), NUM_REACTIONS, *recorded.shape[1:]), dtype=np.float32),
    }
    return {
        name: bootstrap_interval(frcorr_per_clip(values, recorded, appropriate), rows["listener_id"])
        for name, values in systems.items()
    }


def measure_legibility(world: World, data_dir: Path, cache_dir: str | None) -> dict[str, dict[str, float]]:
    """R² of each style factor, regressed from the coefficients of one clip, on people who were not fitted.

    "all" sees averages and spreads; "movement" sees a clip without its average, and so not how the person sits.
    """
    features: dict[str, list[np.ndarray]] = {}
    styles = {}
    for split in ("train", "test"):
        rows = load_react2024(data_dir, split, streams=("coefficients",), cache_dir=cache_dir)
        clips = rows.with_format("numpy")["coefficients"][:]
        features[split] = [_summary(np.asarray(clip)[:CLIP_FRAMES]) for clip in clips]
        styles[split] = np.stack([world.styles[name] for name in rows["listener_id"]])
    people = np.unique(styles["train"][:, 0], return_inverse=True)[1]
    scores = {}
    for name, first in (("all", 0), ("movement", 58)):
        known, unseen = (np.stack(features[split])[:, first:] for split in ("train", "test"))
        guess = _ridge(known, styles["train"], people, unseen)
        error = np.square(guess - styles["test"]).sum(axis=0)
        spread = np.square(styles["test"] - styles["test"].mean(axis=0)).sum(axis=0)
        scores[name] = dict(zip(FACTORS, (1 - error / spread).round(3).tolist()))
    return scores


def _summary(coefficients: np.ndarray) -> np.ndarray:
    """Average; then what is left without it: spread, speed, how far it strays either way, and how the head nods."""
    centred = coefficients - coefficients.mean(axis=0)
    spread = centred.std(axis=0)
    speed = np.abs(np.diff(coefficients, axis=0)).mean(axis=0)
    pitch = centred[:, 52] - np.convolve(centred[:, 52], np.ones(25) / 25, mode="same")
    crossings = np.mean(np.diff(np.sign(pitch)) != 0)
    strays = np.quantile(centred, [0.1, 0.9], axis=0).ravel()
    movement = [spread, np.log(spread + 1e-3), np.log(speed + 1e-5), np.log(speed / (spread + 1e-3) + 1e-3), strays]
    return np.concatenate([coefficients.mean(axis=0), *movement, [pitch.std(), crossings]])


def _ridge(known: np.ndarray, targets: np.ndarray, people: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """Ridge regression on standardised features; the penalty is chosen on people left out of the fit."""
    mean, spread = known.mean(axis=0), known.std(axis=0) + 1e-9
    known, unseen = (known - mean) / spread, (unseen - mean) / spread

    def predict(x: np.ndarray, y: np.ndarray, new: np.ndarray, penalty: float) -> np.ndarray:
        kernel = x @ x.T + penalty * np.eye(len(x))
        return new @ x.T @ np.linalg.solve(kernel, y - y.mean(axis=0)) + y.mean(axis=0)

    def left_out_error(penalty: float) -> float:
        out = [people % 5 == fold for fold in range(5)]
        return float(
            np.mean([np.square(predict(known[~o], targets[~o], known[o], penalty) - targets[o]).mean() for o in out])
        )

    return predict(known, targets, unseen, min(10.0 ** np.arange(0, 6), key=left_out_error))


def main(arguments: list[str] | None = None) -> None:
    """Measure a world and print the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="a world from `perfrdiff world`")
    parser.add_argument("--output", type=Path, help="also write the figures here, as json")
    parser.add_argument("--cache_dir", help="where to keep decoded data; the cache of `datasets` by default")
    options = parser.parse_args(arguments)
    world = load_world(options.folder)
    knowledge = measure_knowledge(world, options.folder, options.cache_dir)
    legibility = measure_legibility(world, options.folder, options.cache_dir)
    print("PMAFRG FRCorr on unseen listeners, with 95 % intervals over listeners:\n")
    print("| system | FRCorr | interval |\n|---|---|---|")
    for name, interval in knowledge.items():
        print(f"| {name} | {interval.value:.2f} | {interval.low:.2f} to {interval.high:.2f} |")
    print("\nR² of style read from the coefficients of one clip of an unseen person:\n")
    print(f"| features | {' | '.join(FACTORS)} |\n|---|{'---|' * len(FACTORS)}")
    for name, scores in legibility.items():
        print(f"| {name} | {' | '.join(f'{score:.2f}' for score in scores.values())} |")
    if options.output:
        figures = {"frcorr": {name: vars(interval) for name, interval in knowledge.items()}, "legibility": legibility}
        options.output.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
