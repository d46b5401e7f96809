"""A folder in the REACT2024 layout as a `datasets.Dataset`: every feature computed once, memory-mapped ever after.

```python
from perfrdiff_hf import load_react2024

train = load_react2024("path/to/react2024", "train", num_proc=4)
train[0]["emotion"]  # (750, 25)
```

The layout is described in `perfrdiff_hf.data.react2024.layout`; `perfrdiff check FOLDER` checks a
folder. Your own dyads load in the same way once they lie in that layout: any site, session and person names,
clips of any length (both people of a clip within two frames of each other), and `streams=("emotion",)` or the like
where there is no sound or there are no coefficients.
"""

from __future__ import annotations

import json
import logging
import os
from functools import partial
from pathlib import Path

import numpy as np
from datasets import Dataset

from ...behaviour import STREAM_WIDTHS, STREAMS
from ..audio import mfcc_features
from ..dyads import Pairs, Recording, build_dyads, check_streams, fingerprint_of, listeners, select_rows
from ..problems import BrokenDataError, BrokenFileError, Problem, summary
from .clips import duplicate, missing_files, read_clip
from .layout import HISTORY_CLIP, read_pairs, stream_path, without_history


logger = logging.getLogger(__name__)

# Part of the cache's key: raise it when the features change for the same files.
FEATURES_VERSION = 1
INTERNAL_COLUMNS = ("problem", "digests")


def load_react2024(
    data_dir: str | os.PathLike,
    split: str,
    *,
    personal: bool = False,
    streams: tuple[str, ...] = STREAMS,
    cache_dir: str | os.PathLike | None = None,
    num_proc: int | None = None,
    on_broken: str = "raise",
) -> Dataset:
    """Read one split; the first call computes the features, later calls map them from the cache.

    There is one row for each ordered pair, holding the *listener's* own behaviour: first the list's pairs as they are
    (the listener is the second column), then the same pairs mirrored, which is the order of the official
    appropriateness matrices. The speaker of row `i` is the listener of row `partner[i]`.

    Args:
        data_dir: a folder in the REACT2024 layout.
        split: "train", "val" or "test".
        personal: whether to leave out clip 1 of every session (the listener's history), as the PMAFRG task does;
            every listener must have one.
        streams: which of "audio", "emotion" and "coefficients" to read; the others have no column. Emotion or
            coefficients must be among them.
        cache_dir: where to keep the features; by default the cache of `datasets`. A changed list or file is noticed
            by its size and time, and read again.
        num_proc: how many processes compute the features.
        on_broken: "raise", or "skip" to leave out the clips (both people's) with a broken file, and log how many. A
            listener whose clip 1 is skipped stays in the personal task.

    Returns:
        Columns `site`, `session`, `person`, `clip`, `listener_id` ("site/session/person"), `partner`, `num_frames`,
        and for each stream an `Array2D` float32 `(num_frames, 78 | 25 | 58)`; coefficients are as recorded.

    Raises:
        FileNotFoundError: if the folder or the split's list is absent.
        BrokenDataError: if files are missing or broken (every one is named), or no clip is left.
        ValueError: if an argument or the list is wrong, or a listener of the personal task has no clip 1.

    Example:
        ```python
        train = load_react2024("path/to/react2024", "train", num_proc=4)
        listener = train[0]  # "emotion", "coefficients", "audio" of the first pair's listener
        speaker = train[listener["partner"]]  # whom that listener saw and heard
        ```
    """
    if on_broken not in ("raise", "skip"):
        raise ValueError(f'on_broken must be "raise" or "skip"; given: {on_broken!r}.')
    streams = check_streams(streams)
    pairs = read_pairs(data_dir, split)
    rows = listeners(pairs)
    if personal:
        _check_histories(rows, split)
    if on_broken == "raise":
        _refuse(missing_files(data_dir, split, rows, streams), data_dir, split)

    dataset = _built(data_dir, split, pairs, streams, cache_dir, num_proc)
    whole = _whole_rows(dataset, rows, on_broken, data_dir, split)
    keep = [row for row in range(len(rows)) if whole[row] and not (personal and rows[row].clip == HISTORY_CLIP)]
    if not keep:
        raise ValueError("No row is left: the list holds nothing but history clips.")
    return select_rows(dataset, keep)


