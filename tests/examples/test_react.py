from __future__ import annotations

import importlib.util
import re
from pathlib import Path


PROGRAM = Path(__file__).parents[2] / "examples" / "react.py"


def test_react_shows_that_call_and_stream_agree(make_pipeline, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("react", PROGRAM)
    assert spec is not None and spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    make_pipeline().save_pretrained(str(tmp_path / "model"))
    program.main(["--model", str(tmp_path / "model")])
    printed = capsys.readouterr().out
    assert "reactions (1, 3, 750, 25), coefficients (1, 3, 750, 58)" in printed
    assert [int(start) for start in re.findall(r"from frame (\d+) on", printed)] == list(range(0, 751, 50))
    assert "the reactions are the same: True" in printed


def test_react_stays_short():
    lines = PROGRAM.read_text(encoding="utf-8").splitlines()
    code = [line for line in lines if line.strip() and not line.strip().startswith("#")]
    assert len(code) <= 45
