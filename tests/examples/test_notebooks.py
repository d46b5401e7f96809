"""The notebooks run from top to bottom, on a tiny pipeline in place of the demo's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


NOTEBOOKS = Path(__file__).parents[2] / "examples" / "notebooks"


def code_cells(path: Path) -> list[dict[str, Any]]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run(path: Path, **parameters: Any) -> dict[str, Any]:
    """The names that a notebook leaves behind; a cell with the tag "parameters" is replaced by the parameters."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(code_cells(path)):
        exec(compile("".join(cell["source"]), f"{path.name}, code cell {number}", "exec"), namespace)
        if "parameters" in cell["metadata"].get("tags", []):
            assert set(parameters) <= set(namespace)
            namespace |= parameters
    return namespace


def test_quickstart(make_pipeline, tmp_path, monkeypatch):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    monkeypatch.chdir(tmp_path)
    make_pipeline().save_pretrained("model")
    left = run(NOTEBOOKS / "quickstart.ipynb", MODEL="model")
    alice, ben = (left["reactions"][name].reactions for name in ("Alice", "Ben"))
    assert alice.shape == (1, 3, 750, 25)
    assert not alice.equal(ben)
    assert left["live"].equal(alice)
    drawn = [line for axes in left["grid"].flat for line in axes.lines]
    assert len(drawn) == 2 * 3 * 3
    pyplot.close("all")


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_kept_without_what_a_run_left_in_them(path):
    for cell in code_cells(path):
        assert cell["outputs"] == [] and cell["execution_count"] is None
