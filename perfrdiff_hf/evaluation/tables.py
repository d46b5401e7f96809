"""A report as Markdown and as LaTeX."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..baselines.reference import RECORDED
from ..metrics.inputs import CHANNEL_GROUPS
from ..metrics.reaction_metrics import BY_RULE
from ..metrics.statistics import Interval


if TYPE_CHECKING:
    from .report import ReactionReport


def markdown(report: ReactionReport) -> str:
    """The comparison of all systems, then the details of each that is not a reference row."""
    parts = [_comparison(report), _notes(report), _pairs(report)]
    parts += [_details(report, name) for name in report.systems]
    return "\n\n".join(part for part in parts if part)


def latex(report: ReactionReport) -> str:
    """One booktabs table: a line a system, the interval over clips in small print."""
    lines = [
        r"\begin{tabular}{l" + "r" * len(report.metrics) + "}",
        r"\toprule",
        " & ".join(["System", *(_escaped(_headed(metric)) for metric in report.metrics)]) + r" \\",
        r"\midrule",
    ]
    for name, figures in report.figures.items():
        cells = [_escaped(name)]
        for metric in report.metrics:
            interval = figures[metric].over_clips
            bounds = rf" {{\scriptsize [{number(interval.low)}, {number(interval.high)}]}}"
            cells.append(number(interval.value) + (bounds if np.isfinite(interval.low) else ""))
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def number(value: float) -> str:
    """Four figures or so, as published tables print them; a dash for NaN."""
    if not np.isfinite(value):
        return "–"
    return f"{value:.{2 if abs(value) >= 10 else 3 if abs(value) >= 1 else 4}f}"


def _comparison(report: ReactionReport) -> str:
    keys = [key for scores in report.scores.values() for key in scores.overall]
    extra = [key for key in dict.fromkeys(keys) if key.startswith("FRRea")]
    header = ["system", *(_headed(metric) for metric in report.metrics), "FRSyn by rule"]
    rows = []
    for name, figures in report.figures.items():
        overall = report.scores[name].overall
        cells = [_with_bounds(figures[metric].over_clips) for metric in report.metrics]
        share = f"{100 * overall[BY_RULE]:.1f} %"
        rows.append([name, *cells, share, *(number(overall.get(key, np.nan)) for key in extra)])
    return _table([*header, *(f"{key} ↓" for key in extra)], rows)


def _notes(report: ReactionReport) -> str:
    reactions = next(iter(report.scores.values())).num_reactions
    return "\n".join(
        [
            f"- {report.num_clips} clips, {reactions} reactions each. In brackets: 95 % bootstrap interval "
            "over clips.",
            "- FRCorr and FRdist are sums over the reactions to a clip, as in the published tables.",
            "- FRDiv, FRDvs, FRVar and FRSyn have no better end: good is near the recorded reactions.",
            "- FRSyn is the published figure: first reaction only, and a constant channel of either side forces 49 or "
            "the first such lag. “all” scores every reaction the same way, “corrected” only channels that vary.",
            "- “FRSyn by rule” is the share of clips in which a constant channel decides the published FRSyn.",
            "- FRRea-motion is a Fréchet distance of motion features, not the published FRRea of rendered frames.",
        ]
    )


def _pairs(report: ReactionReport) -> str:
    unit = "clips" if report.listeners is None else "listeners"
    rows = [
        [pair, _headed(metric), _with_bounds(test.difference), f"{test.p_value:.4f}", f"{test.num_units} {unit}"]
        for pair, tests in report.pairs().items()
        for metric, test in tests.items()
    ]
    return _table(["paired difference", "metric", "mean [95 %]", "p (sign flips)", "over"], rows) if rows else ""


def _details(report: ReactionReport, name: str) -> str:
    header = ["metric", "value", "95 % over clips", "95 % over listeners", "per reaction", RECORDED, *CHANNEL_GROUPS]
    recorded = report.figures.get(RECORDED)
    rows = []
    for metric, figure in report.figures[name].items():
        listeners = figure.over_listeners
        rows.append(
            [
                _headed(metric),
                number(figure.over_clips.value),
                _bounds(figure.over_clips),
                _bounds(listeners) if listeners else "–",
                "" if figure.per_reaction is None else number(figure.per_reaction),
                number(recorded[metric].over_clips.value) if recorded else "–",
                *(number(figure.groups[group]) if figure.groups else "" for group in CHANNEL_GROUPS),
            ]
        )
    return f"### {name}\n\n" + _table(header, rows)


def _headed(metric: str) -> str:
    """The metric with an arrow where one direction is better."""
    return metric + {"FRCorr": " ↑", "FRdist": " ↓"}.get(metric.split()[0], "")


def _with_bounds(interval: Interval) -> str:
    return number(interval.value) + (f" {_bounds(interval)}" if np.isfinite(interval.low) else "")


def _bounds(interval: Interval) -> str:
    return f"[{number(interval.low)}, {number(interval.high)}]" if np.isfinite(interval.low) else "–"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


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
