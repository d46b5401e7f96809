"""The report: every system's figures with their uncertainty, as json, Markdown and LaTeX."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..baselines.oracles import ORACLE_NAMES
from ..baselines.reference import RECORDED, REFERENCE_NAMES
from ..behaviour import COEFFICIENT_NAMES, EMOTION_NAMES
from ..files import file_beside
from ..metrics.inputs import CHANNEL_GROUPS, COEFFICIENT_GROUPS
from ..metrics.movement import OF_COEFFICIENTS
from ..metrics.reaction_metrics import BY_RULE, Scores, is_published
from ..metrics.statistics import Interval, PairedTest, bootstrap_interval, paired_test
from .tables import DASH, Cell, Table, bounds


CONFIDENCE = 0.95
NOTES = """\
- {clips} clips, {reactions} reactions each. In brackets: 95 % bootstrap interval over {unit}.
- FRCorr and FRdist are sums over the reactions to a clip, as in the published tables.
- FRDiv, FRDvs, FRVar and FRSyn have no better end: good is near the recorded reactions.
- FRSyn is the published figure: first reaction only, and a constant channel of either side forces 49 or the first \
such lag. “all” scores every reaction the same way, “corrected” only channels that vary.
- “FRSyn by rule” is the share of clips in which a constant channel decides the published FRSyn."""
ALIVE_NOTES = """\
- None of these is a metric of the paper. Good is near the recorded reactions, but for FRCorr ↑ and FRRea-motion ↓.
- Switches are action units that change between shown and not shown from one frame to the next: at the borders of \
windows, every {hop} frames, and inside windows.
- FRRea-motion is a Fréchet distance of motion features, not the published FRRea of rendered frames."""
COEFFICIENT_NOTES = """\
- Head speed is in radians per second, head range and nods (of the pitch, 1 to 4 Hz) are in radians; nod share is the \
part of the pitch's energy in that band, from 0 to 1.
- FRCorr and FRRea-motion of coefficients are of movement: each clip without its own mean, which is camera and \
identity. Rows with dashes have no coefficients."""
ORACLE_NOTES = """\
- The world's own reactions are no upper bound: FRCorr and FRdist reward averaging, and the mean of many draws can \
score better there than each draw, while it looks less alive."""
MASK_NOTES = """\
- Scored are {scored} of {channels} channels. The data do not have {unavailable}, which are in no figure: compare \
with figures over the same channels only."""
DERIVED_NOTES = """\
- Derived from other channels by a rule, and scored like measured ones: {derived}."""
ALIVE = "Does it look alive?"


@dataclass(frozen=True)
class MetricSummary:
    """One metric of one system.

    Args:
        over_clips: mean and interval when clips are drawn anew.
        over_listeners: the same when listeners are; None if they are not known.
        per_reaction: FRCorr and FRdist divided by the number of reactions, which they are sums over; else None.
        groups: the part of each channel group.
    """

    over_clips: Interval
    over_listeners: Interval | None
    per_reaction: float | None
    groups: dict[str, float]

    @property
    def interval(self) -> Interval:
        """What tables show: over listeners where they are known, for clips of one listener are not independent."""
        return self.over_listeners or self.over_clips


