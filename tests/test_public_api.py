from __future__ import annotations

import subprocess
import sys

import pytest

import perfrdiff_hf


def test_every_public_name_exists():
    for name in perfrdiff_hf.__all__:
        assert getattr(perfrdiff_hf, name) is not None
    assert set(perfrdiff_hf.__all__) <= set(dir(perfrdiff_hf))


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Perfrdiff'"):
        perfrdiff_hf.Perfrdiff  # noqa: B018


def test_importing_the_package_imports_nothing_heavy():
    heavy = ("torch", "diffusers", "transformers", "numba")
    code = f"import sys, perfrdiff_hf; print([name for name in {heavy} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
