"""The one door to recorded dyads: `load_dyads`, and the sources that it knows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..behaviour import STREAMS
from .dyads import check_split, check_streams
from .react2024.source import React2024Source, SyntheticSource
from .seamless.source import SeamlessSource
from .source import Dyads, DyadSource


# The first that recognises a folder reads it.
SOURCES: dict[str, type[DyadSource]] = {
    source.name: source for source in (SeamlessSource, SyntheticSource, React2024Source)
}


def register_source(source: type[DyadSource]) -> type[DyadSource]:
    """Make a further source known by its name. It is asked before the others whether a folder is its own.

    Raises:
        ValueError: if the name is taken.
    """
    if SOURCES.get(source.name, source) is not source:
        raise ValueError(f"name: there is a source {source.name!r} already; sources: {', '.join(SOURCES)}.")
    others = dict(SOURCES)
    SOURCES.clear()
    SOURCES.update({source.name: source, **others})
    return source


def open_source(
    data_dir: str | os.PathLike,
    source: str | None = None,
    cache_dir: str | os.PathLike | None = None,
    num_proc: int | None = None,
) -> DyadSource:
    """The source of a folder.

    Args:
        data_dir: the folder.
        source: one of `SOURCES`; None: the one that recognises the folder. A folder that none recognises is taken for
            one in the REACT2024 layout, whose errors say what that is.
        cache_dir: where computed features are kept; None is the cache of `datasets`.
        num_proc: how many processes compute features.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if there is no such source.
    """
    if source is not None and source not in SOURCES:
        raise ValueError(f"source must be one of {', '.join(SOURCES)}; given: {source!r}.")
    kind = SOURCES[source] if source else None
    if kind is None:
        folder = Path(data_dir)
        kind = next((known for known in SOURCES.values() if known.recognises(folder)), React2024Source)
    return kind(data_dir, cache_dir, num_proc)


def load_dyads(
    source: str | None,
    data_dir: str | os.PathLike,
    split: str,
    *,
    personal: bool = False,
    streams: Sequence[str] = STREAMS,
    cache_dir: str | os.PathLike | None = None,
    num_proc: int | None = None,
) -> Dyads:
    """One split of recorded dyads from any source, in one form.

    Args:
        source: "react2024", "seamless", "synthetic", or one that was registered; None: whatever recognises the folder.
        data_dir: the folder.
        split: "train", "val" or "test".
        personal: whether only rows whose listener has a history, and only reactions of the same listener, count.
        streams: which of "audio", "emotion" and "coefficients" to read; emotion or coefficients must be among them.
        cache_dir: where computed features are kept; None is the cache of `datasets`.
        num_proc: how many processes compute features that are not in the cache; None is this one.

    Returns:
        `dataset` (a `datasets.Dataset` with a row for each ordered pair), its `arrays`, `appropriate`, and `mask`,
        which says which channels are measured, derived and unavailable.

    Raises:
        FileNotFoundError: if the folder, or what a split needs, is absent.
        ValueError: if an argument is wrong, or the data are broken.

    Example:
        ```python
        from perfrdiff_hf import load_dyads

        train = load_dyads("react2024", "path/to/react2024", "train")
        train.dataset[0]["emotion"]  # (750, 25), of the first pair's listener
        train.arrays.behaviour(int(train.arrays.partner[0]))  # what the speaker showed meanwhile
        ```
    """
    check_split(split)
    streams = check_streams(tuple(streams))
    opened = open_source(data_dir, source, cache_dir, num_proc)
    return Dyads(opened, split, personal, opened.rows(split, personal, streams))
