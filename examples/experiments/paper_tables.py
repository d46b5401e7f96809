"""The paper's tables from what `run.py` wrote: figures with intervals over listeners, paired tests, the paper beside.

Figures are means over training seeds. Clips of one listener are not independent, so that intervals (95 %) and tests
rest on listeners; the p-values of a table are corrected for the number of its comparisons (Holm).
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from paper_rows import (
    BESIDE,
    FINE_TUNED_ON_ANOTHER,
    GENERIC,
    PAPER_LAYERS,
    RECIPE,
    TABLES,
    UNGUIDED,
    UNGUIDED_PERSONAL,
    Row,
    unguided,
)

from perfrdiff_hf.baselines.oracles import ORACLE_NAMES
from perfrdiff_hf.evaluation.controls import ANOTHER_HISTORY, NO_MOVEMENT, ONE_SHIFT
from perfrdiff_hf.evaluation.reacting import folder_name
from perfrdiff_hf.evaluation.tables import DASH, Cell, Table, number
from perfrdiff_hf.metrics.statistics import bootstrap_interval, holm, paired_test


MEASURES = ("FRCorr MAFRG", "FRCorr PMAFRG", "FRdist MAFRG", "FRdist PMAFRG", "FRDiv")
PERSONAL = "FRCorr PMAFRG"
# Rows with which the others of a table are compared, in FRCorr on PMAFRG; table 2 is about MAFRG.
REFERENCES = {
    "1": ("generic GAFRG",), "2": ("both",), "3": ("generic", RECIPE), "4": (PAPER_LAYERS,),
    "5": ("30 s",), "6": ("clip 1",),
}  # fmt: skip
COMPARED = {"2": "FRCorr MAFRG"}
# Printed in the paper (REACT2024), in the order of `MEASURES`. Table 4 has no diversity. Its first two pairs are left
# out: which of them is which is not certain.
PAPER: dict[str, dict[str, tuple[float, ...]]] = {
    "1": {
        "chance": (0.05, 0.01, 237.21, 194.02, 0.1667),
        "PerFRDiff": (0.38, 0.36, 94.72, 98.43, 0.1368),
    },
    "2": {
        "audio only": (0.32, 0.28, 171.47, 174.71, 0.0001),
        "face only": (0.32, 0.27, 101.13, 109.87, 0.1631),
        "both": (0.35, 0.31, 105.57, 107.46, 0.1714),
    },
    "3": {
        "generic": (0.35, 0.31, 105.57, 107.46),
        "input p": (0.35, 0.31, 100.59, 103.27),
        "weight editing, full": (0.38, 0.36, 94.72, 98.43),
    },
    "4": {
        "self-attention": (0.3356, 0.3190, 106.40, 110.92),
        "cross-attention": (0.3579, 0.3320, 99.04, 101.59),
        "feed-forward": (0.3516, 0.3250, 104.62, 107.19),
        "mapping": (0.3716, 0.3352, 95.05, 99.98),
        "cross-attention and mapping": (0.3845, 0.3584, 94.72, 98.43),
        "all four": (0.3801, 0.3535, 94.49, 97.16),
    },
    "5": {
        "10 s": (0.39, 0.36, 97.72, 99.95, 0.1376),
        "20 s": (0.38, 0.35, 95.33, 98.04, 0.1343),
        "30 s": (0.38, 0.36, 94.72, 98.43, 0.1368),
    },
    "6": {
        "clip 1": (0.3845, 0.3584, 94.72, 98.43, 0.1368),
        "clip 2": (0.3849, 0.3593, 95.08, 98.52, 0.1367),
        "clip 3": (0.3865, 0.3599, 95.05, 98.51, 0.1368),
        "clip 4": (0.3853, 0.3592, 95.06, 98.55, 0.1368),
    },
}
NOTE = (
    "Means over seeds, differences over the seeds that both rows have; 95 % intervals and paired tests (flipped "
    "signs) of {measure} over {listeners} listeners; p after Holm's correction for {tests} comparisons of rows, and "
    "for {controls} of rows with their controls. *seeds differ*: not every training seed puts the two in the same "
    "order, and the test over listeners does not see that. *paper*: printed figures, of REACT2024: another data set, "
    "another scale. Rows in italics are controls of the row above."
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


def paper_table(name: str, results: Path) -> tuple[Table, str]:
    """A table and its note.

    Raises:
        FileNotFoundError: if no row of it was made.
    """
    made, missing = read_table(name, results)
    if not made:
        raise FileNotFoundError(f"There are no rows of table {name} in {results}; make them with run.py.")
    if name == "4b":
        return _styles_table(made), _changes(made) + _missing(missing)
    tests, references, controls = comparisons(name, made), REFERENCES[name], against_controls(made)
    with_head = any("head_parameters" in row.runs[0]["figures"] for row in made)
    header = ["", "seeds", *MEASURES, "paper", *(f"- {reference}, p" for reference in references), "minutes"]
    header += ["row - this control, p"] if controls else []
    rows: list[list[Cell]] = []
    for row in made:
        cells: list[Cell] = [row.name, str(len(row.runs))]
        cells += [bootstrap_interval(row.of(measure)) for measure in MEASURES]
        cells.append(" / ".join(map(number, PAPER[name].get(row.name, ()))) or DASH)
        cells += [_difference(tests, row.name, reference) for reference in references]
        cells.append(f"{row.minutes():.1f}")
        cells += [""] if controls else []
        rows.append([*cells, *([_head(row)] if with_head else [])])
        for control in row.controls:
            figures: list[Cell] = [bootstrap_interval(row.of(measure, control)) for measure in MEASURES]
            blank, told = [""] * (len(references) + 2), _difference(controls, row.name, control)
            rows.append([f"*{control}*", "", *figures, *blank, told, *([""] if with_head else [])])
    listeners, measure = len(made[0].runs[0]["figures"]["listeners"]), COMPARED.get(name, PERSONAL)
    note = NOTE.format(measure=measure, listeners=listeners, tests=len(tests), controls=len(controls))
    note += _changes(made) + _missing(missing)
    return Table([*header, *(["head, parameters"] if with_head else [])], rows), note


def _directed(tests: dict[tuple[str, str], Difference], row: str, reference: str) -> Difference | None:
    """How much a row is above another, whichever of the two was the reference; None: not tested."""
    if (row, reference) in tests:
        return tests[row, reference]
    if (reference, row) not in tests:
        return None
    return -tests[reference, row]


def _difference(tests: dict[tuple[str, str], Difference], row: str, reference: str) -> str:
    found = _directed(tests, row, reference)
    if found is None:
        return DASH
    return f"{found}, {found.p:.4f}{', seeds differ' if found.seeds_differ else ''}"


def _head(row: Made) -> str:
    parameters = row.runs[0]["figures"].get("head_parameters")
    return DASH if parameters is None else f"{parameters:,}"


def _styles_table(made: list[Made]) -> Table:
    rows: list[list[Cell]] = []
    for row in made:
        figures = [run["figures"] for run in row.runs]
        found = np.mean([one["persons_found"] for one in figures], axis=0)
        silhouette = float(np.mean([one["silhouette"] for one in figures]))
        rows.append([row.name, str(len(figures)), bootstrap_interval(100 * found), silhouette])
    return Table(["clips of", "seeds", "person found from one clip, %", "silhouette"], rows)


def _changes(made: list[Made]) -> str:
    """What the commands say of the recipe, and for which rows where not for all."""
    rows: dict[str, list[str]] = {}
    for row in made:
        for settings in {_settings(run["command"]) for run in row.runs} - {""}:
            rows.setdefault(settings, []).append(row.name)
    told = [f"{settings} ({'all rows' if len(of) == len(made) else ', '.join(of)})" for settings, of in rows.items()]
    return "\n\nThe recipe with other settings: " + "; ".join(told) + "." if told else ""


def _settings(command: str) -> str:
    """The settings of a training that a command names, such as `data.max_snr_weight=1`."""
    words = [word.removeprefix("--") for word in command.split() if word.startswith("--")]
    return ", ".join(f"`{word}`" for word in sorted(words) if "." in word.partition("=")[0])


def _missing(names: list[str]) -> str:
    return f"\n\nNot made yet: {', '.join(names)}." if names else ""


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
)
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
        found = _directed(comparisons(name, read[name][0]), row, reference)
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
