"""From acts and reactions to emotion: the 25 channels of one person, frame by frame.

Emotion follows from a latent *drive* (intensities of 15 action units, valence, arousal, 8 expression logits), from
which `synthetic_face.py` derives the coefficients too. So the two agree: a smile is AU6 and AU12, Happy, mouthSmile
and cheekSquint.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..behaviour import ACTION_UNITS, EMOTION_NAMES, EXPRESSIONS, VALENCE_AROUSAL
from .people import ACTS, FACTORS, REACTIONS, Reactions


def channel_table(
    rows: Mapping[str, Mapping[str, float]], order: tuple[str, ...], names: tuple[str, ...]
) -> np.ndarray:
    """Sparse rows as an array `(len(order), len(names))`. A name without Left or Right stands for both sides."""
    table = np.zeros((len(order), len(names)))
    for row, values in rows.items():
        for name, value in values.items():
            sides = [name] if name in names else [f"{name}Left", f"{name}Right"]
            for side in sides:
                table[order.index(row), names.index(side)] = value
    return table


# What each reaction does to the drive at height 1. An action unit shows above 0.5.
REACTION_FACE = channel_table(
    {
        "smile": {"AU6": 0.95, "AU7": 0.7, "AU10": 0.65, "AU12": 1.2, "AU25": 0.95, "AU26": 0.6,
                  "valence": 1.0, "arousal": 0.5, "Happy": 4.0},
        "concern": {"AU1": 1.1, "AU4": 0.9, "AU14": 0.6, "AU15": 1.0, "AU17": 0.8, "AU24": 0.6,
                    "valence": -0.5, "arousal": -0.6, "Sad": 4.0, "Fear": 1.0},
        "surprise": {"AU1": 0.95, "AU2": 1.1, "AU25": 1.0, "AU26": 1.1,
                     "valence": 0.2, "arousal": 1.0, "Surprise": 4.0, "Fear": 2.0},
        "frown": {"AU4": 1.2, "AU7": 0.9, "AU9": 0.7, "AU17": 0.65, "AU23": 1.0, "AU24": 0.8,
                  "valence": -1.0, "arousal": 0.5, "Anger": 4.0, "Disgust": 1.5},
        "scorn": {"AU2": 0.65, "AU9": 0.85, "AU10": 0.95, "AU12": 0.6, "AU14": 1.1, "AU15": 0.65, "AU23": 0.6,
                  "valence": -0.5, "arousal": -0.3, "Contempt": 4.0, "Disgust": 2.5, "Happy": 0.5},
        "nod": {"AU14": 0.7, "AU17": 0.75, "AU23": 0.65, "AU24": 0.95, "AU6": 0.6, "AU12": 0.7,
                "valence": 0.4, "arousal": -0.7, "Neutral": 2.0, "Happy": 0.8},
    },
    REACTIONS,
    EMOTION_NAMES,
)  # fmt: skip

# What a person's own act does to their drive: a shadow of the affect that they speak with.
ACT_FACE = channel_table(
    {
        "joke": {"AU12": 0.3, "valence": 0.25, "arousal": 0.2, "Happy": 0.8},
        "praise": {"AU6": 0.2, "valence": 0.2, "Happy": 0.6},
        "question": {"AU2": 0.3, "arousal": 0.15, "Surprise": 0.8},
        "emphasis": {"AU4": 0.3, "arousal": 0.25, "Anger": 0.8},
        "bad_news": {"AU1": 0.2, "AU15": 0.2, "valence": -0.25, "Sad": 0.8},
        "pause": {"AU24": 0.25, "arousal": -0.2, "Neutral": 0.5},
    },
    ACTS,
    EMOTION_NAMES,
)

# How style weights the parts of a reaction.
STYLE_GAIN = channel_table(
    {
        "warmth": {"AU6": 0.2, "AU12": 0.2, "AU9": -0.2, "valence": 0.1},
        "mirroring": {"AU1": 0.2, "AU15": 0.2},
        "expressiveness": {"AU25": 0.3, "AU26": 0.3, "AU10": 0.2, "AU24": -0.2, "arousal": 0.2},
        "quickness": {"AU2": 0.2, "AU7": 0.2, "arousal": 0.1},
        "nodding": {"AU17": 0.2, "AU14": 0.2, "AU26": -0.2},
        "restlessness": {"AU23": 0.2, "AU4": 0.2},
    },
    FACTORS,
    EMOTION_NAMES,
)
NEUTRAL_LOGIT = 1.8

# How far the drive of a face at rest lies from zero, from clip to clip (light, camera, mood), whatever the style.
REST_SPREAD = np.empty(len(EMOTION_NAMES))
REST_SPREAD[ACTION_UNITS] = 0.08
REST_SPREAD[VALENCE_AROUSAL] = 0.08
REST_SPREAD[EXPRESSIONS] = 0.25


def reaction_drive(styles: np.ndarray, acts: np.ndarray, reactions: Reactions, strength: np.ndarray) -> np.ndarray:
    """What reactions add to the drive of their listeners.

    Args:
        styles: `(..., acts, 6)` styles that the reactions show, or `(6,)` for one and the same.
        acts: `(..., acts)` kinds of the acts reacted to.
        reactions: arrays `(..., acts)`.
        strength: `(..., acts, frames)`, from `envelopes`.

    Returns:
        `(..., frames, 25)`
    """
    gain = 1 + styles @ STYLE_GAIN
    mimicry = 0.6 * styles[..., 1:2] * ACT_FACE[acts]
    faces = REACTION_FACE[reactions.kind] * gain + mimicry
    return np.swapaxes(strength, -1, -2) @ faces


def show_emotion(drive: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Emotion channels of people whose faces are driven by `drive`.

    Args:
        drive: `(..., frames, 25)`, zero where nothing happens.
        rng: source of the face at rest, drawn anew for each clip whatever the style, and of the small unrest that
            every face has.

    Returns:
        emotion `(..., frames, 25)` float32, and the drive with rest and unrest in it, from which coefficients follow.
    """
    rest = REST_SPREAD * rng.standard_normal((*drive.shape[:-2], 1, drive.shape[-1]))
    unrest = wander(rng, drive.shape, 12)
    unrest[..., ACTION_UNITS] *= 0.08
    unrest[..., VALENCE_AROUSAL] *= 0.06
    unrest[..., EXPRESSIONS] *= 0.2
    full = drive + rest + unrest
    emotion = np.empty(full.shape, dtype=np.float32)
    emotion[..., ACTION_UNITS] = full[..., ACTION_UNITS] > 0.5
    emotion[..., VALENCE_AROUSAL] = np.tanh(full[..., VALENCE_AROUSAL])
    logits = full[..., EXPRESSIONS].copy()
    logits[..., 0] += NEUTRAL_LOGIT
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    emotion[..., EXPRESSIONS] = odds / odds.sum(axis=-1, keepdims=True)
    return emotion, full


def wander(rng: np.random.Generator, shape: tuple[int, ...], knot: int) -> np.ndarray:
    """Smooth noise `(..., frames, channels)` of unit spread: normal draws every `knot` frames, joined by lines."""
    *lead, frames, channels = shape
    draws = rng.standard_normal((*lead, frames // knot + 2, channels))
    place = np.arange(frames) / knot + rng.random()
    place = np.minimum(place, draws.shape[-2] - 1.001)
    left = place.astype(int)
    share = (place - left)[:, None]
    mixed = draws[..., left, :] * (1 - share) + draws[..., left + 1, :] * share
    return mixed / np.sqrt((1 - share) ** 2 + share**2)
