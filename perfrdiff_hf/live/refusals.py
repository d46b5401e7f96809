"""What a visitor can mend, told apart from what only the server's keeper can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class RefusedError(ValueError):
    """What a visitor sent cannot be used, in words for them; any other error is a fault of the server.

    Args:
        message: what is wrong, and what to do.
        status: as HTTP calls it.
    """

    def __init__(self, message: str, status: int = 400):
        super().__init__(message)
        self.status = status


@contextmanager
def refusing(*kinds: type[Exception], status: int = 400) -> Iterator[None]:
    """Turns errors of some kinds into refusals, for calls that raise these for a visitor's wishes and nothing else."""
    try:
        yield
    except kinds as error:
        raise RefusedError(str(error), status) from error
