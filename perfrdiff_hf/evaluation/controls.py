"""The manners in which a personal pipeline reacts, and the controls without which a better score means little.

A personalised system may score better than a generic one because it knows the listener, or because its shifts make up
for what the generic generator had not learned. Two controls tell these apart: with another listener's history only the
knowledge is wrong, and with one shift for everybody there is none. Two more tell what is read of a listener: a history
frozen in its own mean pose shows no movement, and the listener's movement can be put on another's resting face.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..data.arrays import ClipArrays
from ..data.histories import first_rows, history_row
from ..models.weight_shifts import FullShift, WeightShifts
from ..pipelines.perfrdiff import PerFRDiffPipeline
from ..pipelines.reaction_pipeline import ReactionPipeline
from .predictions import digest_of_clips


GENERIC = "generic"
PERSONALISED = "personalised"
ANOTHER_HISTORY = "personalised, another's history"
ONE_SHIFT = "personalised, one shift for all"
NO_MOVEMENT = "personalised, a history without movement"
ANOTHER_FACE = "personalised, own movement on another's resting face"
# The controls by the name that an option gives them.
CONTROLS = {
    "another_history": ANOTHER_HISTORY,
    "no_movement": NO_MOVEMENT,
    "another_face": ANOTHER_FACE,
    "one_shift": ONE_SHIFT,
}


@dataclass(frozen=True)
class Manner:
    """One manner in which a pipeline reacts to the clips of a split.

    Args:
        name: of the row in a table.
        history: from a row to its listener's history `(frames, 58)`; None gives none.
        settings: further arguments of the pipeline's call.
        made_with: what else decides the reactions, plain values, for the record of what made them.
    """

    name: str
    history: Callable[[int], np.ndarray] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    made_with: Mapping[str, Any] = field(default_factory=dict)


def manners_of(
    pipeline: ReactionPipeline,
    arrays: ClipArrays,
    controls: Sequence[str] = (),
    training: ClipArrays | None = None,
) -> list[Manner]:
    """The manners in which a pipeline can react, the one that others are compared with first.

    Args:
        pipeline: a generic one reacts in one manner only.
        arrays: all clips of the split, histories included.
        controls: names from `CONTROLS`.
        training: the training clips, for "one_shift".

    Raises:
        ValueError: if a control is unknown, needs a personal pipeline, or lacks what it is made from.
    """
    if unknown := [name for name in controls if name not in CONTROLS]:
        raise ValueError(f"controls must be among {', '.join(CONTROLS)}; given: {', '.join(unknown)}.")
    if not pipeline.is_personal:
        if controls:
            raise ValueError("controls need a personal pipeline; this one is generic.")
        return [Manner(GENERIC)]
    manners = [Manner(PERSONALISED, own_history(arrays))]
    histories = {"another_history": another_history, "no_movement": no_movement, "another_face": another_face}
    manners += [Manner(CONTROLS[name], made(arrays)) for name, made in histories.items() if name in controls]
    if "one_shift" in controls:
        if training is None:
            raise ValueError("The control one_shift needs the training clips.")
        if not isinstance(pipeline, PerFRDiffPipeline):
            raise ValueError(f"The control one_shift needs shifts of weights; {type(pipeline).__name__} has none.")
        made_with = {"training_data": digest_of_clips(training)}
        manners.append(Manner(ONE_SHIFT, None, {"weight_shifts": one_shift(pipeline, training)}, made_with))
    return [*manners, Manner(GENERIC)]


def own_history(arrays: ClipArrays) -> Callable[[int], np.ndarray]:
    """From a row to the history of its listener, by the one rule of `history_row`."""
    return lambda row: np.array(arrays.coefficients(history_row(arrays, row)))


def another_history(arrays: ClipArrays) -> Callable[[int], np.ndarray]:
    """From a row to the history of another listener, always the same one; see `opposite`.

    Raises:
        ValueError: if there is one listener only.
    """
    rows = first_rows(arrays)
    other = opposite(list(rows))
    return lambda row: np.array(arrays.coefficients(rows[other[str(arrays.listener_ids[row])]]))


def opposite(listeners: Sequence[str]) -> dict[str, str]:
    """From each listener to another: they stand in a circle, and each gets the one opposite.

    So nobody gets themselves, everybody is used once, and with more than one session nobody gets the person whom they
    are talking to, where the names are in order.

    Raises:
        ValueError: if there is one listener only.
    """
    if len(listeners) < 2:
        raise ValueError(f"Another's history needs two listeners or more; the clips have {len(listeners)}.")
    half = len(listeners) // 2
    return {name: listeners[(place + half) % len(listeners)] for place, name in enumerate(listeners)}


def no_movement(arrays: ClipArrays) -> Callable[[int], np.ndarray]:
    """From a row to the listener's own history, frozen in its mean pose: how a face rests, and nothing else."""
    own = own_history(arrays)
    return lambda row: _resting(own(row))


def another_face(arrays: ClipArrays) -> Callable[[int], np.ndarray]:
    """From a row to the movement of the listener's own history in the mean pose of another's (`another_history`).

    Raises:
        ValueError: if there is one listener only.
    """
    own, other = own_history(arrays), another_history(arrays)

    def history(row: int) -> np.ndarray:
        mine = own(row)
        return mine - _resting(mine) + _resting(other(row))[:1]

    return history


def _resting(history: np.ndarray) -> np.ndarray:
    """Each frame `(frames, 58)` as the mean of all."""
    return np.repeat(history.mean(axis=0, keepdims=True), len(history), axis=0)


@torch.no_grad()
def one_shift(pipeline: PerFRDiffPipeline, training: ClipArrays) -> WeightShifts:
    """The mean of the weight changes of all training listeners, as the shift of one listener.

    Args:
        pipeline: a personal one.
        training: clips of the listeners; the lowest clip of each is the history.
    """
    rows = list(first_rows(training).values())
    layers = dict(pipeline.denoiser.named_modules())
    sums: dict[str, Any] = {}
    digests = None
    for row in rows:  # one at a time: full shifts of everybody would not fit into memory
        shifts = pipeline.personalise([np.array(training.coefficients(row))])
        digests = shifts.generator_digests
        for name, shift in shifts.items():
            change = shift.weight_change(layers[name].weight)
            sums[name] = sums[name] + change if name in sums else change
    return WeightShifts({name: FullShift(total / len(rows)) for name, total in sums.items()}, digests)
