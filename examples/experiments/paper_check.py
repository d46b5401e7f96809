"""Which of the paper's claims hold here, and what is missing to tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from made_rows import read_table
from paper_rows import BESIDE, FINE_TUNED_ON_ANOTHER, TABLES, Row
from row_comparisons import CLAIMS, Difference, against_controls, comparisons, directed

from perfrdiff_hf.evaluation.controls import ANOTHER_HISTORY, NO_MOVEMENT, ONE_SHIFT
from perfrdiff_hf.evaluation.tables import Cell, Table


# What a row must have from its listener, and not from more training.
CONTROL_CLAIMS = (ANOTHER_HISTORY, NO_MOVEMENT, ONE_SHIFT, FINE_TUNED_ON_ANOTHER)
# Training seeds that the rows of a table need.
SEEDS, FEWEST_SEEDS, SEEDS_BESIDE = {"1": 3, "3": 3}, 2, 1
STYLE_CLAIMS = ("10 s", "20 s", "30 s")
REQUIRED_P, TOLD_P, PERSONS_FOUND = 0.01, 0.05, 0.95


def check_tables(results: Path) -> tuple[Table, int]:
    """Which of the paper's claims hold here, and how many rows (or seeds) are missing or required claims fail.

    Claims that are not required are told as they fall, and cannot fail the check.
    """
    read = {name: read_table(name, results) for name in TABLES}
    rows: list[list[Cell]] = [
        [f"table {name}: {row}", "", "", "missing"] for name, (_, missing) in read.items() for row in missing
    ]
    for name, (of_table, _) in read.items():
        needed = {row.name: _seeds(name, row) for row in TABLES[name]}
        rows += [
            [f"table {name}: {row.name}", "", "", f"{len(row.runs)} of {needed[row.name]} seeds"]
            for row in of_table
            if len(row.runs) < needed[row.name]
        ]
    failed = len(rows)
    for name, row, reference, required in CLAIMS:
        found = directed(comparisons(name, read[name][0]), row, reference)
        cells, holds = _claimed(f"table {name}: {row} > {reference}", found, REQUIRED_P if required else TOLD_P)
        failed += required and not holds
        rows.append(cells)
    for (name, control), found in against_controls(read["3"][0]).items():
        if control in CONTROL_CLAIMS:
            rows.append(_claimed(f"table 3: {name} > {control}", found, TOLD_P)[0])
    for made in read["4b"][0]:
        share = float(np.mean([run["figures"]["persons_found"] for run in made.runs]))
        failed += made.name in STYLE_CLAIMS and share <= PERSONS_FOUND
        said = "holds" if share > PERSONS_FOUND else "does not hold"
        rows.append([f"figure 4b: person found from {made.name}", f"{100 * share:.1f} %", "", said])
    return Table(["claim", "difference [95 %]", "p (Holm)", ""], rows), failed


def _seeds(name: str, row: Row) -> int:
    return SEEDS_BESIDE if name == "1" and row.model in BESIDE else SEEDS.get(name, FEWEST_SEEDS)


def _claimed(claim: str, found: Difference | None, most_p: float) -> tuple[list[Cell], bool]:
    """A line of the check, and whether the claim holds."""
    if found is None:
        return [claim, "", "", "cannot be told yet"], False
    said = found.says(most_p)
    return [claim, str(found), f"{found.p:.4f}", said], said == "holds"
