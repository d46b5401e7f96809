"""The thread that generates for all sessions: whatever is due, of whichever session, shares a batch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ..pipelines.serving import serve
from ..pipelines.streaming import ReactionSegment, ReactionStream
from .session import Session


logger = logging.getLogger(__name__)
# Streams are looked at this often even if nobody calls, in seconds.
_LONGEST_WAIT = 1.0


class Engine:
    """Generates for the sessions that are added to it, in a thread of its own, until `close`."""

    def __init__(self) -> None:
        self._sessions: dict[Session, Callable[[], None]] = {}
        self._lock = threading.Lock()
        self._call = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._run, name="reactions", daemon=True)
        self._thread.start()

    def add(self, session: Session, on_failure: Callable[[], None]) -> None:
        """Begin to generate for a session.

        Args:
            session: which.
            on_failure: called in the engine's thread if the session fails and is generated for no longer.
        """
        with self._lock:
            self._sessions[session] = on_failure

    def remove(self, session: Session) -> None:
        """Generate for a session no longer; what was begun is dropped."""
        with self._lock:
            self._sessions.pop(session, None)

    def call(self) -> None:
        """Say that a session has heard something."""
        self._call.set()

    def close(self) -> None:
        """End the thread, after the batch that it is at."""
        self._over = True
        self._call.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over:
            self._call.wait(_LONGEST_WAIT)
            self._call.clear()
            while not self._over and self._round():
                pass

    def _round(self) -> bool:
        """One window for every stream that is due; whether there was any."""
        with self._lock:
            sessions = list(self._sessions)
        owners = {stream: session for session in sessions for stream in session.streams}
        for session in sessions:
            session.catch_up()
        served = self._serve(owners)
        for stream, segment in served:
            with self._lock:
                is_here = owners[stream] in self._sessions
            if is_here:
                try:
                    owners[stream].give(stream, segment)
                except Exception:
                    logger.exception("A segment could not be given.")
                    self._fail(owners[stream])
        return bool(served)

    def _serve(self, owners: dict[ReactionStream, Session]) -> list[tuple[ReactionStream, ReactionSegment]]:
        try:
            return serve(owners)
        except Exception:
            logger.exception("A batch failed; its streams are served one by one.")
        served: list[tuple[ReactionStream, ReactionSegment]] = []
        for stream, session in owners.items():
            try:
                served += serve([stream])
            except Exception:
                logger.exception("A session fails and is ended.")
                self._fail(session)
        return served

    def _fail(self, session: Session) -> None:
        with self._lock:
            on_failure = self._sessions.pop(session, None)
        if on_failure is not None:
            on_failure()
