"""Numbers that are too small for the fast arithmetic of some processors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Let this thread take float32 numbers below 1.2e-38 for zero, and afterwards as before.

    Where a gradient is zero for good (weights behind a dead ReLU), the optimiser's moving average of it decays towards
    zero and comes to rest just above it; some processors compute many times slower there. No weight hangs on that: the
    average is divided by at least the optimiser's epsilon, 1e-8.
    """
    before = is_flushing()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def is_flushing() -> bool:
    """Whether this thread takes such numbers for zero."""
    return bool(torch.tensor(2e-38).mul(0.1) == 0)
