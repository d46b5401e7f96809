"""From a drive to coefficients: what the face of one person does, in standard scores, frame by frame.

The coefficients carry more than the emotion: how the person blinks, looks about, sways and nods, all shaped by style,
and the articulation of the person's own acts. How the person sits, and from where the camera looks, is a nuisance:
drawn apart from style, for the person and again for the clip.
"""

from __future__ import annotations

import numpy as np

from ..behaviour import ACTION_UNIT_NAMES, COEFFICIENT_CHANNELS, COEFFICIENT_NAMES, FRAME_RATE, VALENCE_AROUSAL
from .emotion import channel_table, wander
from .people import ACTS, FACTORS


# Coefficients, in standard deviations, per unit of drive.
DRIVE_TO_FACE = channel_table(
    {
        "AU1": {"browInnerUp": 1.6, "browDown": -0.5},
        "AU2": {"browOuterUp": 1.6, "eyeWide": 0.5},
        "AU4": {"browDown": 1.2, "browInnerUp": -0.3},
        "AU6": {"cheekSquint": 1.8, "eyeSquint": 0.6},
        "AU7": {"eyeSquint": 1.6, "eyeWide": -0.6},
        "AU9": {"noseSneer": 2.0, "browDown": 0.3},
        "AU10": {"mouthUpperUp": 1.8},
        "AU12": {"mouthSmile": 1.7},
        "AU14": {"mouthDimple": 1.8, "mouthSmile": 0.3},
        "AU15": {"mouthFrown": 1.8},
        "AU17": {"mouthShrugLower": 1.5, "mouthShrugUpper": 1.5, "mouthRollUpper": 0.5},
        "AU23": {"mouthRollLower": 1.5, "mouthPucker": 1.0, "mouthPress": 0.6},
        "AU24": {"mouthPress": 1.3, "mouthRollUpper": 0.6},
        "AU25": {"mouthLowerDown": 1.4, "mouthPress": -0.5},
        "AU26": {"jawOpen": 1.8, "mouthFunnel": 0.4},
        "valence": {"mouthSmile": 0.3, "translation_z": -0.2},
        "arousal": {"eyeWide": 0.7, "translation_z": -0.3},
    },
    (*ACTION_UNIT_NAMES, "valence", "arousal"),
    COEFFICIENT_NAMES,
)
ACT_TO_FACE = channel_table(
    {
        "joke": {"mouthStretch": 1.5, "cheekPuff": 1.5, "rotation_roll": 1.3, "eyeLookInLeft": 1.2},
        "praise": {"rotation_roll": -1.3, "translation_z": -1.0, "eyeLookUp": 1.0, "mouthFunnel": 1.2},
        "question": {"eyeLookUp": 1.6, "rotation_yaw": -1.2, "jawLeft": 1.5, "translation_y": 1.0},
        "emphasis": {"translation_z": -1.3, "jawForward": 1.8, "rotation_pitch": -1.0, "translation_y": -1.2},
        "bad_news": {"eyeLookDown": 1.7, "rotation_pitch": 1.3, "mouthRight": 1.3},
        "pause": {"eyeLookOut": 1.5, "rotation_yaw": 1.4, "mouthLeft": 1.3, "tongueOut": 1.2},
    },
    ACTS,
    COEFFICIENT_NAMES,
)
# Style shows in how much of each idle movement there is: the logarithm of its spread, per unit of the factor.
STYLE_TO_MOVEMENT = channel_table(
    {
        "warmth": {"rotation_roll": 0.8, "browDown": 0.7, "mouthSmile": 0.6, "translation_z": 0.6},
        "mirroring": {"rotation_yaw": 0.9, "translation_x": 0.9, "mouthClose": 0.7, "jawForward": 0.6},
        "expressiveness": {"browInnerUp": 0.9, "eyeLookDown": 0.8, "translation_y": 1.0, "mouthFrown": 0.9},
        "quickness": {"browOuterUp": 0.5, "rotation_roll": -0.4, "translation_z": -0.4},
        "nodding": {"translation_y": -0.4, "browDown": -0.4},
        "restlessness": {"mouthPress": 0.8, "mouthLeft": 0.7, "mouthSmile": -0.3},
    },
    FACTORS,
    COEFFICIENT_NAMES,
)
SPEECH_FACE = channel_table(
    {"speech": {"jawOpen": 1.0, "mouthFunnel": 0.8, "mouthLowerDown": 0.8, "mouthClose": 1.0}},
    ("speech",),
    COEFFICIENT_NAMES,
)[0]

