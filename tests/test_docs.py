"""The pages: what they name exists, and the reference holds every public name. `make docs` checks their links."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import perfrdiff_hf


ROOT = Path(__file__).parents[1]
# What pages put in the type of code beside names of Python: values, settings, files.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


@pytest.fixture(scope="module")
def api_pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("api_pages", ROOT / "docs" / "api_pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def known_names() -> set[str]:
    """Every name that the package gives to something, arguments included, and the names of its configurations."""
    names = set()
    for path in (ROOT / "perfrdiff_hf").rglob("*.py"):
        names |= set(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                names.add(node.name)
            elif isinstance(node, ast.arg):
                names.add(node.arg)
            elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
                names.add(node.id if isinstance(node, ast.Name) else node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.add(node.value)
    return names


def test_every_public_name_is_in_the_reference(api_pages):
    index = api_pages.index_page()
    described = {
        api_pages.module_name(file) for room in api_pages.present_rooms() for file in api_pages.files_of(room)
    }
    for name in perfrdiff_hf.__all__:
        assert f"[`{name}`]" in index
        assert api_pages.public_names()[name] in described


def test_every_room_has_a_page_that_shows_its_modules(api_pages):
    modules = {path.relative_to(ROOT).with_suffix("").parts for path in (ROOT / "perfrdiff_hf").rglob("*.py")}
    pages = "\n".join(api_pages.room_page(room) for room in api_pages.present_rooms())
    for parts in modules:
        if parts[-1] not in ("__init__", "__main__"):
            assert f"::: {'.'.join(parts)}\n" in pages, f"{'/'.join(parts)}.py has no docstring"


def test_a_room_without_a_place_in_the_reference_is_an_error(api_pages, monkeypatch):
    monkeypatch.setattr(api_pages, "ROOMS", {"behaviour": "Behaviour"})
    with pytest.raises(ValueError, match=r"lacks .*models"):
        api_pages.present_rooms()


def test_the_reference_and_the_map_of_the_house_have_the_same_rooms_in_the_same_order(api_pages):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    inside = text.split("perfrdiff_hf/\n", 1)[1].split("examples/", 1)[0]
    assert re.findall(r"^  (\w+)", inside, re.M) == list(api_pages.ROOMS)


@pytest.mark.parametrize("page", ["paper.md", "departures.md"])
def test_pages_name_what_exists(page, known_names):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    named = {name for name in re.findall(r"`([^`\n]+)`", text) if NAME.fullmatch(name)}
    assert len(named) > 10
    missing = {
        name for name in named if not name.endswith((".yaml", ".md")) and not known_names >= set(name.split("."))
    }
    assert not missing


def test_the_guide_lists_the_schedulers_that_work() -> None:
    from perfrdiff_hf.pipelines.sampling import WORKING_SCHEDULERS

    guide = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")
    for name in WORKING_SCHEDULERS:
        assert f"`{name.removesuffix('Scheduler')}`" in guide
