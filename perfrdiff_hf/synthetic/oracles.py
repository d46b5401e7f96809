"""Oracles: the world's own reactions, drawn from its truth. They say what knowing something is worth.

They are no ceiling: FRCorr and FRdist reward whoever averages, and the mean of many draws (`mean_oracle_reactions`)
can score higher than any draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from ..behaviour import CLIP_FRAMES, COEFFICIENT_CHANNELS, WINDOW_SIZE
from .cast import Performance, World
from .emotion import reaction_drive, show_emotion
from .face import face_scores
from .people import (
    ACT_FRAMES,
    ACT_FRAMES_SPREAD,
    ACTS,
    Reactions,
    draw_reactions,
    draw_styles,
    envelopes,
)
from .recording import to_coefficients


Knowledge = Literal["personal", "generic", "swapped"]
MEAN_DRAWS = 40


class OracleReactions(NamedTuple):
    """Reactions of an oracle to the speakers of a split, in the row order of `load_react2024`.

    Args:
        emotion: `(rows, num_reactions, 750, 25)` float32.
        coefficients: `(rows, num_reactions, 750, 58)` float32 at rest in REACT's mean face: an oracle knows of no
            camera. Compare movement with them (each clip without its own mean).
    """

    emotion: np.ndarray
    coefficients: np.ndarray


def oracle_reactions(
    world: World,
    split: str,
    *,
    knowledge: Knowledge = "personal",
    personal: bool = False,
    online: bool = True,
    hop: int = WINDOW_SIZE,
    num_reactions: int = 10,
    rows: Sequence[int] | None = None,
    seed: int = 0,
) -> OracleReactions:
    """Reactions that the world itself would give to the speakers of a split.

    The listener's own acts are unknown to an oracle, as to a model, and left out.

    Args:
        world: from `load_world`.
        split: train, val or test.
        knowledge: `"personal"` knows the style of the listener of the row; `"generic"` draws a style from the
            population for every single reaction to an act (and for how the listener moves in each sample);
            `"swapped"` takes another listener of the split for the one in question.
        personal: rows of the person-specific list (clip 1 left out).
        online: in window i, frames [hop i, hop (i + 1)), acts are known only as far as they went before frame hop i
            (equation 3 with w = hop): one that has not begun draws no reaction yet, and when one that goes on will
            end is drawn from the world's statistics. Otherwise the whole speaker clip is known.
        hop: frames of a window, from 1 to 50.
        num_reactions: reactions per row.
        rows: of these numbers alone, in this order; by default all. A row's draws do not depend on the others.
        seed: of the draws.

    Raises:
        ValueError: if `split` or `knowledge` is unknown, `hop` is out of range, or there is no such row.
    """
    drawn = _draws(world, split, knowledge, personal, online, hop, num_reactions, rows, seed)
    emotion, coefficients = zip(*drawn)
    return OracleReactions(np.stack(emotion), np.stack(coefficients))


def mean_oracle_reactions(
    world: World,
    split: str,
    *,
    knowledge: Knowledge = "personal",
    personal: bool = False,
    hop: int = WINDOW_SIZE,
    num_reactions: int = 10,
    rows: Sequence[int] | None = None,
    seed: int = 0,
) -> OracleReactions:
    """The mean of 40 online draws of an oracle, given `num_reactions` times: what averaging alone would score.

    Arguments as `oracle_reactions`. The reactions to a clip are read-only views of the one mean.
    """
    drawn = _draws(world, split, knowledge, personal, True, hop, MEAN_DRAWS, rows, seed)
    means = [tuple(values.mean(axis=0, keepdims=True) for values in draws) for draws in drawn]
    emotion, coefficients = (np.stack(values) for values in zip(*means))
    return OracleReactions(_repeated(emotion, num_reactions), _repeated(coefficients, num_reactions))


def _repeated(means: np.ndarray, num_reactions: int) -> np.ndarray:
    """`(rows, 1, frames, channels)` as so many reactions, without a copy."""
    return np.broadcast_to(means, (len(means), num_reactions, *means.shape[2:]))


def _draws(
    world: World,
    split: str,
    knowledge: Knowledge,
    personal: bool,
    online: bool,
    hop: int,
    count: int,
    rows: Sequence[int] | None,
    seed: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Emotion `(count, 750, 25)` and coefficients `(count, 750, 58)` for each row."""
    if knowledge not in ("personal", "generic", "swapped"):
        raise ValueError(f"knowledge must be personal, generic or swapped; given: {knowledge!r}.")
    if not 1 <= hop <= WINDOW_SIZE:
        raise ValueError(f"hop must lie between 1 and {WINDOW_SIZE} frames; given: {hop}.")
    everything = [row for row in world.of_split(split) if not (personal and row.clip == 1)]
    numbers = range(len(everything)) if rows is None else [int(number) for number in rows]
    if outside := [number for number in numbers if not 0 <= number < len(everything)]:
        raise ValueError(f"rows must lie between 0 and {len(everything) - 1}; given: {outside[0]}.")
    for number in numbers:
        row = everything[number]
        rng = np.random.default_rng((seed, number))
        moving, answering = _styles(world, split, row, knowledge, count, rng)
        yield sample_reactions(world.partner(row), moving, answering, rng, hop if online else None)


