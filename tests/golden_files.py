"""Where the recorded figures of the official program and the small real recordings lie."""

from __future__ import annotations

import os
from pathlib import Path


# Parts of the recordings that are small enough to be kept with the tests. No test may skip for want of them.
GOLDEN = Path(__file__).resolve().parent / "golden"
REALDATA = Path(__file__).resolve().parent / "realdata"

# All of the recordings, which may lie beside a checkout. Where they do, some tests have further cases.
SHARED = Path(os.environ.get("PERFRDIFF_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def if_shared(*names: str) -> tuple[str, ...]:
    """The names of further golden files, or none where they are not at hand."""
    return names if (SHARED / "golden").is_dir() else ()


def golden_folder(name: str) -> Path:
    """The folder that holds a golden file: the tests' own, or the one with all of them."""
    return GOLDEN if (GOLDEN / name).is_file() else SHARED / "golden"
