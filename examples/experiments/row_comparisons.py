"""How far rows of the paper's tables lie apart, and which of them are compared.

Clips of one listener are not independent, so that intervals (95 %) and tests rest on listeners; the p-values of a
table are corrected for the number of its comparisons (Holm).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np
from made_rows import PERSONAL, Made
from paper_rows import GENERIC, PAPER_LAYERS, RECIPE, TABLES, UNGUIDED, UNGUIDED_PERSONAL, unguided

from perfrdiff_hf.evaluation.tables import number
from perfrdiff_hf.metrics.statistics import holm, paired_test


# Rows with which the others of a table are compared, in FRCorr on PMAFRG; table 2 is about MAFRG.
REFERENCES = {
    "1": ("generic GAFRG",), "2": ("both",), "3": ("generic", RECIPE), "4": (PAPER_LAYERS,),
    "5": ("30 s",), "6": ("clip 1",),
}  # fmt: skip
COMPARED = {"2": "FRCorr MAFRG"}
# Of a table: a row, the one that it is to beat, and whether the check fails if it does not.
CLAIMS = (
    ("3", RECIPE, "generic", True),
    *(
        ("3", RECIPE, row.name, False)
        for row in TABLES["3"]
        if row.name not in (RECIPE, GENERIC) and row.what != UNGUIDED
    ),
    *(("3", unguided(RECIPE), unguided(name), False) for name in (GENERIC, *UNGUIDED_PERSONAL[1:])),
    *(("4", PAPER_LAYERS, row.name, False) for row in TABLES["4"] if row.name != PAPER_LAYERS),
    *(("2", "both", row, False) for row in ("audio only", "face only")),
    *(("2", row, f"modality dropout, {row}", False) for row in ("audio only", "face only", "both")),
)
# What comparisons are told apart by.
Key = TypeVar("Key", bound=Hashable)


class Difference(NamedTuple):
    """How far a row lies above another.

    Args:
        value: the mean over listeners.
        low: end of its interval.
        high: end of its interval.
        p: of a paired test over listeners, corrected for the comparisons that it is one of.
        of_seeds: the mean over listeners with each training seed.
    """

    value: float
    low: float
    high: float
    p: float
    of_seeds: tuple[float, ...]

    def __neg__(self) -> Difference:
        return Difference(-self.value, -self.high, -self.low, self.p, tuple(-value for value in self.of_seeds))

    def __str__(self) -> str:
        return f"{number(self.value)} [{number(self.low)}, {number(self.high)}]"

    @property
    def seeds_differ(self) -> bool:
        """Whether seeds put the two in different orders. Intervals and p rest on listeners and do not see it."""
        return min(self.of_seeds) < 0 < max(self.of_seeds)

    def says(self, most_p: float) -> str:
        """What it means for the claim that the row lies above the other."""
        if not self.p < most_p:
            return "not shown"
        if self.seeds_differ:
            return "seeds differ"
        return "holds" if self.value > 0 else "the other way round"


def comparisons(name: str, made: list[Made]) -> dict[tuple[str, str], Difference]:
    """For pairs (row, reference): the mean difference, its interval, and p, corrected for all pairs of the table.

    Over the seeds that both have: one that only one of them has would bring its luck in, and not the other's.
    """
    rows, measure = {row.name: row for row in made}, COMPARED.get(name, PERSONAL)
    apart: dict[tuple[str, str], np.ndarray] = {}
    for row, reference in _pairs(name):
        if row not in rows or reference not in rows or (row, reference) in apart or (reference, row) in apart:
            continue
        if both := rows[row].seeds & rows[reference].seeds:
            of_row, of_reference = (rows[one].by_seed(measure, seeds=both) for one in (row, reference))
            apart[row, reference] = of_row - of_reference
    return differences(apart)


def _pairs(name: str) -> list[tuple[str, str]]:
    """Rows with each reference of their table, but for those without guidance, and the pairs of claims."""
    rows = [row.name for row in TABLES[name] if row.what != UNGUIDED]
    pairs = [(row, reference) for reference in REFERENCES.get(name, ()) for row in rows if row != reference]
    return pairs + [(row, reference) for table, row, reference, _ in CLAIMS if table == name]


def differences(apart: Mapping[Key, np.ndarray]) -> dict[Key, Difference]:
    """The tests of comparisons that stand together, p corrected for their number.

    Args:
        apart: of each comparison `(seeds, listeners)`, how far a row lies above another.
    """
    tests = [paired_test(by_seed.mean(axis=0), np.zeros(by_seed.shape[1])) for by_seed in apart.values()]
    corrected = holm([test.p_value for test in tests])
    return {
        key: Difference(
            test.difference.value, test.difference.low, test.difference.high, p, tuple(by_seed.mean(axis=1).tolist())
        )
        for (key, by_seed), test, p in zip(apart.items(), tests, corrected)
    }


def against_controls(made: list[Made]) -> dict[tuple[str, str], Difference]:
    """For pairs (row, control): how far the row lies above its control, as `comparisons` of rows."""
    return differences(
        {
            (row.name, control): row.by_seed(PERSONAL) - row.by_seed(PERSONAL, control)
            for row in made
            for control in row.controls
        }
    )


def directed(tests: dict[tuple[str, str], Difference], row: str, reference: str) -> Difference | None:
    """How much a row is above another, whichever of the two was the reference; None: not tested."""
    if (row, reference) in tests:
        return tests[row, reference]
    if (reference, row) not in tests:
        return None
    return -tests[reference, row]
