"""A report as a picture."""

from __future__ import annotations

from pathlib import Path

from ..extras import require
from ..files import file_beside
from .report import ReactionReport


require("rendering", "Pictures of reports")
from matplotlib.figure import Figure  # noqa: E402


COLUMNS = 5


def draw_report(report: ReactionReport, path: str | Path) -> None:
    """Every metric of every system with its interval, over listeners where they are known; reference rows in grey."""
    names = list(report.figures)
    lines = -(-len(report.metrics) // COLUMNS)
    figure = Figure(figsize=(3 * COLUMNS + 1, lines * (0.32 * len(names) + 1)), layout="constrained")
    axes = figure.subplots(lines, COLUMNS, sharey=True, squeeze=False).ravel()
    for axis, metric in zip(axes, report.metrics):
        for place, name in enumerate(names):
            interval = report.figures[name][metric].interval
            axis.plot([interval.low, interval.high], [place, place], color="0.6", linewidth=3)
            axis.plot(interval.value, place, "o", color="C0" if name in report.systems else "0.3")
        axis.set_title(metric, fontsize=10)
        axis.grid(axis="x", color="0.92")
        axis.set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()  # shared by all
    for axis in axes[len(report.metrics) :]:
        axis.remove()
    with file_beside(path) as beside:
        figure.savefig(beside, dpi=150)