def _styles(
    world: World, split: str, row: Performance, knowledge: Knowledge, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Styles by which each sample moves `(count, 6)` and reacts to each act `(count, acts, 6)`."""
    acts = len(world.partner(row).acts)
    if knowledge == "generic":
        return draw_styles(rng, count), draw_styles(rng, count * acts).reshape(count, acts, -1)
    people = [row.listener_id]
    if knowledge == "swapped":
        people = sorted({r.listener_id for r in world.of_split(split)} - {row.listener_id})
    moving = np.stack([world.styles[people[i]] for i in rng.integers(len(people), size=count)])
    return moving, np.repeat(moving[:, None], acts, axis=1)


def sample_reactions(
    speaker: Performance, moving: np.ndarray, answering: np.ndarray, rng: np.random.Generator, hop: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Reactions to one recording, drawn from the truth for given styles.

    Args:
        speaker: whose acts are reacted to.
        moving: `(count, 6)` styles by which the listeners move.
        answering: `(count, acts, 6)` styles by which they react to each act.
        rng: source of randomness.
        hop: frames after which what the speaker did becomes known; None: all is known from the start.

    Returns:
        Emotion `(count, 750, 25)` and coefficients `(count, 750, 58)`, float32.
    """
    kinds = np.broadcast_to(np.array(speaker.acts), answering.shape[:2])
    drawn = draw_reactions(rng, answering, kinds)
    strength = _strength(speaker, drawn, rng, hop)
    emotion, full = show_emotion(reaction_drive(answering, kinds, drawn, strength), rng)
    return emotion, np.stack([_coefficients(*one, rng) for one in zip(moving, full, strength.sum(axis=1))])


def _strength(speaker: Performance, drawn: Reactions, rng: np.random.Generator, hop: int | None) -> np.ndarray:
    """How strongly each reaction shows in each frame, as far as the acts are known: `(count, acts, 750)`."""
    time = np.arange(CLIP_FRAMES)
    start = np.array(speaker.starts)
    end = np.broadcast_to(np.array(speaker.ends)[:, None], (*drawn.kind.shape, CLIP_FRAMES))
    if hop is None:
        return envelopes(drawn, np.broadcast_to(start, drawn.kind.shape), end, time)
    known = time // hop * hop
    end = _believed_ends(rng, start, end, known)
    strength = envelopes(drawn, np.broadcast_to(start, drawn.kind.shape), end, time)
    return strength * (start[:, None] < known)


def _coefficients(style: np.ndarray, full: np.ndarray, reacting: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The coefficients of somebody who only listens, `(750, 58)`."""
    nothing = np.zeros((len(full), len(ACTS)))
    at_rest = np.zeros(COEFFICIENT_CHANNELS)
    return to_coefficients(face_scores(style, at_rest, full, nothing, nothing[:, 0], reacting, rng))


def _believed_ends(rng: np.random.Generator, start: np.ndarray, end: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Ends of acts as believed in each frame `(count, acts, frames)`: the true one if it is past, else drawn.

    The draw is from the world's act lengths, given that the act has already lasted as long as was seen. It is made
    once per window.
    """
    lengths = _length_odds()
    windows = np.unique(known)
    beyond = np.cumsum(lengths)
    elapsed = np.clip(windows - start[:, None], 0, len(lengths) - 1)  # (acts, windows)
    floor = beyond[elapsed]
    ceiling = np.broadcast_to(beyond[-1], floor.shape)
    quantile = floor + rng.random((len(end), *floor.shape)) * (ceiling - floor)
    drawn = np.searchsorted(beyond, quantile) + start[:, None]
    drawn = np.repeat(drawn, np.unique(known, return_counts=True)[1], axis=-1)
    return np.where(end <= known, end, drawn)


def _length_odds() -> np.ndarray:
    """Probability of each act length in frames, from how scripts are drawn and how dyads depart from them."""
    spread = np.full(2 * ACT_FRAMES_SPREAD + 1, 1.0)
    odds = np.convolve(np.full(ACT_FRAMES[1] - ACT_FRAMES[0], 1.0), spread)
    return np.concatenate([np.zeros(ACT_FRAMES[0] - ACT_FRAMES_SPREAD), odds / odds.sum()])
