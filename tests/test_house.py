"""The map of the house: which rooms there are, and that imports between them run one way, as CONTRIBUTING says.

Every import counts: those inside functions and those for types alone as well.
"""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import perfrdiff_hf


PACKAGE = Path(perfrdiff_hf.__file__).parent

# Each may use only what stands above it. The package's own `__init__` is the front door, which opens into every room.
ROOMS = (
    "behaviour", "files", "extras", "progress", "models", "faces", "data", "feature_extraction", "synthetic",
    "metrics", "cards", "hub", "pipelines", "baselines", "evaluation", "rendering", "training", "conversion", "live",
    "cli",
)  # fmt: skip


def modules(package: Path) -> dict[str, Path]:
    """Every module by its dotted name inside the package; a folder goes by its own name, the front door by ""."""
    named = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


def imports(name: str, path: Path, known: dict[str, Path], package: str) -> set[str]:
    """The modules of the package that a module imports."""
    here = name.split(".") if name else []
    if path.name != "__init__.py":
        here = here[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            target = node.module.split(".") if node.module else []
            if node.level:
                target = [*here[: len(here) - node.level + 1], *target]
            elif target[:1] == [package]:
                target = target[1:]
            else:
                continue
            for alias in node.names:
                inner = ".".join([*target, alias.name])
                found.add(inner if inner in known else ".".join(target))
        elif isinstance(node, ast.Import):
            inside = [alias.name.split(".")[1:] for alias in node.names if alias.name.split(".")[0] == package]
            found |= {".".join(target) for target in inside}
    return found - {name}


def graph(package: Path) -> dict[str, set[str]]:
    """Which modules of a package import which."""
    known = modules(package)
    return {name: imports(name, path, known, package.name) for name, path in known.items()}


def circle(uses: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle; empty if there is none."""
    try:
        TopologicalSorter(uses).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def upward(uses: dict[str, set[str]]) -> list[str]:
    """Imports of a room that stands below the importing one, as "room/module -> module"."""
    rank = {room: number for number, room in enumerate(ROOMS)}
    return [
        f"{name} -> {target or 'the front door'}"
        for name, targets in sorted(uses.items())
        if name
        for target in sorted(targets)
        if not target or rank[target.split(".")[0]] > rank[name.split(".")[0]]
    ]


@pytest.fixture(scope="module")
def uses() -> dict[str, set[str]]:
    return graph(PACKAGE)


def test_every_room_has_its_place(uses: dict[str, set[str]]) -> None:
    assert {name.split(".")[0] for name in uses if name} <= set(ROOMS)


def test_no_circle(uses: dict[str, set[str]]) -> None:
    assert circle(uses) == []


def test_no_arrow_upwards(uses: dict[str, set[str]]) -> None:
    assert upward(uses) == []


def test_late_and_type_only_imports_are_seen(tmp_path: Path) -> None:
    """The reader of imports itself, on a made-up package with one of each kind."""
    package = tmp_path / "house"
    for room in ("data", "training"):
        (package / room).mkdir(parents=True)
    (package / "__init__.py").write_text("from .training.loop import run\n")
    (package / "data" / "__init__.py").write_text("")
    (package / "data" / "arrays.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..training import loop\n"
    )
    (package / "training" / "__init__.py").write_text("import numpy\n")
    (package / "training" / "loop.py").write_text("def run():\n    import house.data.arrays\n")
    uses = graph(package)
    assert uses["data.arrays"] == {"training.loop"}
    assert uses["training.loop"] == {"data.arrays"}
    assert set(circle(uses)) == {"data.arrays", "training.loop"}
    assert upward(uses) == ["data.arrays -> training.loop"]
