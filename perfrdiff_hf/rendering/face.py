"""A drawn face from 3DMM coefficients: flat shapes and lines, no mesh and no licensed model.

The head is an ellipsoid whose features are curves on its surface, so that they turn, foreshorten and vanish behind the
head with yaw, pitch and roll. A face at `MEAN_FACE` looks straight ahead with a neutral expression; expressions are
drawn by how far the blendshapes lie from it (`perfrdiff_hf.faces.rules`). The picture is not mirrored: the
person's left is on the right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..behaviour import (
    BLENDSHAPE_NAMES,
    COEFFICIENT_CHANNELS,
    EMOTION_CHANNELS,
    ROTATION,
    VALENCE_AROUSAL,
    check_stream,
)
from ..faces.rules import ARKIT_ONSET, react_activation
from .pen import GROUND_RADIUS, HEAD_CENTRE, Colour, Image, Pen, arc, ellipse, mixed


# Below the mean face a blendshape moves the drawing only a little: its mean is closer to rest than to an opposite.
_NEGATIVE_GAIN = 0.25


@dataclass(frozen=True)
class Palette:
    """The colours of a person, each as (red, green, blue) in 0..255."""

    skin: Colour = (236, 199, 173)
    skin_shade: Colour = (219, 176, 150)
    skin_line: Colour = (170, 117, 96)
    blush: Colour = (232, 170, 150)
    hair: Colour = (66, 58, 62)
    shirt: Colour = (78, 121, 150)
    shirt_shade: Colour = (64, 102, 128)
    lip: Colour = (198, 118, 108)
    mouth: Colour = (92, 38, 42)
    tongue: Colour = (205, 104, 102)
    teeth: Colour = (250, 246, 240)
    eye: Colour = (252, 250, 247)
    iris: Colour = (86, 112, 118)
    pupil: Colour = (38, 34, 38)


LISTENER = Palette()
SPEAKER = Palette(hair=(122, 84, 58), shirt=(188, 116, 76), shirt_shade=(164, 98, 62), iris=(104, 88, 66))

NEUTRAL_GROUND: Colour = (236, 236, 232)
PLEASANT_GROUND: Colour = (250, 214, 150)
UNPLEASANT_GROUND: Colour = (158, 186, 220)


def draw_face(
    coefficients: np.ndarray, emotion: np.ndarray | None = None, size: int = 256, palette: Palette = LISTENER
) -> Image.Image:
    """Draw one face.

    Args:
        coefficients: `(58,)` as recorded or returned by the pipeline (mean face included).
        emotion: `(25,)`; its valence tints the ground behind the head, from blue (-1) to yellow (1). None: grey.
        size: width and height in pixels.
        palette: the colours of the person.

    Returns:
        An RGB image of `size` x `size` pixels on white.

    Raises:
        ValueError: if a width is wrong, a value is NaN or infinite, or `size` is below 16.
        ImportError: if Pillow is not installed.
    """
    coefficients = check_stream("coefficients", np.asarray(coefficients)[None], COEFFICIENT_CHANNELS)[0]
    if emotion is not None:
        emotion = check_stream("emotion", np.asarray(emotion)[None], EMOTION_CHANNELS)[0]
    if size < 16:
        raise ValueError(f"size must be at least 16 pixels; it is {size}.")
    pen = Pen(size, coefficients[ROTATION])
    move = _movements(coefficients)
    pen.disc(-np.array(HEAD_CENTRE), GROUND_RADIUS, ground_colour(emotion))
    _draw_body(pen, palette)
    _draw_head(pen, move, palette)
    for side in (-1, 1):
        _draw_eye(pen, move, palette, side)
        _draw_brow(pen, move, palette, side)
    _draw_nose(pen, move, palette)
    _draw_mouth(pen, move, palette)
    _draw_fringe(pen, palette)
    return pen.picture()


class _Movements(dict[str, float]):
    """Strength of each blendshape, about 0 to 1, by name. `side("eyeBlink", 1)` is the person's left one."""

    def side(self, stem: str, side: int) -> float:
        return self[stem + ("Left" if side > 0 else "Right")]

    def both(self, stem: str) -> float:
        return (self[stem + "Left"] + self[stem + "Right"]) / 2


def _movements(coefficients: np.ndarray) -> _Movements:
    strength = 2 * ARKIT_ONSET * react_activation(coefficients)
    strength = np.clip(np.where(strength < 0, _NEGATIVE_GAIN * strength, strength), -0.3, 1.1)
    return _Movements(zip(BLENDSHAPE_NAMES, strength.tolist()))


