"""A still picture of a scene: each person's faces over time, with action units, valence and arousal beneath them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..behaviour import ACTION_UNIT_NAMES, FRAME_RATE, VALENCE_AROUSAL
from ..extras import require
from ..files import file_beside
from .face import draw_face
from .people import Person, Scene


require("rendering", "Pictures and videos")
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.cm import ScalarMappable  # noqa: E402
from matplotlib.colors import LinearSegmentedColormap, Normalize  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.gridspec import SubplotSpec  # noqa: E402


# Rows of the heat strip, from top to bottom: what is shown is the strongest of the units.
STRIP_ROWS = {
    "brows up": ("AU1", "AU2"),
    "brows down": ("AU4",),
    "cheeks up": ("AU6",),
    "smile": ("AU12",),
    "frown": ("AU15",),
    "mouth open": ("AU25", "AU26"),
}
MOST_FACES = 13
_FACE_STEPS = (0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0)
_FACE_PIXELS = 192
_INK, _FAINT = "#333338", "#8a8a90"
# Okabe and Ito's blue and vermilion: told apart by everybody.
_VALENCE, _AROUSAL, _SOUND = "#0072b2", "#d55e00", "#9a9aa2"
_HEAT = LinearSegmentedColormap.from_list("activation", ["#f3f3f0", "#f2cf66", "#d9772b", "#7b2d26"])


def draw_strips(scene: Scene) -> Figure:
    """Draw a scene over time.

    Args:
        scene: the speaker (if any) and the reactions; people without emotion get faces only.

    Returns:
        A matplotlib figure; `save_figure` writes it.
    """
    seconds = scene.num_frames / FRAME_RATE
    step = next((step for step in _FACE_STEPS if seconds / step <= MOST_FACES), seconds / MOST_FACES)
    heights = [3.1 if person.behaviour.emotion is not None else 1.15 for person in scene.people]
    sound_height = [0.45] if scene.sound is not None else []
    total = sum(heights) + sum(sound_height)
    figure = Figure(figsize=(14, total + 0.9), facecolor="white", dpi=110)
    # `constrained` layout would fit the axes to their labels; all must share one time axis instead.
    rows = figure.add_gridspec(
        len(heights) + len(sound_height), 1, height_ratios=[*sound_height, *heights], left=0.085, right=0.985,
        top=1 - 0.5 / (total + 0.9), bottom=0.5 / (total + 0.9), hspace=0.10,
    )  # fmt: skip
    if scene.sound is not None:
        _sound(figure.add_subplot(rows[0]), scene, seconds)
    for place, person in enumerate(scene.people, start=len(sound_height)):
        axes = _person(figure, rows[place], person, seconds, step)
    axes.tick_params(bottom=True, labelbottom=True, labelsize=9, colors=_FAINT)
    axes.set_xlabel("seconds", color=_FAINT, fontsize=9)
    if scene.title:
        figure.text(0.012, 1 - 0.16 / (total + 0.9), scene.title, fontsize=14, color=_INK, weight="bold", va="top")
    _legend(figure, total + 0.9)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure beside its place and move it there; the suffix tells the format (png, svg, pdf)."""
    with file_beside(path) as beside:
        figure.savefig(beside)


def _person(figure: Figure, place: SubplotSpec, person: Person, seconds: float, step: float) -> Axes:
    """Faces, heat strip and curves of one person. Returns the lowest axes."""
    has_emotion = person.behaviour.emotion is not None
    parts = place.subgridspec(
        3 if has_emotion else 1, 1, height_ratios=[1.15, 0.95, 0.7] if has_emotion else [1], hspace=0.06
    )
    axes = figure.add_subplot(parts[0])
    _faces(axes, person, seconds, step)
    if has_emotion:
        _heat(figure.add_subplot(parts[1]), person, seconds)
        axes = figure.add_subplot(parts[2])
        _curves(axes, person, seconds)
    return axes


