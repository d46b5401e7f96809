"""The release's channels to those of this package, and which of these are measured, derived and unavailable.

| ours | theirs | kind |
|---|---|---|
| AU1 ... AU26 but for AU23, AU24 | FAUValue, on above 1 | measured |
| AU23, AU24 | FAUValue 17, 18, which never move in version 1 | unavailable |
| valence, arousal | emotion_valence, emotion_arousal, cut to [-1, 1] | measured |
| expressions | softmax of emotion_scores, in our order | measured |
| 33 blendshapes | FAUValue by `faces.rules`, left as right | derived |
| the other blendshapes, translation | - | unavailable (mean face) |
| rotation | alignment_head_rotation, and pi to the pitch | measured |

Uncertain, since the release does not say or nobody has tried: that a unit of 1 of 0 to 2 is where one would say that
it is there (REACT's are 0 and 1); the temperature of the softmax (1 here; disgust is high while people speak); that
blinks, which are short, show in AU43; the order (pitch, yaw, roll) and the signs of the head's angles; the unit of the
gaze, which is why the eyes' directions are unavailable.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...behaviour import (
    ACTION_UNIT_NAMES,
    ACTION_UNITS,
    EMOTION_CHANNELS,
    EXPRESSION_NAMES,
    EXPRESSIONS,
    ROTATION_NAMES,
    VALENCE_AROUSAL,
    Behaviour,
)
from ...faces import rules
from ...faces.formats.common import coefficients_of
from ...faces.tracks import resample_track
from ..masks import ChannelMask
from .features import Face
from .layout import FRAME_RATE


# The units in the order of FAUValue. Number 9 is a puff of the cheeks, AU13 or AU34; the last is closing the eyes.
UNITS = (
    "AU1", "AU2", "AU4", "AU5", "AU6", "AU7", "AU9", "AU10", "AU12", "AU13", "AU14", "AU15", "AU16", "AU17", "AU18",
    "AU20", "AU22", "AU23", "AU24", "AU25", "AU26", "AU28", "AU30", "AU43",
)  # fmt: skip
# Never above 0.03 in version 1.
DEAD_UNITS = ("AU22", "AU23", "AU24")
STRONGEST = 2.0
EXPRESSIONS_THERE = ("Anger", "Contempt", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
# AU30 moves the jaw sideways without saying to which side.
_MOVING = tuple(unit for unit in UNITS if unit not in (*DEAD_UNITS, "AU30"))

MASK = ChannelMask.of_measured(
    measured=(
        *(unit for unit in ACTION_UNIT_NAMES if unit not in DEAD_UNITS), "valence", "arousal", *EXPRESSION_NAMES,
        *ROTATION_NAMES,
    ),
    derived=dict.fromkeys(shape for unit in _MOVING for shape in rules.ACTION_UNIT_MOVES[unit]),
)  # fmt: skip


def behaviour_of(face: Face, num_frames: int) -> Behaviour:
    """Emotion and coefficients at 25 frames per second of a face at 30.

    Args:
        face: a stretch in which it is seen most of the time.
        num_frames: frames to return.
    """
    # Everything is resampled as it was measured; what is not linear comes afterwards.
    values = np.concatenate(
        [face.units / STRONGEST, face.logits, face.valence[:, None], face.arousal[:, None], face.rotation], axis=1
    )
    times = np.arange(len(values)) / FRAME_RATE
    values = resample_track(times, face.seen, values, num_frames)
    graded, logits, affect, rotation = np.split(values, np.cumsum([len(UNITS), 8, 2]), axis=1)
    units = dict(zip(UNITS, graded.clip(0, 1).T))
    blendshapes = rules.react_blendshapes(rules.blendshapes_of_action_units({name: units[name] for name in _MOVING}))
    # Angles that the release measures from a face that looks into the camera; REACT's pitch is pi there.
    angles = rotation + np.array([np.pi, 0, 0], dtype=np.float32)
    return Behaviour(
        emotion=_emotion(units, logits, affect), coefficients=coefficients_of(blendshapes, angles).astype(np.float32)
    )


def _emotion(units: Mapping[str, np.ndarray], logits: np.ndarray, affect: np.ndarray) -> np.ndarray:
    emotion = np.zeros((len(logits), EMOTION_CHANNELS), dtype=np.float32)
    for channel, name in enumerate(ACTION_UNIT_NAMES):
        if name not in DEAD_UNITS:
            emotion[:, ACTION_UNITS][:, channel] = units[name]
    emotion[:, VALENCE_AROUSAL] = affect.clip(-1, 1)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    order = [EXPRESSIONS_THERE.index(name) for name in EXPRESSION_NAMES]
    emotion[:, EXPRESSIONS] = (odds / odds.sum(axis=1, keepdims=True))[:, order]
    return rules.binary_action_units(emotion)