def ground_colour(emotion: np.ndarray | None) -> Colour:
    """What lies behind a head: by the valence of `emotion` `(25,)` from blue (-1) to yellow (1). None: grey."""
    valence = 0.0 if emotion is None else float(emotion[VALENCE_AROUSAL][0])
    return mixed(NEUTRAL_GROUND, PLEASANT_GROUND if valence > 0 else UNPLEASANT_GROUND, abs(valence))


def _draw_body(pen: Pen, palette: Palette) -> None:
    """Neck and shoulders, cut by the rim of the ground."""
    angle = np.linspace(0.26 * np.pi, 0.74 * np.pi, 41)
    rim = GROUND_RADIUS * np.stack([np.cos(angle), np.sin(angle)], axis=1) - np.array(HEAD_CENTRE)
    slope = arc([-0.30, 1.0], [-0.66, 1.03], rim[-1])[::-1]
    pen.fill(np.concatenate([slope, slope[::-1] * [-1, 1], rim]), palette.shirt)
    sway = 0.10 * np.sin(pen.yaw)
    neck = np.array([[-0.29 + sway, 0.55], [0.29 + sway, 0.55], [0.30, 1.05], [0.0, 1.22], [-0.30, 1.05]])
    pen.fill(neck, palette.skin_shade)
    pen.line(np.array([[-0.31, 1.02], [0.0, 1.23], [0.31, 1.02]]), 0.07, palette.shirt_shade)


def _draw_head(pen: Pen, move: _Movements, palette: Palette) -> None:
    turn, nod = np.sin(pen.yaw), np.sin(pen.pitch)
    hair = ellipse(-0.10 * turn, -0.16 - 0.10 * nod, 0.86, 0.98)
    pen.fill(pen.rolled(hair), palette.hair)
    for side in (-1, 1):
        # An ear comes forward on the side from which the head turns away.
        ear = ellipse(side * 0.76 - 0.10 * turn, 0.06 - 0.25 * nod, 0.12 * (1 - 0.8 * side * turn), 0.19)
        pen.fill(pen.rolled(ear), palette.skin_shade)
    pen.fill(pen.rolled(_head_outline(pen, move)), palette.skin)
    glow = max(move.both("cheekSquint"), 0.8 * move.both("mouthSmile"), move["cheekPuff"])
    for side in (-1, 1):
        cheek = ellipse(side * 0.44, 0.30 - 0.04 * move.both("mouthSmile"), 0.16, 0.115)
        pen.fill(pen.on_head(cheek), mixed(palette.skin, palette.blush, 0.25 + 0.6 * glow))


def _head_outline(pen: Pen, move: _Movements) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    x, y = np.cos(angle), np.sin(angle)
    low = np.clip(y, 0, None)
    jaw = 0.16 * max(0.0, move["jawOpen"])
    puff = 0.07 * max(0.0, move["cheekPuff"]) * np.exp(-(((y - 0.45) / 0.3) ** 2))
    width = 0.745 - 0.15 * low**2.2 + puff
    height = np.where(y > 0, 0.98 + jaw, 0.98)
    shift = 0.14 * np.sin(pen.yaw) * (0.4 + low) + 0.05 * low**2 * (move["jawLeft"] - move["jawRight"])
    return np.stack([x * width + shift, y * height + 0.10 * np.sin(pen.pitch)], axis=1)


def _draw_eye(pen: Pen, move: _Movements, palette: Palette, side: int) -> None:
    x, y, half = side * 0.31, -0.06, 0.158
    blink, squint = move.side("eyeBlink", side), move.side("eyeSquint", side)
    wide, cheek = move.side("eyeWide", side), move.side("cheekSquint", side)
    closed = float(np.clip(blink * 1.15, 0, 1))
    look_down = 0.5 * (move.both("eyeLookDown") - move.both("eyeLookUp"))
    upper = 0.118 * (1 + 0.45 * wide - 0.40 * squint - 0.25 * look_down)
    lower = 0.082 * (1 + 0.15 * wide - 0.55 * squint - 0.45 * cheek - 0.15 * max(0.0, move.side("mouthSmile", side)))
    meet = y + 0.055  # where the lids meet
    top = (1 - closed) * (y - max(upper, 0.02)) + closed * meet
    bottom = max((1 - closed) * (y + max(lower, 0.01)) + closed * meet, top)
    left, right = np.array([x - half, y + 0.015]), np.array([x + half, y + 0.015])
    upper_lid, lower_lid = arc(left, [x, top], right), arc(left, [x, bottom], right)
    if bottom - top > 0.03:
        pen.fill(pen.on_head(np.concatenate([upper_lid, lower_lid[::-1]])), palette.eye)
        _draw_iris(pen, move, palette, (x, y), upper_lid, lower_lid)
    pen.line(pen.on_head(lower_lid), 0.014, mixed(palette.skin, palette.skin_line, 0.75))
    pen.line(pen.on_head(upper_lid), 0.036, palette.pupil)
    if closed < 0.6:
        crease = arc([x - half + 0.01, y - 0.035], [x, top - 0.075], [x + half - 0.01, y - 0.035])
        pen.line(pen.on_head(crease), 0.012, palette.skin_shade)


