"""The experiment on quality, and the report on its results."""

from __future__ import annotations

import copy
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfrdiff_hf.synthetic.world import WorldSize, write_synthetic_world


EXPERIMENTS = Path(__file__).resolve().parents[2] / "examples" / "experiments"


@pytest.fixture
def report() -> dict[str, Any]:
    return runpy.run_path(str(EXPERIMENTS / "report.py"))


def result(report: dict[str, Any]) -> dict[str, Any]:
    """A run that meets every goal, on three listeners."""
    recorded, own = report["RECORDED"], report["PERSONALISED"]
    corr = {
        report["OF_ANYBODY"]: 1.0, report["OF_THE_LISTENER"]: 3.0, own: 2.8, report["NO_MOVEMENT"]: 1.1,
        report["ANOTHER_FACE"]: 2.7, report["ANOTHER_HISTORY"]: 0.5, report["GENERIC"]: 1.0, recorded: 9.0,
        f"{own}, hop 10": 2.9, f"{own}, hop 50": 2.0, f"{own}, no guidance": 2.5,
        report["AS_SMOOTH"]: 2.4,
    }  # fmt: skip
    spread = np.array([-0.1, 0.0, 0.1])
    fixed = {"FRDiv": 1.0, "FRVar": 1.0, "switches at borders": 0.1, "switches inside": 0.1, "head speed": 0.3,
             "head range": 0.1}  # fmt: skip
    systems = {}
    for name, value in corr.items():
        listeners = {"FRCorr PMAFRG": value + spread, "FRCorr MAFRG": value + spread}
        listeners["FRCorr coefficients PMAFRG"] = value + spread
        listeners |= {measure: np.full(3, constant) for measure, constant in fixed.items()}
        kept = {measure: values.tolist() for measure, values in listeners.items()}
        systems[name] = {"listeners": kept, "overall": {"FRRea-motion": 2.0}}
    return {"world": {"seed": 0, "split": "test"}, "sampling": {"hop": 25}, "persons_found": 0.99, "systems": systems}


def keep(run: dict[str, Any], place: Path, name: str = "one.json") -> None:
    """As results of a model: on test listeners, and on many."""
    for folder in ("quality", "hops"):
        (place / folder).mkdir(exist_ok=True)
        (place / folder / name).write_text(json.dumps(run))


