"""Reference rows of a synthetic world: its own reactions, and means of many of them.

A reaction drawn from a world's truth is no upper bound in FRCorr and FRdist, which reward averaging: the mean of many
draws can score better, while it looks less alive. Every table of such a world has both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..behaviour import WINDOW_SIZE
from ..synthetic.oracles import MEAN_DRAWS, Knowledge, OracleReactions, mean_oracle_reactions, oracle_reactions
from ..synthetic.world import load_world
from .reference import Predictions, Row


ORACLES: dict[str, Knowledge] = {
    "the world's own, of anybody": "generic",
    "the world's own, of the listener": "personal",
}
MEANS = {f"{name}, mean of {MEAN_DRAWS}": knowledge for name, knowledge in ORACLES.items()}
ORACLE_NAMES = (*ORACLES, *MEANS)


def oracle_rows(
    data_dir: str | Path,
    split: str,
    paths: Sequence[str],
    num_reactions: int = 10,
    hop: int = WINDOW_SIZE,
    seed: int = 0,
) -> dict[str, Row]:
    """The oracles of the synthetic world in a folder as reference rows, with emotion and coefficients.

    - "the world's own, of anybody": reactions drawn from the world's truth for styles drawn from its population.
    - "the world's own, of the listener": the same for the style of the listener in question.
    - both again with the mean of many such draws in the place of each.

    All are online: they know of the speaker what a system knows.

    Args:
        data_dir: the folder.
        split: train, val or test.
        paths: of the clips, "site/session/person/clip" of the listener.
        num_reactions: reactions to a clip.
        hop: frames after which what the speaker did becomes known, from 1 to 50.
        seed: of the draws.

    Returns:
        By name; empty where the folder holds no synthetic world.

    Raises:
        ValueError: if a clip is none of the world's.
    """
    try:
        world = load_world(data_dir)
    except FileNotFoundError:
        return {}
    known = {f"{row.listener_id}/{row.clip}": number for number, row in enumerate(world.of_split(split))}
    if unknown := [path for path in paths if path not in known]:
        raise ValueError(
            f"paths must be clips of the split {split} of the world in {data_dir}; {unknown[0]} is none. Its "
            "world.json belongs to other clips: remove it to go without the world's own reactions."
        )
    numbers = np.array([known[path] for path in paths])

    def row(draw: Callable[..., OracleReactions], knowledge: Knowledge) -> Row:
        options = {"knowledge": knowledge, "num_reactions": num_reactions, "hop": hop, "seed": seed}
        return lambda clips: Predictions(*draw(world, split, rows=numbers[clips].tolist(), **options))

    drawn = {name: row(oracle_reactions, knowledge) for name, knowledge in ORACLES.items()}
    return drawn | {name: row(mean_oracle_reactions, knowledge) for name, knowledge in MEANS.items()}
