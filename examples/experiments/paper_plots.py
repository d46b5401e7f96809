"""The paper's tables as pictures: rows as dots with intervals over listeners, and styles of clips by person."""

from __future__ import annotations

import numpy as np
from made_rows import PERSONAL, Made
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from row_comparisons import COMPARED

from perfrdiff_hf.metrics.statistics import bootstrap_interval


_OWN, _CONTROL = "#0072b2", "#9a9aa2"


def rows_figure(name: str, made: list[Made]) -> Figure:
    """Each row's FRCorr with its 95 % interval over listeners; controls hollow and grey beneath their row.

    Args:
        name: of the table.
        made: its rows.
    """
    measure = COMPARED.get(name, PERSONAL)
    lines = [(row, system) for row in made for system in (row.own, *row.controls)]
    figure = Figure(figsize=(8, 0.3 * len(lines) + 1.2), layout="constrained")
    axes = figure.subplots()
    for place, (row, system) in enumerate(lines):
        interval = bootstrap_interval(row.of(measure, system))
        own = system == row.own
        colour = _OWN if own else _CONTROL
        axes.plot([interval.low, interval.high], [place, place], color=colour, linewidth=2)
        axes.plot(interval.value, place, "o", color=colour, markerfacecolor=colour if own else "white")
    axes.set_yticks(range(len(lines)), [row.name if system == row.own else system for row, system in lines])
    for label, (row, system) in zip(axes.get_yticklabels(), lines):
        label.set_color("black" if system == row.own else "0.5")
    axes.set(xlabel=f"{measure}, 95 % over listeners, mean over seeds")
    axes.grid(axis="x", color="0.92")
    axes.invert_yaxis()
    return figure


def styles_figure(made: list[Made]) -> Figure:
    """Figure 4b of the first seed: a dot for each clip (t-SNE), a colour for each person, a panel for each length."""
    figure = Figure(figsize=(2.6 * len(made), 2.9), layout="constrained")
    for axes, row in zip(np.atleast_1d(figure.subplots(1, len(made))), made):
        _draw_styles(axes, row)
    return figure


def _draw_styles(axes: Axes, row: Made) -> None:
    found = row.runs[0]["figures"]
    places, person = np.array(found["places"]), np.unique(found["clips"], return_inverse=True)[1]
    axes.scatter(places[:, 0], places[:, 1], c=person % 20, cmap="tab20", s=12)
    axes.set(title=f"{row.name}: {100 * np.mean(found['persons_found']):.0f} % found", xticks=[], yticks=[])
