"""One WebSocket, from its first message to its end: behaviour comes up, segments go down."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..behaviour import FRAME_RATE
from .doors import SUBPROTOCOL
from .messages import FACES, SAMPLE_RATE, decode_binary, decode_json, decode_wishes
from .refusals import RefusedError
from .session import Session
from .studio import Studio, StudioFullError


logger = logging.getLogger(__name__)
# Messages that wait for a client that does not read; a segment of three reactions is 70 kB.
MOST_WAITING = 64
# How long the last word may take to be sent: who reads nothing would else keep a place for ever.
GOODBYE_SECONDS = 5.0
# Reason -> the code with which the WebSocket is closed.
_CODES = {"stopped": 1000, "idle": 1000, "over": 1000, "full": 1013, "failed": 1011}
_UNWELCOME = 1008
Ending = tuple[str, str]
_FAILED: Ending = ("failed", "The model failed. The server's log says why.")


class Visit:
    """Serves one WebSocket.

    Args:
        websocket: not accepted yet.
        studio: where its session is opened.
    """

    def __init__(self, websocket: WebSocket, studio: Studio):
        self.websocket, self.studio, self.limits = websocket, studio, studio.limits
        self._loop = asyncio.get_running_loop()
        self._outgoing: asyncio.Queue[bytes | dict[str, Any]] = asyncio.Queue(MOST_WAITING)
        self._ended: asyncio.Future[Ending] = self._loop.create_future()

    async def run(self) -> None:
        """Until one of the two ends it."""
        offered = self.websocket.scope.get("subprotocols", [])
        await self.websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        try:
            self.studio.take_place()
        except StudioFullError as full:
            await self._say_goodbye("full", str(full))
            return
        try:
            ending = await self._begin()
        except WebSocketDisconnect:
            return
        finally:
            self.studio.leave_place()
        await self._say_goodbye(*ending)

    async def _begin(self) -> Ending:
        try:
            wishes = decode_wishes(await self._first_message())
            session = await run_in_threadpool(
                self.studio.open, wishes, self._put_from_thread, self._note, self._fail_from_thread
            )
        except TimeoutError:
            return "idle", "Nothing was said."
        except RefusedError as error:
            return "refused", str(error)
        except WebSocketDisconnect:
            raise
        except Exception:
            logger.exception("A session could not be begun.")
            return _FAILED
        self._put({"type": "started", "notes": session.notes, **_timing(session)})
        tasks = [asyncio.create_task(self._listen(session)), asyncio.create_task(self._write())]
        watched: list[asyncio.Future[Any]] = [*tasks, self._ended]
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.studio.engine.remove(session)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._ended.done():
            return self._ended.result()
        raise WebSocketDisconnect

    async def _first_message(self) -> dict[str, Any]:
        message = await asyncio.wait_for(self.websocket.receive(), self.limits.idle_seconds)
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        if not isinstance(message.get("text"), str):
            raise RefusedError("The first message must be a text of type start.")
        return decode_json(message["text"])

    async def _listen(self, session: Session) -> None:
        began = used = time.monotonic()
        mistakes = 0
        while not self._ended.done():
            now = time.monotonic()
            left = min(used + self.limits.idle_seconds, began + self.limits.session_seconds) - now
            try:
                message = await asyncio.wait_for(self.websocket.receive(), max(0.0, left))
            except TimeoutError:
                self._end(*self._time_is_over(time.monotonic() - began))
                return
            if message["type"] == "websocket.disconnect":
                return
            now = time.monotonic()
            if now - began > self.limits.session_seconds:
                self._end(*self._time_is_over(now - began))
                return
            try:
                self._take(session, message, now - began)
                used = now
            except RefusedError as error:
                mistakes += 1
                self._put({"type": "error", "message": str(error)})
                if mistakes >= self.limits.mistakes:
                    self._end("mistakes", f"{mistakes} messages could not be used. The last: {error}")
            except Exception:
                logger.exception("A session could not take what it heard.")
                self._end(*_FAILED)

    def _take(self, session: Session, message: Mapping[str, Any], elapsed: float) -> None:
        if message.get("bytes") is not None:
            kind, values = decode_binary(message["bytes"])
            if kind == FACES:
                session.hear_faces(values, elapsed)
            else:
                session.hear_sound(values, elapsed)
            self.studio.engine.call()
            return
        spoken = decode_json(message.get("text") or "")
        if spoken["type"] == "stop":
            self._end("stopped", "The session has ended.")
        elif spoken["type"] == "rest":
            session.take_rest()
        else:
            raise RefusedError(f"type must be stop or rest; given: {spoken['type']!r}.")

    def _time_is_over(self, elapsed: float) -> Ending:
        if elapsed > self.limits.session_seconds:
            return "over", f"A session may last {self.limits.session_seconds / 60:.0f} minutes. Begin another one."
        return "idle", f"Nothing was heard for {self.limits.idle_seconds:.0f} seconds, so the session was ended."

    async def _write(self) -> None:
        while True:
            message = await self._outgoing.get()
            if isinstance(message, bytes):
                await self.websocket.send_bytes(message)
            else:
                await self.websocket.send_json(message)

    async def _say_goodbye(self, reason: str, message: str) -> None:
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self.websocket.send_json({"type": "ended", "reason": reason, "message": message})
                await self.websocket.close(_CODES.get(reason, _UNWELCOME))
        except (WebSocketDisconnect, RuntimeError, OSError):
            pass  # nobody is there any more, or nobody reads

    def _put(self, message: bytes | dict[str, Any]) -> None:
        try:
            self._outgoing.put_nowait(message)
        except asyncio.QueueFull:
            self._end("slow", "The page does not read what it gets.")

    def _put_from_thread(self, message: bytes | dict[str, Any]) -> None:
        self._loop.call_soon_threadsafe(self._put, message)

    def _note(self, sentence: str) -> None:
        self._put_from_thread({"type": "note", "message": sentence})

    def _fail_from_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._end, *_FAILED)

    def _end(self, reason: str, message: str) -> None:
        if not self._ended.done():
            self._ended.set_result((reason, message))


def _timing(session: Session) -> dict[str, int]:
    """How the session's frames are counted, for the meter of delay.

    `lag`: frames from the speaker's last frame that a window answers to the window's first new frame.
    """
    reactor = session.streams[0].reactor
    later = 100 * reactor.window_size
    return {
        "frame_rate": FRAME_RATE,
        "sample_rate": SAMPLE_RATE,
        "hop": reactor.hop,
        "lag": later - reactor.answered(later),
    }
