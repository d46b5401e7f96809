"""Rules between face coefficients and emotion, for face tracks that record only one of the two.

Every tracker has its own scale: Apple's smile of 0.35 and REACT's smile of 0.5 mean about the same. The rules
therefore speak of *activation*, which is 0 for a resting face, 0.5 where one would say that the movement is there (an
action unit counts as on above it) and 1 when it is strong. Scales:

| scale | coefficient of a blendshape at activation `a` |
|---|---|
| ARKit (Live Link Face, LLV, py-feat) | `2 a ARKIT_ONSET` |
| REACT (FaceVerse fits) | `MEAN_FACE + 2 a STD_FACE` |

Going from the one to the other is therefore a fixed affine map per channel. Unlike one that is fitted to each track,
it keeps what is personal (the resting face and how large the movements are) and works for a track of a few frames.

The tables are simple rules of thumb after FACS and EMFACS, not an estimator: they make a track usable, and the report
of the importer says which streams came from them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..behaviour import (
    ACTION_UNIT_NAMES,
    ACTION_UNITS,
    BLENDSHAPE_NAMES,
    BLENDSHAPES,
    EMOTION_CHANNELS,
    EXPRESSION_NAMES,
    EXPRESSIONS,
    MEAN_FACE,
    STD_FACE,
    VALENCE_AROUSAL,
)


ON = 0.5

# Where a blendshape of Apple's scale begins to be seen. Shapes that speech and rest hardly move have a lower onset.
_ONSETS = {
    "eyeBlink": 0.5, "eyeSquint": 0.45, "eyeWide": 0.4, "cheekSquint": 0.25, "cheekPuff": 0.25, "noseSneer": 0.3,
    "jawOpen": 0.2, "mouthLowerDown": 0.25, "mouthUpperUp": 0.25, "mouthFrown": 0.3, "mouthDimple": 0.25,
    "mouthPress": 0.25, "mouthRoll": 0.25, "mouthShrug": 0.3, "mouthStretch": 0.35, "tongueOut": 0.3,
}  # fmt: skip
ARKIT_ONSET = np.array(
    [next((onset for stem, onset in _ONSETS.items() if name.startswith(stem)), 0.35) for name in BLENDSHAPE_NAMES],
    dtype=np.float32,
)

# Which blendshapes show an action unit (the activation of the unit is their weighted sum).
BLENDSHAPES_OF_ACTION_UNIT: Mapping[str, Mapping[str, float]] = {
    "AU1": {"browInnerUp": 1.0},
    "AU2": {"browOuterUpLeft": 0.5, "browOuterUpRight": 0.5},
    "AU4": {"browDownLeft": 0.5, "browDownRight": 0.5},
    "AU6": {"cheekSquintLeft": 0.5, "cheekSquintRight": 0.5},
    "AU7": {"eyeSquintLeft": 0.5, "eyeSquintRight": 0.5},
    "AU9": {"noseSneerLeft": 0.5, "noseSneerRight": 0.5},
    "AU10": {"mouthUpperUpLeft": 0.5, "mouthUpperUpRight": 0.5},
    "AU12": {"mouthSmileLeft": 0.5, "mouthSmileRight": 0.5},
    "AU14": {"mouthDimpleLeft": 0.5, "mouthDimpleRight": 0.5},
    "AU15": {"mouthFrownLeft": 0.5, "mouthFrownRight": 0.5},
    "AU17": {"mouthShrugLower": 1.0},
    "AU23": {"mouthRollLower": 0.5, "mouthRollUpper": 0.5},
    "AU24": {"mouthPressLeft": 0.5, "mouthPressRight": 0.5},
    "AU25": {"jawOpen": 1.0, "mouthLowerDownLeft": 0.5, "mouthLowerDownRight": 0.5, "mouthClose": -1.0},
    "AU26": {"jawOpen": 1.0},
}

# Which blendshapes an action unit moves (a blendshape takes the strongest of the units that move it). The last ones
# are no emotion channels, but OpenFace, py-feat or Seamless Interaction report them.
ACTION_UNIT_MOVES: Mapping[str, Mapping[str, float]] = {
    **{unit: dict.fromkeys(shapes, 1.0) for unit, shapes in BLENDSHAPES_OF_ACTION_UNIT.items() if unit != "AU25"},
    "AU25": {"mouthLowerDownLeft": 0.7, "mouthLowerDownRight": 0.7, "mouthUpperUpLeft": 0.3, "mouthUpperUpRight": 0.3},
    "AU5": {"eyeWideLeft": 1.0, "eyeWideRight": 1.0},
    "AU13": {"cheekPuff": 1.0},
    "AU16": {"mouthLowerDownLeft": 1.0, "mouthLowerDownRight": 1.0},
    "AU18": {"mouthPucker": 1.0},
    "AU20": {"mouthStretchLeft": 1.0, "mouthStretchRight": 1.0},
    "AU28": {"mouthRollLower": 1.0, "mouthRollUpper": 1.0},
    "AU43": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "AU45": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
}

VALENCE_OF_ACTION_UNIT: Mapping[str, float] = {
    "AU12": 0.6, "AU6": 0.3, "AU4": -0.3, "AU9": -0.2, "AU10": -0.15, "AU15": -0.4, "AU17": -0.15, "AU24": -0.1,
}  # fmt: skip
AROUSAL_OF_ACTION_UNIT: Mapping[str, float] = {
    "AU1": 0.15, "AU2": 0.2, "AU4": 0.1, "AU6": 0.1, "AU12": 0.15, "AU25": 0.15, "AU26": 0.25, "AU15": -0.15,
}  # fmt: skip

# The activation of an expression is the mean activation of the units in its prototype.
EXPRESSION_PROTOTYPES: Mapping[str, tuple[str, ...]] = {
    "Happy": ("AU6", "AU12", "AU12"),
    "Sad": ("AU1", "AU4", "AU15"),
    "Surprise": ("AU1", "AU2", "AU26"),
    "Fear": ("AU1", "AU2", "AU4", "AU7", "AU25"),
    "Disgust": ("AU9", "AU9", "AU10", "AU15"),
    "Anger": ("AU4", "AU7", "AU23", "AU24"),
    "Contempt": ("AU14", "AU14", "AU17"),
}
_SHARPNESS = 8.0


def arkit_activation(blendshapes: np.ndarray) -> np.ndarray:
    """Activation `(frames, 52)` of blendshapes `(frames, 52)` on Apple's scale; not cut to [0, 1]."""
    return blendshapes / (2 * ARKIT_ONSET)