def test_a_run_that_meets_its_goals(report, tmp_path, capsys, monkeypatch):
    # Three listeners cannot reach p < 0.05 by flipping signs; the p-value itself is tested with the metrics.
    run = result(report)
    for seed in (0, 1):
        run["world"]["seed"] = seed
        keep(run, tmp_path, f"{seed}.json")
    code = report["main"](["--check", "quality", "--results", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    missed = [line for line in lines if line.endswith("| missed |")]
    assert any(line.startswith("| the same, sampled without guidance | 0.7500") for line in lines)
    assert any(line.startswith("| the same, another's history | -0.2500") for line in lines)
    assert any(line.startswith("| the same over a hop of 50, as smooth | 0.5000") for line in lines)
    assert code == 1 and len(missed) == 2 and all(line.startswith("| p of that gain") for line in missed)
    assert "| personal share of PMAFRG FRCorr | 0.9000 [0.9000, 0.9000] | 0.9000" in "\n".join(lines)
    assert "world 0 (1 seeds) | world 1 (1 seeds)" in lines[0]


@pytest.mark.parametrize(
    ("system", "measure", "value", "goal"),
    [
        ("PERSONALISED", "FRCorr PMAFRG", 1.5, "personal share of PMAFRG FRCorr"),
        ("NO_MOVEMENT", "FRCorr PMAFRG", 2.0, "the same, a history without movement"),
        ("ANOTHER_FACE", "FRCorr PMAFRG", 1.0, "own movement on another's face"),
        ("GENERIC", "FRCorr MAFRG", 0.5, "generic MAFRG FRCorr"),
        ("PERSONALISED", "FRDiv", 0.5, "FRDiv over"),
        ("PERSONALISED", "switches at borders", 2.0, "switches at borders"),
        ("PERSONALISED", "head speed", 0.1, "head speed"),
        ("PERSONALISED", "FRCorr coefficients PMAFRG", 1.2, "personal share of FRCorr of coefficients"),
        ("ANOTHER_HISTORY", "FRCorr PMAFRG", 5.0, "listeners whose own history"),
    ],
)
def test_each_goal_can_be_missed(report, tmp_path, capsys, system, measure, value, goal):
    run = copy.deepcopy(result(report))
    run["systems"][report[system]]["listeners"][measure] = [value] * 3
    keep(run, tmp_path)
    assert report["main"](["--check", "quality", "--results", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"| {goal}") and line.endswith("| missed |") for line in lines)


def test_figures_of_different_sampling_do_not_stand_in_one_table(report, tmp_path):
    for hop in (25, 10):
        keep(result(report) | {"sampling": {"hop": hop}}, tmp_path, f"{hop}.json")
    with pytest.raises(ValueError, match="sampled with different settings"):
        report["main"](["--check", "quality", "--results", str(tmp_path)])


def test_a_short_hop_is_judged_on_many_listeners(report, tmp_path, capsys):
    """On the few it gains 0.9 +- 0.1; on the many here it loses."""
    keep(result(report), tmp_path)
    many = result(report)
    for system, corr in (("HOP_10", 1.0), ("HOP_50", 1.5), ("AS_SMOOTH", 1.5)):
        many["systems"][report[system]]["listeners"]["FRCorr PMAFRG"] = [corr] * 72
    (tmp_path / "hops" / "one.json").write_text(json.dumps(many))
    assert report["main"](["--check", "quality", "--results", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("| FRCorr gained by a hop of 10 over one of 50 | 0.9000") for line in lines)
    assert "| the gain on 72 more listeners | -0.5000 | > 0.0000 | missed |" in lines
    many["systems"][report["HOP_50"]]["listeners"]["FRCorr PMAFRG"] = [1.3] * 72
    (tmp_path / "hops" / "one_noise1.json").write_text(json.dumps(many))  # of the same model: counts as much
    assert report["main"](["--check", "quality", "--results", str(tmp_path)]) == 1
    assert "| the gain on 72 more listeners | -0.4000 |" in capsys.readouterr().out
    for path in (tmp_path / "hops").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match="on a world of the size listeners as well"):
        report["main"](["--check", "quality", "--results", str(tmp_path)])


def test_tuning_results_are_no_report(report, tmp_path):
    (tmp_path / "quality").mkdir()
    run = result(report)
    run["world"]["split"] = "val"
    (tmp_path / "quality" / "tuned.json").write_text(json.dumps(run))
    with pytest.raises(FileNotFoundError, match="no results of test listeners"):
        report["main"](["--check", "quality", "--results", str(tmp_path)])


def test_ablations_stand_in_the_order_of_what_is_left(report, tmp_path, capsys):
    (tmp_path / "tableablations").mkdir()
    for name, seed, own in (("much taken out", 0, 1.5), ("whole", 0, 2.7), ("whole", 1, 2.9)):
        run = result(report)
        run["systems"][report["PERSONALISED"]]["listeners"]["FRCorr PMAFRG"] = [own] * 3
        made = {"row": name, "figures": run}
        (tmp_path / "tableablations" / f"{name}-seed{seed}.json").write_text(json.dumps(made))
    assert report["main"](["--table", "ablations", "--results", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| whole | 0.9000") and lines[3].startswith("| much taken out | 0.2500")


def test_a_model_is_measured(make_pipeline: Callable, report: dict[str, Any], tmp_path: Path) -> None:
    size = WorldSize(dyads=(1, 1, 2), clips=2, scripts=(1, 1, 2), sample_rate=8000, sound="ULAW")
    world = write_synthetic_world(tmp_path / "world", size, seed=0)
    sampling = {"num_inference_steps": 1, "guidance_scale": 1.0, "hop": 25}
    make_pipeline(in_channels=83, max_shown_frames=40, sampling=sampling).save_pretrained(tmp_path / "model")
    quality = runpy.run_path(str(EXPERIMENTS / "quality.py"))
    within = quality["main"].__globals__
    within["NUM_REACTIONS"] = 2
    within["HOPS"] = {"personalised, hop 40": {"hop": 40}}
    within["SMOOTHED"] = "personalised, hop 40"
    within["OTHERWISE"] = within["HOPS"] | {"personalised, no guidance": {"guidance_scale": 1.0}}
    output = tmp_path / "results" / "quality" / "one.json"
    words = ["--model", str(tmp_path / "model"), "--world", str(world), "--cache_dir", str(tmp_path / "cache"),
             "--predictions", str(tmp_path / "predictions")]  # fmt: skip
    quality["main"]([*words, "--output", str(tmp_path / "hops.json"), "--only", "hops"])
    hops = json.loads((tmp_path / "hops.json").read_text())
    quality["main"]([*words, "--output", str(output)])
    found = json.loads(output.read_text())
    assert found["sampling"] == {**sampling, "num_reactions": 2} and 0 <= found["persons_found"] <= 1
    own = report["PERSONALISED"]
    assert {own, f"{own}, hop 40", report["NO_GUIDANCE"], report["NO_MOVEMENT"], report["RECORDED"]} <= set(
        found["systems"]
    )
    for system in found["systems"].values():
        assert len(system["listeners"]["FRCorr PMAFRG"]) == 4
        assert None not in system["listeners"]["head speed"]
    asked = (f"{own}, hop 40", f"{own}, hop 40, smoothed")
    assert hops["systems"] == {name: found["systems"][name] for name in asked}
    variance = [np.mean(found["systems"][name]["listeners"]["FRVar"]) for name in asked]
    assert 0 < variance[1] < variance[0]
