"""Scoring systems on clips: what a task is, how systems react to it, and the report that compares them."""

from .comparing import compare
from .report import ReactionReport
from .task import Task, load_task


__all__ = ["ReactionReport", "Task", "compare", "load_task"]
