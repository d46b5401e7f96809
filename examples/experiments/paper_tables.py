"""The paper's tables, here: figures with intervals over listeners, paired tests, and the paper's figures beside them.

Figures are means over training seeds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from made_rows import MEASURES, PERSONAL, Made, read_table
from row_comparisons import COMPARED, REFERENCES, Difference, against_controls, comparisons, directed

from perfrdiff_hf.evaluation.tables import DASH, Cell, Table, number
from perfrdiff_hf.metrics.statistics import bootstrap_interval


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


def _difference(tests: dict[tuple[str, str], Difference], row: str, reference: str) -> str:
    found = directed(tests, row, reference)
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
