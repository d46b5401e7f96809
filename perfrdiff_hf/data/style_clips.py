"""Contrastive batches for the style encoder: clips of several listeners, several of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from .arrays import ClipArrays
from .examples import ClipExamples, Example, appropriate_rows, check_streams, random_cut


class StyleClips(ClipExamples):
    """For PSSL: one item is a whole batch of clips of several listeners, several clips of each.

    An item is `{"coefficients": (clips, frames, 58), "label": (clips,) int64, "group": (clips,) int64}`; the label is
    the listener, the group the speaker clip that they react to. Use it with `batch_size=None`.

    The variant "within" takes, for each of `speakers` speaker clips, up to `listeners` of the listeners with at least
    two appropriate reactions, and 2 to `max_clips` of these. Where fewer than two listeners have that many, others
    with one appropriate reaction join, and their further clips complete theirs. So pass the matrix of all listeners,
    not the personal one. The variant "random" draws as many listeners without regard to what they react to; all are
    one group.

    Args:
        arrays: the clips, with coefficients.
        appropriate: bool `(rows, rows)`, in the row order of `arrays`.
        variant: "within" or "random".
        speakers: speaker clips in an item.
        listeners: at most so many listeners for each.
        max_clips: at most so many clips of each listener in a group.
        frames: length to which clips are cut at random; None: that of the shortest clip in the data.
        seed: fixes the items.

    Raises:
        ValueError: if the variant is unknown, the matrix does not fit, coefficients are lacking, or fewer than two
            listeners have two clips.
    """

    def __init__(
        self,
        arrays: ClipArrays,
        appropriate: np.ndarray,
        variant: str = "within",
        speakers: int = 3,
        listeners: int = 4,
        max_clips: int = 16,
        frames: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(arrays, seed)
        if variant not in ("within", "random"):
            raise ValueError(f'variant must be "within" or "random"; given: {variant!r}.')
        check_streams(arrays, "coefficients")
        self.variant = variant
        self.speakers = speakers
        self.listeners = listeners
        self.max_clips = max_clips
        self.frames = int(arrays.num_frames.min()) if frames is None else frames
        self._reactions = appropriate_rows(arrays, appropriate)
        _, self._labels = np.unique(arrays.listener_ids, return_inverse=True)
        self._clips_of = {label: np.flatnonzero(self._labels == label) for label in np.unique(self._labels)}
        self._several = np.array([label for label, rows in self._clips_of.items() if len(rows) > 1])
        if len(self._several) < 2:
            raise ValueError("Style is learned by contrast: at least two listeners must have two clips each.")

    def __len__(self) -> int:
        return -(-len(self.arrays) // self.speakers)

    def __getitems__(self, indices: Sequence[int]) -> list[Example]:
        return [self._batch(int(index)) for index in indices]

    def _batch(self, index: int) -> Example:
        # Every speaker clip has its turn once an epoch: the order is one permutation for all items.
        draws = self.draws()
        order = draws.of(0).permutation(len(self.arrays))
        generator = draws.of(index + 1)
        if self.variant == "random":
            groups = [self._some_of(self._several, None, self.speakers * self.listeners, generator)]
        else:
            clips = order[index * self.speakers : (index + 1) * self.speakers]
            groups = [self._group(clip, generator) for clip in clips]
        rows = np.concatenate(groups)
        cuts = [random_cut(self.arrays.coefficients(row), self.frames, generator) for row in rows]
        group = np.repeat(np.arange(len(groups)), [len(members) for members in groups])
        return {
            "coefficients": torch.from_numpy(np.stack(cuts)),
            "label": torch.from_numpy(self._labels[rows]).long(),
            "group": torch.from_numpy(group).long(),
        }

    def _group(self, clip: int, generator: np.random.Generator) -> np.ndarray:
        """The rows of the listeners who react to one speaker clip."""
        rows = self._reactions[clip]
        labels, counts = np.unique(self._labels[rows], return_counts=True)
        often = labels[counts > 1]
        candidates = often if len(often) > 1 else np.intersect1d(labels, self._several)
        return self._some_of(candidates if len(candidates) else self._several, rows, self.listeners, generator)

    def _some_of(
        self, candidates: np.ndarray, rows: np.ndarray | None, most: int, generator: np.random.Generator
    ) -> np.ndarray:
        """Clips of at most `most` of the candidates, from `rows` where these hold two of theirs or more."""
        chosen = []
        for label in generator.permutation(candidates)[:most]:
            clips = self._clips_of[label]
            among = clips if rows is None else np.intersect1d(clips, rows)
            clips = generator.permutation(among if len(among) > 1 else clips)
            chosen.append(clips[: generator.integers(2, max(2, min(self.max_clips, len(clips))) + 1)])
        return np.concatenate(chosen) if chosen else np.empty(0, dtype=np.int64)
