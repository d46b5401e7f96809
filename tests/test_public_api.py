from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import perfrdiff_hf


ROOT = Path(__file__).parents[1]
FRONT_DOOR = Path(perfrdiff_hf.__file__)


def typed_names() -> dict[str, str]:
    """The names that type checkers see, each with the module that it comes from."""
    tree = ast.parse(FRONT_DOOR.read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    # "X as X" is what tells a strict type checker that the name is meant for others.
    return {str(alias.asname): str(node.module) for node in imports for alias in node.names}


def test_every_public_name_exists():
    for name in perfrdiff_hf.__all__:
        assert getattr(perfrdiff_hf, name) is not None
    assert set(perfrdiff_hf.__all__) <= set(dir(perfrdiff_hf))


def test_type_checkers_and_python_see_the_same_names():
    assert typed_names() == perfrdiff_hf._MODULES


@pytest.mark.parametrize("name", perfrdiff_hf.__all__)
def test_every_public_name_has_a_docstring(name):
    assert len(inspect.getdoc(getattr(perfrdiff_hf, name)) or "") > 40


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Perfrdiff'"):
        perfrdiff_hf.Perfrdiff  # noqa: B018


def test_importing_the_package_imports_nothing_heavy():
    heavy = ("torch", "diffusers", "transformers", "numba", "numpy")
    code = f"import sys, perfrdiff_hf; print([name for name in {heavy} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_importing_the_package_takes_less_than_a_tenth_of_a_second():
    code = "import time; began = time.perf_counter(); import perfrdiff_hf; print(time.perf_counter() - began)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    assert min(float(run.stdout) for run in runs) < 0.1


def test_the_version_has_one_source():
    """`setup.py` reads the package's; the citation, which is no program, must say the same."""
    run = subprocess.run([sys.executable, "setup.py", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.split()[-1:] == [perfrdiff_hf.__version__], run.stderr
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == perfrdiff_hf.__version__
    assert not re.findall(r'version="[0-9]', (ROOT / "setup.py").read_text(encoding="utf-8"))


def test_the_changelog_tells_of_this_version():
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert perfrdiff_hf.__version__ in headings
