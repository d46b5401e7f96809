"""Reactions as words: each frame is one pattern of action units, one cell of valence and arousal, one expression."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..behaviour import ACTION_UNITS, EXPRESSIONS, VALENCE_AROUSAL
from ..extras import require


KINDS = (ACTION_UNITS, VALENCE_AROUSAL, EXPRESSIONS)
CELL = 0.1
FRAMES_LOOKED_AT = 20_000


class ReactionTokenizer(nn.Module):
    """Three vocabularies, fitted on recorded reactions; they are buffers, and travel with a model's weights.

    A value that was not seen becomes its nearest entry. Before `fit` every entry is 0.

    Args:
        sizes: at most how many patterns of action units, cells and expressions there are.

    Raises:
        ValueError: if there are not three sizes, or one is below 1.
    """

    counts: Tensor

    def __init__(self, sizes: tuple[int, ...]):
        super().__init__()
        if len(sizes) != len(KINDS) or min(sizes) < 1:
            raise ValueError(f"vocabulary_sizes must hold three numbers of at least 1; given: {tuple(sizes)}.")
        self.sizes = tuple(sizes)
        for number, (size, kind) in enumerate(zip(sizes, KINDS)):
            self.register_buffer(f"entries_{number}", torch.zeros(size, kind.stop - kind.start))
        self.register_buffer("counts", torch.ones(len(KINDS), dtype=torch.long))

    def entries(self, kind: int) -> Tensor:
        """A vocabulary, `(size, width)`; those beyond `counts` are none."""
        return getattr(self, f"entries_{kind}")

    def fit(self, emotion: np.ndarray, seed: int = 0) -> None:
        """Learn the vocabularies of recorded frames `(frames, 25)`.

        The most frequent patterns of action units; the most frequent cells of a tenth, by their centres; the centres
        of clusters of expressions.

        Raises:
            ImportError: without scikit-learn, which comes with the extra `training`.
        """
        chosen = np.linspace(0, len(emotion) - 1, min(len(emotion), FRAMES_LOOKED_AT)).round().astype(np.int64)
        frames = emotion[chosen]
        units = _frequent((frames[:, ACTION_UNITS] > 0.5).astype(np.float32), self.sizes[0])
        cells = _frequent(np.floor(frames[:, VALENCE_AROUSAL] / CELL), self.sizes[1])
        centres = np.clip((cells + 0.5) * CELL, -1, 1)
        expressions = _clusters(frames[:, EXPRESSIONS], self.sizes[2], seed)
        for number, found in enumerate((units, centres, expressions)):
            entries = self.entries(number)
            entries.zero_()
            entries[: len(found)] = torch.from_numpy(found.astype(np.float32))
            self.counts[number] = len(found)

    def encode(self, emotion: Tensor) -> Tensor:
        """The tokens `(..., 3)` of frames `(..., 25)`."""
        tokens = []
        for number, kind in enumerate(KINDS):
            known = self.entries(number)[: int(self.counts[number])]
            values = emotion[..., kind].reshape(-1, known.shape[1])
            # The differences themselves: the shortcut by products confuses what lies close together.
            distances = torch.cdist(values, known, compute_mode="donot_use_mm_for_euclid_dist")
            tokens.append(distances.argmin(dim=1).reshape(emotion.shape[:-1]))
        return torch.stack(tokens, dim=-1)

    def decode(self, tokens: Tensor) -> Tensor:
        """The frames `(..., 25)` of tokens `(..., 3)`."""
        return torch.cat([self.entries(kind)[tokens[..., kind]] for kind in range(len(KINDS))], dim=-1)


def _frequent(rows: np.ndarray, most: int) -> np.ndarray:
    """The most frequent of equal rows."""
    found, counts = np.unique(rows, axis=0, return_counts=True)
    return found[np.argsort(-counts, kind="stable")[:most]]


def _clusters(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    """The centres of at most so many clusters; all rows where they are no more."""
    different = np.unique(rows, axis=0)
    if len(different) <= most:
        return different
    require("training", "Vocabularies of reactions")
    from sklearn.cluster import MiniBatchKMeans

    return MiniBatchKMeans(most, random_state=seed, n_init=1, batch_size=1024).fit(rows).cluster_centers_