# Spread of the resting face and pose, in standard scores: from person to person, and from clip to clip of one person.
PERSON_REST_SPREAD = 0.6
CLIP_REST_SPREAD = 0.4

_BLINKS = [i for i, name in enumerate(COEFFICIENT_NAMES) if name.startswith("eyeBlink")]
_GAZE = [i for i, name in enumerate(COEFFICIENT_NAMES) if name.startswith("eyeLook")]
_HEAD = [i for i, name in enumerate(COEFFICIENT_NAMES) if name.startswith(("rotation", "translation"))]
_PITCH = COEFFICIENT_NAMES.index("rotation_pitch")


def face_scores(
    style: np.ndarray,
    resting: np.ndarray,
    drive: np.ndarray,
    own_acts: np.ndarray,
    syllables: np.ndarray,
    reacting: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Coefficients before they get REACT's mean and spread: `(frames, 58)`, in rough standard scores.

    Args:
        style: `(6,)`
        resting: `(58,)` the person's own resting face and pose, from `resting_face`.
        drive: `(frames, 25)` from `show_emotion`.
        own_acts: `(frames, 6)` how strongly the person plays each act.
        syllables: `(frames,)` opening of the mouth by speech, in [0, 1].
        reacting: `(frames,)` how strongly the person reacts to the other, about [0, 1].
        rng: source of idle movement.
    """
    frames = len(drive)
    scores = drive[:, : VALENCE_AROUSAL.stop] @ DRIVE_TO_FACE + own_acts @ ACT_TO_FACE
    scores += syllables[:, None] * SPEECH_FACE + resting
    scores += CLIP_REST_SPREAD * rng.standard_normal(COEFFICIENT_CHANNELS)
    idle = np.exp(style @ STYLE_TO_MOVEMENT)
    scores += 0.2 * idle * wander(rng, scores.shape, int(12 - 8 * style[3]))
    sway = (0.3 + 0.2 * style[5]) * idle[_HEAD]
    scores[:, _HEAD] += sway * wander(rng, (frames, len(_HEAD)), int(30 - 14 * style[5]))
    glances = np.repeat(rng.standard_normal((frames // 10 + 1, len(_GAZE))), 10, axis=0)[:frames]
    scores[:, _GAZE] += (0.4 + 0.3 * style[5]) * glances
    scores[:, _BLINKS] += _blinks(style, frames, rng)[:, None]
    scores[:, _PITCH] += _nods(style, reacting, rng)
    return scores


def resting_face(rng: np.random.Generator) -> np.ndarray:
    """A person's resting face and pose in standard scores, `(58,)`, whatever their style."""
    return PERSON_REST_SPREAD * rng.standard_normal(COEFFICIENT_CHANNELS)


def _blinks(style: np.ndarray, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Blinks, each 0.3 s long; restless and quick people blink more often (10 to 40 a minute)."""
    per_minute = 24 + 12 * style[5] + 4 * style[3]
    starts = rng.random(frames) < per_minute / 60 / FRAME_RATE
    shape = np.array([1.0, 2.5, 3.0, 3.0, 2.5, 1.5, 0.7])
    return np.convolve(starts, shape)[:frames].clip(0, 3)


def _nods(style: np.ndarray, reacting: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Nods in the pitch of the head: all the time a little, more while reacting; faster in quick people."""
    rate = (1.6 + 0.5 * style[3]) * np.exp(0.1 * wander(rng, (len(reacting), 1), 25)[:, 0])
    phase = 2 * np.pi * (rng.random() + np.cumsum(rate) / FRAME_RATE)
    return (0.55 + 0.5 * style[4]) * (0.4 + 0.8 * np.clip(reacting, 0, 1.5)) * np.sin(phase)
