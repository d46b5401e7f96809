"""Which recorded reactions are appropriate to which speaker clip: the official matrices, cut for a split.

A matrix has a row for each ordered pair (whose speaker is reacted to) and a column for each ordered pair (whose
listener reacts), both in the row order of `load_react2024`. For MAFRG all listeners' reactions count; for PMAFRG only
those of the same listener, and clip 1 of every session, which is the listener's history, is left out.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..dyads import Recording, check_split, listeners
from .layout import FULL_MATRIX, HISTORY_CLIP, INDEX, cut_matrix_path, read_pairs


if TYPE_CHECKING:
    from datasets import Dataset


def load_appropriateness(
    data_dir: str | os.PathLike, split: str, personal: bool = False, dataset: Dataset | None = None
) -> np.ndarray:
    """The appropriateness matrix of a split, cut from the official full matrix with the help of its index.

    Where the folder has no full matrix, `neighbour_emotion_<split>.npy`, which the official tool cuts from it, serves.

    Args:
        data_dir: a folder in the REACT2024 layout, with `Approprirate_facial_reaction.npy` and `data_indices.csv`.
        split: "train", "val" or "test".
        personal: whether to give the PMAFRG matrix: without clip 1 of every session, and with only the reactions of
            the same listener (site, session and person).
        dataset: the dataset that the matrix is for, if it is not all of `load_react2024(..., personal=personal)`:
            where broken clips were skipped, for example, or for the reactions of *all* listeners to the clips of
            a `personal=True` dataset (the matrix that PMAFRG masks).

    Returns:
        bool `(2n, 2n)`: entry `[i, j]` tells whether the reaction in row `j` is appropriate to the speaker of row `i`.

    Raises:
        FileNotFoundError: if neither matrix is in the folder, or the list or the index is absent.
        ValueError: if a matrix has the wrong size, a clip of the list is not in the index, or a row of `dataset` is
            not in the list.
    """
    check_split(split)
    rows = listeners(read_pairs(data_dir, split))
    matrix = _matrix(Path(data_dir), split, rows)
    if dataset is not None:
        place = {row.path: number for number, row in enumerate(rows)}
        wanted = [f"{who}/{clip}" for who, clip in zip(dataset["listener_id"], dataset["clip"])]
        if unknown := [path for path in wanted if path not in place]:
            raise ValueError(f"dataset: {len(unknown)} rows are not in the {split} list, the first is {unknown[0]}.")
        keep = [place[path] for path in wanted]
    else:
        keep = [number for number, row in enumerate(rows) if not (personal and row.clip == HISTORY_CLIP)]
    matrix = matrix[np.ix_(keep, keep)]
    if personal:
        who = np.array([rows[number].listener_id for number in keep])
        matrix &= who[:, None] == who[None, :]
    return matrix


def read_matrix(path: Path, size: int, because: str) -> np.ndarray:
    """A square matrix, memory-mapped, or `ValueError` if it is unreadable or its size is not the expected one."""
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is not a complete npy file ({error}).") from error
    if matrix.shape != (size, size):
        raise ValueError(f"{path} must have shape ({size}, {size}), {because}; it has {matrix.shape}.")
    return matrix


def read_index(path: Path) -> dict[tuple[str, str, str], int]:
    """The order of the full matrix: `{(SITE, session, clip): position}`, or `ValueError`."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = [tuple(part.strip() for part in row) for row in csv.reader(file) if row][1:]
    if wrong := [row for row in rows if len(row) != 3]:
        raise ValueError(f"{path}: expected site,chat_index,clip_index; given: {','.join(wrong[0])}")
    index = {(site.upper(), session, clip): position for position, (site, session, clip) in enumerate(rows)}
    if len(index) != len(rows):
        raise ValueError(f"{path} names {len(rows) - len(index)} clips twice.")
    return index


def _matrix(data_dir: Path, split: str, rows: list[Recording]) -> np.ndarray:
    full, cut = data_dir / FULL_MATRIX, cut_matrix_path(data_dir, split)
    if full.is_file():
        positions, clips = positions_in_full(data_dir, rows)
        matrix = read_matrix(full, 2 * clips, f"twice the {clips} clips of {INDEX}")
        return np.array(matrix[np.ix_(positions, positions)] == 1)
    if cut.is_file():
        return np.array(read_matrix(cut, len(rows), f"twice the pairs of {split}.csv") == 1)
    raise FileNotFoundError(
        f"{data_dir} has neither {FULL_MATRIX} nor {cut.name}. For material without an official matrix, compute one "
        "with perfrdiff_hf.evaluation.similarity.similar_speakers."
    )


def positions_in_full(data_dir: Path, rows: list[Recording]) -> tuple[list[int], int]:
    """Where the rows stand in the full matrix, and how many clips its index names.

    The first half of the matrix has the list's first column as speaker, the second half the mirrored pairs.
    """
    path = data_dir / INDEX
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}, which tells the order of {FULL_MATRIX}.")
    index = read_index(path)
    half, positions = len(index), []
    for row in rows:
        key = (row.site.upper(), row.session, row.clip)
        if key not in index:
            raise ValueError(f"{path} does not name clip {row.clip} of {row.site}/{row.session}, which a list names.")
        # `rows` are listeners: the speaker is the list's first column where the listener is its second.
        positions.append(index[key] + (half if row.side == 0 else 0))
    return positions, half
