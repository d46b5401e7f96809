"""Read by mypy alone (`make check`): the public names have types, although they load late."""

from __future__ import annotations

from typing import assert_type

from perfrdiff_hf import Behaviour, PerFRDiffPipeline, ReactionStream, WeightShifts


def types_reach_the_user(pipeline: PerFRDiffPipeline, listener: WeightShifts, behaviour: Behaviour) -> None:
    # Where a name were "anything", so would be what its methods return, and none of these would hold.
    assert_type(pipeline.stream(weight_shifts=listener), ReactionStream)
    assert_type(pipeline.personalise([]), WeightShifts)
    assert_type(behaviour[10:20], Behaviour)


def unknown_names_are_errors() -> None:
    from perfrdiff_hf import NoSuchName  # type: ignore[attr-defined]

    NoSuchName()
