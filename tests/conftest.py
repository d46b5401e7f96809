"""What every test shares: where the golden files lie, one seed, and quiet libraries."""

from __future__ import annotations

from pathlib import Path

import pytest


SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden tensors; tests that need it skip where it is absent."""
    folder = SHARED / "golden"
    if not folder.is_dir():
        pytest.skip(f"golden tensors are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of small real recordings; tests that need it skip where it is absent."""
    folder = SHARED / "realdata"
    if not folder.is_dir():
        pytest.skip(f"real recordings are not at {folder}")
    return folder


@pytest.fixture(autouse=True)
def _seeded() -> None:
    import torch

    torch.manual_seed(0)
