"""What `pip install` brings: the command, the configurations, the templates of the cards."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from perfrdiff_hf.cli import COMMANDS


ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """The wheel, built from a copy, so that nothing is left in the source folder."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for folder in ("perfrdiff_hf", "model_cards", "examples/configs"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    build = [sys.executable, "setup.py", "--quiet", "bdist_wheel", "--dist-dir", str(built)]
    done = subprocess.run(build, cwd=source, capture_output=True, text=True)
    if "invalid command 'bdist_wheel'" in done.stderr:
        pytest.skip("setuptools is too old to build a wheel by itself")
    assert done.returncode == 0, done.stderr
    return ZipFile(next(built.glob("perfrdiff_hf-*.whl")))


def test_the_wheel_holds_all_that_the_commands_need(wheel: ZipFile) -> None:
    names = set(wheel.namelist())
    assert {f"perfrdiff_hf/cli/{command}.py" for command in COMMANDS} <= names
    assert {f"perfrdiff_hf/configs/{name}.yaml" for name in ("demo", "bench", "paper")} <= names
    configs = {str(path.relative_to(ROOT / "examples")) for path in (ROOT / "examples/configs").rglob("*.yaml")}
    assert "configs/baselines/trans_vae_bench.yaml" in configs
    assert {f"perfrdiff_hf/{path}" for path in configs} <= names
    cards = {f"perfrdiff_hf/model_cards/{path.name}" for path in (ROOT / "model_cards").glob("*.md")}
    assert cards and cards <= names
    page = {str(path.relative_to(ROOT)) for path in (ROOT / "perfrdiff_hf" / "live" / "page").iterdir()}
    assert len(page) > 10 and page <= names
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "perfrdiff_hf").rglob("*.py")}
    assert modules <= names and "perfrdiff_hf/py.typed" in names
    strangers = {name for name in names if not re.match(r"perfrdiff_hf(/|-[\d.]+(\w+)?\.dist-info/)", name)}
    assert not strangers


def test_the_wheel_brings_the_command(wheel: ZipFile) -> None:
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "perfrdiff = perfrdiff_hf.cli:main" in wheel.read(entry_points).decode()
