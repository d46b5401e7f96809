"""The drawn face: each parameter moves what it should, where it should."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from perfrdiff_hf.behaviour import COEFFICIENT_NAMES, EMOTION_NAMES, MEAN_FACE, STD_FACE
from perfrdiff_hf.rendering.face import LISTENER, NEUTRAL_GROUND, SPEAKER, Colour, draw_face


SIZE = 192
MOUTH = (slice(110, 150), slice(60, 132))


def face(**moves: float) -> np.ndarray:
    """Coefficients: blendshapes by their distance from the mean face in standard deviations, angles in radians."""
    coefficients = MEAN_FACE.copy()
    for name, amount in moves.items():
        for channel, full_name in enumerate(COEFFICIENT_NAMES):
            if full_name in (name, f"{name}Left", f"{name}Right", f"rotation_{name}"):
                coefficients[channel] += amount * (1 if full_name.startswith("rotation") else STD_FACE[channel])
    return coefficients


def picture(**moves: float) -> np.ndarray:
    return np.asarray(draw_face(face(**moves), size=SIZE)).astype(int)


def where(image: np.ndarray, colour: Colour, tolerance: int = 12) -> np.ndarray:
    """The (row, column) of all pixels of about this colour."""
    return np.argwhere(np.abs(image - np.array(colour)).max(axis=2) <= tolerance)


def eyes(image: np.ndarray) -> np.ndarray:
    return where(image, LISTENER.iris).mean(axis=0)


def test_same_face_same_pixels() -> None:
    first, second = picture(), picture()
    assert first.shape == (SIZE, SIZE, 3)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first[0, 0], [255, 255, 255])


def test_expressions_move_their_part_of_the_face() -> None:
    rest = picture()
    upper, lower = slice(0, SIZE // 2), slice(SIZE // 2, SIZE)
    for moves, moved, still in (
        ({"mouthPress": 3}, lower, upper),
        ({"mouthPucker": 2}, lower, upper),
        ({"browDown": 2}, upper, lower),
        ({"browInnerUp": 2}, upper, lower),
        ({"eyeWide": 2}, upper, lower),
    ):
        changed = np.abs(picture(**moves) - rest).max(axis=2) > 20
        assert changed[moved].sum() > 15, moves
        assert changed[still].sum() == 0, moves


def test_mouth_corners_follow_smile_and_frown() -> None:
    def corner_height(**moves: float) -> float:
        """How far the mouth's outer ends lie above its middle, in pixels."""
        line = where(picture(**moves)[MOUTH], LISTENER.mouth, 40)
        columns = line[:, 1]
        ends = (columns <= np.quantile(columns, 0.1)) | (columns >= np.quantile(columns, 0.9))
        middle = np.abs(columns - columns.mean()) < 3
        return line[middle, 0].mean() - line[ends, 0].mean()

    assert corner_height(mouthSmile=2.5) > corner_height() + 4
    assert corner_height(mouthFrown=2.5) < corner_height() - 3


def test_an_open_jaw_shows_teeth() -> None:
    assert len(where(picture(jawOpen=3)[MOUTH], LISTENER.teeth, 4)) > 40
    assert len(where(picture()[MOUTH], LISTENER.teeth, 4)) == 0


def test_blinking_hides_the_eyes() -> None:
    assert len(where(picture(), LISTENER.iris)) > 20
    assert len(where(picture(eyeBlink=3), LISTENER.iris)) == 0


def test_gaze_and_head_turn_to_the_persons_left_on_the_right_of_the_picture() -> None:
    rest = eyes(picture())
    assert eyes(picture(eyeLookOutLeft=2, eyeLookInRight=2))[1] > rest[1] + 1.5
    assert eyes(picture(eyeLookDown=3))[0] > rest[0] + 0.5
    assert eyes(picture(yaw=0.4))[1] > rest[1] + 8
    assert eyes(picture(yaw=-0.4))[1] < rest[1] - 8
    assert eyes(picture(pitch=0.3))[0] > rest[0] + 5
    # Leaning to the person's right moves the eyes to the left of the picture and the person's left eye up.
    leaning = where(picture(roll=0.3), LISTENER.iris)
    assert leaning[:, 1].mean() < rest[1] - 8
    right_half = leaning[:, 1] > leaning[:, 1].mean()
    assert leaning[right_half, 0].mean() < leaning[~right_half, 0].mean() - 5


def test_valence_tints_the_ground() -> None:
    def ground(valence: float) -> np.ndarray:
        emotion = np.zeros(25)
        emotion[EMOTION_NAMES.index("valence")] = valence
        return np.asarray(draw_face(face(), emotion, SIZE)).astype(int)[SIZE // 2, SIZE // 25]

    np.testing.assert_array_equal(ground(0), NEUTRAL_GROUND)
    assert ground(0.8)[0] > ground(0.8)[2] + 50  # yellow
    assert ground(-0.8)[2] > ground(-0.8)[0] + 40  # blue


def test_palettes_tell_people_apart() -> None:
    speaker = np.asarray(draw_face(face(), size=SIZE, palette=SPEAKER)).astype(int)
    assert len(where(speaker, SPEAKER.shirt)) > 300 and len(where(speaker, LISTENER.shirt)) == 0


@pytest.mark.parametrize("extreme", [-4.0, 5.0])
def test_extreme_values_still_draw_a_face(extreme: float) -> None:
    image = np.asarray(draw_face(MEAN_FACE + extreme * STD_FACE, size=64)).astype(int)
    assert len(where(image, LISTENER.skin)) > 300


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"coefficients must have shape \(frames, 58\); it has \(1, 57\)"):
        draw_face(np.zeros(57))
    with pytest.raises(ValueError, match="coefficients holds 1 NaN"):
        draw_face(np.where(np.arange(58) == 3, np.nan, MEAN_FACE))
    with pytest.raises(ValueError, match=r"emotion must have shape \(frames, 25\)"):
        draw_face(MEAN_FACE, np.zeros(24))
    with pytest.raises(ValueError, match="size must be at least 16 pixels; it is 8"):
        draw_face(MEAN_FACE, size=8)


def test_a_missing_library_is_named_with_the_command_that_helps() -> None:
    """In a Python of its own, in which Pillow cannot be found."""
    program = (
        "import sys; sys.modules['PIL'] = None\n"
        "import importlib.util as u; found = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'PIL' else found(name, *rest)\n"
        "import perfrdiff_hf.rendering.face"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (
        "ImportError: Pictures and videos need pillow. Install them with: pip install 'perfrdiff_hf[rendering]'"
        in done.stderr
    )
