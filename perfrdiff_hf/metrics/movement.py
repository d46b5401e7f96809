"""How faces and heads move, beside what they show: coefficients scored against the recorded ones.

A clip's own mean over time is taken off first, of predictions and of recorded reactions alike: how a face rests and
where its camera stood is no reaction, and nobody can predict it. What is left is movement.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..behaviour import COEFFICIENT_CHANNELS, FRAME_RATE, ROTATION
from ..data.masks import WHOLE, ChannelMask
from .frcorr_frdist import channel_moments, search_concordance
from .inputs import COEFFICIENT_GROUPS, accelerator, as_clips, as_predictions
from .liveliness import head_range_per_clip, head_speed_per_clip, nod_share_per_clip, nods_per_clip
from .masking import ScoredChannels
from .realism import FeatureStatistics, motion_features
from .sums import FeatureSums


if TYPE_CHECKING:
    import torch


# What a metric of emotion is called where it is computed on coefficients.
OF_COEFFICIENTS = " coefficients"


def without_mean(coefficients: np.ndarray) -> np.ndarray:
    """Movement alone: `(..., frames, channels)` float32 minus each sequence's own mean over its frames.

    A channel that is constant becomes exactly 0.
    """
    return coefficients - coefficients.mean(axis=-2, keepdims=True, dtype=np.float64).astype(np.float32)


class RecordedMovement:
    """The coefficients of recorded reactions, and what others score against them.

    Args:
        coefficients: `(clips, frames, 58)` as recorded; at least a second.
        like: `(clips, frames, 25)` the emotion of the same clips.
        mask: which channels are known; where no rotation is, heads have no figures.

    Raises:
        ValueError: if the shape is another one, a value is not finite, there is less than a second, or no channel is
            known.
    """

    def __init__(self, coefficients: Any, like: np.ndarray, mask: ChannelMask = WHOLE) -> None:
        self._scored = ScoredChannels(mask, "coefficients")
        coefficients = as_clips("target_coefficients", coefficients)
        expected = (*like.shape[:2], COEFFICIENT_CHANNELS)
        if coefficients.shape != expected:
            raise ValueError(
                f"target_coefficients must have the clips and frames of targets and {COEFFICIENT_CHANNELS} channels, "
                f"{expected}; it has {coefficients.shape}."
            )
        if expected[1] < FRAME_RATE:
            raise ValueError(
                f"target_coefficients must have at least {FRAME_RATE} frames (one second), or no nod is seen; it has "
                f"{expected[1]}. Leave it out to score emotion alone."
            )
        self._centred = self._scored.keep(without_mean(coefficients))
        self._moments = channel_moments(self._centred)

    def score(
        self,
        coefficients: np.ndarray,
        appropriate: Mapping[str, np.ndarray],
        repeats: int = 1,
        device: torch.device | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[tuple[str, str], np.ndarray]]:
        """What each clip of a batch scores.

        Args:
            coefficients: `(batch, reactions, frames, 58)` that were checked.
            appropriate: `(batch, clips)` booleans, by what FRCorr's name ends with.
            repeats: how often each reaction counts.
            device: where to search, by default the CPU.

        Returns:
            Values `(batch,)` by metric, and the parts of FRCorr by metric and channel group; FRCorr is summed over
            the reactions.
        """
        centred = self.movement_of(coefficients)
        values, groups = {}, {}
        for name, matrix in appropriate.items():
            metric = f"FRCorr{OF_COEFFICIENTS}{name}"
            found = search_concordance(centred, self._centred, matrix, self._moments, device)
            values[metric] = self._scored.share * repeats * found.score.sum(axis=1)
            for group in COEFFICIENT_GROUPS:
                groups[metric, group] = self._scored.group_shares[group] * repeats * found.groups[group].sum(axis=1)
        if self._scored.available[ROTATION].all():
            values["head speed"] = head_speed_per_clip(coefficients)
            values["head range"] = head_range_per_clip(coefficients)
            values["nods"] = nods_per_clip(coefficients)
            values["nod share"] = nod_share_per_clip(coefficients)
        return values, groups

    def movement_of(self, coefficients: np.ndarray) -> np.ndarray:
        """Movement of the known channels, `(..., frames, 58)`; zeros in the others."""
        return self._scored.keep(without_mean(coefficients))

    def motion(self) -> FeatureStatistics:
        """The motion features of the recorded movement."""
        sums = FeatureSums()
        for clip in self._centred:
            sums.add(motion_features(clip))
        return sums.statistics()


def checked_coefficients(coefficients: Any, like: np.ndarray) -> tuple[np.ndarray, torch.device | None]:
    """Coefficients of predictions `(batch, reactions, frames, 58)`, and where to search for the nearest.

    Args:
        coefficients: NumPy array or torch tensor.
        like: `(batch, reactions, frames, 25)` the emotion of the same predictions.

    Raises:
        ValueError: if they do not fit each other, or a value is not finite.
    """
    device = accelerator(coefficients)
    coefficients = as_predictions(coefficients, "coefficients")
    expected = (*like.shape[:3], COEFFICIENT_CHANNELS)
    if coefficients.shape != expected:
        raise ValueError(
            f"coefficients must have the clips, reactions and frames of predictions and {COEFFICIENT_CHANNELS} "
            f"channels, {expected}; it has {coefficients.shape}."
        )
    return coefficients, device
