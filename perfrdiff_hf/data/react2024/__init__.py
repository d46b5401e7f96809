"""Folders in the REACT2024 layout: where files lie, what can be wrong with them, rows and matrices."""

from .appropriateness import load_appropriateness
from .dataset import load_react2024


__all__ = ["load_appropriateness", "load_react2024"]
