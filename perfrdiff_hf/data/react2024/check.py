"""Check a folder in the REACT2024 layout: `perfrdiff check DATA_DIR`.

Reads every file that the lists name, and the appropriateness matrices, and tells what is wrong in words that a person
can act on.
"""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...behaviour import FRAME_RATE, STREAMS
from ...progress import follow
from ..dyads import SPLITS, Pairs, Recording, both_ways, check_streams, listeners
from ..problems import BrokenFileError, Problem
from .appropriateness import load_appropriateness, read_matrix
from .clips import duplicate, missing_files, read_clip
from .layout import FULL_MATRIX, HISTORY_CLIP, STREAM_FOLDERS, cut_matrix_path, read_pairs, without_history


class Finding(NamedTuple):
    """What was found in one recording."""

    problem: Problem | None
    num_frames: int
    digests: dict[str, str]


class Report(NamedTuple):
    """Everything that is wrong in a folder, and what else is worth knowing about it."""

    problems: list[Problem]
    notes: list[str]


def check_folder(
    data_dir: str | os.PathLike,
    streams: tuple[str, ...] = STREAMS,
    frames: int | None = None,
    num_proc: int = 1,
) -> Report:
    """Check the lists, all files that they name, and the matrices.

    Args:
        data_dir: a folder in the REACT2024 layout.
        streams: the streams that it should have.
        frames: how many frames every clip must have (REACT: 750); None: clips may be of any length.
        num_proc: how many processes read files.

    Raises:
        FileNotFoundError: if there is no such folder, or it holds none of the lists.
        ValueError: if `streams` is wrong.
    """
    streams = check_streams(tuple(streams))
    root = Path(data_dir)
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder.")
    splits = [split for split in SPLITS if (root / f"{split}.csv").is_file() or (root / split).is_dir()]
    if not splits:
        raise FileNotFoundError(f"{root} holds none of train.csv, val.csv and test.csv; nothing to check.")
    problems: list[Problem] = []
    notes = [f"{split}: neither {split}.csv nor {split}/ is there" for split in SPLITS if split not in splits]
    seen: dict[tuple[str, str], Recording] = {}
    named: dict[str, str] = {}
    for split in splits:
        try:
            pairs = read_pairs(root, split)
        except (ValueError, FileNotFoundError) as error:
            problems.append(Problem("list", os.fspath(root / f"{split}.csv"), str(error)))
            continue
        rows = listeners(pairs)
        problems += [
            Problem("list", os.fspath(root / f"{split}.csv"), f"{row.path} is also in {named[row.path]}.csv")
            for row in rows
            if row.path in named
        ]
        named.update({row.path: split for row in rows})
        missing = missing_files(root, split, rows, streams)
        findings = _examine_all(root, split, pairs, _present(root, split, streams), num_proc)
        problems += missing + _judge(rows, findings, frames, seen)
        problems += _check_matrices(root, split, len(rows), notes)
        if without := without_history(rows):
            notes.append(f"{split}: {len(without)} listeners have no clip {HISTORY_CLIP}, the personal task's history")
        notes.append(f"{split}: {len(pairs)} pairs, {len(rows)} recordings, {_lengths(findings)}")
    return Report(problems, notes)


def _present(root: Path, split: str, streams: tuple[str, ...]) -> tuple[str, ...]:
    """The streams whose folder is there: one problem is enough for a stream that is absent as a whole."""
    return tuple(stream for stream in streams if (root / split / STREAM_FOLDERS[stream]).is_dir())


def _examine_all(root: Path, split: str, pairs: Pairs, streams: tuple[str, ...], num_proc: int) -> list[Finding]:
    if not set(streams) - {"audio"}:
        return []
    ordered = both_ways(pairs)
    examine = partial(_examine, root, split, streams)
    if num_proc <= 1:
        return [examine(pair) for pair in follow(ordered, f"checking {split}", "clip")]
    with ProcessPoolExecutor(num_proc) as pool:
        found = pool.map(examine, ordered, chunksize=16)
        return list(follow(found, f"checking {split}", "clip", total=len(ordered)))


def _examine(root: Path, split: str, streams: tuple[str, ...], pair: tuple[Recording, Recording]) -> Finding:
    try:
        clip = read_clip(root, split, *pair, streams)
    except BrokenFileError as error:
        return Finding(error.problem, 0, {})
    return Finding(None, clip.num_frames, clip.digests)


def _judge(
    rows: list[Recording], findings: list[Finding], frames: int | None, seen: dict[tuple[str, str], Recording]
) -> list[Problem]:
    problems = []
    for row, finding in zip(rows, findings):
        problem = finding.problem or duplicate(row, finding.digests, seen)
        if problem is None and frames is not None and finding.num_frames != frames:
            problem = Problem("wrong length", row.path, f"{finding.num_frames} frames, {frames} expected")
        # What is missing is known already.
        if problem is not None and problem.kind != "missing":
            problems.append(problem)
    return problems


def _lengths(findings: list[Finding]) -> str:
    counts = Counter(finding.num_frames for finding in findings if finding.problem is None)
    if not counts:
        return "none of them readable"
    described = ", ".join(f"{number} of {frames} frames" for frames, number in counts.most_common(3))
    others = sum(number for _, number in counts.most_common()[3:])
    seconds = sum(frames * number for frames, number in counts.items()) / FRAME_RATE
    return f"{described}{f', {others} of other lengths' * bool(others)}; {seconds / 3600:.2f} hours"


def _check_matrices(root: Path, split: str, size: int, notes: list[str]) -> list[Problem]:
    """The full matrix against index and list, and the cut ones, where they lie there, against the full one."""
    cut_paths = {personal: cut_matrix_path(root, split, personal) for personal in (False, True)}
    if not (root / FULL_MATRIX).is_file() and not any(path.is_file() for path in cut_paths.values()):
        notes.append(f"{split}: no appropriateness matrix; `perfrdiff similarity` computes one by rule")
        return []
    try:
        matrix = load_appropriateness(root, split)
    except (ValueError, FileNotFoundError) as error:
        return [Problem("matrix", os.fspath(root / FULL_MATRIX), str(error))]
    problems = []
    if unheard := np.flatnonzero(~matrix.any(axis=1)).tolist():
        detail = f"{len(unheard)} rows of {split} have no appropriate reaction, the first is row {unheard[0]}"
        problems.append(Problem("matrix", os.fspath(root / FULL_MATRIX), detail))
    if unlike := np.flatnonzero(~matrix.diagonal()).tolist():
        detail = (
            f"{len(unlike)} real reactions of {split} are not appropriate to their own clip, first row {unlike[0]}"
        )
        problems.append(Problem("matrix", os.fspath(root / FULL_MATRIX), detail))
    for personal, path in cut_paths.items():
        if path.is_file():
            problems += _check_cut(path, load_appropriateness(root, split, personal))
    return problems


def _check_cut(path: Path, expected: np.ndarray) -> list[Problem]:
    try:
        given = read_matrix(path, len(expected), "one row and column for each row of its list")
    except ValueError as error:
        return [Problem("matrix", os.fspath(path), str(error))]
    unequal = int((expected != (given == 1)).sum())
    return [Problem("matrix", os.fspath(path), f"{unequal} entries differ from the full matrix")] if unequal else []
