"""What a tracker saw -> the 25 channels of emotion and the 58 coefficients; and how far each can be trusted.

The blendshapes become activations by the tracker's own scale, and emotion follows by `faces.rules`. MediaPipe's
blendshapes are blind to sadness and disgust: cheekSquint, noseSneer and mouthFrown stay near 0, and a crying face
reads as a smile. With a second reading, an `ExpressionNetwork`'s, the activations are repaired, so that action units,
valence, arousal and the face itself follow:

| blendshape | action unit | becomes |
|---|---|---|
| mouthSmile | AU12 | less, as far as anger, disgust, fear and sadness together are likelier than happiness |
| cheekSquint | AU6 | the smile, as far as the face is happy |
| noseSneer | AU9 | the probability of disgust |
| mouthFrown | AU15 | the probability of sadness |

That is for a tracker whose scale calls the smile doubtful and itself blind to the others; what it sees stays as it is.
The expressions are the mean of the network's and the rules'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...behaviour import (
    ACTION_UNIT_NAMES,
    BLENDSHAPE_NAMES,
    BLENDSHAPES,
    EMOTION_NAMES,
    EXPRESSION_NAMES,
    EXPRESSIONS,
    MEAN_FACE,
    ROTATION,
    TRANSLATION,
)
from .. import rules
from ..motion import AHEAD, wrapped
from .tracker import TrackedFace, TrackerScale


# Coefficients look ahead at a pitch of pi: their axes go right, down and away from the camera, as the tracker's do.
# That their unit is 10 cm is assumed, as for most models of faces.
CENTIMETRES = 10
UNPLEASANT = ("Anger", "Disgust", "Fear", "Sad")
# "seen": the tracker measures what it follows from. "in part": it measures some of that, or what it measures misleads
# at times. "guessed": from the probability of an expression alone. "blind": it never moves, whatever the face does.
TRUST = ("seen", "in part", "guessed", "blind")
# Which blendshapes the expressions stand in for, on both sides of the face.
SHAPES_OF_EXPRESSION: Mapping[str, str] = {"noseSneer": "Disgust", "mouthFrown": "Sad"}


def repaired(activation: np.ndarray, expressions: np.ndarray, scale: TrackerScale) -> np.ndarray:
    """Activation `(frames, 52)` with what a second reading says of the same faces; see above.

    Args:
        activation: `(frames, 52)` of the blendshapes.
        expressions: `(frames, 8)` probabilities.
        scale: to which blendshapes the tracker is blind, and which are doubtful: no other is changed.
    """

    def likely(*names: str) -> np.ndarray:
        return expressions[:, [EXPRESSION_NAMES.index(name) for name in names]].sum(axis=1)

    happy = likely("Happy")
    pleasant = 1 - np.clip(likely(*UNPLEASANT) - happy, 0, 1)
    activation = activation.copy()
    for side in ("Left", "Right"):
        smile = activation[:, BLENDSHAPE_NAMES.index(f"mouthSmile{side}")]
        if f"mouthSmile{side}" in scale.doubtful:
            smile *= pleasant  # in place
        guessed = {"cheekSquint": smile * happy}
        guessed |= {shape: likely(expression) for shape, expression in SHAPES_OF_EXPRESSION.items()}
        for shape, values in guessed.items():
            if (name := f"{shape}{side}") in scale.blind:
                activation[:, BLENDSHAPE_NAMES.index(name)] = values
    return activation


def emotion_of_faces(activation: np.ndarray, expressions: np.ndarray | None = None) -> np.ndarray:
    """Emotion `(frames, 25)` with graded action units.

    Args:
        activation: `(frames, 52)` of the blendshapes, repaired if there is a second reading.
        expressions: `(frames, 8)` probabilities of that reading; None: the rules alone.
    """
    emotion = rules.emotion_of_action_units(rules.action_units_of_blendshapes(activation))
    if expressions is not None:
        emotion[:, EXPRESSIONS] = (emotion[:, EXPRESSIONS] + expressions) / 2
    return emotion


def coefficients_of_faces(
    activation: np.ndarray, faces: Sequence[TrackedFace], neutral: TrackedFace | None = None
) -> np.ndarray:
    """Coefficients `(frames, 58)`, mean face included.

    Args:
        activation: `(frames, 52)` of the blendshapes.
        faces: as they were tracked, at least one.
        neutral: how this person looks ahead, and where; None: at the camera, and the median of where they are.
    """
    rotation = np.stack([face.rotation for face in faces])
    translation = np.stack([face.translation for face in faces])
    there = np.median(translation, axis=0) if neutral is None else neutral.translation
    coefficients = np.tile(MEAN_FACE, (len(faces), 1))
    coefficients[:, BLENDSHAPES] = rules.react_blendshapes(activation)
    coefficients[:, ROTATION] = AHEAD + (rotation if neutral is None else wrapped(rotation - neutral.rotation))
    coefficients[:, TRANSLATION] += (translation - there) / CENTIMETRES
    return coefficients


def neutral_face(faces: Sequence[TrackedFace]) -> TrackedFace:
    """How a person rests: the median of each figure over faces in which they do."""
    medians = {
        name: np.median([getattr(face, name) for face in faces], axis=0)
        for name in ("blendshapes", "rotation", "translation")
    }
    return TrackedFace(**medians, box=faces[0].box)


def trust(scale: TrackerScale, with_expressions: bool) -> dict[str, str]:
    """How far each channel of emotion can be trusted: one of `TRUST` by the channel's name."""

    def of_unit(unit: str) -> str:
        shapes = rules.BLENDSHAPES_OF_ACTION_UNIT[unit]
        if all(shape in scale.blind for shape in shapes):
            return "guessed" if with_expressions else "blind"
        return "in part" if any(shape in (*scale.blind, *scale.doubtful) for shape in shapes) else "seen"

    found = {unit: of_unit(unit) for unit in ACTION_UNIT_NAMES}
    found |= dict.fromkeys(EMOTION_NAMES[len(ACTION_UNIT_NAMES) :], "in part")
    for expression, prototype in rules.EXPRESSION_PROTOTYPES.items():
        if 2 * sum(found[unit] == "blind" for unit in prototype) > len(prototype):
            found[expression] = "blind"
    return found
