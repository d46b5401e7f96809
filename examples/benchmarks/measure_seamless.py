"""What is lost between a synthetic world and the same world written and read as Seamless Interaction, with the truth.

    python examples/benchmarks/measure_seamless.py [--dyads 12] [--output report.json]

Writes a world, writes it in the format of the release, reads that, and prints: how each channel agrees with the
original; how often roles are inferred rightly; and precision and recall of the rule of appropriateness (same prompt,
same role, similar speaker), where the truth is which speakers play the same part of the same script. Two scripts share
a prompt, as the same prompt need not mean the same words.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from perfrdiff_hf import load_dyads
from perfrdiff_hf.behaviour import COEFFICIENT_NAMES, EMOTION_NAMES
from perfrdiff_hf.data.seamless.importing import import_files
from perfrdiff_hf.data.seamless.index import index_of
from perfrdiff_hf.data.seamless.layout import LICENSE, LIST_FILE, PROMPTS_FILE
from perfrdiff_hf.data.source import Dyads
from perfrdiff_hf.evaluation.similarity import precision_recall, similar_speakers, speaker_distances
from perfrdiff_hf.synthetic.cast import Performance, World, WorldSize, plan_world
from perfrdiff_hf.synthetic.recording import render
from perfrdiff_hf.synthetic.seamless import LABEL, clips_in, write_as_seamless


QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


def recorded(world: World, dyads: Dyads) -> list[Performance]:
    """The recording of the world behind each row."""
    by_name = {
        f"{name.person}/{name.session}_{name.prompt}_{number}": row
        for name, rows in clips_in(world, dyads.split).items()
        for number, row in enumerate(rows)
    }
    return [by_name[f"{who}/{clip}"] for who, clip in zip(dyads.dataset["listener_id"], dyads.dataset["clip"])]


def round_trip(world: World, dyads: Dyads) -> dict[str, dict[str, Any]]:
    """Of each channel its kind, its correlation with the original, and the root mean squared difference."""
    truth = [render(world, row) for row in recorded(world, dyads)]
    original = np.concatenate([np.concatenate([one.emotion, one.coefficients[:750]], axis=1) for one in truth])
    arrays = dyads.arrays
    found = np.concatenate([arrays.flat["emotion"], arrays.flat["coefficients"]], axis=1)
    report = {}
    for channel, name in enumerate((*EMOTION_NAMES, *COEFFICIENT_NAMES)):
        a, b = found[:, channel], original[:, channel]
        report[name] = {
            "kind": dyads.mask.kind(name),
            "correlation": float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) > 0 < np.ptp(b) else None,
            "rmse": float(np.sqrt(np.square(a - b).mean())),
        }
    return report


def roles(world: World, place: Path) -> dict[str, float]:
    """The share of conversations whose roles are told, and of these the share that are right."""
    meetings = index_of(place).meetings
    played = {str(name): {row.role for row in rows} for name, rows in clips_in(world, "train").items()}
    # Where a person plays one role in the one script of a prompt and the other in the other, there is no right answer.
    clear = [meeting for meeting in meetings if len(played[meeting.names[0]]) == 1]
    told = [meeting for meeting in clear if meeting.roles is not None]
    right = [one for one in told if one.roles and one.roles[0] == "AB"[min(played[one.names[0]])]]
    return {"told": len(told) / max(1, len(clear)), "right": len(right) / max(1, len(told))}


def rule(world: World, dyads: Dyads) -> list[dict[str, float]]:
    """Precision and recall over thresholds."""
    rows = recorded(world, dyads)
    played = [(rows[row].script, rows[row].role) for row in dyads.arrays.partner]
    truth = np.array([[one == other for other in played] for one in played])
    among = dyads.source.comparable(dyads.split, dyads.dataset)
    distances = speaker_distances(dyads.arrays, among=among)
    others = distances[np.isfinite(distances) & ~np.eye(len(distances), dtype=bool)]
    report = []
    for threshold in np.quantile(others, QUANTILES):
        precision, recall = precision_recall(similar_speakers(distances, threshold), truth)
        report.append({"threshold": float(threshold), "precision": precision, "recall": recall})
    return report


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dyads", type=int, default=12, help="training dyads of the world (default 12)")
    parser.add_argument("--output", type=Path, help="a json file for the figures")
    options = parser.parse_args(arguments)
    size = WorldSize(dyads=(options.dyads, 1, 1), clips=4, scripts=(6, 2, 2), sample_rate=48000, sound="PCM_16")
    world = plan_world(size, 0)
    with tempfile.TemporaryDirectory() as scratch:
        release, folder = Path(scratch, "release"), Path(scratch, "folder")
        write_as_seamless(world, release, faults=False)
        import_files([release / LABEL / "train" / "0000"], folder, LABEL, "train", LICENSE)
        for name in (LIST_FILE, PROMPTS_FILE):
            shutil.copy(release / name, folder)
        dyads = load_dyads("seamless", folder, "train", cache_dir=Path(scratch, "cache"))
        report = {
            "rows": len(dyads),
            "channels": round_trip(world, dyads),
            "roles": roles(world, folder / LABEL / "train"),
            "rule": rule(world, dyads),
        }
    print_report(report)
    if options.output:
        options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def print_report(report: dict[str, Any]) -> None:
    """The figures as tables."""
    print(f"{report['rows']} rows\n\n| channel | kind | correlation | rmse |\n|---|---|---|---|")
    for name, one in report["channels"].items():
        known = "-" if one["correlation"] is None else f"{one['correlation']:.3f}"
        print(f"| {name} | {one['kind']} | {known} | {one['rmse']:.4f} |")
    print(f"\nroles: told in {report['roles']['told']:.0%}, of these right in {report['roles']['right']:.0%}\n")
    print("| threshold | precision | recall |\n|---|---|---|")
    for one in report["rule"]:
        print(f"| {one['threshold']:.1f} | {one['precision']:.2f} | {one['recall']:.2f} |")


if __name__ == "__main__":
    main()
