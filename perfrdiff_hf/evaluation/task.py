"""What is to be reacted to: the clips of a task, which reactions are appropriate, and which clip is a history.

"mafrg" takes all clips of a split, and all listeners' reactions count. "pmafrg" leaves out the clips that are
histories, and only the same listener's reactions count.
"""

from __future__ import annotations

import numpy as np

from ..data.arrays import ClipArrays


TASKS = ("mafrg", "pmafrg")


def history_row(arrays: ClipArrays, row: int) -> int:
    """The row whose clip is the history of a row's listener: the lowest other clip of the same listener.

    This is the one rule for training, validation, evaluation and the demo. In REACT2024's PMAFRG it is clip 1, the
    clip that the task leaves out; and no system ever gets the clip that it is to predict as a history.

    Args:
        arrays: all clips of the split, those that are left out of the task included.
        row: of the clip that is to be reacted to.

    Raises:
        ValueError: if the listener has no other clip.
    """
    others = np.flatnonzero(arrays.listener_ids == arrays.listener_ids[row])
    others = others[arrays.clips[others] != arrays.clips[row]]
    if len(others) == 0:
        raise ValueError(f"{arrays.listener_ids[row]} has no other clip than {arrays.clips[row]} to serve as history.")
    return int(min(others, key=lambda other: (len(arrays.clips[other]), arrays.clips[other])))
