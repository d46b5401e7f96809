"""What an avatar is told: 52 blendshapes on Apple's scale and how the head is turned, from coefficients and back.

Coefficients hold the mean face and a pitch near pi; an avatar rests at zero and looks ahead. `face_motion` is the one
place where the one becomes the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..behaviour import (
    BLENDSHAPE_NAMES,
    BLENDSHAPES,
    COEFFICIENT_CHANNELS,
    MEAN_FACE,
    ROTATION,
    check_same_frames,
    check_stream,
)
from . import rules


# REACT's fits look ahead at a pitch of pi.
AHEAD = np.array([np.pi, 0, 0])
# How far eyeballs turn at a full eyeLook blendshape, in radians: (down, up) and (out, in) of the pitch and the yaw.
LARGEST_GAZE = (np.deg2rad(25), np.deg2rad(30))


@dataclass(frozen=True)
class FaceMotion:
    """How a face moves, in what avatars understand.

    Args:
        blendshapes: `(frames, 52)` in [0, 1] on Apple's scale, in the order of `behaviour.BLENDSHAPE_NAMES`; a resting
            face is 0.
        rotation: `(frames, 3)` pitch, yaw and roll in radians; 0 looks ahead, and they grow as the face looks down,
            turns to its own left, and leans to its own right.

    Raises:
        TypeError, ValueError: if the shapes do not fit, or a value is NaN or infinite.
    """

    blendshapes: np.ndarray
    rotation: np.ndarray

    def __post_init__(self) -> None:
        widths = {"blendshapes": len(BLENDSHAPE_NAMES), "rotation": 3}
        for name, width in widths.items():
            object.__setattr__(self, name, check_stream(name, getattr(self, name), width))
        check_same_frames({name: len(getattr(self, name)) for name in widths})

    def __len__(self) -> int:
        return len(self.rotation)

    def __getitem__(self, frames: slice) -> FaceMotion:
        return FaceMotion(self.blendshapes[frames], self.rotation[frames])


def face_motion(coefficients: np.ndarray, *, neutral: np.ndarray | None = None, calibrate: bool = True) -> FaceMotion:
    """Coefficients `(frames, 58)`, mean face included, as an avatar's motion.

    Args:
        coefficients: as a pipeline gives them or a track holds them.
        neutral: `(58,)` how this person rests, such as `resting_face(history)`: that face becomes the avatar's resting
            one, and the head looks ahead in it. None: REACT's mean face is at rest, and a pitch of pi is ahead.
        calibrate: whether blendshapes are moved from REACT's scale to Apple's (see `faces.rules`), so that what lies
            below rest is 0. If not, they are only cut to [0, 1]; then nothing is subtracted from them but `neutral`.

    Raises:
        TypeError, ValueError: if a shape is wrong, or a value is NaN or infinite.
    """
    coefficients = check_stream("coefficients", coefficients, COEFFICIENT_CHANNELS)
    rest = MEAN_FACE[BLENDSHAPES] if calibrate else np.zeros(len(BLENDSHAPE_NAMES), dtype=np.float32)
    ahead = AHEAD
    if neutral is not None:
        neutral = check_stream("neutral", np.asarray(neutral)[None], COEFFICIENT_CHANNELS)[0]
        rest, ahead = neutral[BLENDSHAPES], neutral[ROTATION].astype(np.float64)
    moved = coefficients[:, BLENDSHAPES] - rest
    if calibrate:
        blendshapes = rules.arkit_blendshapes(rules.react_activation(moved + MEAN_FACE[BLENDSHAPES]))
    else:
        blendshapes = np.clip(moved, 0, 1)
    return FaceMotion(blendshapes, wrapped(coefficients[:, ROTATION] - ahead))


def resting_face(coefficients: np.ndarray) -> np.ndarray:
    """How a person rests `(58,)`: the median of each channel over a recording `(frames, 58)`."""
    return np.median(check_stream("coefficients", coefficients, COEFFICIENT_CHANNELS), axis=0)


def wrapped(angles: np.ndarray) -> np.ndarray:
    """Angles in [-pi, pi): a pitch near -pi looks the same way as one near pi."""
    return (angles + np.pi) % (2 * np.pi) - np.pi


def rotation_matrices(rotation: np.ndarray) -> np.ndarray:
    """Pitch, yaw and roll `(..., 3)` as matrices `(..., 3, 3)`: x to the own left, y up, z ahead (as in glTF)."""
    (cx, cy, cz), (sx, sy, sz) = np.moveaxis(np.cos(rotation), -1, 0), np.moveaxis(np.sin(rotation), -1, 0)
    rows = [
        [cy * cz + sy * sx * sz, sy * sx * cz - cy * sz, sy * cx],
        [cx * sz, cx * cz, -sx],
        [cy * sx * sz - sy * cz, sy * sz + cy * sx * cz, cy * cx],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quaternions(rotation: np.ndarray) -> np.ndarray:
    """Pitch, yaw and roll `(..., 3)` as unit quaternions `(..., 4)` x, y, z, w in the axes of `rotation_matrices`.

    The head rolls first, then nods, then turns. w is positive while no angle is beyond 90 degrees.
    """
    (cx, cy, cz), (sx, sy, sz) = np.moveaxis(np.cos(rotation / 2), -1, 0), np.moveaxis(np.sin(rotation / 2), -1, 0)
    return np.stack(
        [
            cy * sx * cz + sy * cx * sz,
            sy * cx * cz - cy * sx * sz,
            cy * cx * sz - sy * sx * cz,
            cy * cx * cz + sy * sx * sz,
        ],
        axis=-1,
    )


def gaze(blendshapes: np.ndarray) -> np.ndarray:
    """How the eyeballs are turned: pitch, yaw and roll `(..., 3)` in radians, in the directions of `FaceMotion`.

    Both look the same way, the mean of what their eyeLook blendshapes `(..., 52)` say, since in tracks the two often
    disagree, and avatars would squint.
    """
    look = {
        name: blendshapes[..., channel] for channel, name in enumerate(BLENDSHAPE_NAMES) if name.startswith("eyeLook")
    }
    down = sum(look[f"eyeLookDown{side}"] - look[f"eyeLookUp{side}"] for side in ("Left", "Right")) / 2
    left = look["eyeLookOutLeft"] - look["eyeLookInLeft"] + look["eyeLookInRight"] - look["eyeLookOutRight"]
    return np.stack([LARGEST_GAZE[0] * down, LARGEST_GAZE[1] * left / 2, np.zeros_like(left)], axis=-1)