def react_activation(coefficients: np.ndarray) -> np.ndarray:
    """Activation `(frames, 52)` of recorded coefficients `(frames, 58)` of REACT; below 0 where less than usual."""
    return (coefficients[..., BLENDSHAPES] - MEAN_FACE[BLENDSHAPES]) / (2 * STD_FACE[BLENDSHAPES])


def react_blendshapes(activation: np.ndarray) -> np.ndarray:
    """Blendshape coefficients `(frames, 52)` on REACT's scale for an activation `(frames, 52)`, within [0, 1]."""
    return np.clip(MEAN_FACE[BLENDSHAPES] + 2 * STD_FACE[BLENDSHAPES] * activation, 0, 1).astype(np.float32)


def arkit_blendshapes(activation: np.ndarray) -> np.ndarray:
    """Blendshapes `(frames, 52)` on Apple's scale for an activation `(frames, 52)`, within [0, 1]."""
    return np.clip(2 * ARKIT_ONSET * activation, 0, 1).astype(np.float32)


def action_units_of_blendshapes(activation: np.ndarray) -> np.ndarray:
    """Activation `(frames, 15)` of the action units for an activation `(frames, 52)` of the blendshapes, in [0, 1]."""
    weights = np.zeros((len(BLENDSHAPE_NAMES), len(ACTION_UNIT_NAMES)), dtype=np.float32)
    for unit, shapes in BLENDSHAPES_OF_ACTION_UNIT.items():
        for shape, weight in shapes.items():
            weights[BLENDSHAPE_NAMES.index(shape), ACTION_UNIT_NAMES.index(unit)] = weight
    return np.clip(activation @ weights, 0, 1)


def blendshapes_of_action_units(units: Mapping[str, np.ndarray]) -> np.ndarray:
    """Activation `(frames, 52)` of the blendshapes that the given action units move.

    Args:
        units: activation `(frames,)` in [0, 1] by name ("AU12", ...); names that move no blendshape are ignored.
    """
    frames = len(next(iter(units.values())))
    activation = np.zeros((frames, len(BLENDSHAPE_NAMES)), dtype=np.float32)
    for unit, values in units.items():
        for shape, gain in ACTION_UNIT_MOVES.get(unit, {}).items():
            channel = BLENDSHAPE_NAMES.index(shape)
            activation[:, channel] = np.maximum(activation[:, channel], gain * values)
    return activation


def valence_arousal_of_action_units(units: np.ndarray) -> np.ndarray:
    """Valence and arousal `(frames, 2)` in [-1, 1] for an activation `(frames, 15)` of the action units."""
    tables = (VALENCE_OF_ACTION_UNIT, AROUSAL_OF_ACTION_UNIT)
    columns = [sum(w * units[:, ACTION_UNIT_NAMES.index(unit)] for unit, w in table.items()) for table in tables]
    return np.clip(np.stack(columns, axis=1), -1, 1)


def expressions_of_action_units(units: np.ndarray) -> np.ndarray:
    """Probabilities `(frames, 8)` of the expressions for an activation `(frames, 15)` of the action units.

    A softmax over the expressions' activations in which Neutral takes part with `ON`: a face at rest is Neutral with
    probability 0.89, and an expression overtakes Neutral where its prototype is on.
    """
    scores = np.full((len(units), len(EXPRESSION_NAMES)), ON, dtype=np.float32)
    for expression, prototype in EXPRESSION_PROTOTYPES.items():
        columns = [ACTION_UNIT_NAMES.index(unit) for unit in prototype]
        scores[:, EXPRESSION_NAMES.index(expression)] = units[:, columns].mean(axis=1)
    odds = np.exp(_SHARPNESS * scores)
    return odds / odds.sum(axis=1, keepdims=True)


def emotion_of_action_units(units: np.ndarray) -> np.ndarray:
    """Emotion `(frames, 25)` with action units still graded; `binary_action_units` makes them 0 or 1 at the end."""
    emotion = np.empty((len(units), EMOTION_CHANNELS), dtype=np.float32)
    emotion[:, ACTION_UNITS] = units
    emotion[:, VALENCE_AROUSAL] = valence_arousal_of_action_units(units)
    emotion[:, EXPRESSIONS] = expressions_of_action_units(units)
    return emotion


def binary_action_units(emotion: np.ndarray) -> np.ndarray:
    """A copy of `emotion (frames, 25)` in which each action unit is 1 where it was above 0.5, and 0 elsewhere."""
    emotion = emotion.copy()
    emotion[:, ACTION_UNITS] = emotion[:, ACTION_UNITS] > ON
    return emotion
