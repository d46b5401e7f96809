"""Table 1 from what `run.py` wrote: systems that react online, those that do not, and the published figures beside.

Every row has the same listeners, streams, clamp and noise of each clip. Figures are means over training seeds, with
95 % intervals over listeners; tests flip signs over listeners and are corrected by Holm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from made_rows import Made, read_table
from paper_rows import (
    COMPARED,
    EQUAL_BUDGET,
    OFFLINE_ROWS,
    ONLINE_ROWS,
    OWN,
    TABLES,
    TITLES,
    binarised,
    offline,
    sampled_plainly,
)
from row_comparisons import Difference, differences

from perfrdiff_hf.baselines.reference import RECORDED
from perfrdiff_hf.evaluation.tables import DASH, Cell, Table, number
from perfrdiff_hf.metrics.statistics import bootstrap_interval, paired_test


# With the whole recipe, with the budget of the others, and each of them sampled as the others are.
OWN_ROWS = (OWN, sampled_plainly(OWN), EQUAL_BUDGET, sampled_plainly(EQUAL_BUDGET))
LEADING, LEADING_P = "FRCorr PMAFRG", 0.01
# One value a listener; below, figures of a system as a whole. With whether more is better.
OF_LISTENERS = {
    "FRCorr MAFRG": True, "FRCorr PMAFRG": True, "FRdist MAFRG": False, "FRdist PMAFRG": False, "FRDiv": True,
    "FRDvs": True, "FRVar": True, "FRSyn": False,
}  # fmt: skip
OF_SYSTEMS = {"FRRea-motion": False}
SHARE = "1 - FRDiv/FRDvs"
COSTS = ("parameters", "real_time_factor")
QUALITY = ("FRRea-motion coefficients", "FRCorr coefficients PMAFRG", "head speed", "head range", "nods")
# Printed for REACT2024: FRCorr and FRdist on MAFRG and PMAFRG, FRDiv, FRDvs, FRVar, FRRea (of pictures), FRSyn. Most
# rows are of systems that were not online, and BeLFusion's is that of action units made whole numbers. "chance" is
# printed with FRDvs and FRVar exchanged.
PUBLISHED: dict[str, tuple[float, ...]] = {
    "chance": (0.05, 0.01, 237.21, 194.02, 0.1667, 0.1667, 0.0833, np.nan, 43.84),
    TITLES["trans_vae"]: (0.09, 0.08, 98.31, 105.27, 0.0304, 0.0316, 0.0037, 67.74, 44.86),
    TITLES["regnn"]: (0.19, 0.17, 84.54, 91.33, 0.0007, 0.0342, 0.0061, np.nan, 41.35),
    TITLES["unifarn"]: (0.19, 0.15, 98.51, 103.21, 0.0819, 0.0760, 0.0259, np.nan, 46.11),
    TITLES["beamer"]: (0.11, 0.10, 97.33, 105.09, 0.0508, 0.0374, 0.0196, np.nan, 48.12),
    "FRDiff": (0.14, 0.13, 91.05, 98.28, 0.0690, 0.0443, 0.0108, 69.37, 47.66),
    binarised(TITLES["belfusion"]): (0.12, 0.11, 94.16, 98.95, 0.0360, 0.0384, 0.0249, 78.96, 49.00),
    OWN: (0.38, 0.36, 94.72, 98.43, 0.1368, 0.2191, 0.0879, 47.62, 45.28),
}
_VAE, _REGNN, _UNIFARN, _BEAMER, _CONTEXT = (TITLES[name] for name in tuple(COMPARED)[:5])
_BELFUSION = binarised(TITLES["belfusion"])
# Orders of the published figures, the larger first (of FRdist: the smaller). Equal ones stand in no order.
ORDERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("FRDiv", (OWN, _UNIFARN, _CONTEXT, _BEAMER, _BELFUSION, _VAE, _REGNN)),
    ("FRVar", (OWN, _UNIFARN, _BELFUSION, _BEAMER, _CONTEXT, _REGNN, _VAE)),
    ("FRCorr MAFRG", (OWN, _REGNN, _CONTEXT, _BELFUSION, _BEAMER, _VAE, "chance")),
    ("FRCorr MAFRG", (OWN, _UNIFARN, _CONTEXT)),
    ("FRdist MAFRG", (_REGNN, _CONTEXT, _BELFUSION, OWN, _BEAMER, _VAE, _UNIFARN)),
)
NOTE = (
    "Online: a window of reactions depends on the speaker before it alone (equation 3). The same streams, a clamp to "
    "[-1, 1], and noise of each clip from its own generator in every row; none of the systems to compare with knows "
    f"its listener. They and *{EQUAL_BUDGET}* train about as long as one another, *{OWN}* and *generic GAFRG* with "
    "the whole recipe: see steps and minutes, which are of the first seed. PerFRDiff gives 25 frames of a window, "
    "action units as 0 or 1, and the rest smoothed over five frames; rows that are *sampled plainly* do none of it, "
    "as the systems to compare with do not. FRRea is the Fréchet distance of motion, not of pictures."
)


def page(results: Path) -> str:
    """Everything that is told of table 1, as Markdown.

    Raises:
        FileNotFoundError: if no row of it was made.
    """
    made = _made(results)
    if not made:
        raise FileNotFoundError(f"There are no rows of table 1 in {results}; make them with run.py.")
    groups = _groups(made)
    parts = [NOTE]
    for title, rows in groups.items():
        parts += [f"### {title}", main_table(rows).markdown()]
    trained = [row for title in tuple(groups)[1:] for row in groups[title]]
    parts += ["### Quality and cost", quality_table(trained, made.get(RECORDED)).markdown()]
    parts += ["### Published, REACT2024: another data set, another scale", published_table().markdown()]
    parts += [f"### {LEADING}: {OWN} against each", leading_table(made).markdown()]
    parts += ["### Leads among systems that are online", "\n".join(_leads(groups["Online"]))]
    parts += ["### Orders of the published table", orders_table(made).markdown()]
    return "\n\n".join(parts)


def main_table(rows: Sequence[Made]) -> Table:
    """The published measures, with the share of the spread that the speaker explains."""
    header = ["", "seeds", *OF_LISTENERS, *OF_SYSTEMS, SHARE]
    cells: list[list[Cell]] = [
        [
            row.name,
            str(len(row.runs)),
            *(bootstrap_interval(row.of(measure)) for measure in OF_LISTENERS),
            *(overall(row, measure) for measure in OF_SYSTEMS),
            explained(row),
        ]
        for row in rows
    ]
    return Table(header, cells)


def quality_table(rows: Sequence[Made], recorded: Made | None) -> Table:
    """Whether reactions look alive, the recorded ones first, and what each system takes (with its first seed)."""
    header = ["", "switches at borders / inside", *QUALITY, "steps", "minutes", "of processors", "parameters",
              "real-time factor", "of processors"]  # fmt: skip
    cells: list[list[Cell]] = []
    for row in [*([recorded] if recorded else []), *rows]:
        measures = [overall(row, name) if name.startswith("FRRea") else _mean(row, name) for name in QUALITY]
        borders, inside = (_mean(row, f"switches {where}") for where in ("at borders", "inside"))
        # Of one seed: others may come from other machines.
        first, costs = row.runs[0], row.runs[0].get("costs", {})
        trained = sum(first["seconds"].values()) - first["seconds"]["measuring"]
        worked = sum(first.get("processor_seconds", {}).values())
        cells.append(
            [row.name, borders / inside if inside else np.nan, *measures]
            + [" + ".join(f"{steps:,}" for steps in first.get("steps", {}).values()) or DASH]
            + ([f"{seconds / 60:.1f}" for seconds in (trained, worked)] if costs else [DASH, DASH])
            + [f"{costs['parameters']:,}" if costs else DASH]
            + [costs.get(name, np.nan) for name in ("real_time_factor", "real_time_factor_of_processors")]
        )
    return Table(header, cells)


def published_table() -> Table:
    """What was printed, with the same share."""
    rows: list[list[Cell]] = []
    for name, figures in PUBLISHED.items():
        rows.append([name, *(number(value) for value in figures), 1 - figures[4] / figures[5]])
    measures = [name for name in OF_LISTENERS if name != "FRSyn"]
    return Table(["", *measures, "FRRea", "FRSyn", SHARE], rows)


def leading_table(made: dict[str, Made]) -> Table:
    """How far the own system leads, in each of its rows."""
    rows: list[list[Cell]] = []
    for own in OWN_ROWS:
        for other, lead in leads(made, own).items():
            rows.append([own, other, str(lead), f"{lead.p:.4f}"])
    return Table(["", "against", "difference [95 %]", "p (Holm)"], rows)


def orders_table(made: dict[str, Made]) -> Table:
    """Which orders of the published figures hold here: neighbours in them, tested in pairs."""
    rows: list[list[Cell]] = []
    for title, rename in _FORMS.items():
        for measure, chain in ORDERS:
            for first, second in pairwise(map(rename, chain)):
                rows.append([title, f"{measure}: {first} before {second}", *_order(made, measure, first, second)])
    return Table(["", "published order", "difference [95 %]", "here"], rows)


def check(results: Path) -> tuple[Table, int]:
    """What is missing of table 1, and whether the own system leads where it must; how many of these there are.

    With the whole recipe it must lead all that are online. With the budget of the systems to compare with, and sampled
    as they are, it must lead those: else it is one of these that leads.
    """
    made = _made(results)
    rows: list[list[Cell]] = [[name, "", "", "missing"] for name in read_table("1", results)[1]]
    for row in made.values():
        rows += [[row.name, "", "", f"without {measure}"] for measure in _lacking(row)]
    failed, others = len(rows), (*TITLES.values(), _BELFUSION)
    for own in OWN_ROWS:
        found = leads(made, own)
        for other in (row.name for row in ONLINE_ROWS if row.name in found):
            if own == OWN or other in others:
                said = found[other].says(LEADING_P)
                failed += said != "holds"
                rows.append([f"{own} leads {other}", str(found[other]), f"{found[other].p:.4f}", said])
    return Table([f"{LEADING}", "difference [95 %]", "p (Holm)", ""], rows), failed


def leads(made: dict[str, Made], own: str) -> dict[str, Difference]:
    """The lead of a row of the own system over each other system, by its name; p is corrected for their number.

    Each seed of the row against the mean over the seeds of the other, which may have fewer.
    """
    others = [row.name for row in (*ONLINE_ROWS, *OFFLINE_ROWS) if row.name not in OWN_ROWS]
    known = [name for name in others if name in made] if own in made else []
    return differences({name: made[own].by_seed(LEADING) - made[name].of(LEADING) for name in known})


def overall(row: Made, measure: str) -> float:
    """A figure of a system as a whole, the mean over seeds; NaN where there is none."""
    values = [run["figures"]["systems"][row.own]["overall"].get(measure) for run in row.runs]
    return np.nan if None in values else float(np.mean(values))


def explained(row: Made) -> float:
    """The share of the spread of reactions that the speaker explains; below 0 only where samples share something."""
    between = _mean(row, "FRDvs")
    return 1 - _mean(row, "FRDiv") / between if between else np.nan


# From the name of an online system to that of the same row in a block.
_FORMS: dict[str, Callable[[str], str]] = {
    "online": lambda name: name,
    "offline": lambda name: {
        **{TITLES[system]: offline(system) for system in COMPARED},
        _BELFUSION: binarised(offline("belfusion")),
    }.get(name, name),
}


def _made(results: Path) -> dict[str, Made]:
    return {row.name: row for row in read_table("1", results)[0]}


def _groups(made: dict[str, Made]) -> dict[str, list[Made]]:
    """The rows of each block, those of reference first."""
    online, others = ([row.name for row in rows] for rows in (ONLINE_ROWS, OFFLINE_ROWS))
    references = [row.name for row in TABLES["1"] if row.name not in (*online, *others)]
    blocks = {"For reference": references, "Online": online, "Offline": others}
    return {title: [made[name] for name in names if name in made] for title, names in blocks.items()}


def _mean(row: Made, measure: str) -> float:
    return float(row.of(measure).mean())


def _leads(rows: Sequence[Made]) -> list[str]:
    """For each measure, the system that is best in it."""
    lines = []
    for measure, more in {**OF_LISTENERS, **OF_SYSTEMS}.items():
        values = {row.name: overall(row, measure) if measure in OF_SYSTEMS else _mean(row, measure) for row in rows}
        known = {name: value for name, value in values.items() if np.isfinite(value)}
        if known:
            best = (max if more else min)(known, key=lambda name: known[name])
            lines.append(f"- {measure} ({'more' if more else 'less'} is better): {best}, {number(known[best])}")
    return lines


def _order(made: dict[str, Made], measure: str, first: str, second: str) -> tuple[str, str]:
    """How far two rows are apart, and what it says of their published order."""
    if first not in made or second not in made:
        return "", "cannot be told yet"
    difference = paired_test(made[first].of(measure), made[second].of(measure)).difference
    low, high = (difference.low, difference.high) if OF_LISTENERS[measure] else (
        -difference.high, -difference.low)  # fmt: skip
    said = "holds" if low > 0 else "the other way round" if high < 0 else "not shown"
    return f"{number(difference.value)} [{number(difference.low)}, {number(difference.high)}]", said


def _lacking(row: Made) -> list[str]:
    """The measures that a row is without; a row that was not trained has no cost, and may lack all but the first."""
    (told,) = (one for one in TABLES["1"] if one.name == row.name)
    measures = (
        tuple(OF_LISTENERS) if told.model else ("FRCorr MAFRG", "FRCorr PMAFRG", "FRdist MAFRG", "FRdist PMAFRG")
    )
    missing = [measure for measure in measures if not np.isfinite(row.of(measure)).all()]
    if told.model:
        missing += [measure for measure in OF_SYSTEMS if not np.isfinite(overall(row, measure))]
        missing += [cost for cost in COSTS if any(cost not in run.get("costs", {}) for run in row.runs)]
    return missing
