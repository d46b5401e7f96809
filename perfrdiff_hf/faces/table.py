"""A csv file as columns of numbers, with errors that name the file, the line and the column."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np


class Table:
    """A csv file with a header. Names are matched without regard to case and to blanks around them.

    Args:
        path: the file; empty lines are skipped, and missing cells at the end of a line are blank.

    Raises:
        ValueError: if the file is no text, has no header or no rows, or a line is longer than the header.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file, skipinitialspace=True)
                lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{path} is neither an npy file nor readable as csv text ({error}).") from error
        if not lines:
            raise ValueError(f"{path} is empty.")
        self.header = [name.strip() for name in lines[0][1]]
        self._place = {name.lower(): place for place, name in enumerate(self.header) if name}
        self._lines = lines[1:]
        if not self._lines:
            raise ValueError(f"{path} has a header but no rows.")
        for number, cells in self._lines:
            if len(cells) > len(self.header):
                raise ValueError(f"{path}, line {number}: {len(cells)} columns; the header has {len(self.header)}.")

    def __len__(self) -> int:
        return len(self._lines)

    def has(self, names: Sequence[str]) -> bool:
        """Whether all these columns exist."""
        return all(name.lower() in self._place for name in names)

    def line(self, row: int) -> int:
        """The line of the file on which a row ends, counted from 1."""
        return self._lines[row][0]

    def text(self, name: str, row: int) -> str:
        """One cell, blank if the line ends before it."""
        cells, place = self._lines[row][1], self._place[name.lower()]
        return cells[place].strip() if place < len(cells) else ""

    def numbers(self, names: Sequence[str], rows: np.ndarray | None = None) -> np.ndarray:
        """Columns `(rows, names)` as float64, NaN where a cell is blank.

        Args:
            names: which columns.
            rows: `(rows,)` bool; the other rows are not looked at, and stay NaN.

        Raises:
            ValueError: if a column is missing (all missing ones are named) or a cell is no number.
        """
        missing = [name for name in names if not self.has([name])]
        if missing:
            raise ValueError(f"{self.path} lacks the columns {', '.join(missing)}; it has {self.described_header()}.")
        values = np.full((len(self), len(names)), np.nan)
        for row in range(len(self)) if rows is None else np.flatnonzero(rows).tolist():
            for column, name in enumerate(names):
                cell = self.text(name, row)
                if not cell:
                    continue
                try:
                    values[row, column] = float(cell)
                except ValueError:
                    raise ValueError(
                        f"{self.path}, line {self.line(row)}, column {name}: {cell!r} is not a number."
                    ) from None
        return values

    def complete_rows(
        self, values: np.ndarray, names: Sequence[str], rows: np.ndarray | None = None, may_be_lost: bool = True
    ) -> np.ndarray:
        """Which rows `(rows,)` of `values (rows, names)` hold numbers. A row without any was lost by the tracker.

        Raises:
            ValueError: if a row is incomplete (some cells NaN, blank or infinite), or lost though it must not be.
        """
        finite = np.isfinite(values[:, : len(names)])
        lost = np.isnan(values[:, : len(names)]).all(axis=1)
        wrong = ~finite & ~(lost & may_be_lost)[:, None]
        if rows is not None:
            wrong &= rows[:, None]
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise ValueError(
                f"{self.path}, line {self.line(int(row))}, column {names[column]}: blank, NaN or infinite "
                f"({int(wrong.sum())} such cells). Remove those rows, or blank all of a row that the tracker lost."
            )
        return finite.all(axis=1)

    def check_range(self, values: np.ndarray, low: float, high: float, what: str) -> None:
        """Raise `ValueError` if a value lies outside [low, high], which means that the file is on another scale."""
        if values.size and (values.min() < low or values.max() > high):
            raise ValueError(
                f"{self.path}: {what} must lie in [{low:.0f}, {high:.0f}]; they reach from {values.min():g} to "
                f"{values.max():g}."
            )

    def described_header(self) -> str:
        """The header in a few words, for error messages."""
        shown = ", ".join(self.header[:8])
        return f"{len(self.header)} columns ({shown}{', ...' if len(self.header) > 8 else ''})"
