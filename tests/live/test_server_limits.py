"""What must not hurt the server: rubbish, too much of everything, and sessions without an end."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import suppress

import numpy as np
import pytest

from perfrdiff_hf.behaviour import FRAME_RATE
from perfrdiff_hf.live.studio import StudioFullError
from tests.live.clients import Client, Serving, face_rows, say_while_it_listens, segments, until_the_end


RUBBISH = {
    "an unknown kind": b"\x07\0\0\0rubbish",
    "nothing": b"",
    "a header alone": b"\x01\0\0\0",
    "a face that is cut": b"\x01\0\0\0" + face_rows([0.1]).tobytes()[:-2],
    "another width": b"\x01\0\0\0" + bytes(4 * 56),
    "NaN": b"\x01\0\0\0" + face_rows([0.1], smile=np.nan).tobytes(),
    "no time": b"\x01\0\0\0" + face_rows([np.inf]).tobytes(),
    "far in the future": b"\x01\0\0\0" + face_rows([1e8]).tobytes(),
    "half a sample": b"\x02\0\0\0abc",
    "far too much sound": b"\x02\0\0\0" + bytes(60000),
    "random bytes": np.random.default_rng(0).bytes(5000),
    "no JSON": "{",
    "deep JSON": "[" * 30000,
    "a list": "[1, 2]",
    "an unknown type": '{"type": "explode"}',
}


def test_rubbish_is_named_and_does_no_harm(serving: Serving) -> None:
    served = serving(ahead_seconds=100.0)
    client = Client(served.address)
    client.start()
    for what, rubbish in RUBBISH.items():
        client.socket.send(rubbish)
        answer = client.hear()
        assert answer["type"] == "error" and len(answer["message"]) > 20, what
    for piece in range(22):
        client.sound(1600, 1600 * piece)
        client.faces((piece + 1) / 10)
    assert segments(client, 50)[0]
    say_while_it_listens(client, *[b"rubbish"] * 30)
    ending = until_the_end(client)
    assert ending["reason"] == "mistakes" and "20 messages" in ending["message"]


def test_a_message_that_is_far_too_large_ends_the_connection_alone(serving: Serving) -> None:
    from websockets.exceptions import ConnectionClosed

    served = serving()
    client, other = Client(served.address), Client(served.address)
    client.start()
    other.start()
    with pytest.raises(ConnectionClosed):
        client.socket.send(bytes(200_000))
        client.hear()
    other.sound()
    other.say({"type": "stop"})
    assert [other.hear()["type"]] == ["ended"]


def test_sessions_are_capped_and_a_reload_frees_the_place(serving: Serving) -> None:
    from websockets.exceptions import ConnectionClosed

    served = serving(sessions=2)
    one, other = Client(served.address), Client(served.address)
    assert one.start()["type"] == other.start()["type"] == "started"
    third = Client(served.address)
    answer = third.hear()
    assert answer["reason"] == "full" and "2 places" in answer["message"]
    one.socket.socket.close()  # a page that is gone without a word
    until = time.monotonic() + 10
    is_free = False
    while not is_free:
        assert time.monotonic() < until
        with suppress(ConnectionClosed):  # refused before it could say what it wishes
            is_free = Client(served.address).start()["type"] == "started"
        time.sleep(0.05)


def test_a_page_that_does_not_read_keeps_no_place(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers fill all buffers on the way, so that not even the last word can be sent."""
    from websockets.exceptions import ConnectionClosed

    monkeypatch.setattr("perfrdiff_hf.live.visit.GOODBYE_SECONDS", 0.2)
    served = serving(sessions=1, mistakes=10**6)
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect(("127.0.0.1", served.port))
    deaf = Client(served.address, sock=narrow, max_queue=1)
    deaf.start()

    def talk() -> None:
        with suppress(ConnectionClosed, OSError):
            for _ in range(300):  # each comes back as the error that it is
                deaf.socket.send(json.dumps({"type": 60000 * "x"}))

    threading.Thread(target=talk, daemon=True).start()
    until = time.monotonic() + 10
    while True:
        try:
            served.studio.take_place()
            break
        except StudioFullError:
            assert time.monotonic() < until
            time.sleep(0.05)
    narrow.shutdown(socket.SHUT_RDWR)
    narrow.close()


def test_idle_sessions_end(serving: Serving) -> None:
    served = serving(idle_seconds=0.3, mistakes=1000)
    silent = Client(served.address)
    assert silent.hear()["reason"] == "idle"
    client = Client(served.address)
    client.start()
    until = time.monotonic() + 30
    ending = {"type": "error"}
    while ending["type"] == "error":
        assert time.monotonic() < until
        say_while_it_listens(client, b"rubbish")  # which does not keep a session alive
        ending = client.hear()
        time.sleep(0.05)
    assert ending["reason"] == "idle"


def test_long_sessions_end(serving: Serving) -> None:
    """However busy they are."""
    from websockets.exceptions import ConnectionClosed

    busy = Client(serving(session_seconds=1.0).address)
    busy.start()
    with suppress(ConnectionClosed):
        for piece in range(100):
            busy.sound(1600, 1600 * piece)
            time.sleep(0.1)
    assert until_the_end(busy)["reason"] == "over"


def test_too_fast(serving: Serving) -> None:
    client = Client(serving(ahead_seconds=1.0).address)
    client.start(face=False)
    for _ in range(2):
        client.sound(16000)
    answers = [client.hear()]
    while not isinstance(answers[-1], dict):
        answers.append(client.hear())
    assert "send it as it happens" in answers[-1]["message"]


def test_too_many_faces(serving: Serving) -> None:
    """Of one and the same moment, so that their times say nothing."""
    client = Client(serving(ahead_seconds=2.0).address)
    client.start(sound=False)
    at_one_moment = b"\x01\0\0\0" + face_rows([0.1] * 90).tobytes()
    say_while_it_listens(client, *[at_one_moment] * 60)
    ending = until_the_end(client)
    assert ending["reason"] == "mistakes" and "at 60 a second" in ending["message"]


def test_memory_is_flat(serving: Serving) -> None:
    """Five minutes of a session as fast as it goes; `examples/benchmarks/live.py` plays an hour."""
    import psutil

    served = serving(ahead_seconds=1e6, behind_seconds=1e6)
    client = Client(served.address)
    client.start()
    process, used = psutil.Process(), []
    for second in range(300):
        client.sound(16000, 16000 * second)
        client.faces(*(second + np.arange(30) / 30))
        if second % 10 == 9:
            segments(client, FRAME_RATE * (second - 9))
            used.append(process.memory_info().rss)
    assert max(used[15:]) - max(used[5:15]) < 4e6
