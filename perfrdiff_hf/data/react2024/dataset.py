"""A folder in the REACT2024 layout as a `datasets.Dataset`: every feature computed once, memory-mapped ever after.

```python
from .dataset import load_react2024

train = load_react2024("path/to/react2024", "train", num_proc=4)
train[0]["emotion"]  # (750, 25)
```

The layout is described in `perfrdiff_hf.data.react2024.layout`; `python -m perfrdiff_hf.data.react2024.check FOLDER`
checks a folder. Your own dyads load in the same way once they lie in that layout: any site, session and person names,
clips of any length (both people of a clip within two frames of each other), and `streams=("emotion",)` or the like
where there is no sound or there are no coefficients.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import datasets
import numpy as np
from datasets import Array2D, Dataset, Features, Value

from ...behaviour import STREAM_WIDTHS
from ..audio import mfcc_features
from .clips import BrokenDataError, BrokenFileError, Problem, duplicate, missing_files, read_clip, summary
from .layout import HISTORY_CLIP, STREAMS, Recording, check_streams, listeners, read_pairs, stream_path


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
    """Reads one split; the first call computes the features, later calls map them from the cache.

    There is one row for each ordered pair, holding the *listener's* own behaviour: first the list's pairs as they are
    (the listener is the second column), then the same pairs mirrored, which is the order of the official
    appropriateness matrices. The speaker of row `i` is the listener of row `partner[i]`.

    Args:
        data_dir: a folder in the REACT2024 layout.
        split: "train", "val" or "test".
        personal: whether to leave out clip 1 of every session (the listener's history), as the PMAFRG task does.
        streams: which of "audio", "emotion" and "coefficients" to read; the others have no column. Emotion or
            coefficients must be among them.
        cache_dir: where to keep the features; by default the cache of `datasets`. A changed list or file is noticed
            by its size and time, and read again.
        num_proc: how many processes compute the features.
        on_broken: "raise", or "skip" to leave out the clips (both people's) with a broken file, and log how many.

    Returns:
        Columns `site`, `session`, `person`, `clip`, `listener_id` ("site/session/person"), `partner`, `num_frames`,
        and for each stream an `Array2D` float32 `(num_frames, 78 | 25 | 58)`; coefficients are as recorded.

    Raises:
        FileNotFoundError: if the folder or the split's list is absent.
        BrokenDataError: if files are missing or broken (every one is named), or no clip is left.
        ValueError: if an argument or the list is wrong.
    """
    if on_broken not in ("raise", "skip"):
        raise ValueError(f'on_broken must be "raise" or "skip"; given: {on_broken!r}.')
    streams = check_streams(streams)
    pairs = read_pairs(data_dir, split)
    rows = listeners(pairs)
    if on_broken == "raise":
        _refuse(missing_files(data_dir, split, rows, streams), data_dir, split)

    dataset = _built(data_dir, split, rows, streams, cache_dir, num_proc)
    problems = _problems(dataset, rows)
    half = len(pairs)
    whole = [not problems[row] and not problems[(row + half) % len(rows)] for row in range(len(rows))]
    if on_broken == "raise" or not any(whole):
        _refuse([problem for problem in problems if problem], data_dir, split)
    if not all(whole):
        logger.warning("%s: skipped %d of %d rows with broken clips.", split, whole.count(False), len(rows))
    keep = [row for row in range(len(rows)) if whole[row] and not (personal and rows[row].clip == HISTORY_CLIP)]
    return _select(dataset.remove_columns(list(INTERNAL_COLUMNS)), keep, half)


def _built(
    data_dir: str | os.PathLike,
    split: str,
    rows: list[Recording],
    streams: tuple[str, ...],
    cache_dir: str | os.PathLike | None,
    num_proc: int | None,
) -> Dataset:
    """All rows with their internal columns, built if these very sources were not built before."""
    builder = React2024(
        cache_dir=None if cache_dir is None else os.fspath(cache_dir),
        hash=_fingerprint(data_dir, split, rows, streams),
        config_id=split,
        data_dir=os.fspath(data_dir),
        split=split,
        streams=streams,
    )
    builder.download_and_prepare(num_proc=num_proc)
    return builder.as_dataset(split)


def _select(dataset: Dataset, keep: list[int], half: int) -> Dataset:
    """The kept rows with their `partner` column, without copying: slices of the memory-mapped table, joined."""
    if not keep:
        raise ValueError("No row is left: the list holds nothing but history clips.")
    position = {row: place for place, row in enumerate(keep)}
    partner = [position[(row + half) % len(dataset)] for row in keep]
    edges = [0, *(np.flatnonzero(np.diff(keep) != 1) + 1).tolist(), len(keep)]
    runs = [dataset.select(range(keep[a], keep[b - 1] + 1)) for a, b in pairwise(edges)]
    identity = blake2b(f"{dataset._fingerprint} {keep}".encode(), digest_size=8).hexdigest()
    joined = datasets.concatenate_datasets(runs) if len(runs) > 1 else runs[0]
    joined = joined.add_column("partner", np.array(partner, np.int64), new_fingerprint=identity)
    names = [name for name in _features(STREAMS) if name in joined.column_names]
    joined = joined.select_columns([*names[:5], "partner", *names[5:]])
    joined._fingerprint = identity
    return joined


@dataclass
class React2024Config(datasets.BuilderConfig):
    """What a builder reads: a folder, one of its splits, and which streams."""

    split: str = "train"
    streams: tuple[str, ...] = STREAMS


class React2024(datasets.GeneratorBasedBuilder):
    """Computes the features of one split. `load_react2024` makes one, with a `hash` that stands for the sources."""

    BUILDER_CONFIG_CLASS = React2024Config
    # A row is half a megabyte.
    DEFAULT_WRITER_BATCH_SIZE = 64

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            features=Features({**_features(self.config.streams), **dict.fromkeys(INTERNAL_COLUMNS, Value("string"))})
        )

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        pairs = read_pairs(self.config.data_dir, self.config.split)
        both_ways = list(zip(listeners(pairs), listeners([(second, first) for first, second in pairs])))
        return [datasets.SplitGenerator(name=self.config.split, gen_kwargs={"both_ways": both_ways})]

    def _generate_examples(self, both_ways: list[tuple[Recording, Recording]]) -> Iterator[tuple[str, dict]]:
        for listener, speaker in both_ways:
            yield listener.path, _row(self.config.data_dir, self.config.split, listener, speaker, self.config.streams)


def _features(streams: tuple[str, ...]) -> Features:
    named = dict.fromkeys(("site", "session", "person", "clip", "listener_id"), Value("string"))
    arrays = {stream: Array2D((None, STREAM_WIDTHS[stream]), "float32") for stream in streams}
    return Features({**named, "num_frames": Value("int64"), **arrays})


def _row(data_dir: str, split: str, listener: Recording, speaker: Recording, streams: tuple[str, ...]) -> dict:
    """The row of a listener. A broken clip gives zeros and tells its problem, so that one pass finds them all."""
    row: dict = {
        "site": listener.site,
        "session": listener.session,
        "person": listener.person,
        "clip": listener.clip,
        "listener_id": listener.listener_id,
        "problem": "",
        "digests": "{}",
    }
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


def _fingerprint(data_dir: str | os.PathLike, split: str, rows: list[Recording], streams: tuple[str, ...]) -> str:
    """Stands for everything that the features depend on: the list, the files' sizes and times, and the parameters."""
    digest = blake2b(f"{FEATURES_VERSION} {split} {streams} {Path(data_dir).resolve()}".encode(), digest_size=16)
    for row in rows:
        for stream in streams:
            path = stream_path(data_dir, split, row, stream)
            try:
                state = os.stat(path)
                digest.update(f"{row.path} {path} {state.st_size} {state.st_mtime_ns}\n".encode())
            except FileNotFoundError:
                digest.update(f"{row.path} {path} missing\n".encode())
    return digest.hexdigest()


def _refuse(problems: list[Problem], data_dir: str | os.PathLike, split: str) -> None:
    if problems:
        advice = (
            'Fetch these files again, or pass on_broken="skip" to leave their clips out. '
            f"`python -m perfrdiff_hf.data.react2024.check {os.fspath(data_dir)}` checks the whole folder."
        )
        raise BrokenDataError(f"{summary(problems, f'{split} of {os.fspath(data_dir)}')}\n{advice}", problems)
