"""The report on a synthetic world."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from perfrdiff_hf.synthetic.people import FACTORS
from perfrdiff_hf.synthetic.world import WorldSize, write_synthetic_world


REPOSITORY = Path(__file__).resolve().parents[2]


def test_report_on_a_small_world(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    size = WorldSize(dyads=(6, 1, 2), clips=2, scripts=(6, 1, 2), sample_rate=8000, sound="ULAW")
    world = write_synthetic_world(tmp_path / "world", size, seed=0)
    report_on = runpy.run_path(str(REPOSITORY / "examples" / "benchmarks" / "measure_world.py"))["main"]
    report_on([str(world), "--output", str(tmp_path / "report.json"), "--cache_dir", str(tmp_path / "cache")])
    report = json.loads((tmp_path / "report.json").read_text())
    scores = {name: interval["value"] for name, interval in report["frcorr"].items()}
    assert scores["recorded reactions"] > scores["personal oracle"] > 1.5 * scores["generic oracle"]
    assert abs(scores["chance"]) < 0.1 and scores["mime"] < scores["generic oracle"]
    assert set(report["legibility"]["all"]) == set(FACTORS)
    assert f"{scores['personal oracle']:.2f}" in capsys.readouterr().out
