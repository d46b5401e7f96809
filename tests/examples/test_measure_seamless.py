"""The figures of the format on a small world."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest


REPOSITORY = Path(__file__).resolve().parents[2]


def test_report_on_a_small_world(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    measure = runpy.run_path(str(REPOSITORY / "examples" / "benchmarks" / "measure_seamless.py"))["main"]
    measure(["--dyads", "3", "--output", str(tmp_path / "report.json")])
    report = json.loads((tmp_path / "report.json").read_text())
    kinds = {name: one["kind"] for name, one in report["channels"].items()}
    measured = [one["correlation"] for one in report["channels"].values() if one["kind"] == "measured"]
    assert kinds["AU23"] == "unavailable" and min(measured) > 0.95
    assert report["roles"]["right"] > 0.8
    first, last = report["rule"][0], report["rule"][-1]
    assert first["precision"] >= last["precision"] and first["recall"] <= last["recall"]
    assert "| AU12 | measured |" in capsys.readouterr().out