def _draw_iris(
    pen: Pen, move: _Movements, palette: Palette, centre: tuple[float, float], upper: np.ndarray, lower: np.ndarray
) -> None:
    """Iris and pupil, cut by the lids. Both eyes look into the same direction."""
    out_left = move["eyeLookOutLeft"] - move["eyeLookInLeft"]
    out_right = move["eyeLookOutRight"] - move["eyeLookInRight"]
    gaze = np.clip(
        [0.10 * (out_left - out_right) / 1.4, 0.07 * (move.both("eyeLookDown") - move.both("eyeLookUp"))], -0.07, 0.07
    )
    at = np.array(centre) + gaze
    for radius, colour in ((0.088, palette.iris), (0.046, palette.pupil)):
        disc = ellipse(at[0], at[1], radius, radius, steps=32)
        ceiling = np.interp(disc[:, 0], upper[:, 0], upper[:, 1])
        floor = np.interp(disc[:, 0], lower[:, 0], lower[:, 1])
        disc[:, 1] = np.clip(disc[:, 1], ceiling, floor)
        pen.fill(pen.on_head(disc), colour)
    glint = at + np.array([0.03, -0.035])
    if glint[1] > np.interp(glint[0], upper[:, 0], upper[:, 1]) + 0.03:
        pen.disc(pen.on_head(glint[None])[0], 0.020, palette.eye)


def _draw_brow(pen: Pen, move: _Movements, palette: Palette, side: int) -> None:
    down, outer = move.side("browDown", side), move.side("browOuterUp", side)
    inner_y = -0.335 - 0.17 * move["browInnerUp"] - 0.03 * outer + 0.19 * down
    outer_y = -0.330 - 0.17 * outer - 0.02 * down
    middle_y = -0.405 - 0.07 * move["browInnerUp"] - 0.15 * outer + 0.09 * down
    inner = [side * (0.145 - 0.045 * down), inner_y]
    spine = arc(inner, [side * 0.31, middle_y], [side * 0.50, outer_y])
    half = np.linspace(0.042, 0.014, len(spine))[:, None] * np.array([[0.0, 1.0]])
    pen.fill(pen.on_head(np.concatenate([spine - half, (spine + half)[::-1]])), palette.hair)


def _draw_nose(pen: Pen, move: _Movements, palette: Palette) -> None:
    sneer = max(0.0, move.both("noseSneer"))
    tip = 0.30 - 0.05 * sneer
    bridge = arc([0.045, -0.02], [0.06, 0.13], [0.105, tip - 0.07])
    pen.line(pen.on_head(bridge, lift=1.06), 0.018, palette.skin_shade)
    wing = 0.105 + 0.02 * sneer
    base = arc([-wing, tip - 0.02], [0.0, tip + 0.045], [wing, tip - 0.02])
    pen.line(pen.on_head(base, lift=1.14), 0.024, palette.skin_line)
    if sneer > 0.15:
        for side in (-1, 1):
            wrinkle = arc([side * 0.055, -0.03], [side * 0.085, 0.01], [side * 0.105, 0.06])
            pen.line(pen.on_head(wrinkle), 0.014, mixed(palette.skin, palette.skin_line, sneer))


def _draw_mouth(pen: Pen, move: _Movements, palette: Palette) -> None:
    upper, lower = _mouth_curves(move)
    thin = 1 - 0.6 * np.clip(max(move.both("mouthPress"), 0), 0, 1)
    full = 0.035 * (1 + 0.8 * max(0.0, move["mouthPucker"], move["mouthFunnel"]))
    swell = np.sin(np.linspace(0, np.pi, len(upper)))[:, None] * np.array([[0.0, 1.0]])
    upper_lip = upper - swell * full * thin * (1 - 0.8 * np.clip(move["mouthRollUpper"], 0, 1))
    lower_lip = lower + swell * 1.35 * full * thin * (1 - 0.8 * np.clip(move["mouthRollLower"], 0, 1))
    pen.fill(pen.on_head(np.concatenate([upper_lip, lower_lip[::-1]]), lift=1.03), palette.lip)
    gap = lower[:, 1] - upper[:, 1]
    if gap.max() > 0.025:
        pen.fill(pen.on_head(np.concatenate([upper, lower[::-1]]), lift=1.03), palette.mouth)
        teeth = upper.copy()
        teeth[:, 1] += np.minimum(0.075, 0.6 * gap)
        pen.fill(pen.on_head(np.concatenate([upper, teeth[::-1]]), lift=1.03), palette.teeth)
        if gap.max() > 0.14:
            tongue = lower.copy()
            tongue[:, 1] -= np.clip(gap - 0.12, 0, 0.10) * swell[:, 1]
            pen.fill(pen.on_head(np.concatenate([tongue, lower[::-1]]), lift=1.03), palette.tongue)
    else:
        pen.line(pen.on_head(upper, lift=1.03), 0.020, palette.mouth)
    _draw_mouth_folds(pen, move, palette, upper)


