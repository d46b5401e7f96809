"""Oracles: reactions drawn from the truth of a synthetic world: what it would have done itself.

They are no ceiling of the scores: a mean of many draws lies nearer to whatever is compared with it than a draw does.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..behaviour import CLIP_FRAMES, EMOTION_CHANNELS, WINDOW_SIZE
from .cast import Performance, World
from .emotion import reaction_drive, show_emotion
from .people import ACT_FRAMES, ACT_FRAMES_SPREAD, draw_reactions, draw_styles, envelopes


Knowledge = Literal["personal", "generic", "swapped"]


def oracle_reactions(
    world: World,
    split: str,
    *,
    knowledge: Knowledge = "personal",
    personal: bool = False,
    online: bool = True,
    num_reactions: int = 10,
    seed: int = 0,
) -> np.ndarray:
    """Reactions that the world itself would give to the speakers of a split.

    The listener's own acts are unknown to an oracle, as to a model, and left out.

    Args:
        world: from `load_world`.
        split: train, val or test.
        knowledge: `"personal"` knows the style of the listener of the row; `"generic"` draws a style from the
            population for every single reaction to an act (and for how the listener sits still in each sample);
            `"swapped"` takes another listener of the split for the one in question.
        personal: rows of the person-specific list (clip 1 left out).
        online: in window i, frames [50 i, 50 i + 50), acts are known only as far as they went before frame 50 i: one
            that has not begun draws no reaction yet, and when one that goes on will end is drawn from the world's
            statistics. Otherwise the whole speaker clip is known.
        num_reactions: reactions per row.
        seed: of the draws.

    Returns:
        `(rows, num_reactions, 750, 25)` float32, in the row order of `load_react2024`.

    Raises:
        ValueError: if `split` or `knowledge` is unknown.
    """
    if knowledge not in ("personal", "generic", "swapped"):
        raise ValueError(f"knowledge must be personal, generic or swapped; given: {knowledge!r}.")
    rows = [r for r in world.of_split(split) if not (personal and r.clip == 1)]
    reactions = np.empty((len(rows), num_reactions, CLIP_FRAMES, EMOTION_CHANNELS), dtype=np.float32)
    for number, row in enumerate(rows):
        rng = np.random.default_rng((seed, number))
        rest, answering = _styles(world, split, row, knowledge, num_reactions, rng)
        reactions[number] = sample_reactions(world.partner(row), rest, answering, online, rng)
    return reactions


def _styles(
    world: World, split: str, row: Performance, knowledge: Knowledge, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Styles by which each sample sits still `(count, 6)` and reacts to each act `(count, acts, 6)`."""
    acts = len(world.partner(row).acts)
    if knowledge == "generic":
        return draw_styles(rng, count), draw_styles(rng, count * acts).reshape(count, acts, -1)
    people = [row.listener_id]
    if knowledge == "swapped":
        people = sorted({r.listener_id for r in world.of_split(split)} - {row.listener_id})
    rest = np.stack([world.styles[people[i]] for i in rng.integers(len(people), size=count)])
    return rest, np.repeat(rest[:, None], acts, axis=1)


def sample_reactions(
    speaker: Performance, rest: np.ndarray, answering: np.ndarray, online: bool, rng: np.random.Generator
) -> np.ndarray:
    """Reactions to one recording, drawn from the truth for given styles.

    Args:
        speaker: whose acts are reacted to.
        rest: `(count, 6)` styles by which the listeners sit still.
        answering: `(count, acts, 6)` styles by which they react to each act.
        online: as in `oracle_reactions`.
        rng: source of randomness.

    Returns:
        `(count, 750, 25)` float32.
    """
    time = np.arange(CLIP_FRAMES)
    acts, start = np.array(speaker.acts), np.array(speaker.starts)
    kinds = np.broadcast_to(acts, answering.shape[:2])
    drawn = draw_reactions(rng, answering, kinds)
    end = np.broadcast_to(np.array(speaker.ends)[:, None], (*kinds.shape, CLIP_FRAMES))
    known = time // WINDOW_SIZE * WINDOW_SIZE
    if online:
        end = _believed_ends(rng, start, end, known)
    strength = envelopes(drawn, np.broadcast_to(start, kinds.shape), end, time)
    if online:
        strength = strength * (start[:, None] < known)
    return show_emotion(rest, reaction_drive(answering, kinds, drawn, strength), rng)[0]


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
    drawn = np.repeat(drawn, np.bincount(known // WINDOW_SIZE), axis=-1)
    return np.where(end <= known, end, drawn)


def _length_odds() -> np.ndarray:
    """Probability of each act length in frames, from how scripts are drawn and how dyads depart from them."""
    spread = np.full(2 * ACT_FRAMES_SPREAD + 1, 1.0)
    odds = np.convolve(np.full(ACT_FRAMES[1] - ACT_FRAMES[0], 1.0), spread)
    return np.concatenate([np.zeros(ACT_FRAMES[0] - ACT_FRAMES_SPREAD), odds / odds.sum()])
