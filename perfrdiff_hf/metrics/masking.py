"""Metrics over the channels that somebody has measured or derived; the others are in no figure.

Where all channels are known nothing changes, to the last bit. Elsewhere a mean over channels is one over those that
are known, and FRdist weighs a group of channels by the number of them that are.
"""

from __future__ import annotations

import numpy as np

from ..data.masks import WHOLE, ChannelMask
from .inputs import CHANNEL_GROUPS, COEFFICIENT_GROUPS


# FRdist divides the distance of these groups by their numbers of channels.
_COUNTED = ("action units", "expressions")


class ScoredChannels:
    """Which channels of a stream are scored, and what follows for sums and means over all of them.

    Args:
        mask: of the data.
        stream: "emotion" or "coefficients".

    Attributes:
        share: what a mean over all channels, with zeros where nobody knows, is to be multiplied by.
        group_shares: the same for the mean over each channel group; NaN where none of it is known.

    Raises:
        ValueError: if no channel of the stream is known.
    """

    def __init__(self, mask: ChannelMask = WHOLE, stream: str = "emotion") -> None:
        self.available = mask.available(stream)
        self.is_whole = bool(self.available.all())
        if not self.available.any():
            raise ValueError(f"mask: no channel of {stream} is known, so nothing can be scored.")
        groups = CHANNEL_GROUPS if stream == "emotion" else COEFFICIENT_GROUPS
        self.share = _share(self.available)
        self.group_shares = {name: _share(self.available[part]) for name, part in groups.items()}
        self._weights = self.available.astype(np.float32)
        for name in _COUNTED if stream == "emotion" else ():
            known = np.nan_to_num(self.group_shares[name])
            self._weights[groups[name]] *= np.float32(known)

    def keep(self, values: np.ndarray) -> np.ndarray:
        """Values `(..., channels)` with zeros where nobody knows."""
        return values if self.is_whole else values * self.available.astype(values.dtype)

    def weigh(self, values: np.ndarray) -> np.ndarray:
        """Values `(..., channels)` whose official FRdist is that over the known channels."""
        return values if self.is_whole else values * self._weights

    def select(self, values: np.ndarray) -> np.ndarray:
        """The known channels alone, `(..., known)`."""
        return values if self.is_whole else np.ascontiguousarray(values[..., self.available])


def _share(available: np.ndarray) -> float:
    return len(available) / int(available.sum()) if available.any() else float("nan")
