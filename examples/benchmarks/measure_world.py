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

import numpy as np

from perfrdiff_hf.behaviour import CLIP_FRAMES
from perfrdiff_hf.data.react2024.appropriateness import load_appropriateness
from perfrdiff_hf.data.react2024.dataset import load_react2024
from perfrdiff_hf.metrics import frcorr_per_clip
from perfrdiff_hf.metrics.statistics import Interval, bootstrap_interval
from perfrdiff_hf.synthetic.cast import World
from perfrdiff_hf.synthetic.oracles import Knowledge, sample_reactions
from perfrdiff_hf.synthetic.people import FACTORS, draw_styles
from perfrdiff_hf.synthetic.world import load_world, oracle_reactions


NUM_REACTIONS = 10


def measure_knowledge(world: World, data_dir: Path, cache_dir: str | None) -> dict[str, Interval]:
    """PMAFRG FRCorr on the test split for what a system may know, with intervals over clips."""
    rows = load_react2024(data_dir, "test", personal=True, streams=("emotion",), cache_dir=cache_dir)
    recorded = np.stack(rows.with_format("numpy")["emotion"][:])
    speaker = recorded[np.array(rows["partner"])]
    appropriate = load_appropriateness(data_dir, "test", personal=True)
    rng = np.random.default_rng(0)

    def oracle(knowledge: Knowledge, online: bool) -> np.ndarray:
        return oracle_reactions(
            world, "test", knowledge=knowledge, personal=True, online=online, num_reactions=NUM_REACTIONS
        )

    systems = {
        "recorded reactions": np.repeat(recorded[:, None], NUM_REACTIONS, axis=1),
        "personal oracle": oracle("personal", True),
        "personal oracle, whole clip known": oracle("personal", False),
        "knows how the listener reacts, not how they sit still": _half_known(world, knows_reactions=True),
        "knows how the listener sits still, not how they react": _half_known(world, knows_reactions=False),
        "generic oracle": oracle("generic", True),
        "generic oracle, whole clip known": oracle("generic", False),
        "personal oracle, another listener's style": oracle("swapped", True),
        "reactions recorded with other clips": recorded[rng.integers(len(recorded), size=(len(rows), NUM_REACTIONS))],
        "mime": np.repeat(speaker[:, None], NUM_REACTIONS, axis=1),
        "chance": rng.random((len(rows), NUM_REACTIONS, *recorded.shape[1:]), dtype=np.float32),
    }
    return {
        name: bootstrap_interval(frcorr_per_clip(values, recorded, appropriate)) for name, values in systems.items()
    }


def _half_known(world: World, knows_reactions: bool) -> np.ndarray:
    """Online reactions where either what style does to reactions is known or what it does to a face at rest."""
    reactions = []
    for number, row in enumerate(r for r in world.of_split("test") if r.clip != 1):
        rng = np.random.default_rng((1, number))
        speaker, own = world.partner(row), world.styles[row.listener_id]
        shape = (NUM_REACTIONS, len(speaker.acts))
        anyone = draw_styles(rng, shape[0] * shape[1]).reshape(*shape, -1)
        rest = anyone[:, 0] if knows_reactions else np.tile(own, (NUM_REACTIONS, 1))
        answering = np.tile(own, (*shape, 1)) if knows_reactions else anyone
        reactions.append(sample_reactions(speaker, rest, answering, True, rng))
    return np.stack(reactions)


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
    """Average, then spread and speed of each coefficient, how far it strays either way, and the strength of nods."""
    centred = coefficients - coefficients.mean(axis=0)
    speed = np.abs(np.diff(coefficients, axis=0)).mean(axis=0)
    pitch = centred[:, 52] - np.convolve(centred[:, 52], np.ones(25) / 25, mode="same")
    strays = np.quantile(centred, [0.1, 0.9], axis=0).ravel()
    return np.concatenate(
        [coefficients.mean(axis=0), centred.std(axis=0), np.log(speed + 1e-5), strays, [pitch.std()]]
    )


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
    print("PMAFRG FRCorr on unseen listeners, with 95 % intervals over clips:\n")
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
