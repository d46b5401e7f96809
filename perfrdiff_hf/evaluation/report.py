"""The report: every system's figures with their uncertainty, as json, Markdown and LaTeX."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..baselines.reference import REFERENCE_NAMES, Row
from ..metrics.reaction_metrics import ReactionMetrics, Scores
from ..metrics.statistics import Interval, PairedTest, bootstrap_interval, paired_test


CONFIDENCE = 0.95


@dataclass(frozen=True)
class Figure:
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
        self.metrics = list(next(iter(self.scores.values())).values)
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
        return [name for name in self.scores if name not in REFERENCE_NAMES]

    def pairs(self) -> dict[str, dict[str, PairedTest]]:
        """Each system against the first one, in FRCorr and FRdist: `{"B - A": {metric: test}}`."""
        compared = [metric for metric in self.metrics if metric.startswith(("FRCorr", "FRdist"))]
        first, *others = self.systems or [""]
        return {f"{name} - {first}": {m: self.paired(m, name, first) for m in compared} for name in others}

    def paired(self, metric: str, a: str, b: str) -> PairedTest:
        """Whether system `a` differs from system `b`; over listeners if they are known, else over clips."""
        first, second = (self.scores[name].values[metric] for name in (a, b))
        return paired_test(first, second, groups=self.listeners, confidence=CONFIDENCE, seed=self.seed)

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain values for json; NaN becomes None."""
        systems = {
            name: {
                "reactions": self.scores[name].num_reactions,
                "metrics": {metric: _figure_dict(figure) for metric, figure in figures.items()},
                "overall": {key: _plain(value) for key, value in self.scores[name].overall.items()},
            }
            for name, figures in self.figures.items()
        }
        return {
            "clips": self.num_clips,
            "listeners": None if self.listeners is None else len(set(self.listeners)),
            "confidence": CONFIDENCE,
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
        """All systems in one table with 95 % intervals over clips, then each system in detail."""
        from .tables import markdown

        return markdown(self)

    def to_latex(self) -> str:
        """All systems in one booktabs table."""
        from .tables import latex

        return latex(self)

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
            _replace(paths[-1], functools.partial(_write_text, text))
        values = {f"{system}/{m}": v for system, found in self.scores.items() for m, v in found.values.items()}
        if self.listeners is not None:
            values["listeners"] = np.array(self.listeners)
        paths.append(folder / f"{name}_clips.npz")
        _replace(paths[-1], lambda part: _save_npz(part, values))
        return paths

    def _figure(self, system: Scores, metric: str) -> Figure:
        values = system.values[metric]
        is_sum = metric.startswith(("FRCorr", "FRdist"))
        listeners = None
        if self.listeners is not None:
            listeners = bootstrap_interval(values, self.listeners, CONFIDENCE, seed=self.seed)
        return Figure(
            over_clips=bootstrap_interval(values, None, CONFIDENCE, seed=self.seed),
            over_listeners=listeners,
            per_reaction=float(values.mean()) / system.num_reactions if is_sum else None,
            groups=system.groups.get(metric, {}),
        )


def compare(
    systems: Mapping[str, np.ndarray | Row],
    targets: Any,
    speaker: Any,
    appropriate: Any | Mapping[str, Any],
    listeners: Sequence[str] | None = None,
    batch_size: int = 16,
    progress: bool = False,
) -> ReactionReport:
    """Score several systems on the same clips and report them in one table.

    Args:
        systems: by name, in the order of the table: predictions `(clips, reactions, frames, 25)`, or a function from
            clip numbers `(batch,)` to the predictions for them (so are the rows of `reference_rows`).
        targets: `(clips, frames, 25)` recorded reactions.
        speaker: `(clips, frames, 25)` the speaker of each clip.
        appropriate: `(clips, clips)` booleans, or several matrices by name: `{"MAFRG": ..., "PMAFRG": ...}`.
        listeners: `(clips,)` the listener of each clip, for intervals over listeners.
        batch_size: clips at a time.
        progress: show a progress bar for each system.
    """
    scores = {}
    for name, predictions in systems.items():
        metrics = ReactionMetrics(targets, speaker, appropriate)
        batches = np.array_split(np.arange(len(metrics.targets)), -(-len(metrics.targets) // batch_size))
        for clips in _with_progress(batches, name) if progress else batches:
            metrics.update(
                predictions(clips) if callable(predictions) else predictions[clips[0] : clips[-1] + 1], clips
            )
        scores[name] = metrics.compute()
    return ReactionReport(scores, listeners)


def _with_progress(batches: list[np.ndarray], name: str) -> Any:
    from tqdm.auto import tqdm

    return tqdm(batches, desc=name, unit="batch")


def _figure_dict(figure: Figure) -> dict[str, Any]:
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


def _write_text(text: str, path: Path) -> None:
    path.write_text(text + "\n", encoding="utf-8")


def _save_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with open(path, "wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write beside the file, then put it in its place, so that no half-written file is ever found."""
    part = path.with_name(path.name + ".part")
    try:
        write(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
