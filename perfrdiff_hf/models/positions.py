"""The transformer's sinusoidal positions, in the official rounding."""

from __future__ import annotations

import torch
from torch import Tensor


def sinusoidal_positions(num_positions: int, width: int) -> Tensor:
    """The transformer's sinusoidal positions `(num_positions, width)`: sine on even channels, cosine on odd ones."""
    positions = torch.arange(num_positions, dtype=torch.float32)[:, None]
    # Rounded as in the official program: a frequency that is off by its last bit costs 6e-5 at the end of a clip.
    angles = positions / 10_000 ** (torch.arange(0, width, 2, dtype=torch.float32) / width)
    table = torch.zeros(num_positions, width)
    table[:, 0::2] = torch.sin(angles)
    table[:, 1::2] = torch.cos(angles)[:, : width // 2]
    return table
