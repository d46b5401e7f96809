"""Systems that react: what each is, how it is trained and loaded, and the reference rows beside them."""

from .reference import reference_rows


__all__ = ["reference_rows"]
