"""Reference rows: what systems score that do not react at all. A figure means little without them.

A row is a function from clip numbers to predictions, so that no more than a batch is ever in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..behaviour import FRAME_RATE
from ..metrics.inputs import as_clips


class Predictions(NamedTuple):
    """Reactions to some clips, as metrics take them.

    Args:
        emotion: `(clips, reactions, frames, 25)`.
        coefficients: `(clips, reactions, frames, 58)` of the same reactions; None if they are not known.
    """

    emotion: np.ndarray
    coefficients: np.ndarray | None = None


Row = Callable[[np.ndarray], Predictions]

RECORDED = "recorded reactions"
REFERENCE_NAMES = (RECORDED, "chance", "mime", "mean sequence", "mean frame", "retrieval")


def reference_rows(
    targets: Any,
    speaker: Any,
    num_reactions: int = 10,
    training_reactions: Any = None,
    training_speaker: Any = None,
    seed: int = 0,
    target_coefficients: Any = None,
) -> dict[str, Row]:
    """The reference rows that the given data allows.

    - "recorded reactions": the reaction that was recorded with the clip.
    - "chance": uniform noise in [0, 1] in every channel.
    - "mime": the speaker's own behaviour, without delay.
    - "mean sequence", "mean frame": the mean training reaction, frame by frame and over all frames.
    - "retrieval": the training reactions to the most similar training speakers; not a causal system, since it
      compares whole clips.

    All reactions to a clip are equal except in "chance" and "retrieval".

    Args:
        targets: `(clips, frames, channels)` recorded reactions, one a clip.
        speaker: `(clips, frames, channels)` the speaker's behaviour.
        num_reactions: reactions to a clip.
        training_reactions: `(clips, frames, channels)` recorded reactions of the training set, in memory or mapped;
            None leaves out the rows that need them.
        training_speaker: `(clips, frames, channels)` their speakers; None leaves out "retrieval".
        seed: of the noise.
        target_coefficients: `(clips, frames, 58)` the recorded coefficients, which "recorded reactions" then has; the
            other rows have emotion alone.
    """
    targets = as_clips("targets", targets)
    speaker = as_clips("speaker", speaker, like=targets)
    rows: dict[str, Row] = {
        RECORDED: _recorded(targets, target_coefficients, num_reactions),
        "chance": _noise(targets.shape[1:], num_reactions, seed),
        "mime": _repeated(speaker, num_reactions),
    }
    if training_reactions is not None:
        training_reactions = as_clips("training_reactions", training_reactions, like=targets)
        sequence = training_reactions.mean(axis=0, dtype=np.float64).astype(np.float32)
        frame = np.broadcast_to(sequence.mean(axis=0), sequence.shape)
        rows["mean sequence"] = _repeated(np.broadcast_to(sequence, targets.shape), num_reactions)
        rows["mean frame"] = _repeated(np.broadcast_to(frame, targets.shape), num_reactions)
        if training_speaker is not None:
            training_speaker = as_clips("training_speaker", training_speaker, like=targets)
            rows["retrieval"] = _retrieved(speaker, training_speaker, training_reactions, num_reactions)
    return rows


def _recorded(targets: np.ndarray, target_coefficients: Any, num_reactions: int) -> Row:
    """The recorded reaction `num_reactions` times, with its coefficients where they are known."""
    if target_coefficients is None:
        return _repeated(targets, num_reactions)
    coefficients = as_clips("target_coefficients", target_coefficients)
    return lambda indices: Predictions(
        _views(targets[indices], num_reactions), _views(coefficients[indices], num_reactions)
    )


def _repeated(clips: np.ndarray, num_reactions: int) -> Row:
    """The same reaction `num_reactions` times."""
    return lambda indices: Predictions(_views(clips[indices], num_reactions))


def _views(chosen: np.ndarray, num_reactions: int) -> np.ndarray:
    """`(clips, frames, channels)` as so many equal reactions, without a copy."""
    return np.broadcast_to(chosen[:, None], (len(chosen), num_reactions, *chosen.shape[1:]))


def _noise(shape: tuple[int, ...], num_reactions: int, seed: int) -> Row:
    """Uniform noise; a clip's noise depends on its number alone."""

    def row(indices: np.ndarray) -> Predictions:
        generators = (np.random.default_rng((seed, int(index))) for index in indices)
        return Predictions(np.stack([rng.random((num_reactions, *shape), dtype=np.float32) for rng in generators]))

    return row


def _retrieved(speaker: np.ndarray, known: np.ndarray, reactions: np.ndarray, num_reactions: int) -> Row:
    """The reactions to the most similar known speakers; the nearest again if there are too few."""
    seen, database = _by_the_second(speaker), _by_the_second(known)
    norms = np.square(database).sum(axis=1)

    def row(indices: np.ndarray) -> Predictions:
        distance = norms - 2 * seen[indices] @ database.T
        nearest = np.argsort(distance, axis=1, kind="stable")[:, :num_reactions]
        nearest = np.take(nearest, np.arange(num_reactions) % nearest.shape[1], axis=1)
        return Predictions(reactions[nearest])

    return row


def _by_the_second(clips: np.ndarray) -> np.ndarray:
    """Means over each second, flattened: `(clips, seconds * channels)`; what a clip looks like from a distance."""
    seconds = max(clips.shape[1] // FRAME_RATE, 1)
    parts = np.array_split(np.arange(clips.shape[1]), seconds)
    return np.concatenate([clips[:, part].mean(axis=1) for part in parts], axis=1)
