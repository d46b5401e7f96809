"""A head of our own making: stylised, with neck and shoulders, and with the 52 blendshapes by ARKit's names.

It is computed from formulas, the same to the last bit each time, so that it needs no download and no licence.
"""

from .building import build_head
from .mesh import Head, Part


__all__ = ["Head", "Part", "build_head"]