class ReactionReport:
    """Scores of several systems on the same clips.

    Args:
        scores: by the name of the system, in the order of the table.
        listeners: `(clips,)` the listener of each clip, for intervals over listeners; None if they are not known.
        seed: of the bootstrap.
    """

    def __init__(self, scores: Mapping[str, Scores], listeners: Sequence[str] | None = None, seed: int = 0) -> None:
        if not scores:
            raise ValueError("scores must hold at least one system.")
        self.scores = dict(scores)
        self.listeners = None if listeners is None else [str(name) for name in listeners]
        self.seed = seed
        # Those of coefficients come last, and systems that have none lack them.
        self.metrics = list(dict.fromkeys(metric for system in self.scores.values() for metric in system.values))
        self.num_clips = len(next(iter(self.scores.values())).values[self.metrics[0]])
        if self.listeners is not None and len(self.listeners) != self.num_clips:
            raise ValueError(f"listeners must name {self.num_clips} clips' listeners; it has {len(self.listeners)}.")
        self.figures = {
            name: {metric: self._figure(system, metric) for metric in self.metrics}
            for name, system in self.scores.items()
        }

    @property
    def systems(self) -> list[str]:
        """The names that are no reference rows."""
        return [name for name in self.scores if name not in (*REFERENCE_NAMES, *ORACLE_NAMES)]

    @property
    def unit(self) -> str:
        """What intervals and tests are over: "listeners" where they are known, else "clips"."""
        return "clips" if self.listeners is None else "listeners"

    def pairs(self) -> dict[str, dict[str, PairedTest]]:
        """Each system against the first one, in FRCorr and FRdist: `{"B - A": {metric: test}}`."""
        compared = [metric for metric in self.metrics if metric.startswith(("FRCorr", "FRdist"))]
        first, *others = self.systems or [""]

        def both_have(metric: str, name: str) -> bool:
            return all(metric in self.scores[system].values for system in (name, first))

        return {
            f"{name} - {first}": {m: self.paired(m, name, first) for m in compared if both_have(m, name)}
            for name in others
        }

    def paired(self, metric: str, a: str, b: str) -> PairedTest:
        """Whether system `a` differs from system `b`; over listeners if they are known, else over clips."""
        first, second = (self.scores[name].values[metric] for name in (a, b))
        return paired_test(first, second, groups=self.listeners, confidence=CONFIDENCE, seed=self.seed)

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain values for json; NaN becomes None."""
        systems = {
            name: {
                "reactions": self.scores[name].num_reactions,
                "hop": self.scores[name].hop,
                "metrics": {metric: _figure_dict(figure) for metric, figure in figures.items()},
                "overall": {key: _plain(value) for key, value in self.scores[name].overall.items()},
            }
            for name, figures in self.figures.items()
        }
        return {
            "clips": self.num_clips,
            "listeners": None if self.listeners is None else len(set(self.listeners)),
            "confidence": CONFIDENCE,
            "channels": _channels(next(iter(self.scores.values()))),
            "systems": systems,
            "paired": {
                pair: {metric: _paired_dict(test) for metric, test in tests.items()}
                for pair, tests in self.pairs().items()
            },
        }

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def to_markdown(self) -> str:
        """All systems with 95 % intervals, in the published metrics and in those of liveliness; then each in detail.

        Intervals are over listeners where they are known, else over clips.
        """
        first = next(iter(self.scores.values()))
        notes = NOTES.format(clips=self.num_clips, reactions=first.num_reactions, unit=self.unit)
        alive = [ALIVE_NOTES.format(hop=first.hop)]
        alive += [COEFFICIENT_NOTES] * any("head speed" in system.values for system in self.scores.values())
        if any(name in ORACLE_NAMES for name in self.scores):
            notes += f"\n{ORACLE_NOTES}"
        published, liveliness = _comparisons(self)
        notes += "".join(f"\n{note}" for note in _mask_notes(first))
        parts = [published.markdown(), notes, f"### {ALIVE}", liveliness.markdown(), "\n".join(alive)]
        if pairs := _pairs(self, self.metrics):
            parts.append(pairs.markdown())
        for name in self.systems:
            parts += [f"### {name}", *(table.markdown() for table in _details(self, name))]
        return "\n\n".join(parts)

    def to_short_markdown(self, metrics: Sequence[str]) -> str:
        """Some metrics of all systems with 95 % intervals, and their paired differences from the first system.

        Args:
            metrics: by name, such as "FRCorr PMAFRG".

        Raises:
            ValueError: if there is no such metric.
        """
        if unknown := [metric for metric in metrics if metric not in self.metrics]:
            raise ValueError(f"metrics must be among {', '.join(self.metrics)}; given: {', '.join(unknown)}.")
        rows: list[list[Cell]] = [
            [name, *(figures[metric].interval for metric in metrics)] for name, figures in self.figures.items()
        ]
        parts = [Table(["system", *map(_headed, metrics)], rows).markdown()]
        if pairs := _pairs(self, metrics):
            parts.append(pairs.markdown())
        return "\n\n".join(parts)

    def to_latex(self) -> str:
        """All systems in two booktabs tables, published metrics and liveliness: the interval in small print."""
        return "\n\n".join(table.latex() for table in _comparisons(self))

    def save(self, folder: str | Path, name: str = "evaluation") -> list[Path]:
        """Write NAME.json, NAME.md, NAME.tex, and the per-clip values as NAME_clips.npz (arrays "system/metric").

        Returns:
            The files.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        texts = {".json": self.to_json(), ".md": self.to_markdown(), ".tex": self.to_latex()}
        paths = []
        for suffix, text in texts.items():
            paths.append(folder / f"{name}{suffix}")
            with file_beside(paths[-1]) as beside:
                beside.write_text(text + "\n", encoding="utf-8")
        values = {f"{system}/{m}": v for system, found in self.scores.items() for m, v in found.values.items()}
        if self.listeners is not None:
            values["listeners"] = np.array(self.listeners)
        paths.append(folder / f"{name}_clips.npz")
        with file_beside(paths[-1]) as beside:
            np.savez_compressed(beside, **values)  # type: ignore[arg-type]
        return paths

    def _figure(self, system: Scores, metric: str) -> MetricSummary:
        values = system.values.get(metric, np.full(self.num_clips, np.nan))
        is_sum = metric.startswith(("FRCorr", "FRdist"))
        listeners = None
        if self.listeners is not None:
            listeners = bootstrap_interval(values, self.listeners, CONFIDENCE, seed=self.seed)
        return MetricSummary(
            over_clips=bootstrap_interval(values, None, CONFIDENCE, seed=self.seed),
            over_listeners=listeners,
            per_reaction=float(values.mean()) / system.num_reactions if is_sum else None,
            groups=system.groups.get(metric, {}),
        )


