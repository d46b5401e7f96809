"""The inputs and figures of the official metric code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.golden_files import golden_folder, if_shared


CASES = ("open_a_basic", "open_b_degenerate", *if_shared("open_c_long"))


@dataclass(frozen=True)
class GoldenCase:
    predictions: np.ndarray
    targets: np.ndarray
    speaker: np.ndarray
    appropriate: np.ndarray
    figures: dict[str, Any]

    @property
    def per_clip(self) -> dict[str, Any]:
        return self.figures["per_clip"]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> GoldenCase:
    folder = golden_folder(f"metrics/{request.param}.npz") / "metrics"
    figures = json.loads((folder / "golden.json").read_text())["cases"][request.param]["variants"]["react2024"]
    with np.load(folder / f"{request.param}.npz") as arrays:
        return GoldenCase(arrays["pred"], arrays["listener"], arrays["speaker"], arrays["neighbour"], figures)