def _bare(axes: Axes, seconds: float) -> None:
    axes.set_xlim(0, seconds)
    axes.tick_params(bottom=False, labelbottom=False, left=False, labelsize=8, colors=_FAINT, length=3)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _faces(axes: Axes, person: Person, seconds: float, step: float) -> None:
    """One face for every `step` seconds, in the middle of the time that it stands for."""
    _bare(axes, seconds)
    axes.set_yticks([])
    box = axes.get_position()
    assert axes.figure is not None
    width, height = axes.figure.get_size_inches()
    # Seconds that a face as high as the axes takes.
    square = box.height * height / (box.width * width) * seconds
    half = min(square, step) / 2
    for start in np.arange(0, seconds - 0.5 * step + 1e-6, step):
        at = start + step / 2
        picture = draw_face(*person.face_at(int(at * FRAME_RATE)), size=_FACE_PIXELS, palette=person.palette)
        tall = 0.5 * 2 * half / square
        axes.imshow(
            picture, extent=(at - half, at + half, 0.5 - tall, 0.5 + tall), aspect="auto", interpolation="antialiased"
        )
    axes.set_xlim(0, seconds)
    axes.set_ylim(0, 1)
    axes.text(
        -0.008,
        0.5,
        person.title,
        transform=axes.transAxes,
        ha="right",
        va="center",
        fontsize=12,
        weight="bold",
        color=_INK,
    )


def _heat(axes: Axes, person: Person, seconds: float) -> None:
    _bare(axes, seconds)
    assert person.behaviour.emotion is not None
    channels = [[ACTION_UNIT_NAMES.index(unit) for unit in units] for units in STRIP_ROWS.values()]
    strength = np.stack([person.behaviour.emotion[:, columns].max(axis=1) for columns in channels])
    shown = len(person.behaviour) / FRAME_RATE
    axes.imshow(
        strength, aspect="auto", cmap=_HEAT, vmin=0, vmax=1, interpolation="nearest",
        extent=(0, shown, len(STRIP_ROWS), 0),
    )  # fmt: skip
    axes.set_xlim(0, seconds)
    axes.set_yticks(np.arange(len(STRIP_ROWS)) + 0.5, list(STRIP_ROWS))
    axes.hlines(np.arange(1, len(STRIP_ROWS)), 0, seconds, color="white", linewidth=1.5)


def _curves(axes: Axes, person: Person, seconds: float) -> None:
    _bare(axes, seconds)
    assert person.behaviour.emotion is not None
    times = np.arange(len(person.behaviour)) / FRAME_RATE
    axes.axhline(0, color="#dcdcdc", linewidth=0.8)
    for values, colour in zip(person.behaviour.emotion[:, VALENCE_AROUSAL].T, (_VALENCE, _AROUSAL)):
        axes.plot(times, values, color=colour, linewidth=1.4)
    axes.set_ylim(-1.05, 1.05)
    axes.set_yticks([-1, 0, 1])


def _sound(axes: Axes, scene: Scene, seconds: float) -> None:
    _bare(axes, seconds)
    loudness = scene.loudness(1200)
    assert loudness is not None
    axes.fill_between(np.linspace(0, seconds, len(loudness)), -loudness, loudness, color=_SOUND, linewidth=0)
    axes.set_ylim(-1.05, 1.05)
    axes.set_yticks([])
    axes.text(-0.008, 0.5, "sound", transform=axes.transAxes, ha="right", va="center", fontsize=8, color=_FAINT)


def _legend(figure: Figure, height: float) -> None:
    """The meaning of colours, in the top right corner."""
    y = 1 - 0.26 / height
    scale = figure.add_axes((0.90, y - 0.05 / height, 0.06, 0.10 / height))
    figure.colorbar(ScalarMappable(Normalize(0, 1), _HEAT), cax=scale, orientation="horizontal", ticks=[])
    scale.tick_params(size=0)
    for x, text, colour, align in (
        (0.895, "action units  0", _INK, "right"), (0.965, "1", _INK, "left"),
        (0.795, "arousal", _AROUSAL, "right"), (0.745, "valence", _VALENCE, "right"),
    ):  # fmt: skip
        figure.text(x, y, text, ha=align, va="center", fontsize=9.5, color=colour)
