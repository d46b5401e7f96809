"""All that a server has: models, listeners, and the sessions that share them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..behaviour import BLENDSHAPE_NAMES
from ..pipelines.reaction_pipeline import ReactionPipeline
from .engine import Engine
from .listeners import ListenerShelf, can_personalise
from .messages import GENERIC, HOPS, MOST_LISTENERS, MOST_REACTIONS, STEPS, Wishes
from .recordings import MEDIA_TYPES, MOST_SECONDS
from .refusals import RefusedError
from .session import Deliver, Limits, Note, Session


class StudioFullError(RuntimeError):
    """There are as many sessions as the limits allow."""


class Studio:
    """Opens sessions with its models and listeners; one engine generates for all.

    Args:
        models: pipelines by the names that pages see.
        shelf: saved listeners.
        limits: what is granted.
        head: a .glb that is animated instead of our own head.

    Raises:
        ValueError: if there is no model.
    """

    def __init__(
        self,
        models: Mapping[str, ReactionPipeline],
        shelf: ListenerShelf,
        limits: Limits = Limits(),  # noqa: B008  (frozen)
        head: Path | None = None,
    ):
        if not models:
            raise ValueError("models must hold at least one pipeline; it is empty.")
        self.models, self.shelf, self.limits, self.head = dict(models), shelf, limits, head
        self.engine = Engine()
        self._places = threading.BoundedSemaphore(limits.sessions)

    def about(self) -> dict[str, Any]:
        """What a page needs to know to offer a choice."""
        return {
            "models": [
                {
                    "name": name,
                    "personal": can_personalise(pipeline) and not self.shelf.is_fixed,
                    "steps": pipeline.sampling.get("num_inference_steps"),
                    "hop": pipeline.sampling.get("hop"),
                }
                for name, pipeline in self.models.items()
            ],
            "listeners": self.shelf.names(),
            "most": {"listeners": MOST_LISTENERS, "reactions": MOST_REACTIONS, "steps": STEPS, "hop": HOPS},
            "blendshapes": BLENDSHAPE_NAMES,
            "formats": list(MEDIA_TYPES),
            "recording_seconds": MOST_SECONDS,
            "limits": asdict(self.limits),
        }

    def model(self, name: str) -> ReactionPipeline:
        """A pipeline by its name.

        Raises:
            RefusedError: if there is none.
        """
        if name not in self.models:
            raise RefusedError(f"There is no model {name!r}; there are {', '.join(self.models)}.")
        return self.models[name]

    def take_place(self) -> None:
        """Count one more session.

        Raises:
            StudioFullError: if there are too many.
        """
        if not self._places.acquire(blocking=False):
            raise StudioFullError(f"All {self.limits.sessions} places are taken. Try again in a while.")

    def leave_place(self) -> None:
        """Count one session less."""
        self._places.release()

    def open(self, wishes: Wishes, deliver: Deliver, note: Note, on_failure: Callable[[], None]) -> Session:
        """Begin a session; `close` ends it.

        Args:
            wishes: how to react, and who listens.
            deliver: see `Session`.
            note: see `Session`.
            on_failure: see `Engine.add`.

        Raises:
            RefusedError: if there is no such model or listener, or it cannot react like this.
        """
        pipeline = self.model(wishes.model)
        listeners = [None if name == GENERIC else self.shelf.load(name, pipeline) for name in wishes.listeners]
        session = Session(pipeline, wishes, listeners, deliver, note, self.limits)
        self.engine.add(session, on_failure)
        return session

    def close(self) -> None:
        """End the engine."""
        self.engine.close()