def _channels(scores: Scores) -> dict[str, list[str]]:
    """The channels of each kind, of emotion, and of coefficients where these were scored."""
    with_coefficients = any(name.startswith(f"FRCorr{OF_COEFFICIENTS}") for name in scores.values)
    names = (*EMOTION_NAMES, *(COEFFICIENT_NAMES if with_coefficients else ()))
    kinds: dict[str, list[str]] = {"measured": [], "derived": [], "unavailable": []}
    for name in names:
        kinds[scores.mask.kind(name)].append(name)
    return kinds


def _mask_notes(scores: Scores) -> list[str]:
    """What is said of channels that are not measured; nothing where all are."""
    kinds = _channels(scores)
    total = sum(map(len, kinds.values()))
    notes = []
    if unavailable := kinds["unavailable"]:
        said = {"scored": total - len(unavailable), "channels": total, "unavailable": ", ".join(unavailable)}
        notes.append(MASK_NOTES.format(**said))
    if kinds["derived"]:
        notes.append(DERIVED_NOTES.format(derived=", ".join(kinds["derived"])))
    return notes


def _comparisons(report: ReactionReport) -> tuple[Table, Table]:
    """All systems, a line each: in the published metrics, and in whether they look alive."""
    keys = list(dict.fromkeys(key for scores in report.scores.values() for key in scores.overall))
    tables = []
    for published in (True, False):
        metrics = [metric for metric in report.metrics if is_published(metric) == published]
        extra = [key for key in keys if key.startswith("FRRea") and is_published(key) == published]
        rows: list[list[Cell]] = []
        for name, scores in report.scores.items():
            row: list[Cell] = [name, *(report.figures[name][metric].interval for metric in metrics)]
            if published:
                row.append(f"{100 * scores.overall[BY_RULE]:.1f} %")
            rows.append([*row, *(scores.overall.get(key, np.nan) for key in extra)])
        by_rule = ["FRSyn by rule"] * published
        tables.append(Table(["system", *map(_headed, metrics), *by_rule, *map(_headed, extra)], rows))
    return tables[0], tables[1]


def _pairs(report: ReactionReport, metrics: Sequence[str]) -> Table | None:
    """The paired differences in some metrics; None where there is nothing to compare."""
    rows: list[list[Cell]] = [
        [pair, _headed(metric), test.difference, f"{test.p_value:.4f}", f"{test.num_units} {report.unit}"]
        for pair, tests in report.pairs().items()
        for metric, test in tests.items()
        if metric in metrics
    ]
    return Table(["paired difference", "metric", "mean [95 %]", "p (sign flips)", "over"], rows) if rows else None


def _details(report: ReactionReport, name: str) -> tuple[Table, Table]:
    """One system, a line for each metric that it has, beside the recorded reactions: published, and liveliness."""
    header = ["metric", "value", "95 % over clips", "95 % over listeners", "per reaction", RECORDED]
    tables = []
    for published, groups in ((True, CHANNEL_GROUPS), (False, COEFFICIENT_GROUPS)):
        rows: list[list[Cell]] = []
        for metric in [m for m in report.scores[name].values if is_published(m) == published]:
            figure, recorded = report.figures[name][metric], report.figures.get(RECORDED)
            row: list[Cell] = [_headed(metric), figure.over_clips.value]
            row += [bounds(figure.over_clips), bounds(figure.over_listeners), figure.per_reaction]
            row.append(recorded[metric].over_clips.value if recorded else DASH)
            rows.append([*row, *(figure.groups.get(group) for group in groups)])
        tables.append(Table([*header, *groups], rows))
    return tables[0], tables[1]


def _headed(metric: str) -> str:
    """The metric with an arrow where one direction is better."""
    arrows = {"FRCorr": " ↑", "FRdist": " ↓", "FRRea": " ↓", "FRRea-motion": " ↓"}
    return metric + arrows.get(metric.split()[0], "")


def _figure_dict(figure: MetricSummary) -> dict[str, Any]:
    clips = {key: _plain(value) for key, value in asdict(figure.over_clips).items()}
    found: dict[str, Any] = {"value": clips["value"], "over_clips": [clips["low"], clips["high"]]}
    if figure.over_listeners is not None:
        found["over_listeners"] = [_plain(figure.over_listeners.low), _plain(figure.over_listeners.high)]
    if figure.per_reaction is not None:
        found["per_reaction"] = _plain(figure.per_reaction)
    if figure.groups:
        found["groups"] = {name: _plain(value) for name, value in figure.groups.items()}
    return found


def _paired_dict(test: PairedTest) -> dict[str, Any]:
    return {
        "difference": _plain(test.difference.value),
        "interval": [_plain(test.difference.low), _plain(test.difference.high)],
        "p_value": test.p_value,
        "units": test.num_units,
    }


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
