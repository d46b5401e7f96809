"""Tables of figures as Markdown and as LaTeX. Nothing here knows what the figures mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..metrics.statistics import Interval


DASH = "–"

# An interval is printed with its bounds, a number as published tables print it, None as nothing at all.
Cell = str | float | Interval | None


@dataclass(frozen=True)
class Table:
    """A table to print.

    Args:
        header: the columns' names.
        rows: as many cells each.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def markdown(self) -> str:
        """As a Markdown table."""
        lines = [self.header, ["---"] * len(self.header), *([_markdown(cell) for cell in row] for row in self.rows)]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def latex(self) -> str:
        """As a booktabs table; intervals in small print."""
        lines = [
            r"\begin{tabular}{l" + "r" * (len(self.header) - 1) + "}",
            r"\toprule",
            " & ".join(_escaped(name) for name in self.header) + r" \\",
            r"\midrule",
            *(" & ".join(_latex(cell) for cell in row) + r" \\" for row in self.rows),
        ]
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def number(value: float) -> str:
    """Four figures or so, as published tables print them; a dash for NaN."""
    if not np.isfinite(value):
        return DASH
    return f"{value:.{2 if abs(value) >= 10 else 3 if abs(value) >= 1 else 4}f}"


def bounds(interval: Interval | None) -> str:
    """The bounds of an interval alone, a dash where there are none."""
    if interval is None or not np.isfinite(interval.low):
        return DASH
    return f"[{number(interval.low)}, {number(interval.high)}]"


def _markdown(cell: Cell) -> str:
    if isinstance(cell, Interval):
        return number(cell.value) + (f" {bounds(cell)}" if np.isfinite(cell.low) else "")
    return _plain(cell).replace("|", r"\|")


def _latex(cell: Cell) -> str:
    if isinstance(cell, Interval):
        return number(cell.value) + (rf" {{\scriptsize {bounds(cell)}}}" if np.isfinite(cell.low) else "")
    return _escaped(_plain(cell))


def _plain(cell: str | float | None) -> str:
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else number(cell)


def _escaped(text: str) -> str:
    for plain, tex in (
        ("&", r"\&"),
        ("%", r"\%"),
        ("_", r"\_"),
        ("#", r"\#"),
        ("↑", r"$\uparrow$"),
        ("↓", r"$\downarrow$"),
    ):
        text = text.replace(plain, tex)
    return text
