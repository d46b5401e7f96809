"""`ReactionMetrics`: every metric over batches of predictions, in one or many processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..behaviour import FRAME_RATE, WINDOW_SIZE
from ..data.masks import WHOLE, ChannelMask
from .diversity import (
    distinction_per_channel,
    diversity_per_channel,
    frdiv_per_clip,
    variance_per_channel,
)
from .frcorr_frdist import channel_moments, search_concordance, search_distance
from .inputs import CHANNEL_GROUPS, accelerator, as_appropriate, as_clips, as_predictions
from .liveliness import switches_per_clip
from .masking import ScoredChannels
from .movement import OF_COEFFICIENTS, RecordedMovement, checked_coefficients
from .realism import frechet_of_motion, motion_features
from .sums import FeatureSums, Moments
from .synchrony import best_offsets, lag_per_clip


if TYPE_CHECKING:
    import torch


# The overall figure that says how much of the published FRSyn is an artefact.
BY_RULE = "FRSyn decided by a constant channel"

MOTION = "FRRea-motion"

# Among the values of a state: whether a constant channel decided the published FRSyn of a clip.
_UNDEFINED = "undefined"


@dataclass
class Scores:
    """What one system scored, clip by clip. The mean of a metric's values (without NaN) is the metric.

    Args:
        values: `(clips,)` float64 by metric; NaN where a clip has no value. Those of coefficients are absent where
            none were scored.
        groups: by metric, then by channel group: the part that these channels contribute ("FRCorr", "FRdist": to the
            clip's value; others: the metric over these channels alone), averaged over clips.
        overall: figures of the system as a whole, which have no value for a clip.
        num_reactions: reactions to a clip.
        hop: frames from one border of windows to the next.
        mask: which channels were scored: those that are not unavailable.
    """

    values: dict[str, np.ndarray]
    groups: dict[str, dict[str, float]]
    overall: dict[str, float]
    num_reactions: int
    hop: int = WINDOW_SIZE
    mask: ChannelMask = WHOLE


@dataclass
class _State:
    """All that batches leave behind: per-clip values (NaN where not seen yet) and sums."""

    seen: np.ndarray
    values: dict[str, np.ndarray] = field(default_factory=dict)
    groups: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)  # by metric and channel group
    thinned: np.ndarray | None = None
    among_clips: Moments = field(default_factory=Moments)
    motion: FeatureSums = field(default_factory=FeatureSums)
    with_coefficients: bool = False
    movement: FeatureSums = field(default_factory=FeatureSums)
    num_reactions: int = 0


class ReactionMetrics:
    """Accumulates every metric over batches of clips.

    - Of emotion, as published: FRCorr, FRdist, FRDiv, FRDvs, FRVar, FRSyn.
    - Of emotion, whether it looks alive: action units that switch "at borders" of windows and "inside" them, per step
      from frame to frame, and "FRRea-motion", which has no value for a clip.
    - Of coefficients, where both recorded and predicted ones are given: "FRCorr coefficients" and "FRRea-motion
      coefficients", both of movement alone (each clip without its own mean); "head speed" (radians per second), "head
      range" (radians), "nods" (radians) and "nod share" (0 to 1), as `metrics.liveliness` defines them.

    Memory is bounded by the batch and by about 30 kB a clip, whatever the number of clips; the recorded coefficients
    are held once more.

    Args:
        targets: `(clips, frames, 25)` the recorded reaction to each clip.
        speaker: `(clips, frames, 25)` the speaker of each clip.
        appropriate: `(clips, clips)` booleans; or several such matrices by name, such as `{"MAFRG": ..., "PMAFRG":
            ...}`, in which case the metrics are called "FRCorr MAFRG", "FRdist MAFRG" and so on.
        target_coefficients: `(clips, frames, 58)` the recorded coefficients of the same reactions; None scores
            emotion alone.
        hop: frames from one border of windows to the next. Switches are NaN where no frame is a border or every is.
        mask: which channels are known; the others are in no figure (see `metrics.masking`).

    Raises:
        ValueError: if shapes do not match, a value is not finite, or `hop` is out of range.

    Example:
        >>> metrics = ReactionMetrics(targets, speaker, appropriate)
        >>> for clips, predictions in batches:
        ...     metrics.update(predictions, clips)
        >>> scores = metrics.compute()
    """

    def __init__(
        self,
        targets: Any,
        speaker: Any,
        appropriate: Any | Mapping[str, Any],
        target_coefficients: Any = None,
        hop: int = WINDOW_SIZE,
        mask: ChannelMask = WHOLE,
    ) -> None:
        self.mask = mask
        self._scored = ScoredChannels(mask)
        self.targets = self._scored.keep(as_clips("targets", targets))
        self.speaker = self._scored.keep(as_clips("speaker", speaker, like=self.targets))
        clips = len(self.targets)
        if len(self.speaker) != clips:
            raise ValueError(f"speaker must have the {clips} clips of targets; it has {len(self.speaker)}.")
        named = {f" {n}": m for n, m in appropriate.items()} if isinstance(appropriate, Mapping) else {"": appropriate}
        self.matrices = {name: as_appropriate(matrix, clips, clips) for name, matrix in named.items()}
        self._moments = channel_moments(self.targets)
        self._recorded: RecordedMovement | None = None
        if target_coefficients is not None:
            self._recorded = RecordedMovement(target_coefficients, self.targets, mask)
        if not isinstance(hop, (int, np.integer)) or hop < 1:
            raise ValueError(f"hop must be a whole number of frames, 1 or more; given: {hop!r}.")
        self.hop = int(hop)
        self._state = _State(seen=np.zeros(clips, dtype=bool))

    def update(self, predictions: Any, clips: Any, coefficients: Any = None) -> None:
        """Score a batch.

        Args:
            predictions: `(batch, reactions, frames, 25)`. If it is a view that repeats one reaction (and so are the
                coefficients), that one is scored once and counts for all. If it is a tensor on an accelerator, FRCorr
                and FRdist search there.
            clips: `(batch,)` the clips that they react to, as row numbers of the targets. Each clip once.
            coefficients: `(batch, reactions, frames, 58)` of the same reactions, with every batch or with none.

        Raises:
            ValueError: if shapes do not match, a clip is unknown or was scored before, a value is not finite, or
                coefficients come without recorded ones or with some batches only.
        """
        clips = np.asarray(clips.detach().cpu() if hasattr(clips, "detach") else clips)
        repeats = 1
        if _repeats_one(predictions) and (
            coefficients is None or (_repeats_one(coefficients) and coefficients.shape[1] == predictions.shape[1])
        ):
            repeats = predictions.shape[1]
            predictions = predictions[:, :1]
            coefficients = None if coefficients is None else coefficients[:, :1]
        device = accelerator(predictions)
        predictions = self._scored.keep(as_predictions(predictions))
        self._check_batch(predictions, clips, predictions.shape[1] * repeats)
        recorded = self._recorded_for(coefficients)
        state = self._state
        if recorded is not None:
            self._update_movement(recorded, coefficients, predictions, clips, repeats)
        self._keep(*self._score(predictions, clips, repeats, device), clips)
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
            overall[MOTION] = frechet_of_motion(real.statistics(), state.motion.statistics())
        if self._recorded is not None and state.movement.count > 1:
            overall[MOTION + OF_COEFFICIENTS] = frechet_of_motion(self._recorded.motion(), state.movement.statistics())
        distinction = self._distinction()
        values["FRDvs"] = self._scored.share * distinction.mean(axis=-1)
        groups |= self._in_groups("FRDvs", distinction)
        values = {name: values[name] for name in sorted(values, key=_place)}
        means: dict[str, dict[str, float]] = {}
        for (metric, group), found in groups.items():
            means.setdefault(metric, {})[group] = float(found.mean())
        return Scores(values, means, overall, state.num_reactions, self.hop, self.mask)

    def _keep(
        self, values: dict[str, np.ndarray], groups: dict[tuple[str, str], np.ndarray], clips: np.ndarray
    ) -> None:
        """Put what a batch scored to what others did."""
        state = self._state
        for name, found in values.items():
            state.values.setdefault(name, np.full(len(state.seen), np.nan))[clips] = found
        for part, found in groups.items():
            state.groups.setdefault(part, np.full(len(state.seen), np.nan))[clips] = found

    def _recorded_for(self, coefficients: Any) -> RecordedMovement | None:
        """What coefficients are scored against; None if there are none."""
        if coefficients is not None and self._recorded is None:
            raise ValueError(
                "coefficients can be scored only against recorded ones; pass target_coefficients to ReactionMetrics, "
                "or leave coefficients out."
            )
        given = coefficients is not None
        if self._state.seen.any() and given != self._state.with_coefficients:
            raise ValueError(
                f"coefficients must come with every batch or with none; this one is {'the first' if given else 'not'} "
                "with them, unlike those before."
            )
        return self._recorded if given else None

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
    ) -> tuple[dict[str, np.ndarray], dict[tuple[str, str], np.ndarray]]:
        """Values `(batch,)` of a batch by metric, and its parts by metric and channel group."""
        values, groups, scored = {}, {}, self._scored
        weighed = scored.weigh(predictions), scored.weigh(self.targets)
        for name, matrix in self.matrices.items():
            appropriate = matrix[clips]
            concordant = search_concordance(predictions, self.targets, appropriate, self._moments, device)
            near = search_distance(*weighed, appropriate, device)
            values[f"FRCorr{name}"] = scored.share * repeats * concordant.score.sum(axis=1)
            values[f"FRdist{name}"] = repeats * near.score.sum(axis=1)
            for group in CHANNEL_GROUPS:
                of_group = repeats * concordant.groups[group].sum(axis=1)
                groups[f"FRCorr{name}", group] = scored.group_shares[group] * of_group
                groups[f"FRdist{name}", group] = repeats * near.groups[group].sum(axis=1)
        values["FRDiv"] = scored.share * frdiv_per_clip(predictions)
        groups |= self._in_groups("FRDiv", diversity_per_channel(predictions))
        variance = variance_per_channel(predictions)
        values["FRVar"] = scored.share * variance.mean(axis=-1)
        groups |= self._in_groups("FRVar", variance)
        offsets = best_offsets(scored.select(predictions), scored.select(self.speaker[clips]))
        values["FRSyn"] = lag_per_clip(offsets, "published")
        values["FRSyn all"] = lag_per_clip(offsets, "all")
        values["FRSyn corrected"] = lag_per_clip(offsets, "corrected")
        values[_UNDEFINED] = offsets.undefined[:, 0].astype(np.float64)
        values["switches at borders"], values["switches inside"] = self._switches(predictions)
        return values, groups

    def _switches(self, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many action units switch at borders and inside windows, each `(batch,)`."""
        frames = predictions.shape[2]
        if not 1 < self.hop < frames:
            return np.full(len(predictions), np.nan), np.full(len(predictions), np.nan)
        found = switches_per_clip(predictions, range(self.hop, frames, self.hop))
        return found["borders"], found["inside"]

    def _update_movement(
        self, recorded: RecordedMovement, coefficients: Any, predictions: np.ndarray, clips: np.ndarray, repeats: int
    ) -> None:
        """Score the coefficients of a batch."""
        coefficients, device = checked_coefficients(coefficients, predictions)
        appropriate = {name: matrix[clips] for name, matrix in self.matrices.items()}
        self._keep(*recorded.score(coefficients, appropriate, repeats, device), clips)
        self._state.movement.add(motion_features(recorded.movement_of(coefficients)))
        self._state.with_coefficients = True

    def _in_groups(self, metric: str, per_channel: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
        """A metric's mean over each channel group, `(clips,)`, from `(clips, channels)`."""
        shares = self._scored.group_shares
        return {
            (metric, group): shares[group] * per_channel[:, part].mean(axis=-1)
            for group, part in CHANNEL_GROUPS.items()
        }

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
        if state.with_coefficients != other.with_coefficients:
            raise ValueError(
                "coefficients must come with every batch or with none; one process had them, another not."
            )
        for name, values in other.values.items():
            state.values[name][other.seen] = values[other.seen]
        for part, values in other.groups.items():
            state.groups[part][other.seen] = values[other.seen]
        if state.thinned is not None and other.thinned is not None:
            state.thinned[other.seen] = other.thinned[other.seen]
        state.among_clips.merge(other.among_clips)
        state.motion.merge(other.motion)
        state.movement.merge(other.movement)
        state.seen |= other.seen


def is_published(metric: str) -> bool:
    """Whether a figure belongs into the published tables; the others tell whether reactions look alive."""
    return metric.startswith("FR") and not metric.startswith((MOTION, f"FRCorr{OF_COEFFICIENTS}"))


def _place(metric: str) -> int:
    """Metrics in the order of the published tables, then all others; of one kind in the order in which they came."""
    kinds = ("FRCorr", "FRdist", "FRDiv", "FRDvs", "FRVar", "FRSyn")
    if not is_published(metric):
        return len(kinds) + (not metric.startswith("switches"))
    return kinds.index(metric.split()[0])


def _repeats_one(values: Any) -> bool:
    """Whether an array is a view that repeats one reaction."""
    return isinstance(values, np.ndarray) and values.ndim == 4 and values.strides[1] == 0
