"""A made-up world of speakers and listeners with known styles, written in the REACT2024 layout, and its oracles."""

from .oracles import oracle_reactions
from .world import load_world, write_synthetic_world


__all__ = ["load_world", "oracle_reactions", "write_synthetic_world"]
