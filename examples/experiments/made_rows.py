"""What `run.py` wrote: the rows of the paper's tables as they were measured, with all their training seeds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from paper_rows import TABLES

from perfrdiff_hf.baselines.oracles import ORACLE_NAMES
from perfrdiff_hf.evaluation.reacting import folder_name


MEASURES = ("FRCorr MAFRG", "FRCorr PMAFRG", "FRdist MAFRG", "FRdist PMAFRG", "FRDiv")
PERSONAL = "FRCorr PMAFRG"


@dataclass(frozen=True)
class Made:
    """A row as it was measured.

    Args:
        name: of the row.
        runs: what `run.py` wrote, one for each seed.
    """

    name: str
    runs: list[dict[str, Any]]

    @property
    def own(self) -> str:
        """The system that is the row, beside its controls."""
        return self.runs[0]["figures"]["system"]

    @property
    def controls(self) -> list[str]:
        """The other systems that were measured with it, in every run."""
        first, *others = (run["figures"]["systems"] for run in self.runs)
        return [name for name in first if name != self.own and all(name in other for other in others)]

    @property
    def seeds(self) -> set[int]:
        """Of the runs."""
        return {run["seed"] for run in self.runs}

    def of(self, measure: str, system: str | None = None) -> np.ndarray:
        """One value a listener, the mean over seeds; NaN where there is none."""
        return self.by_seed(measure, system).mean(axis=0)

    def by_seed(self, measure: str, system: str | None = None, seeds: set[int] | None = None) -> np.ndarray:
        """`(seeds, listeners)`, of all seeds or of some, in their order; NaN where there is none."""
        runs = sorted((run for run in self.runs if seeds is None or run["seed"] in seeds), key=lambda run: run["seed"])
        values = [run["figures"]["systems"][system or self.own]["listeners"].get(measure) for run in runs]
        if None in values:
            return np.full((len(runs), len(self.runs[0]["figures"]["listeners"])), np.nan)
        return np.array(values, dtype=np.float64)

    def minutes(self) -> float:
        """Of one seed, for what the row trains itself or shares, and its measuring."""
        return float(np.mean([sum(run["seconds"].values()) for run in self.runs])) / 60


def read_table(name: str, results: Path) -> tuple[list[Made], list[str]]:
    """The rows of a table that were made, in its order, and the names of those that are missing.

    Raises:
        ValueError: if rows were made with other data than others, or a row's seeds with other settings.
    """
    made, missing = [], []
    for row in TABLES[name]:
        paths = sorted((results / f"table{name}").glob(f"{folder_name(row.name)}-seed*.json"))
        runs = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        if runs:
            made.append(Made(row.name, runs))
        elif row.name not in ORACLE_NAMES:  # which real data cannot have
            missing.append(row.name)
    if len({rests_on(run) for row in made for run in row.runs}) > 1:
        raise ValueError(f"The rows of table {name} in {results} were made with different data; make them anew.")
    for row in made:
        if len({json.dumps(_seedless(run), sort_keys=True) for run in row.runs}) > 1:
            raise ValueError(f"The seeds of {row.name!r}, table {name}, were made with different settings.")
    return made, missing


def rests_on(run: dict[str, Any]) -> str:
    """What a row rests on: the training data, and who was measured.

    Not the digest of those: it reads every bit of a short split, and audio features of one sound differ in the last
    bit between processors, whose matrix products add in another order. Seeds may come from several machines.
    """
    return json.dumps([run["configuration"]["data"]["train"], run["figures"]["listeners"]])


def _seedless(run: dict[str, Any]) -> dict[str, Any]:
    told = run["configuration"]
    return {**told, "training": {**told["training"], "seed": None}, "data": rests_on(run)}
