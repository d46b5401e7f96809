"""`ReactionMetrics`: every metric over batches of predictions, in one or many processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..behaviour import FRAME_RATE
from .diversity import (
    distinction_per_channel,
    diversity_per_channel,
    frdiv_per_clip,
    variance_per_channel,
)
from .frcorr_frdist import channel_moments, search_concordance, search_distance
from .inputs import CHANNEL_GROUPS, accelerator, as_appropriate, as_clips, as_predictions
from .realism import frechet_of_motion, motion_features
from .sums import FeatureSums, Moments
from .synchrony import best_offsets, lag_per_clip


if TYPE_CHECKING:
    import torch


# The overall figure that says how much of the published FRSyn is an artefact.
BY_RULE = "FRSyn decided by a constant channel"

# Among the values of a state: whether a constant channel decided the published FRSyn of a clip.
_UNDEFINED = "undefined"


@dataclass
class Scores:
    """What one system scored, clip by clip. The mean of a metric's values (without NaN) is the metric.

    Args:
        values: `(clips,)` float64 by metric; NaN where a clip has no value.
        groups: by metric, then by channel group: the part that these channels contribute ("FRCorr", "FRdist": to the
            clip's value; others: the metric over these channels alone), averaged over clips.
        overall: figures of the system as a whole, which have no value for a clip.
        num_reactions: reactions to a clip.
    """

    values: dict[str, np.ndarray]
    groups: dict[str, dict[str, float]]
    overall: dict[str, float]
    num_reactions: int


@dataclass
class _State:
    """All that batches leave behind: per-clip values (NaN where not seen yet) and sums."""

    seen: np.ndarray
    values: dict[str, np.ndarray] = field(default_factory=dict)
    groups: dict[str, np.ndarray] = field(default_factory=dict)
    thinned: np.ndarray | None = None
    among_clips: Moments = field(default_factory=Moments)
    motion: FeatureSums = field(default_factory=FeatureSums)
    num_reactions: int = 0


class ReactionMetrics:
    """Accumulates FRCorr, FRdist, FRDiv, FRDvs, FRVar, FRSyn and a motion-based FRRea over batches of clips.

    Memory is bounded by the batch and by about 30 kB a clip, whatever the number of clips.

    Args:
        targets: `(clips, frames, 25)` the recorded reaction to each clip.
        speaker: `(clips, frames, 25)` the speaker of each clip.
        appropriate: `(clips, clips)` booleans; or several such matrices by name, such as `{"MAFRG": ..., "PMAFRG":
            ...}`, in which case the metrics are called "FRCorr MAFRG", "FRdist MAFRG" and so on.

    Example:
        >>> metrics = ReactionMetrics(targets, speaker, appropriate)
        >>> for clips, predictions in batches:
        ...     metrics.update(predictions, clips)
        >>> scores = metrics.compute()
    """

    def __init__(self, targets: Any, speaker: Any, appropriate: Any | Mapping[str, Any]) -> None:
        self.targets = as_clips("targets", targets)
        self.speaker = as_clips("speaker", speaker, like=self.targets)
        clips = len(self.targets)
        if len(self.speaker) != clips:
            raise ValueError(f"speaker must have the {clips} clips of targets; it has {len(self.speaker)}.")
        named = {f" {n}": m for n, m in appropriate.items()} if isinstance(appropriate, Mapping) else {"": appropriate}
        self.matrices = {name: as_appropriate(matrix, clips, clips) for name, matrix in named.items()}
        self._moments = channel_moments(self.targets)
        self._state = _State(seen=np.zeros(clips, dtype=bool))

    def update(self, predictions: Any, clips: Any) -> None:
        """Score a batch.

        Args:
            predictions: `(batch, reactions, frames, 25)`. If it is a view that repeats one reaction, that one is
                scored once and counts for all. If it is a tensor on an accelerator, FRCorr and FRdist search there.
            clips: `(batch,)` the clips that they react to, as row numbers of the targets. Each clip once.

        Raises:
            ValueError: if shapes do not match, a clip is unknown or was scored before, or a value is not finite.
        """
        clips = np.asarray(clips.detach().cpu() if hasattr(clips, "detach") else clips)
        repeats = 1
        if isinstance(predictions, np.ndarray) and predictions.ndim == 4 and predictions.strides[1] == 0:
            repeats = predictions.shape[1]
            predictions = predictions[:, :1]
        device = accelerator(predictions)
        predictions = as_predictions(predictions)
        self._check_batch(predictions, clips, predictions.shape[1] * repeats)
        values, groups = self._score(predictions, clips, repeats, device)
        state = self._state
        for name, found in values.items():
            state.values.setdefault(name, np.full(len(state.seen), np.nan))[clips] = found
        for name, found in groups.items():
            state.groups.setdefault(name, np.full((len(state.seen), len(CHANNEL_GROUPS)), np.nan))[clips] = found
        thinned = predictions[:, :, ::FRAME_RATE]
        if state.thinned is None:
            state.thinned = np.zeros((len(state.seen), *thinned.shape[1:]), dtype=np.float32)
        state.thinned[clips] = thinned
        mean = predictions.mean(axis=0, dtype=np.float64)
        squares = sum(np.square(clip - mean) for clip in predictions)
        state.among_clips.merge(Moments(len(clips), mean, squares))
        if predictions.shape[2] > 1:
            state.motion.add(motion_features(predictions))
        state.num_reactions = predictions.shape[1] * repeats
        state.seen[clips] = True

    def gather(self, accelerator: Any) -> None:
        """Bring together what all processes have scored; afterwards every process can `compute`.

        Args:
            accelerator: an `accelerate.Accelerator`. Every clip must have gone to one process only: share them out
                with `split_between_processes`, or with a loader prepared with `even_batches=False`.
        """
        if accelerator.num_processes == 1:
            return
        from accelerate.utils import gather_object

        states = gather_object([self._state])
        self._state = states[0]
        for state in states[1:]:
            self._merge(state)

    def compute(self) -> Scores:
        """The scores of all clips.

        Raises:
            ValueError: if a clip has not been scored.
        """
        state = self._state
        if not state.seen.all():
            raise ValueError(
                f"{int((~state.seen).sum())} of {len(state.seen)} clips have no predictions yet, the first is clip "
                f"{int(np.argmin(state.seen))}. Pass every clip to update, or leave these out of targets, speaker and "
                "appropriate."
            )
        values, groups = dict(state.values), dict(state.groups)
        overall = {BY_RULE: float(values.pop(_UNDEFINED).mean())}
        if state.motion.count > 1:
            real = FeatureSums()
            for clip in self.targets:
                real.add(motion_features(clip))
            overall["FRRea-motion"] = frechet_of_motion(real.statistics(), state.motion.statistics())
        distinction = self._distinction()
        values["FRDvs"], groups["FRDvs"] = distinction.mean(axis=-1), _in_groups(distinction)
        values = {name: values[name] for name in sorted(values, key=_place)}
        means = {name: dict(zip(CHANNEL_GROUPS, found.mean(axis=0).tolist())) for name, found in groups.items()}
        return Scores(values, means, overall, state.num_reactions)

    def _check_batch(self, predictions: np.ndarray, clips: np.ndarray, num_reactions: int) -> None:
        state = self._state
        if predictions.shape[2:] != self.targets.shape[1:]:
            raise ValueError(
                f"predictions must have the frames and channels of targets, {self.targets.shape[1:]}; "
                f"it has {predictions.shape[2:]} (shape {predictions.shape})."
            )
        if clips.shape != predictions.shape[:1] or clips.dtype.kind not in "iu":
            raise ValueError(
                f"clips must name the row of each of the {len(predictions)} predictions as an integer; it has shape "
                f"{clips.shape} and dtype {clips.dtype}."
            )
        if clips.min() < 0 or clips.max() >= len(state.seen):
            raise ValueError(
                f"clips must lie in 0..{len(state.seen) - 1}; it goes from {clips.min()} to {clips.max()}."
            )
        twice = clips[state.seen[clips]].tolist() or [c for c in set(clips.tolist()) if (clips == c).sum() > 1]
        if twice:
            raise ValueError(f"Each clip is scored once; clip {twice[0]} came before.")
        if state.num_reactions not in (0, num_reactions):
            raise ValueError(
                f"predictions must have {state.num_reactions} reactions to each clip, as before; "
                f"it has {num_reactions}."
            )

    def _score(
        self, predictions: np.ndarray, clips: np.ndarray, repeats: int, device: torch.device | None
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Values `(batch,)` and parts by channel group `(batch, 3)` of a batch, by metric."""
        values, groups = {}, {}
        for name, matrix in self.matrices.items():
            appropriate = matrix[clips]
            nearest = {
                "FRCorr": search_concordance(predictions, self.targets, appropriate, self._moments, device),
                "FRdist": search_distance(predictions, self.targets, appropriate, device),
            }
            for metric, found in nearest.items():
                values[metric + name] = repeats * found.score.sum(axis=1)
                parts = [found.groups[group].sum(axis=1) for group in CHANNEL_GROUPS]
                groups[metric + name] = repeats * np.stack(parts, axis=-1)
        values["FRDiv"] = frdiv_per_clip(predictions)
        groups["FRDiv"] = _in_groups(diversity_per_channel(predictions))
        variance = variance_per_channel(predictions)
        values["FRVar"], groups["FRVar"] = variance.mean(axis=-1), _in_groups(variance)
        offsets = best_offsets(predictions, self.speaker[clips])
        values["FRSyn"] = lag_per_clip(offsets, "published")
        values["FRSyn all"] = lag_per_clip(offsets, "all")
        values["FRSyn corrected"] = lag_per_clip(offsets, "corrected")
        values[_UNDEFINED] = offsets.undefined[:, 0].astype(np.float64)
        return values, groups

    def _distinction(self) -> np.ndarray:
        """FRDvs, `(clips, channels)`: exact in the mean over clips; their spread is read off one frame a second."""
        state = self._state
        if len(state.seen) == 1 or state.thinned is None:
            return np.full((1, self.targets.shape[-1]), np.nan)
        exact = 2 * np.mean(state.among_clips.squares, axis=(0, 1)) / (state.among_clips.count - 1)
        values = distinction_per_channel(state.thinned)
        return values + (exact - values.mean(axis=0))

    def _merge(self, other: _State) -> None:
        state = self._state
        if not other.seen.any():
            return
        if not state.seen.any():
            self._state = other
            return
        both = np.flatnonzero(state.seen & other.seen)
        if len(both):
            raise ValueError(
                f"Clip {both[0]} was scored by two processes. Share the clips out without padding: "
                "split_between_processes, or a loader prepared with even_batches=False."
            )
        for mine, theirs in ((state.values, other.values), (state.groups, other.groups)):
            for name in mine:
                mine[name][other.seen] = theirs[name][other.seen]
        if state.thinned is not None and other.thinned is not None:
            state.thinned[other.seen] = other.thinned[other.seen]
        state.among_clips.merge(other.among_clips)
        state.motion.merge(other.motion)
        state.seen |= other.seen


def _place(metric: str) -> int:
    """Metrics in the order of the published tables; several of one kind stay in the order in which they came."""
    return ("FRCorr", "FRdist", "FRDiv", "FRDvs", "FRVar", "FRSyn").index(metric.split()[0])


def _in_groups(per_channel: np.ndarray) -> np.ndarray:
    """The mean over each channel group: `(clips, channels)` to `(clips, 3)`."""
    return np.stack([per_channel[:, part].mean(axis=-1) for part in CHANNEL_GROUPS.values()], axis=-1)
