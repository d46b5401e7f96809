"""Which channels of a source are measured, which are derived from others, and which nobody knows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from ..behaviour import COEFFICIENT_NAMES, EMOTION_NAMES


Kind = Literal["measured", "derived", "unavailable"]
CHANNEL_NAMES = {"emotion": EMOTION_NAMES, "coefficients": COEFFICIENT_NAMES}


@dataclass(frozen=True)
class ChannelMask:
    """The kind of each channel of emotion and of coefficients.

    An unavailable channel holds a neutral value (0 in emotion, the mean face in coefficients) and is neither trained
    nor scored; a derived one is both, and reports and cards name it.

    Args:
        derived: names of channels that follow from others by a rule.
        unavailable: names of channels that the source does not have.

    Raises:
        ValueError: if a name is no channel, or stands in both.
    """

    derived: tuple[str, ...] = ()
    unavailable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = {*EMOTION_NAMES, *COEFFICIENT_NAMES}
        for kind in ("derived", "unavailable"):
            if unknown := [name for name in getattr(self, kind) if name not in known]:
                raise ValueError(f"{kind} must name channels of emotion or coefficients; {unknown[0]!r} is none.")
            object.__setattr__(self, kind, tuple(getattr(self, kind)))
        if both := set(self.derived) & set(self.unavailable):
            raise ValueError(f"A channel is derived or unavailable, not both; {sorted(both)[0]} is in both.")

    @classmethod
    def of_measured(cls, measured: Iterable[str], derived: Iterable[str] = ()) -> ChannelMask:
        """The mask of a source that has these channels and no others."""
        derived = tuple(derived)
        had = {*measured, *derived}
        return cls(derived, tuple(name for name in (*EMOTION_NAMES, *COEFFICIENT_NAMES) if name not in had))

    @property
    def is_whole(self) -> bool:
        """Whether every channel is available."""
        return not self.unavailable

    def available(self, stream: str) -> np.ndarray:
        """Which channels of a stream are measured or derived, `(channels,)` bool.

        Args:
            stream: "emotion" or "coefficients".
        """
        return np.array([name not in self._unavailable for name in CHANNEL_NAMES[stream]])

    def kind(self, name: str) -> Kind:
        """The kind of one channel."""
        if name in self._unavailable:
            return "unavailable"
        return "derived" if name in self.derived else "measured"

    def names(self, kind: Kind) -> tuple[str, ...]:
        """The channels of one kind, in the order of the streams.

        Raises:
            ValueError: if there is no such kind.
        """
        if kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}; given: {kind!r}.")
        return tuple(name for name in (*EMOTION_NAMES, *COEFFICIENT_NAMES) if self.kind(name) == kind)

    @cached_property
    def _unavailable(self) -> frozenset[str]:
        return frozenset(self.unavailable)


WHOLE = ChannelMask()
