"""Scoring several systems on the same clips, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..baselines.reference import Predictions
from ..behaviour import WINDOW_SIZE
from ..data.masks import WHOLE, ChannelMask
from ..metrics.reaction_metrics import ReactionMetrics
from ..progress import follow
from .report import ReactionReport


# What can be scored: all predictions at once, or a function from clip numbers to the predictions for these.
Scored = np.ndarray | Predictions | Callable[[np.ndarray], np.ndarray | Predictions]


def compare(
    systems: Mapping[str, Scored],
    targets: Any,
    speaker: Any,
    appropriate: Any | Mapping[str, Any],
    listeners: Sequence[str] | None = None,
    batch_size: int = 16,
    progress: bool = False,
    target_coefficients: Any = None,
    hop: int = WINDOW_SIZE,
    mask: ChannelMask = WHOLE,
) -> ReactionReport:
    """Score several systems on the same clips and report them in one table.

    Args:
        systems: by name, in the order of the table: predictions `(clips, reactions, frames, 25)`, `Predictions` with
            coefficients beside them, or a function from clip numbers `(batch,)` to either for these clips (so are the
            rows of `reference_rows`, `oracle_rows` and `prediction_rows`).
        targets: `(clips, frames, 25)` recorded reactions.
        speaker: `(clips, frames, 25)` the speaker of each clip.
        appropriate: `(clips, clips)` booleans, or several matrices by name: `{"MAFRG": ..., "PMAFRG": ...}`.
        listeners: `(clips,)` the listener of each clip, for intervals over listeners.
        batch_size: clips at a time.
        progress: show a progress bar for each system.
        target_coefficients: `(clips, frames, 58)` the recorded coefficients. Without them, those of systems are not
            scored; systems without coefficients have dashes there.
        hop: frames from one border of windows to the next.
        mask: which channels are known; the others are not scored, and the report names them.

    Returns:
        The report; it prints as Markdown and LaTeX, and saves itself.

    Raises:
        ValueError: if there is no system, or shapes do not fit (see `ReactionMetrics`).

    Example:
        ```python
        import numpy as np

        from perfrdiff_hf.evaluation import compare

        generator = np.random.default_rng(0)
        targets, speaker = generator.random((2, 4, 100, 25), dtype=np.float32)
        reactions = generator.random((4, 3, 100, 25), dtype=np.float32)  # three to each of four clips
        report = compare({"noise": reactions}, targets, speaker, np.eye(4, dtype=bool))
        print(report.to_markdown())
        ```
    """
    scores = {}
    for name, system in systems.items():
        metrics = ReactionMetrics(targets, speaker, appropriate, target_coefficients, hop, mask)
        batches = np.array_split(np.arange(len(metrics.targets)), -(-len(metrics.targets) // batch_size))
        for clips in follow(batches, f"scoring {name}", "batch") if progress else batches:
            emotion, coefficients = _of_clips(system, clips)
            metrics.update(emotion, clips, None if target_coefficients is None else coefficients)
        scores[name] = metrics.compute()
    return ReactionReport(scores, listeners)


def _of_clips(system: Scored, clips: np.ndarray) -> Predictions:
    """A system's predictions for consecutive clips."""
    if callable(system):
        found = system(clips)
        return found if isinstance(found, Predictions) else Predictions(found)
    part = slice(clips[0], clips[-1] + 1)
    if not isinstance(system, Predictions):
        return Predictions(system[part])
    return Predictions(system.emotion[part], None if system.coefficients is None else system.coefficients[part])
