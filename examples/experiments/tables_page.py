"""The page of docs/ that holds the paper's tables as they fall here, generated from the results."""

from __future__ import annotations

from pathlib import Path

import table_1
from made_rows import read_table
from paper_check import check_tables
from paper_rows import TABLES
from paper_tables import paper_table


MEASURING = "measuring"
ASKED = {
    "1": "Table 1: how good are reactions?",
    "2": "Table 2: what do sound and face add?",
    "3": "Table 3: is editing weights better than feeding the style in?",
    "4": "Table 4: which layers should be edited?",
    "5": "Table 5: how long must the history be?",
    "6": "Table 6: does it matter which clip is the history?",
    "4b": "Figure 4b: do styles tell people apart?",
}
HEAD = """# The paper's tables, here

Generated from `results/` by `python examples/experiments/report.py --page docs/tables.md`; do not edit. What the rows
are stands in [From the paper to the code](paper.md) and [Table 1 on the bench](table1.md), what they say of listeners
in [What makes it personal](personalisation.md). Each row's file in `results/` has its command, time and machine."""


def page(results: Path) -> str:
    """Every table of which a row was made, and the claims, as Markdown.

    Raises:
        FileNotFoundError: if no row was made.
    """
    known = [name for name in TABLES if read_table(name, results)[0]]
    if not known:
        raise FileNotFoundError(f"There are no rows of the paper's tables in {results}; make them with run.py.")
    parts = [HEAD]
    for name in known:
        parts += [f"## {ASKED[name]}", table_1.page(results) if name == "1" else _table(name, results)]
    parts += ["## The claims", check_tables(results)[0].markdown(), "## What it took", _took(known, results)]
    return "\n\n".join(parts) + "\n"


def _table(name: str, results: Path) -> str:
    table, note = paper_table(name, results)
    return f"{table.markdown()}\n\n{note}"


def _took(names: list[str], results: Path) -> str:
    """The hours of all rows together; a stage that several rows share is told in each of them, and counts once."""
    runs = [run for name in names for row in read_table(name, results)[0] for run in row.runs]
    stages = {(run["seed"], *told) for run in runs for told in run["seconds"].items() if told[0] != MEASURING}
    training = sum(seconds for *_, seconds in stages) / 3600
    measuring = sum(run["seconds"][MEASURING] for run in runs) / 3600
    threads = " or ".join(map(str, sorted({run["machine"]["threads"] for run in runs})))
    return (
        f"One row after the other: {training + measuring:.1f} hours, {training:.1f} for training and {measuring:.1f} "
        f"for measuring, with {threads} thread{'s' * (threads != '1')}. What rows share is counted once."
    )