def _mouth_curves(move: _Movements) -> tuple[np.ndarray, np.ndarray]:
    """The inner edges of the upper and the lower lip, from the person's right corner to the left one."""
    narrow = max(0.0, move["mouthPucker"]) + 0.6 * max(0.0, move["mouthFunnel"])
    opening = 0.36 * max(0.0, move["jawOpen"] - move["mouthClose"])
    up = 0.07 * max(0.0, move.both("mouthUpperUp")) + 0.05 * max(0.0, move["mouthFunnel"])
    down = opening + 0.09 * max(0.0, move.both("mouthLowerDown")) + 0.05 * max(0.0, move["mouthFunnel"])
    shift = 0.08 * (move["mouthLeft"] - move["mouthRight"])
    rise = 0.04 * max(0.0, move["mouthShrugLower"])
    base = 0.545 - rise
    corners = []
    for side in (-1, 1):
        smile, frown = move.side("mouthSmile", side), move.side("mouthFrown", side)
        spread = 0.08 * smile + 0.07 * move.side("mouthStretch", side) + 0.03 * move.side("mouthDimple", side)
        x = side * (0.255 + spread) * (1 - 0.5 * min(narrow, 1)) + shift
        corners.append([x, base - 0.115 * smile + 0.085 * frown + 0.35 * opening])
    smile, frown = move.both("mouthSmile"), move.both("mouthFrown")
    middle = base + 0.035 * smile - 0.045 * frown
    upper = arc(corners[0], [shift, middle - up], corners[1], steps=25)
    lower = arc(corners[0], [shift, middle + down], corners[1], steps=25)
    return upper, np.maximum(lower, upper * [0, 1] + lower * [1, 0])


def _draw_mouth_folds(pen: Pen, move: _Movements, palette: Palette, upper: np.ndarray) -> None:
    """The folds beside a smile, the dimple beside a pressed corner and the dent under the lower lip."""
    for side, (x, y) in ((-1, upper[0]), (1, upper[-1])):
        smile = np.clip(move.side("mouthSmile", side) + 0.4 * move.side("noseSneer", side), 0, 1)
        if smile > 0.12:
            fold = arc([side * 0.19, 0.28], [side * 0.335, y - 0.14], [x + side * 0.095, y])
            pen.line(pen.on_head(fold), 0.016, mixed(palette.skin, palette.skin_line, 0.65 * smile))
        dimple = max(move.side("mouthDimple", side), move.side("mouthPress", side))
        if dimple > 0.2:
            mark = arc([x + side * 0.03, y - 0.04], [x + side * 0.045, y], [x + side * 0.03, y + 0.04])
            pen.line(pen.on_head(mark), 0.014, mixed(palette.skin, palette.skin_line, dimple))
    chin = np.clip(move["mouthShrugLower"], 0, 1)
    low = 0.735 + 0.14 * max(0.0, move["jawOpen"])
    dent = arc([-0.08, low], [0.0, low - 0.02 - 0.02 * chin], [0.08, low])
    pen.line(
        pen.on_head(dent),
        0.014,
        mixed(palette.skin_shade, palette.skin_line, chin),
    )


def _draw_fringe(pen: Pen, palette: Palette) -> None:
    """The hair over the forehead, parted on one side."""
    turn, nod = 0.20 * np.sin(pen.yaw), 0.22 * np.sin(pen.pitch)
    crown = np.linspace(np.pi * 1.04, np.pi * 1.96, 31)
    top = np.stack([0.80 * np.cos(crown) - 0.03 * turn, 1.08 * np.sin(crown) + 0.02], axis=1)
    edge = np.concatenate(
        [
            arc([0.80, -0.22], [0.66 + turn, -0.52 + nod], [0.34 + turn, -0.70 + nod]),
            arc([0.34 + turn, -0.70 + nod], [-0.28 + turn, -0.60 + nod], [-0.80, -0.16]),
        ]
    )
    pen.fill(pen.rolled(np.concatenate([top, edge])), palette.hair)
