"""The three-dimensional head drawn on the processor: the nearest surface wins, and what moves is seen to move."""

from __future__ import annotations

import numpy as np
import pytest

from perfrdiff_hf.behaviour import BLENDSHAPE_NAMES
from perfrdiff_hf.faces.head.pieces import COLOURS
from perfrdiff_hf.rendering.head import draw_head
from perfrdiff_hf.rendering.raster import rasterise


SIZE = 192


def picture(rotation: tuple[float, float, float] = (0, 0, 0), **moves: float) -> np.ndarray:
    weights = np.zeros(52)
    for name, amount in moves.items():
        for channel, full in enumerate(BLENDSHAPE_NAMES):
            if full in (name, f"{name}Left", f"{name}Right"):
                weights[channel] = amount
    return np.asarray(draw_head(weights, np.array(rotation), SIZE)).astype(int)


def irises(image: np.ndarray) -> np.ndarray:
    """The (row, column) of pixels that are as blue-green as an iris, in the upper half of the picture."""
    wanted = np.array(COLOURS.iris)
    red, blue = image[..., 0], image[..., 2]
    found = (
        (blue - red > 25) & (np.arange(SIZE)[:, None] < 0.62 * SIZE) & (image.sum(axis=2) > 0.6 * 255 * wanted.sum())
    )
    return np.argwhere(found)


def test_same_pose_same_pixels() -> None:
    first, second = picture(), picture()
    assert first.shape == (SIZE, SIZE, 3)
    np.testing.assert_array_equal(first, second)


def test_blinking_hides_the_irises() -> None:
    assert len(irises(picture())) > 60
    assert len(irises(picture(eyeBlink=1))) == 0


def test_gaze_and_head_turn_to_the_persons_left_on_the_right_of_the_picture() -> None:
    rest = irises(picture()).mean(axis=0)
    assert irises(picture(eyeLookOutLeft=1, eyeLookInRight=1)).mean(axis=0)[1] > rest[1] + 2
    assert irises(picture((0, 0.4, 0))).mean(axis=0)[1] > rest[1] + 8
    assert irises(picture((0.3, 0, 0))).mean(axis=0)[0] > rest[0] + 4
    assert irises(picture((0, 0, 0.3))).mean(axis=0)[1] < rest[1] - 4


def test_each_move_changes_its_part_of_the_face() -> None:
    rest = picture()
    upper, lower = slice(0, SIZE // 2), slice(SIZE // 2, SIZE)
    for move, moved, still in (
        ("browInnerUp", upper, lower),
        ("mouthFunnel", lower, upper),
        ("jawOpen", lower, upper),
    ):
        changed = np.abs(picture(**{move: 1}) - rest).max(axis=2) > 20
        assert changed[moved].sum() > 30, move
        assert changed[still].sum() < 20, move


def test_the_body_stays_while_the_head_turns() -> None:
    shirt = slice(int(0.93 * SIZE), SIZE)
    np.testing.assert_array_equal(picture()[shirt], picture((0.2, 0.5, 0.1))[shirt])


def test_a_picture_of_sixteen_pixels_at_least() -> None:
    with pytest.raises(ValueError, match="size must be at least 16 pixels; it is 8"):
        draw_head(np.zeros(52), np.zeros(3), 8)


def test_nearest_wins_and_backs_are_left_out() -> None:
    # Two squares of 8 pixels, counter-clockwise as seen from the front (y points down), the second nearer and smaller.
    square = np.array([[0, 0], [0, 8], [8, 8], [8, 0]], dtype=float)
    points = np.concatenate([np.column_stack([square, np.zeros(4)]), np.column_stack([square / 2, np.ones(4)])])
    triangles = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    values = np.repeat([[1.0], [2.0]], 4, axis=0)
    drawn, near = rasterise(points, triangles, values, 12)
    assert drawn[6, 6, 0] == pytest.approx(1) and drawn[2, 2, 0] == pytest.approx(2)
    assert near[2, 2] == pytest.approx(1) and near[11, 11] == -np.inf and drawn[11, 11, 0] == 0
    turned, _ = rasterise(points, triangles[:, ::-1].copy(), values, 12)
    assert not turned.any()


def test_values_are_spread_evenly() -> None:
    points = np.array([[0, 0, 0], [0, 10, 0], [10, 0, 0]], dtype=float)
    drawn, _ = rasterise(points, np.array([[0, 1, 2]]), points[:, :2].copy(), 12)
    np.testing.assert_allclose(drawn[3, 4], [4, 3], atol=1e-9)
