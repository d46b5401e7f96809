"""Scoring systems on clips: what a task is, how systems react to it, and the report that compares them."""

from .report import ReactionReport, compare


__all__ = ["ReactionReport", "compare"]
