"""Take one ingredient of the bench recipe out, train, and measure what is lost.

    perfrdiff world bench --size bench
    python examples/experiments/ablations.py --world bench --work ablations all
    python examples/experiments/report.py --table ablations

Every row is trained with the same small budget, the whole recipe among them, and measured on the validation listeners:
rows compare with each other and with nothing else. One row takes about 20 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import parts
import quality

from perfrdiff_hf.training.processes import train_stage


EXPERIMENTS = Path(__file__).parent
RESULTS = EXPERIMENTS.parents[1] / "results" / "ablations"
BUDGET = {"stages.denoiser.max_steps": 3000, "stages.weight_shift_generator.max_steps": 3000}


@dataclass(frozen=True)
class Change:
    """What a row changes.

    Args:
        settings: of the training, by dotted name.
        sampling: of the pipeline's call.
        of: the row whose model is sampled; None trains one of its own.
        starts: the first stage that the settings change; those before it are shared with the whole recipe.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    of: str | None = None
    starts: str = "denoiser"


WHOLE = "the whole recipe"
CHANGES = {
    WHOLE: Change(),
    "no noise on styles": Change({"data.style_noise": 0}, starts="weight_shift_generator"),
    "no noise on shown frames": Change({"data.shown_noise": 0}),
    "shifts learn from shown frames": Change({"data.personal_whole_windows": 0.3}, starts="weight_shift_generator"),
    "twenty shown frames": Change({"models.denoiser.max_shown_frames": 20}),
    "as many shown frames as the hop leaves": Change({"models.denoiser.max_shown_frames": 45}),
    "no shown frames": Change({"models.denoiser.max_shown_frames": "null", "models.sampling.hop": 50}),
    "equation 9 for shown frames": Change(
        {
            "models.denoiser.max_shown_frames": "null",
            "models.sampling.hop": 50,
            "models.denoiser.conditions": "[audio, emotion, coefficients, past_emotion]",
        }
    ),
    "channels on their own scales": Change({"models.denoiser.standardised": "false"}),
    "a pose that counts as emotion": Change({"data.pose_weight": 1.0}),
    "time steps that count alike": Change({"data.max_snr_weight": 1.0}),
    "emotion alone": Change({"models.denoiser.in_channels": 25}),
    "style of place": Change({"models.style_encoder.movement": "false"}, starts="style_encoder"),
    "two windows of the speaker": Change({"models.denoiser.context_windows": 2}),
    "four windows of the speaker": Change({"models.denoiser.context_windows": 4}),
    "no guidance": Change(sampling={"guidance_scale": 1.0}, of=WHOLE),
    "action units as they are predicted": Change(sampling={"binarise_action_units": False}, of=WHOLE),
    "emotion as it is predicted": Change(sampling={"smooth_emotion": False}, of=WHOLE),
}


def main(arguments: list[str] | None = None) -> None:
    """Train and measure rows; those that are measured are passed over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="+", metavar="ROW", help=f"all, or some of: {', '.join(CHANGES)}")
    parser.add_argument("--world", required=True, type=Path, help="folder of the bench world")
    parser.add_argument("--work", required=True, type=Path, help="folder for models and reactions")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the figures")
    parser.add_argument("--cache_dir", help="where computed features are kept")
    parser.add_argument("--processes", type=int, default=2, help="processes that train together")
    options = parser.parse_args(arguments)
    parts.speak()
    rows = list(CHANGES) if options.rows == ["all"] else options.rows
    if unknown := [row for row in rows if row not in CHANGES]:
        parser.error(f"unknown rows: {', '.join(unknown)}")
    for row in rows:
        output = options.results / f"{row}.json"
        if not output.exists():
            measure(CHANGES[row], train(CHANGES[row].of or row, options), output, options)


def train(row: str, options: argparse.Namespace) -> Path:
    """The model of a row; a row that was trained is trained no more."""
    change, folder = CHANGES[row], options.work / row
    stages = ("emotion_vae", "style_encoder", "denoiser", "weight_shift_generator")
    first = stages.index(change.starts)
    if row != WHOLE and first:
        parts.borrow(train(WHOLE, options).parent, folder, stages[:first])
    for stage in stages:
        if not (folder / stage).exists():
            settings = {name: str(value) for name, value in {**BUDGET, **change.settings}.items()}
            train_stage(stage, folder, "bench", options.world, settings, options.processes, options.cache_dir)
    return folder / "model"


def measure(change: Change, model: Path, output: Path, options: argparse.Namespace) -> None:
    """One row's figures on the validation listeners, as `quality.py` writes them."""
    cache = ["--cache_dir", options.cache_dir] if options.cache_dir else []
    quality.main(
        ["--model", str(model), "--world", str(options.world), "--output", str(output),
         "--predictions", str(options.work / "reactions" / output.stem), *cache,
         "--split", "val", "--only_own", "--sampling", json.dumps(dict(change.sampling))]
    )  # fmt: skip


if __name__ == "__main__":
    main()
