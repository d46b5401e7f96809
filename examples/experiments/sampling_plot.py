"""Quality against time as a picture: ways to sample one model, and its students, beside the teacher's interval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from made_rows import Made
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from paper_rows import Row
from sampling_report import MEASURES, read_rows, read_speed, way_of
from sampling_rows import GUIDANCE, SAMPLING, SOLVERS, STUDENTS, TEACHER, WAYS

from perfrdiff_hf.metrics.statistics import bootstrap_interval


_COLOURS = dict(zip(SOLVERS, ("#0072b2", "#d55e00", "#009e73", "#cc79a7")))
_MARKERS = dict(zip(GUIDANCE, ("^", "o", "s")))
_STUDENT, _INTERVAL = "black", "0.9"
# All were timed in this form, in one way of computing.
_FORM, _TIME = "eager", "ten, real-time factor"
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5)


def sampling_figure(results: Path) -> Figure:
    """A panel for each measure: a dot for each way whose time was measured, a star for each student; float32.

    Raises:
        FileNotFoundError: if the teacher's row is missing, or no times were measured.
    """
    made, speed = read_rows(results), read_speed(results)
    if TEACHER not in made or not speed:
        raise FileNotFoundError(f"{results} lacks the row {TEACHER!r} or speed.json; make them first.")
    plain = [*WAYS, *(row for row in SAMPLING if row.name in STUDENTS)]
    times = {row.name: speed.get(way_of(row), {}).get(_FORM, {}).get(_TIME) for row in plain}
    shown = [row for row in plain if row.name in made and times[row.name] is not None]
    figure = Figure(figsize=(10, 8.5), layout="constrained")
    panels = figure.subplots(4, 2, sharex=True).flat
    for measure, axes in zip(MEASURES, panels):
        _draw(axes, measure, shown, made, times)
    _explain(next(panels))
    figure.supxlabel("ten reactions at the official size, real-time factor")
    return figure


def _draw(axes: Axes, measure: str, shown: list[Row], made: dict[str, Made], times: dict[str, float]) -> None:
    interval = bootstrap_interval(made[TEACHER].of(measure))
    axes.axhspan(interval.low, interval.high, color=_INTERVAL, zorder=0)
    for row in shown:
        value = float(np.mean(made[row.name].of(measure)))
        axes.plot(times[row.name], value, **_style(row))
    axes.set_xscale("log")
    axes.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS], minor=False)
    axes.minorticks_off()
    axes.tick_params(labelbottom=True)
    axes.set_title(measure, fontsize="medium", loc="left")


def _style(row: Row) -> dict[str, Any]:
    if row.model in STUDENTS:
        return {"marker": "*", "color": _STUDENT, "markersize": 11, "linestyle": "none", "zorder": 3}
    solver, _, guidance = row.name.split(", ")
    look = {"marker": _MARKERS[guidance], "color": _COLOURS[solver], "markersize": 5}
    return {**look, "linestyle": "none", "alpha": 0.8}


def _explain(axes: Axes) -> None:
    """The legend, in the panel that is left."""
    said = [
        Line2D([], [], linestyle="none", marker="o", color=colour, label=name) for name, colour in _COLOURS.items()
    ]
    said += [
        Line2D([], [], linestyle="none", marker=marker, color="0.4", label=f"guidance: {name}")
        for name, marker in _MARKERS.items()
    ]
    said.append(Line2D([], [], linestyle="none", marker="*", markersize=11, color=_STUDENT, label="students"))
    said.append(Line2D([], [], linewidth=8, color=_INTERVAL, label="interval of the teacher (50 steps, interval)"))
    axes.legend(handles=said, loc="center", ncols=2, frameon=False)
    axes.set_axis_off()
