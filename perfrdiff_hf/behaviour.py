"""The vocabulary of the package: which channels behaviour has, what they are called, and how fast they run.

Behaviour is a sequence of frames at `FRAME_RATE`, described by up to three streams over the same frames:

| stream | width | values |
|---|---|---|
| audio | 78 | MFCC features of the 40 ms of sound that belong to the frame |
| emotion | 25 | 15 action units in {0, 1}, valence and arousal in [-1, 1], 8 expression probabilities in [0, 1] |
| coefficients | 58 | 3DMM: 52 expression coefficients in about [0, 1], rotation in radians, translation |

Outside the models, coefficients are always as recorded: the mean face is *not* removed. Only
`PerFRDiffFeatureExtractor` removes it, and the pipeline adds it again to what it returns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


FRAME_RATE = 25
WINDOW_SIZE = 50
CLIP_FRAMES = 750

ACTION_UNIT_NAMES = (
    "AU1", "AU2", "AU4", "AU6", "AU7", "AU9", "AU10", "AU12", "AU14", "AU15", "AU17", "AU23", "AU24", "AU25", "AU26",
)  # fmt: skip
EXPRESSION_NAMES = ("Neutral", "Happy", "Sad", "Surprise", "Fear", "Disgust", "Anger", "Contempt")
EMOTION_NAMES = (*ACTION_UNIT_NAMES, "valence", "arousal", *EXPRESSION_NAMES)
ACTION_UNITS = slice(0, 15)
VALENCE_AROUSAL = slice(15, 17)
EXPRESSIONS = slice(17, 25)

# The 52 expression coefficients stand in the alphabetical order of ARKit's blendshape names. The order is inferred:
# left and right partners have matching spreads in no other order.
BLENDSHAPE_NAMES = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight",
    "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
ROTATION_NAMES = ("rotation_pitch", "rotation_yaw", "rotation_roll")
TRANSLATION_NAMES = ("translation_x", "translation_y", "translation_z")
COEFFICIENT_NAMES = (*BLENDSHAPE_NAMES, *ROTATION_NAMES, *TRANSLATION_NAMES)
BLENDSHAPES = slice(0, 52)
ROTATION = slice(52, 55)
TRANSLATION = slice(55, 58)

# 13 cepstral coefficients, each in two sub-frames of 25 ms, then their deltas and delta-deltas.
AUDIO_NAMES = tuple(
    f"{part}_{cepstrum}_{subframe}"
    for part in ("mfcc", "delta", "delta_delta")
    for cepstrum in range(13)
    for subframe in range(2)
)

AUDIO_CHANNELS = len(AUDIO_NAMES)
EMOTION_CHANNELS = len(EMOTION_NAMES)
COEFFICIENT_CHANNELS = len(COEFFICIENT_NAMES)
# A reaction as one: emotion, then the movement of the coefficients.
REACTION_CHANNELS = EMOTION_CHANNELS + COEFFICIENT_CHANNELS
STREAM_WIDTHS = {"audio": AUDIO_CHANNELS, "emotion": EMOTION_CHANNELS, "coefficients": COEFFICIENT_CHANNELS}
STREAMS = tuple(STREAM_WIDTHS)

# Mean and standard deviation of the coefficients in REACT (`mean_face.npy`, `std_face.npy`): rotation in radians.
MEAN_FACE = np.array(
    [
        0.572681, 0.504371, 0.160834, 0.065574, 0.040982, 0.010137, 0.064952, 0.048161,
        0.235836, 0.157607, 0.117296, 0.033022, 0.200228, 0.058372, 0.375992, 0.215951,
        0.152828, 0.063008, 0.025004, 0.052939, 0.156476, 0.099327, 0.002088, 0.003986,
        0.070990, 0.018197, 0.001558, 0.042539, 0.010100, 0.059443, 0.016599, 0.023151,
        0.071839, 0.031602, 0.081203, 0.183106, 0.078496, 0.000162, 0.059909, 0.001546,
        0.124268, 0.000757, 0.006338, 0.208935, 0.287521, 0.068547, 0.060061, 0.013725,
        0.018367, 0.016600, 0.010339, 0.014554, 3.190753, 0.045363, 0.001582, -0.005627,
        -0.018014, 1.837867,
    ],
    dtype=np.float32,
)  # fmt: skip
STD_FACE = np.array(
    [
        0.362976, 0.292675, 0.160638, 0.115752, 0.095998, 0.036193, 0.130051, 0.110208,
        0.282331, 0.244450, 0.180916, 0.091774, 0.237194, 0.122321, 0.339191, 0.289675,
        0.195770, 0.126510, 0.057745, 0.077773, 0.247317, 0.174331, 0.018519, 0.022800,
        0.098645, 0.036792, 0.023528, 0.107688, 0.042794, 0.136634, 0.067699, 0.057043,
        0.096390, 0.098744, 0.160697, 0.186816, 0.125312, 0.006060, 0.081623, 0.017287,
        0.116119, 0.010635, 0.030953, 0.224976, 0.224027, 0.098939, 0.086859, 0.038542,
        0.050221, 0.056053, 0.045254, 0.045737, 0.175976, 0.352933, 0.129630, 0.092806,
        0.036650, 0.464031,
    ],
    dtype=np.float32,
)  # fmt: skip

for _constant in (MEAN_FACE, STD_FACE):
    _constant.setflags(write=False)


@dataclass(frozen=True)
class Behaviour:
    """What one person says and shows over consecutive frames at 25 per second. A stream that is not known is None.

    Args:
        audio: `(frames, 78)` audio features.
        emotion: `(frames, 25)` emotion channels.
        coefficients: `(frames, 58)` 3DMM coefficients as recorded (mean face included).

    Raises:
        ValueError: if no stream is given, a stream has the wrong rank or width, or the streams differ in length.
        TypeError: if a stream is not numeric.
    """

    audio: np.ndarray | None = None
    emotion: np.ndarray | None = None
    coefficients: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not self.streams:
            raise ValueError("Behaviour needs at least one of audio, emotion and coefficients; all three are None.")
        for name, values in self.streams.items():
            object.__setattr__(self, name, check_stream(name, values, STREAM_WIDTHS[name]))
        check_same_frames({name: len(values) for name, values in self.streams.items()})

    @property
    def streams(self) -> dict[str, np.ndarray]:
        """The streams that are known, by name."""
        every = {"audio": self.audio, "emotion": self.emotion, "coefficients": self.coefficients}
        return {name: values for name, values in every.items() if values is not None}

    def __len__(self) -> int:
        return len(next(iter(self.streams.values())))

    def __getitem__(self, frames: slice) -> Behaviour:
        if not isinstance(frames, slice):
            raise TypeError(f"Behaviour is cut with a slice of frames, not with {type(frames).__name__}.")
        return Behaviour(**{name: values[frames] for name, values in self.streams.items()})


def check_stream(name: str, values: np.ndarray, width: int, min_frames: int = 1) -> np.ndarray:
    """One stream of behaviour as a float32 array `(frames, width)`, or an error that says what is wrong with it.

    Args:
        name: what the caller calls the stream; error messages begin with it.
        values: `(frames, width)` numbers.
        width: the number of channels that the stream must have.
        min_frames: the fewest frames that make sense to the caller.

    Raises:
        TypeError: if `values` is not numeric.
        ValueError: if the rank, the width or the number of frames is wrong, or a value is NaN or infinite.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold numbers; its dtype is {values.dtype}.")
    if values.ndim != 2 or values.shape[1] != width:
        raise ValueError(f"{name} must have shape (frames, {width}); it has {values.shape}.")
    if len(values) < min_frames:
        raise ValueError(f"{name} must have at least {min_frames} frames; it has {len(values)}.")
    values = values.astype(np.float32, copy=False)
    bad = ~np.isfinite(values)
    if bad.any():
        frame, channel = np.argwhere(bad)[0]
        raise ValueError(
            f"{name} holds {int(bad.sum())} NaN or infinite values, the first in frame {frame}, channel {channel}. "
            "Bridge or remove those frames first."
        )
    return values


def check_same_frames(lengths: dict[str, int]) -> int:
    """The number of frames that all streams share.

    Raises:
        ValueError: if the streams differ in length; the message names each.
    """
    if len(set(lengths.values())) > 1:
        described = ", ".join(f"{name} {frames}" for name, frames in lengths.items())
        raise ValueError(f"All streams must have the same number of frames; given: {described}.")
    return next(iter(lengths.values()))
