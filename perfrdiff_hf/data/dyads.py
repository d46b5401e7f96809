"""What every source of recorded dyads shares: the columns of a row, mirrored rows with their partners, and the cache.

A *source* (`source.py`) reads a layout of its own, as `react2024/` does. It says which pairs of recordings there are,
reads one recording into the streams of a row, and names the files that these depend on. From that, `build_dyads` makes
a `datasets.Dataset` with one row for each ordered pair, which holds the *listener's* own behaviour: first the pairs as
they are (the listener is the second), then the same pairs mirrored. The speaker of a row is the listener of its
`partner` row, so nothing is stored twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import Any, NamedTuple

import datasets
import numpy as np
from datasets import Array2D, Dataset, Features, Value

from ..behaviour import STREAM_WIDTHS, STREAMS


SPLITS = ("train", "val", "test")
NAME_COLUMNS = ("site", "session", "person", "clip", "listener_id")
# A column of sources that cut several clips from one conversation: where one clip is one conversation it is left out.
CONVERSATION = "conversation"
# A column of sources that know it: the part of a clip in which its listener speaks, 0 to 1.
SPEECH = "speech"


class Recording(NamedTuple):
    """One person in one clip.

    Args:
        site: where it was recorded.
        session: one meeting of two people.
        person: one of the two.
        clip: its name among the clips of the same listener.
        side: 0 for the first of the pair and 1 for the second.
        listener: who this is, where people are known beyond a session; None: `site/session/person`.
    """

    site: str
    session: str
    person: str
    clip: str
    side: int
    listener: str | None = None

    @property
    def listener_id(self) -> str:
        """Who this is: `listener`, or `site/session/person`."""
        return self.listener or f"{self.site}/{self.session}/{self.person}"

    @property
    def path(self) -> str:
        """Which recording this is: the listener and the clip."""
        return f"{self.listener_id}/{self.clip}"


Pairs = list[tuple[Recording, Recording]]
# The streams of a listener's row with `num_frames`, and what a source keeps for itself, given (listener, speaker).
ReadRow = Callable[[Recording, Recording], dict[str, Any]]


def check_split(split: str) -> None:
    """Raise `ValueError` if `split` is not one of train, val and test."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}; given: {split!r}.")


def check_streams(streams: Sequence[str]) -> tuple[str, ...]:
    """The streams in their usual order, or `ValueError` if one is unknown or none can tell the number of frames."""
    unknown = sorted(set(streams) - set(STREAMS))
    if unknown or not set(streams) & {"emotion", "coefficients"}:
        raise ValueError(
            f"streams must be chosen from {', '.join(STREAMS)} and contain emotion or coefficients; given: {streams}."
        )
    return tuple(stream for stream in STREAMS if stream in streams)


def listeners(pairs: Pairs) -> list[Recording]:
    """The listener of every ordered pair: the second of each, then, mirrored, the first of each."""
    return [second for _, second in pairs] + [first for first, _ in pairs]


def both_ways(pairs: Pairs) -> Pairs:
    """Every ordered pair as (listener, speaker), in the order of the rows."""
    return list(zip(listeners(pairs), listeners([(second, first) for first, second in pairs])))


def features(streams: Sequence[str]) -> Features:
    """The columns of a row but for `partner`: names, `num_frames`, and an array `(num_frames, width)` a stream."""
    arrays = {stream: Array2D((None, STREAM_WIDTHS[stream]), "float32") for stream in streams}
    return Features({**dict.fromkeys(NAME_COLUMNS, Value("string")), "num_frames": Value("int64"), **arrays})


