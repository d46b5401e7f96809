"""Recordings of a synthetic world: sound, emotion and coefficients of one person in one clip."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from ..behaviour import BLENDSHAPES, CLIP_FRAMES, COEFFICIENT_CHANNELS, MEAN_FACE, STD_FACE
from ..data.dyads import SPLITS
from .cast import Performance, World, WorldSize, plan_world
from .emotion import ACT_FACE, reaction_drive, show_emotion
from .face import face_scores, resting_face
from .people import envelopes
from .sound import speak, synthesise


FILE_FRAMES = CLIP_FRAMES + 1  # sound and coefficients of REACT2024 have one frame more than the emotion tables


class Rendered(NamedTuple):
    """One person in one clip.

    Args:
        sound: `(samples,)` float32 in [-1, 1], 751 frames long.
        emotion: `(750, 25)` float32.
        coefficients: `(751, 58)` float32, with the mean and spread of REACT.
    """

    sound: np.ndarray
    emotion: np.ndarray
    coefficients: np.ndarray


def render(world: World, recording: Performance) -> Rendered:
    """What is recorded of one person in one clip. The same world gives the same values."""
    rng = _random(world, recording)
    prosody, emotion, scores = _perform(world, recording, rng)
    sound = synthesise(prosody, world.size.sample_rate, rng)
    return Rendered(sound, emotion[:CLIP_FRAMES], to_coefficients(scores))


def _random(world: World, recording: Performance) -> np.random.Generator:
    return np.random.default_rng((world.seed, len(SPLITS), _person(world, recording), recording.clip))


def _person(world: World, recording: Performance) -> int:
    return sorted(world.styles).index(recording.listener_id)


def _perform(
    world: World, recording: Performance, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prosody `(751, 8)`, emotion `(751, 25)` and scores of the face `(751, 58)`."""
    style = world.styles[recording.listener_id]
    other = world.partner(recording)
    reactions = recording.drawn()
    strength = envelopes(reactions, np.array(other.starts), np.array(other.ends), np.arange(FILE_FRAMES))
    drive = reaction_drive(style, np.array(other.acts), reactions, strength)
    own = np.array(recording.acts), np.array(recording.starts), np.array(recording.ends)
    prosody, acting, syllables = speak(*own, world.pitches[recording.listener_id], FILE_FRAMES, rng)
    emotion, full = show_emotion(drive + acting @ ACT_FACE, rng)
    resting = resting_face(np.random.default_rng((world.seed, len(SPLITS) + 1, _person(world, recording))))
    return prosody, emotion, face_scores(style, resting, full, acting, syllables, strength.sum(axis=0), rng)


def to_coefficients(scores: np.ndarray) -> np.ndarray:
    """Give scores `(..., 58)` the mean and spread of REACT: float32, blendshapes within [0, 1]."""
    shift, scale = calibration()
    return _clipped(shift + scale * scores).astype(np.float32)


@cache
def calibration() -> tuple[np.ndarray, np.ndarray]:
    """Shift and scale of each coefficient, by which a population has `MEAN_FACE` and `STD_FACE` after clipping.

    Most blendshapes of REACT spread wider than their mean is high, so they rest at 0 and rise now and then. Shift and
    scale that do this have no closed form; they are found on a population of 80 people, the same for every world.
    """
    population = plan_world(
        WorldSize(dyads=(40, 1, 1), clips=2, scripts=(40, 1, 1), sample_rate=8000, sound="ULAW"), 2024
    )
    people = population.of_split("train")
    scores = np.concatenate([_perform(population, r, _random(population, r))[2][::25] for r in people])
    mean, std = MEAN_FACE.astype(np.float64), STD_FACE.astype(np.float64)
    scale = std / scores.std(axis=0)
    shift = mean - scale * scores.mean(axis=0)
    for _ in range(60):
        values = _clipped(shift + scale * scores)
        scale *= np.clip(std / np.maximum(values.std(axis=0), 0.1 * std), 0.8, 1.25)
        shift += 0.7 * (mean - _clipped(shift + scale * scores).mean(axis=0))
    return shift, scale


def _clipped(values: np.ndarray) -> np.ndarray:
    shapes = np.arange(COEFFICIENT_CHANNELS) < BLENDSHAPES.stop
    return np.clip(values, np.where(shapes, 0.0, -np.inf), np.where(shapes, 1.0, np.inf))
