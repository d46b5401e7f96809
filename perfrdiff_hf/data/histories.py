"""Which clip of a listener may be a history: of another session if there is one, else of another conversation.

It is the one rule for training, validation, evaluation and the demo, whatever the source. Where a listener is known in
one session only, as in REACT2024, the other clips of that session are left. Among several the lowest clip is *the*
history: in REACT2024's PMAFRG that is clip 1, which the task leaves out. No system ever gets what it is to predict.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Clips(Protocol):
    """What the rule looks at; `ClipArrays` has it."""

    @property
    def listener_ids(self) -> np.ndarray: ...

    @property
    def sessions(self) -> np.ndarray: ...

    @property
    def conversations(self) -> np.ndarray: ...

    @property
    def clips(self) -> np.ndarray: ...


def history_rows(arrays: Clips, row: int, among: np.ndarray | None = None) -> np.ndarray:
    """The rows whose clips may be the history of a row's listener, rising; empty if there are none.

    Args:
        arrays: all clips of the split.
        row: of the clip that is to be reacted to.
        among: rows of the same listener, if they are known; by default they are looked up.
    """
    if among is None:
        among = np.flatnonzero(arrays.listener_ids == arrays.listener_ids[row])
    elsewhere = among[arrays.sessions[among] != arrays.sessions[row]]
    if len(elsewhere):
        return elsewhere
    return among[arrays.conversations[among] != arrays.conversations[row]]


def history_row(arrays: Clips, row: int) -> int:
    """The row whose clip is the history of a row's listener.

    Raises:
        ValueError: if the listener has no clip that may be one.
    """
    others = history_rows(arrays, row)
    if len(others) == 0:
        raise ValueError(f"{arrays.listener_ids[row]} has no other clip than {arrays.clips[row]} to serve as history.")
    return _lowest_clip(arrays, others)


def first_rows(arrays: Clips) -> dict[str, int]:
    """The row with the lowest clip of each listener, which is their history wherever it is not to be predicted."""
    return {
        str(listener): _lowest_clip(arrays, np.flatnonzero(arrays.listener_ids == listener))
        for listener in np.unique(arrays.listener_ids)
    }


def _lowest_clip(arrays: Clips, rows: np.ndarray) -> int:
    return int(min(rows, key=lambda row: (len(arrays.clips[row]), arrays.clips[row])))
