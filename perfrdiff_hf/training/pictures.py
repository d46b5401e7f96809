"""Pictures of a training run: styles as dots, reactions as strips. Without the libraries for them, none are drawn."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from ..behaviour import Behaviour


logger = logging.getLogger(__name__)

SHOWN_FRAMES = 500


def draw_styles(styles: np.ndarray, labels: np.ndarray, path: Path, seed: int) -> Path | None:
    """The t-SNE picture of figure 4b: one dot for each clip, one colour for each person.

    Args:
        styles: `(clips, width)`.
        labels: `(clips,)` integers, one for each person.
        path: of the picture.
        seed: of t-SNE.

    Returns:
        The path, or None where scikit-learn or matplotlib is not installed, or there are fewer than four clips.
    """
    try:
        from matplotlib.figure import Figure
        from sklearn.manifold import TSNE
    except ImportError:
        logger.warning(
            'The picture of styles needs scikit-learn and matplotlib: pip install "perfrdiff_hf[training]".'
        )
        return None
    if len(styles) < 4:
        return None
    places = TSNE(perplexity=min(30.0, (len(styles) - 1) / 3), random_state=seed).fit_transform(styles)
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    axes.scatter(places[:, 0], places[:, 1], c=labels % 20, cmap="tab20", s=18)
    axes.set(title=f"Styles of {len(styles)} clips of {labels.max() + 1} people (t-SNE)", xticks=[], yticks=[])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


def draw_reactions(
    speaker: Behaviour, recorded: Behaviour, generated: list[Behaviour], path: Path, title: str
) -> Path | None:
    """Strips over the first 20 s: the speaker, the recorded reaction, and generated ones.

    Args:
        speaker: emotion and coefficients of the speaker.
        recorded: how the listener reacted.
        generated: how the model does.
        path: of the picture.
        title: of the picture.

    Returns:
        The path, or None where the libraries for pictures are not installed.
    """
    try:
        from ..rendering.people import Person, Scene, reaction_scene
        from ..rendering.strips import draw_strips, save_figure
    except ImportError as error:
        logger.warning(f"No picture of reactions: {error}")
        return None
    shown = slice(0, SHOWN_FRAMES)
    scene = reaction_scene([reaction[shown] for reaction in generated], speaker[shown], title=title)
    people = [Person("Recorded", recorded[shown]), *scene.reactions]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(draw_strips(Scene(people, scene.speaker, title=title)), path)
    return path