def _built(
    data_dir: str | os.PathLike,
    split: str,
    pairs: Pairs,
    streams: tuple[str, ...],
    cache_dir: str | os.PathLike | None,
    num_proc: int | None,
) -> Dataset:
    """All rows with their internal columns, built if these very sources were not built before."""
    root = os.fspath(data_dir)
    rows = listeners(pairs)
    files = ((row.path, stream_path(root, split, row, stream)) for row in rows for stream in streams)
    return build_dyads(
        "react2024",
        split,
        pairs,
        streams,
        partial(_row, root, split, streams),
        fingerprint=fingerprint_of(f"{FEATURES_VERSION} {split} {streams} {Path(root).resolve()}", files),
        own_columns=INTERNAL_COLUMNS,
        cache_dir=cache_dir,
        num_proc=num_proc,
    )


def _row(data_dir: str, split: str, streams: tuple[str, ...], listener: Recording, speaker: Recording) -> dict:
    """The row of a listener. A broken clip gives zeros and tells its problem, so that one pass finds them all."""
    row: dict = {"problem": "", "digests": "{}"}
    try:
        clip = read_clip(data_dir, split, listener, speaker, streams)
    except BrokenFileError as error:
        zeros = {stream: np.zeros((1, STREAM_WIDTHS[stream]), np.float32) for stream in streams}
        return {**row, **zeros, "num_frames": 1, "problem": json.dumps(error.problem)}
    row.update(num_frames=clip.num_frames, digests=json.dumps(clip.digests))
    if clip.waveform is not None and clip.sample_rate is not None:
        row["audio"] = mfcc_features(clip.waveform, clip.sample_rate, clip.num_frames)
    for stream, values in (("emotion", clip.emotion), ("coefficients", clip.coefficients)):
        if values is not None:
            row[stream] = values
    return row


def _whole_rows(
    dataset: Dataset, rows: list[Recording], on_broken: str, data_dir: str | os.PathLike, split: str
) -> list[bool]:
    """Which rows are whole on both sides of their clip; `BrokenDataError` if one is not and none may be skipped."""
    problems = _problems(dataset, rows)
    whole = [not problem and not problems[row - len(rows) // 2] for row, problem in enumerate(problems)]
    if on_broken == "raise" or not any(whole):
        _refuse([problem for problem in problems if problem], data_dir, split)
    if not all(whole):
        logger.warning(f"{split}: skipped {whole.count(False)} of {len(rows)} rows with broken clips.")
    return whole


def _problems(dataset: Dataset, rows: list[Recording]) -> list[Problem | None]:
    """What is wrong with each row; a row whose content was seen before is a duplicate."""
    found: list[Problem | None] = []
    seen: dict[tuple[str, str], Recording] = {}
    for row, problem, digests in zip(rows, dataset["problem"], dataset["digests"]):
        if problem:
            found.append(Problem(*json.loads(problem)))
            continue
        found.append(duplicate(row, json.loads(digests), seen))
    return found


def _check_histories(rows: list[Recording], split: str) -> None:
    if without := without_history(rows):
        raise ValueError(
            f"personal: {len(without)} listeners of {split} have no clip {HISTORY_CLIP}, which is the history in the "
            f"personal task; the first is {without[0]}. Name one of their clips {HISTORY_CLIP}."
        )


def _refuse(problems: list[Problem], data_dir: str | os.PathLike, split: str) -> None:
    if problems:
        advice = (
            'Fetch these files again, or pass on_broken="skip" to leave their clips out. '
            f"`perfrdiff check {os.fspath(data_dir)}` checks the whole folder."
        )
        raise BrokenDataError(f"{summary(problems, f'{split} of {os.fspath(data_dir)}')}\n{advice}", problems)
