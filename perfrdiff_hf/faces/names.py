"""The one table of what avatars call the 52 blendshapes, and what to do for those that know only a few expressions.

| who | order | spelling |
|---|---|---|
| this package, ARKit, MediaPipe, most glTF heads | alphabetical here, by name elsewhere | `mouthSmileLeft` |
| Live Link Face, datagrams | Apple's | `MouthSmileLeft` |
| Live Link Face, csv | by name; Apple's, but two pairs are exchanged | `MouthSmileLeft` |
| VRM "Perfect Sync" (VMC) | by name | `MouthSmileLeft` |
| plain VRM (VMC) | by name | `Joy`, `Blink_L`, `A`, ...: mixtures, see `PRESETS` |
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from ..behaviour import BLENDSHAPE_NAMES


# Apple's order, which Live Link Face's datagrams have, in which no names stand.
APPLE_ORDER = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight", "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel",
    "mouthPucker", "mouthLeft", "mouthRight", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight",
    "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft",
    "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft",
    "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
# The columns of Live Link Face's csv begin with the right one in two pairs.
_EXCHANGED = {"jawLeft": "jawRight", "jawRight": "jawLeft", "mouthLeft": "mouthRight", "mouthRight": "mouthLeft"}
CSV_ORDER = tuple(_EXCHANGED.get(name, name) for name in APPLE_ORDER)
# Where each of Apple's stands among ours.
APPLE_CHANNELS = tuple(BLENDSHAPE_NAMES.index(name) for name in APPLE_ORDER)

# What a plain VRM avatar shows, as a mixture of blendshapes. "Both" stands for the mean of left and right.
PRESETS: Mapping[str, Mapping[str, float]] = {
    "Blink_L": {"eyeBlinkLeft": 1.0},
    "Blink_R": {"eyeBlinkRight": 1.0},
    "Joy": {"mouthSmileBoth": 1.0},
    "Sorrow": {"mouthFrownBoth": 0.7, "browInnerUp": 0.3},
    "Angry": {"browDownBoth": 0.7, "noseSneerBoth": 0.3},
    "Surprised": {"eyeWideBoth": 0.5, "browInnerUp": 0.25, "browOuterUpBoth": 0.25},
    "A": {"jawOpen": 1.0, "mouthClose": -1.0},
    "I": {"mouthStretchBoth": 0.5, "mouthLowerDownBoth": 0.5},
    "U": {"mouthPucker": 1.0},
    "E": {"mouthUpperUpBoth": 0.5, "mouthLowerDownBoth": 0.5},
    "O": {"mouthFunnel": 1.0},
    "LookUp": {"eyeLookUpBoth": 1.0},
    "LookDown": {"eyeLookDownBoth": 1.0},
    "LookLeft": {"eyeLookOutLeft": 0.5, "eyeLookInRight": 0.5},
    "LookRight": {"eyeLookInLeft": 0.5, "eyeLookOutRight": 0.5},
}


def capitalised(name: str) -> str:
    """A blendshape as Live Link Face and Perfect Sync spell it: `MouthSmileLeft`."""
    return name[0].upper() + name[1:]


def preset_weights() -> np.ndarray:
    """`(52, presets)`: what each blendshape adds to each of `PRESETS`, in their order."""
    weights = np.zeros((len(BLENDSHAPE_NAMES), len(PRESETS)), dtype=np.float32)
    for column, mixture in enumerate(PRESETS.values()):
        for name, weight in mixture.items():
            sides = (
                [name.removesuffix("Both") + side for side in ("Left", "Right")] if name.endswith("Both") else [name]
            )
            for side in sides:
                weights[BLENDSHAPE_NAMES.index(side), column] += weight / len(sides)
    return weights


def channels_of(names: Sequence[str]) -> list[int | None]:
    """Which blendshape each name of an avatar's morph target means; None where it means none of the 52.

    Case, `_`, blanks and a prefix up to a point do not count, `_L` and `_R` at the end are sides, and a half of a
    shape that Apple does not split (`browInnerUpLeft`) follows the whole.
    """
    known = {name.lower(): channel for channel, name in enumerate(BLENDSHAPE_NAMES)}
    for whole in ("browInnerUp", "cheekPuff"):
        known |= {whole.lower() + side: known[whole.lower()] for side in ("left", "right")}
    return [known.get(_plain(name)) for name in names]


def _plain(name: str) -> str:
    last = re.sub(r"_([LR])$", lambda side: {"L": "left", "R": "right"}[side[1]], name.rpartition(".")[2])
    return re.sub(r"[_\s]", "", last).lower()
