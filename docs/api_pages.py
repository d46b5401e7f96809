"""The pages of the reference: one for each room of the package, made from its docstrings while the site is built.

mkdocs calls the functions whose names begin with `on_`. Nothing is imported from the package, which is read as text:
the reference needs none of its libraries, and no page has to be written when a module or a public name is added.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page


ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "perfrdiff_hf"

# In the order in which they build on each other; see CONTRIBUTING.md.
ROOMS = {
    "behaviour": "Behaviour",
    "files": "Files",
    "extras": "Optional libraries",
    "progress": "Progress",
    "models": "Models",
    "faces": "Faces",
    "data": "Data",
    "feature_extraction": "Feature extraction",
    "synthetic": "Synthetic world",
    "metrics": "Metrics",
    "cards": "Model cards",
    "hub": "Hub",
    "pipelines": "Pipelines",
    "baselines": "Baselines",
    "evaluation": "Evaluation",
    "rendering": "Rendering",
    "training": "Training",
    "conversion": "Conversion",
    "live": "Live server",
    "cli": "Command line",
}

# What a browser fetches by itself, from another place than the site.
FETCHED = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=["']?(?:https?:)?//[^>]*>""")

# Pages that lie beside the package, where whoever works on it looks for them.
PROJECT_PAGES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages that are made here into the navigation."""
    rooms = [{ROOMS[room]: page_of(room)} for room in present_rooms()]
    assert config.nav is not None
    config.nav += [
        {"Reference": [{"Public names": "api/index.md"}, *rooms]},
        {"Contributing": "contributing.md"},
        {"Changelog": "changelog.md"},
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    from mkdocs.structure.files import File

    pages = {page_of(room): room_page(room) for room in present_rooms()}
    pages["api/index.md"] = index_page()
    pages |= {page: (ROOT / source).read_text(encoding="utf-8") for page, source in PROJECT_PAGES.items()}
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """See that reading a page tells nobody else about it.

    Raises:
        PluginError: if the page makes the browser fetch something from elsewhere.
    """
    from mkdocs.exceptions import PluginError

    if found := FETCHED.search(output):
        raise PluginError(f"{page.file.src_uri} fetches something from outside the site: {found[0]}")
    return output


def present_rooms() -> list[str]:
    """The rooms that the package has, in order.

    Raises:
        ValueError: if the package has a room that is not listed here.
    """
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    unknown = there - set(ROOMS) - {"__init__", "__main__"}
    if unknown:
        raise ValueError(f"ROOMS in {Path(__file__).name} lacks {', '.join(sorted(unknown))}.")
    return [room for room in ROOMS if room in there]


def page_of(room: str) -> str:
    """Where a room's page lies."""
    return f"api/{room}.md"


def room_page(room: str) -> str:
    """A room's page: what the room is for, then its modules in alphabetical order."""
    entries = []
    for file in files_of(room):
        entry = f"::: {module_name(file)}\n    options:\n      show_root_full_path: true"
        # What a folder hands on is described where it is defined.
        entries.append(entry + "\n      members: false" if file.stem == "__init__" else entry)
    return "\n\n".join([f"# {ROOMS[room]}", *entries]) + "\n"


def files_of(room: str) -> list[Path]:
    """The modules of a room that say what they are for."""
    single = PACKAGE / f"{room}.py"
    files = [single] if single.is_file() else sorted((PACKAGE / room).rglob("*.py"))
    return [file for file in files if file.stem != "__main__" and is_documented(file)]


def module_name(file: Path) -> str:
    """The dotted name of a file of the package."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_documented(file: Path) -> bool:
    """Whether a module has a docstring."""
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) is not None


def public_names() -> dict[str, str]:
    """The names of `from perfrdiff_hf import ...`, each with the module that defines it."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    table = next(
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_MODULES"
    )
    return {name: f"perfrdiff_hf.{module}" for name, module in ast.literal_eval(table).items()}


def index_page() -> str:
    """The public names, each with the first sentence about it and a link to the room where it lives."""
    lines = [
        "# Public names",
        "",
        "What `from perfrdiff_hf import ...` gives. Everything else has an address of its own, in the room that the",
        "page names; addresses of models are part of saved pipelines and stay.",
        "",
        "| name | what it is |",
        "|---|---|",
    ]
    for name, module in sorted(public_names().items(), key=lambda item: item[0].lower()):
        lines.append(f"| [`{name}`][{module}.{name}] | {first_sentence(module, name)} |")
    return "\n".join(lines) + "\n"


def first_sentence(module: str, name: str) -> str:
    """The first line of a class's or function's docstring.

    Raises:
        ValueError: if it has none.
    """
    path = ROOT / Path(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef)) or node.name != name:
            continue
        if text := ast.get_docstring(node):
            return text.splitlines()[0].replace("|", r"\|")
    raise ValueError(f"{module}.{name} is public and has no docstring there.")
