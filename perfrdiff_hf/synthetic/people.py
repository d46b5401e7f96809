"""Who lives in the synthetic world: what speakers do (acts), what listeners are like (styles), and how they answer.

A listener is a vector of six factors in [-1, 1]. Acts have an affect (valence, arousal), reactions have a place in a
social space (valence, affiliation, activity), and the odds that a reaction follows an act are a softmax of how well
the two agree *in the eyes of this listener*: a warm listener affiliates, one who mirrors answers good with good and
bad with bad, a contrary one the other way round. So a few factors decide which reaction follows each act, and the same
factors shape how it looks and how its bearer sits still: one clip tells about acts that it does not contain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


FACTORS = ("warmth", "mirroring", "expressiveness", "quickness", "nodding", "restlessness")
ACTS = ("joke", "praise", "question", "emphasis", "bad_news", "pause")
REACTIONS = ("smile", "concern", "surprise", "frown", "scorn", "nod")

# Valence and arousal of each act, in the order of ACTS.
ACT_AFFECT = np.array([[1.0, 0.5], [0.9, -0.3], [0.6, 0.5], [-0.7, 0.6], [-1.0, -0.2], [-0.8, -0.6]])
# Valence, affiliation and activity of each reaction, in the order of REACTIONS.
REACTION_PLACE = np.array(
    [[1.0, 1.0, 0.3], [-1.0, 1.0, -0.3], [0.0, 0.0, 1.0], [-1.0, -1.0, 0.3], [1.0, -1.0, -0.3], [0.0, 0.2, -1.0]]
)
SHARPNESS = 3.0
ACTIVITY_WEIGHT = 2.0
REACTION_BIAS = np.array([0.0, 0.0, 0.6, 0.0, 0.0, 0.6])

# Frames: how long an act lasts in the script, and how much a dyad departs from it.
ACT_FRAMES = (90, 135)
ACT_FRAMES_SPREAD = 12


def draw_styles(rng: np.random.Generator, count: int) -> np.ndarray:
    """Styles of the population, independent factors with density proportional to |value| on [-1, 1]: `(count, 6)`.

    Clear characters are more common than bland ones, which keeps the odds of their reactions apart.
    """
    return _spread(rng.uniform(-1, 1, (count, len(FACTORS))))


def cast_styles(rng: np.random.Generator, count: int, tries: int = 300) -> np.ndarray:
    """Styles of a cast of `count` people: as `draw_styles`, but evenly spread over the population, `(count, 6)`.

    Every factor is stratified (a Latin square), and of several squares the one with the least correlated factors is
    taken, so that a split with eight people has neither eight alike nor warmth tied to quickness.
    """
    best, best_score = None, np.inf
    for _ in range(tries):
        strata = rng.permuted(np.tile(np.arange(count), (len(FACTORS), 1)), axis=1).T
        styles = _spread(2 * (strata + rng.uniform(0.25, 0.75, strata.shape)) / count - 1)
        products = styles.T @ styles / count
        score = np.abs(products - np.diag(np.diag(products))).max()
        if score < best_score:
            best, best_score = styles, score
    assert best is not None
    return best


def _spread(uniform: np.ndarray) -> np.ndarray:
    return np.sign(uniform) * np.sqrt(np.abs(uniform))


def reaction_odds(styles: np.ndarray, acts: np.ndarray) -> np.ndarray:
    """The odds of each reaction when a listener of a given style meets an act.

    Args:
        styles: `(..., 6)` styles in [-1, 1].
        acts: `(...)` indices into `ACTS`, broadcast against the leading axes of `styles`.

    Returns:
        `(..., 6)` probabilities over `REACTIONS`.
    """
    warmth, mirroring, _, quickness, nodding, _ = np.moveaxis(np.asarray(styles), -1, 0)
    valence, arousal = np.moveaxis(ACT_AFFECT[acts], -1, 0)
    wish = (
        SHARPNESS * mirroring * valence,
        SHARPNESS * warmth,
        ACTIVITY_WEIGHT * (arousal + 0.5 * quickness - 0.7 * nodding),
    )
    wish_vector = np.stack(np.broadcast_arrays(*wish), axis=-1)
    logits = wish_vector @ REACTION_PLACE.T + REACTION_BIAS
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


@dataclass(frozen=True)
class Reactions:
    """Drawn reactions, one per element of equally shaped arrays.

    Args:
        kind: index into `REACTIONS`.
        latency: frames from the start of the act to the start of the reaction.
        attack: frames that the reaction takes to build up.
        sag: share of its height that the reaction loses while it is held.
        tail: frames for which the reaction is held after the act has ended.
        height: amplitude, about 1.
    """

    kind: np.ndarray
    latency: np.ndarray
    attack: np.ndarray
    sag: np.ndarray
    tail: np.ndarray
    height: np.ndarray


def draw_reactions(rng: np.random.Generator, styles: np.ndarray, acts: np.ndarray) -> Reactions:
    """Draw how listeners react to acts: kind, timing and height, all from the listener's own distribution.

    Args:
        rng: source of randomness.
        styles: `(..., 6)`.
        acts: `(...)` indices into `ACTS`.
    """
    odds = reaction_odds(styles, acts)
    kind = (rng.random((*odds.shape[:-1], 1)) > np.cumsum(odds, axis=-1)[..., :-1]).sum(axis=-1)
    shape = kind.shape
    _, _, expressiveness, quickness, _, restlessness = np.moveaxis(np.broadcast_to(styles, (*shape, 6)), -1, 0)
    return Reactions(
        kind=kind,
        latency=32 - 13 * quickness + rng.uniform(-4, 4, shape),
        attack=22 - 9 * quickness + rng.uniform(-3, 3, shape),
        sag=np.clip(0.2 + 0.2 * restlessness + rng.uniform(-0.05, 0.05, shape), 0, None),
        tail=24 - 9 * restlessness - 5 * quickness + rng.uniform(-5, 5, shape),
        height=(1.05 + 0.3 * expressiveness) * np.exp(rng.normal(0, 0.08, shape)),
    )


def envelopes(reactions: Reactions, start: np.ndarray, end: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """How strongly each reaction shows in each frame.

    Args:
        reactions: arrays of shape `(...)`.
        start: `(...)` first frame of the act.
        end: `(...)` or `(..., frames)` frame after the last of the act; one value per frame where what is believed
            about the end changes over time.
        frames: `(frames,)` frame numbers.

    Returns:
        `(..., frames)`, 0 before the reaction, about `height` while it is held.
    """
    end = end if np.ndim(end) > np.ndim(reactions.kind) else np.asarray(end)[..., None]
    since = frames - (start + reactions.latency)[..., None]
    rise = _smooth(since / reactions.attack[..., None])
    fall = 1 - _smooth((frames - (end + reactions.tail[..., None])) / 25)
    held = 1 - reactions.sag[..., None] * (1 - np.exp(-np.clip(since, 0, None) / 60))
    return reactions.height[..., None] * rise * fall * held


def act_envelopes(start: np.ndarray, end: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """How strongly acts are played in each frame, `(acts, frames)` in [0, 1]: up within 0.5 s, down within 0.4 s."""
    rise = np.clip((frames - np.asarray(start)[:, None] + 1) / 12, 0, 1)
    fall = np.clip((np.asarray(end)[:, None] - frames) / 10, 0, 1)
    return np.minimum(rise, fall)


def _smooth(progress: np.ndarray) -> np.ndarray:
    progress = np.clip(progress, 0, 1)
    return progress * progress * (3 - 2 * progress)
