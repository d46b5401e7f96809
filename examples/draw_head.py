"""Our own head in eight poses, side by side.

python examples/draw_head.py --output docs/head.png
"""

from __future__ import annotations

import argparse

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from perfrdiff_hf.behaviour import BLENDSHAPE_NAMES
from perfrdiff_hf.files import file_beside
from perfrdiff_hf.rendering.head import draw_head


# Shapes by their names, both sides where a name has sides, and the head's pitch, yaw and roll in radians.
POSES: dict[str, tuple[dict[str, float], tuple[float, float, float]]] = {
    "at rest": ({}, (0, 0, 0)),
    "smile": ({"mouthSmile": 1, "cheekSquint": 0.6, "eyeSquint": 0.3}, (0, 0, 0)),
    "laugh": ({"mouthSmile": 1, "jawOpen": 0.5, "mouthUpperUp": 0.4, "cheekSquint": 1, "eyeSquint": 0.6}, (0, 0, 0)),
    "blink": ({"eyeBlink": 1}, (0, 0, 0)),
    "surprise": ({"browInnerUp": 1, "browOuterUp": 1, "eyeWide": 1, "jawOpen": 0.6}, (0, 0, 0)),
    "frown": ({"mouthFrown": 1, "browDown": 0.8, "mouthPress": 0.3}, (0, 0, 0)),
    "nod": ({"mouthSmile": 0.3}, (0.35, 0, 0)),
    "aside": ({"mouthSmile": 0.6, "eyeLookOutLeft": 0.7, "eyeLookInRight": 0.7}, (0.05, 0.6, -0.1)),
}
_MARGIN, _HEADING, _COLUMNS = 8, 24, 4


def blendshapes(moves: dict[str, float]) -> np.ndarray:
    """`(52,)` from names that may stand for both sides."""
    found = np.zeros(len(BLENDSHAPE_NAMES), dtype=np.float32)
    for name, amount in moves.items():
        for channel, full in enumerate(BLENDSHAPE_NAMES):
            if full in (name, f"{name}Left", f"{name}Right"):
                found[channel] = amount
    return found


def main(arguments: list[str] | None = None) -> None:
    """Draw the poses in rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, help="the picture to write")
    parser.add_argument("--size", type=int, default=240, help="of each head, in pixels (default 240)")
    options = parser.parse_args(arguments)
    cell = options.size + _MARGIN
    rows = -(-len(POSES) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * cell + _MARGIN, rows * (cell + _HEADING) + _MARGIN), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for place, (title, (moves, rotation)) in enumerate(POSES.items()):
        x, y = _MARGIN + place % _COLUMNS * cell, _MARGIN + place // _COLUMNS * (cell + _HEADING)
        middle = (x + options.size / 2, y + _HEADING / 2)
        draw.text(middle, title, fill=(51, 51, 56), font=ImageFont.load_default(15), anchor="mm")
        sheet.paste(draw_head(blendshapes(moves), np.array(rotation), options.size), (x, y + _HEADING))
    with file_beside(options.output) as beside:
        sheet.save(beside, optimize=True)


if __name__ == "__main__":
    main()