def build_dyads(
    source: str,
    split: str,
    pairs: Pairs,
    streams: tuple[str, ...],
    read_row: ReadRow,
    *,
    fingerprint: str,
    own_columns: Sequence[str] = (),
    cache_dir: str | os.PathLike | None = None,
    num_proc: int | None = None,
) -> Dataset:
    """All rows of a split without `partner`, read if these very files were not read before.

    Args:
        source: name of the source's folder in the cache.
        split: which split.
        pairs: the recordings that belong together.
        streams: of each row.
        read_row: gives `num_frames`, each stream `(num_frames, width)` and the `own_columns` of a listener; it must
            be picklable, since several processes may call it.
        fingerprint: stands for everything that the rows depend on; see `fingerprint_of`.
        own_columns: names of further columns, `SPEECH` of numbers, the others of strings. `select_rows` keeps
            `CONVERSATION` and `SPEECH`; the source keeps the others for itself.
        cache_dir: where to keep the rows; None is the cache of `datasets`.
        num_proc: how many processes read.
    """
    builder = DyadBuilder(
        cache_dir=None if cache_dir is None else os.fspath(cache_dir),
        dataset_name=source,
        hash=fingerprint,
        config_id=split,
        split=split,
        streams=streams,
        pairs=tuple(pairs),
        read_row=read_row,
        own_columns=tuple(own_columns),
    )
    builder.download_and_prepare(num_proc=num_proc)
    return builder.as_dataset(split)


def select_rows(dataset: Dataset, keep: list[int]) -> Dataset:
    """The kept rows of `build_dyads` with their `partner` column, not copied: slices of the mapped table, joined.

    Args:
        dataset: all rows, the second half mirroring the first.
        keep: rising row numbers; with a row, its mirror must be kept.
    """
    half = len(dataset) // 2
    position = {row: place for place, row in enumerate(keep)}
    partner = [position[(row + half) % len(dataset)] for row in keep]
    edges = [0, *(np.flatnonzero(np.diff(keep) != 1) + 1).tolist(), len(keep)]
    runs = [dataset.select(range(keep[a], keep[b - 1] + 1)) for a, b in pairwise(edges)]
    identity = blake2b(f"{dataset._fingerprint} {keep}".encode(), digest_size=8).hexdigest()
    joined = datasets.concatenate_datasets(runs) if len(runs) > 1 else runs[0]
    joined = joined.add_column("partner", np.array(partner, np.int64), new_fingerprint=identity)
    rest = [name for name in (CONVERSATION, SPEECH, *STREAMS) if name in joined.column_names]
    joined = joined.select_columns([*NAME_COLUMNS, "partner", "num_frames", *rest])
    joined._fingerprint = identity
    return joined


def fingerprint_of(about: str, files: Iterable[tuple[str, str]]) -> str:
    """What stands for everything that rows depend on: what is said `about` them, and their files' sizes and times.

    Args:
        about: the source, its split and its settings, and a version that rises when the same files give other rows.
        files: whose file, and its path; a path without a file counts as missing.
    """
    digest = blake2b(about.encode(), digest_size=16)
    for owner, path in files:
        try:
            state = os.stat(path)
            digest.update(f"{owner} {path} {state.st_size} {state.st_mtime_ns}\n".encode())
        except FileNotFoundError:
            digest.update(f"{owner} {path} missing\n".encode())
    return digest.hexdigest()


@dataclass
class DyadConfig(datasets.BuilderConfig):
    """What a builder reads; see `build_dyads`."""

    split: str = "train"
    streams: tuple[str, ...] = STREAMS
    pairs: tuple[tuple[Recording, Recording], ...] = ()
    read_row: ReadRow | None = None
    own_columns: tuple[str, ...] = ()


class DyadBuilder(datasets.GeneratorBasedBuilder):
    """Reads the rows of one split. `build_dyads` makes one, with a `hash` that stands for the sources."""

    BUILDER_CONFIG_CLASS = DyadConfig
    # A row is half a megabyte.
    DEFAULT_WRITER_BATCH_SIZE = 64

    def _info(self) -> datasets.DatasetInfo:
        own = {name: Value("float32" if name == SPEECH else "string") for name in self.config.own_columns}
        return datasets.DatasetInfo(features=Features({**features(self.config.streams), **own}))

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        ordered = both_ways(list(self.config.pairs))
        return [datasets.SplitGenerator(name=self.config.split, gen_kwargs={"ordered": ordered})]

    def _generate_examples(self, ordered: Pairs) -> Iterator[tuple[str, dict]]:
        for listener, speaker in ordered:
            names = {name: getattr(listener, name) for name in NAME_COLUMNS}
            yield listener.path, {**names, **self.config.read_row(listener, speaker)}
