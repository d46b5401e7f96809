"""The server end of the page, with an ordinary WebSocket client: what works, and what must not hurt it."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch

from perfrdiff_hf import PerFRDiffFeatureExtractor, PerFRDiffPipeline
from perfrdiff_hf.baselines import TransVAEModel, TransVAEReactionPipeline
from perfrdiff_hf.behaviour import FRAME_RATE, MEAN_FACE
from perfrdiff_hf.data.audio import mfcc_features
from perfrdiff_hf.faces.motion import face_motion
from perfrdiff_hf.live.camera import behaviour_of_faces
from perfrdiff_hf.live.studio import StudioFullError
from perfrdiff_hf.pipelines.streaming import ReactionStream
from tests.live.conftest import Client, Served, face_rows


Serving = Callable[..., Served]


def ask(served: Served, path: str, body: bytes | None = None, method: str | None = None, **headers: str) -> Any:
    """Status and body of a request; JSON is read."""
    request = urllib.request.Request(f"http://{served.address}{path}", body, headers, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            data = answer.read()
            return answer.status, json.loads(data) if "json" in answer.headers["Content-Type"] else data
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def segments(client: Client, until: int, listeners: int = 1) -> dict[int, list[Any]]:
    """Segments until all listeners have reached a frame."""
    heard: dict[int, list[Any]] = {listener: [] for listener in range(listeners)}
    while any(not parts or parts[-1][0] + parts[-1][1].shape[1] < until for parts in heard.values()):
        listener, *segment = client.hear()
        heard[listener].append(segment)
    return heard


def until_the_end(client: Client) -> dict[str, Any]:
    """The server's last message."""
    while not (isinstance(message := client.hear(), dict) and message["type"] == "ended"):
        pass
    return message


def say_while_it_listens(client: Client, *messages: bytes) -> None:
    """The server may end the session after any of them; what it said until then can still be heard."""
    from websockets.exceptions import ConnectionClosed

    with suppress(ConnectionClosed):
        for message in messages:
            client.socket.send(message)


def test_a_session_gets_what_the_pipeline_gives(
    serving: Serving, make_pipeline: Callable[..., PerFRDiffPipeline]
) -> None:
    """Sound and faces go up in pieces of their own, and the reactions are those of a stream."""
    served = serving(ahead_seconds=100.0)
    client = Client(served.address)
    begun = client.start(num_reactions=2)
    assert begun["type"] == "started" and begun["hop"] == 50 and begun["lag"] == 0 and begun["notes"] == []
    for piece in range(44):
        client.sound(1600, 1600 * piece)
        client.faces(*((np.arange(3) + 3 * piece) / 30), smile=0.6)
    got = segments(client, 100)[0]
    client.close()
    assert [start for start, _, _ in got] == [0, 50]

    at = np.arange(44 * 1600) / 16000
    sound = (8000 * np.sin(2 * np.pi * 220 * at)).astype("<i2").astype(np.float32) / 32768
    face = np.zeros((110, 55), np.float32)
    face[:, 43:45] = 0.6
    seen = behaviour_of_faces(face).streams
    stream = make_pipeline().stream(num_reactions=2, num_inference_steps=2, generator=torch.Generator().manual_seed(1))
    expected = stream.push(
        audio=mfcc_features(sound, 16000, 110)[None],
        emotion=seen["emotion"][None],
        coefficients=seen["coefficients"][None],
    )
    for (start, shown, reactions), segment in zip(got, expected):
        assert start == segment.start
        np.testing.assert_allclose(reactions[:, :, :25], segment.reactions[0], atol=1e-5)
        np.testing.assert_allclose(reactions[:, :, 25:], segment.coefficients[0], atol=1e-5)
        motion = face_motion(segment.coefficients[0, 1].numpy())
        np.testing.assert_allclose(shown[1, :, :52], motion.blendshapes, atol=1e-5)
        np.testing.assert_allclose(shown[1, :, 52:], motion.rotation, atol=1e-5)


def test_a_visitor_chooses_the_hop(serving: Serving, make_pipeline: Callable[..., PerFRDiffPipeline]) -> None:
    saved = {"num_inference_steps": 2, "guidance_scale": 1.0, "hop": 25}
    served = serving({"tiny": make_pipeline(in_channels=83, max_shown_frames=5, sampling=saved)}, ahead_seconds=100.0)
    about = ask(served, "/api/about")[1]
    assert about["models"][0]["hop"] == 25 and about["models"][0]["steps"] == 2 and about["most"]["hop"] == [5, 50]
    for wished, given in ((None, 25), (10, 10)):
        client = Client(served.address)
        assert client.start(hop=wished, face=False)["hop"] == given
        for piece in range(22):
            client.sound(1600, 1600 * piece)
        got = segments(client, 50)[0]
        client.close()
        assert [start for start, _, _ in got] == list(range(0, 50, given))


def test_a_setting_that_a_system_has_not_is_named(serving: Serving) -> None:
    system = TransVAEReactionPipeline(TransVAEModel(hidden_size=8, num_heads=2), PerFRDiffFeatureExtractor())
    served = serving({"tiny": system})
    answer = Client(served.address).start(hop=10, num_inference_steps=None)
    assert answer["reason"] == "refused" and "has no setting hop" in answer["message"]


def test_listeners_are_made_chosen_and_removed(serving: Serving) -> None:
    served = serving(ahead_seconds=100.0)
    rng = np.random.default_rng(0)
    for name in ("alice", "bob"):
        rows = face_rows(np.arange(400) / 30)
        rows[:, 2:54] = rng.uniform(0, 1, (400, 52))
        status, answer = ask(served, f"/api/listeners/{name}?model=tiny", rows.tobytes())
        assert status == 201 and name in answer["listeners"]
    client = Client(served.address)
    client.start(listeners=["alice", "", "bob"])
    for piece in range(22):
        client.sound(1600, 1600 * piece)
        client.faces((piece + 1) / 10)
    got = segments(client, 50, listeners=3)
    client.close()
    shown = [got[listener][0][1] for listener in range(3)]
    assert not np.allclose(shown[0], shown[1]) and not np.allclose(shown[0], shown[2])
    assert ask(served, "/api/listeners/bob", method="DELETE") == (200, {"listeners": ["alice"]})
    assert ask(served, "/api/about")[1]["listeners"] == ["alice"]


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/api/listeners/alice?model=tiny", b"", 400, "rows of 57 float32"),
        ("/api/listeners/alice?model=tiny", face_rows(np.arange(90) / 30).tobytes()[:-3], 400, "rows of 57 float32"),
        ("/api/listeners/alice?model=tiny", face_rows(np.arange(90) / 30).tobytes(), 400, "10 s of a face or more"),
        ("/api/listeners/alice?model=tiny", face_rows(np.arange(400) / 30, seen=0).tobytes(), 400, "no face in"),
        ("/api/listeners/alice?model=tiny", face_rows([0, 1e9]).tobytes(), 400, "may last 180 s"),
        ("/api/listeners/alice?model=tiny", face_rows([3, 1]).tobytes(), 400, "run backwards"),
        ("/api/listeners/alice?model=tiny", face_rows([0], smile=np.nan).tobytes(), 400, "finite numbers"),
        ("/api/listeners/alice?model=tiny", face_rows([0], smile=5).tobytes(), 400, "must lie in"),
        ("/api/listeners/alice?model=huge", face_rows(np.arange(400) / 30).tobytes(), 400, "no model 'huge'"),
        ("/api/listeners/..%2Fx?model=tiny", face_rows(np.arange(400) / 30).tobytes(), 404, ""),
        ("/api/listeners/%2E%2E?model=tiny", face_rows(np.arange(400) / 30).tobytes(), 400, "letters, digits"),
        ("/api/listeners/a?model=tiny", bytes(4 * 57 * 10801), 413, "At most"),
        ("/api/recording/npz", b"123", 400, "83 float32"),
        ("/api/recording/csv", np.full(83, 2, "<f4").tobytes(), 400, "90 at most"),
        ("/api/recording/exe", bytes(332), 400, "csv, glb, mp4, npz"),
        ("/api/recording/npz", bytes(332 * 4501), 413, "At most"),
    ],
)
def test_broken_uploads_are_refused(serving: Serving, path: str, body: bytes, status: int, said: str) -> None:
    served = serving()
    code, answer = ask(served, path, body)
    assert code == status and said in str(answer)
    assert served.studio.shelf.names() == [] and not list(served.studio.shelf.folder.parent.glob("listeners/*"))


def test_a_listener_is_not_replaced(serving: Serving) -> None:
    served = serving()
    rows = face_rows(np.arange(400) / 30).tobytes()
    assert ask(served, "/api/listeners/alice?model=tiny", rows)[0] == 201
    assert ask(served, "/api/listeners/alice?model=tiny", rows)[0] == 409
    assert ask(served, "/api/listeners/nobody", method="DELETE")[0] == 404


def test_fixed_listeners(serving: Serving) -> None:
    served = serving()
    served.studio.shelf.is_fixed = True
    status, said = ask(served, "/api/listeners/alice?model=tiny", face_rows(np.arange(400) / 30).tobytes())
    assert status == 403 and "fixed" in said
    assert ask(served, "/api/listeners/alice", method="DELETE")[0] == 403
    assert ask(served, "/api/about")[1]["models"][0]["personal"] is False


def test_recordings_become_files(serving: Serving) -> None:
    served = serving()
    reaction = np.zeros((30, 83), np.float32)
    reaction[:, 25:] = MEAN_FACE + 0.1 * np.linspace(0, 1, 30)[:, None]
    for suffix, begin in {"csv": b"Timecode,", "glb": b"glTF", "npz": b"PK"}.items():
        status, data = ask(served, f"/api/recording/{suffix}", reaction.tobytes())
        assert status == 200 and data.startswith(begin)
    status, data = ask(served, "/api/recording/mp4", reaction.tobytes())
    assert status == 200 and data[4:8] == b"ftyp"


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


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"model": "huge"}, "no model 'huge'"),
        ({"listeners": ["nobody"]}, "no listener nobody"),
        ({"listeners": ["../x"]}, "letters, digits"),
        ({"listeners": [""] * 4}, "1 to 3 names"),
        ({"num_reactions": 100}, "from 1 to 3"),
        ({"num_inference_steps": 1}, "from 2 to 50"),
        ({"num_inference_steps": True}, "from 2 to 50"),
        ({"hop": 4}, "from 5 to 50"),
        ({"hop": "10"}, "from 5 to 50"),
        ({"sound": "yes"}, "true or false"),
        ({"sound": False, "face": False}, "nothing to react to"),
        ({"colour": "red"}, "no 'colour'"),
        ({"type": "begin"}, "must be of type start"),
    ],
)
def test_wishes_that_cannot_be_fulfilled(serving: Serving, wishes: dict[str, Any], said: str) -> None:
    answer = Client(serving().address).start(**wishes)
    assert answer["type"] == "ended" and answer["reason"] == "refused" and said in answer["message"]


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


def test_two_sessions_do_not_meet(serving: Serving) -> None:
    """The same wishes and the same behaviour, once beside another session: the same reactions."""
    served = serving(ahead_seconds=100.0)
    alone, one, other = (Client(served.address) for _ in range(3))
    alone.start()
    for piece in range(22):
        alone.sound(1600, 1600 * piece)
        alone.faces((piece + 1) / 10, smile=0.5)
    expected = segments(alone, 50)[0]
    one.start()
    other.start(seed=9)
    for piece in range(22):
        for client, smile in ((one, 0.5), (other, 0.0)):
            client.sound(1600, 1600 * piece)
            client.faces((piece + 1) / 10, smile=smile)
    got, others = segments(one, 50)[0], segments(other, 50)[0]
    np.testing.assert_allclose(got[0][2], expected[0][2], atol=2e-5)
    assert np.abs(others[0][2] - expected[0][2]).max() > 1e-3


def test_without_camera_or_microphone(serving: Serving, make_pipeline: Callable[..., PerFRDiffPipeline]) -> None:
    """A model that can do without does; another is given a resting face or silence, and the visitor is told."""
    needs_all = make_pipeline(condition_dropout=0.0)
    served = serving(models={"tiny": make_pipeline(), "strict": needs_all}, ahead_seconds=100.0)
    for model, note in (("tiny", ""), ("strict", "resting one")):
        client = Client(served.address)
        assert note in " ".join(client.start(model=model, face=False)["notes"])
        for piece in range(22):
            client.sound(1600, 1600 * piece)
        assert segments(client, 50)[0]
        client = Client(served.address)
        assert ("silence" if note else "") in " ".join(client.start(model=model, sound=False)["notes"])
        for piece in range(22):
            client.faces((piece + 1) / 10)
        assert segments(client, 50)[0]


def test_a_camera_that_stands_still_does_not_stop_the_session(serving: Serving) -> None:
    client = Client(serving(ahead_seconds=100.0).address)
    client.start()
    client.faces(0.0)
    for piece in range(30):
        client.sound(1600, 1600 * piece)
    assert segments(client, 50)[0]


def test_a_model_that_is_too_slow_leaves_something_out(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serving(ahead_seconds=1000.0, behind_seconds=2.0)
    engine = served.studio.engine
    slow, generate = [True], engine._serve
    monkeypatch.setattr(engine, "_serve", lambda owners: [] if slow[0] else generate(owners))
    client = Client(served.address)
    client.start()
    for piece in range(80):
        client.sound(1600, 1600 * piece)
        client.faces((piece + 1) / 10)
    note = client.hear()
    assert note["type"] == "note" and "slower than you speak" in note["message"]
    slow[0] = False
    for piece in range(80, 110):
        client.sound(1600, 1600 * piece)
        client.faces((piece + 1) / 10)
    parts = [client.hear()]
    while not (isinstance(parts[-1], tuple) and parts[-1][1] >= 250):
        parts.append(client.hear())
    starts = [part[1] for part in parts if isinstance(part, tuple)]
    assert starts[0] > 50 and (np.diff(starts) > 0).all()


def test_a_session_that_fails_ends_alone(serving: Serving, make_pipeline: Callable[..., PerFRDiffPipeline]) -> None:
    broken = make_pipeline()
    served = serving(models={"tiny": make_pipeline(), "broken": broken}, ahead_seconds=100.0)

    def fail(*words: Any, **named: Any) -> None:
        raise RuntimeError("out of memory")

    broken.denoiser.forward = fail  # type: ignore[method-assign]
    well, ill = Client(served.address), Client(served.address)
    well.start()
    ill.start(model="broken")
    for client in (ill, well):
        for piece in range(12):
            client.sound(1600, 1600 * piece)
            client.faces((piece + 1) / 10)
    assert ill.hear()["reason"] == "failed"
    assert segments(well, 50)[0]


@pytest.mark.parametrize("place", ["load_listener", "stream", "hear"])
def test_what_nobody_foresaw_is_told_and_logged(
    serving: Serving,
    monkeypatch: pytest.MonkeyPatch,
    make_pipeline: Callable[..., PerFRDiffPipeline],
    caplog: pytest.LogCaptureFixture,
    place: str,
) -> None:
    """A listener's file that is broken, or a device without memory: not a connection that is lost without a word."""

    def fail(*words: Any, **named: Any) -> None:
        # A fault of ours may be of a kind that bad input has, too.
        raise (ValueError if place == "hear" else RuntimeError)("out of memory")

    pipeline = make_pipeline()
    served = serving(models={"tiny": pipeline})
    if place == "hear":
        monkeypatch.setattr(ReactionStream, "hear", fail)
    else:
        monkeypatch.setattr(pipeline, place, fail)
    assert ask(served, "/api/listeners/alice?model=tiny", face_rows(np.arange(400) / 30).tobytes())[0] == 201
    client = Client(served.address)
    answer = client.start(listeners=["alice"])
    if place == "hear":
        client.sound()
        answer = client.hear()
    assert (answer["type"], answer["reason"]) == ("ended", "failed") and "memory" not in answer["message"]
    assert "out of memory" in caplog.text


@pytest.mark.parametrize("kind", [ValueError, TypeError, FileNotFoundError, ImportError])
def test_a_fault_of_the_server_keeps_its_text(
    serving: Serving,
    monkeypatch: pytest.MonkeyPatch,
    make_pipeline: Callable[..., PerFRDiffPipeline],
    caplog: pytest.LogCaptureFixture,
    kind: type[Exception],
) -> None:
    """Of whatever kind it is: bad input is told apart by where it was found, not by the kind of its error."""

    def fail(*words: Any, **named: Any) -> None:
        raise kind("the bug in /home/me")

    pipeline = make_pipeline()
    monkeypatch.setattr(pipeline, "personalise", fail)
    served = serving(models={"tiny": pipeline})
    monkeypatch.setattr(logging.getLogger("uvicorn.error"), "handlers", [caplog.handler])
    status, said = ask(served, "/api/listeners/alice?model=tiny", face_rows(np.arange(400) / 30).tobytes())
    assert status == 500 and json.loads(said) == {"error": "The server failed. Its log says why."}
    until = time.monotonic() + 10  # it is logged behind the answer
    while not ("Traceback" in caplog.text and "the bug in /home/me" in caplog.text):
        assert time.monotonic() < until
        time.sleep(0.02)
    assert ask(served, "/api/listeners/alice?model=huge", face_rows(np.arange(400) / 30).tobytes())[0] == 400


def test_doors(serving: Serving) -> None:
    from websockets.exceptions import InvalidStatus

    served = serving()
    assert ask(served, "/health")[0] == 200
    assert ask(served, "/", Host="evil.example")[0] == 403
    assert ask(served, "/api/about", Origin="http://evil.example")[0] == 403
    assert ask(served, "/", Host="[")[0] == ask(served, "/", Origin="http://[")[0] == 403
    with pytest.raises(InvalidStatus):
        Client(served.address, origin="http://evil.example")
    Client(served.address, origin=f"http://{served.address}").start()
    guarded = serving(token="secret", is_local=False)
    assert ask(guarded, "/", Host="my.example")[0] == 200
    assert ask(guarded, "/api/about")[0] == 403
    assert ask(guarded, "/api/about", Authorization="Bearer wrong")[0] == 403
    assert ask(guarded, "/api/about", Authorization="Bearer secret")[0] == 200
    # A token in the address would stand in logs, and opens nothing; clients that are no pages send the usual header.
    for refused in ({"path": "/live?token=secret"}, {"subprotocols": ["perfrdiff", "wrong"]}):
        with pytest.raises(InvalidStatus):
            Client(guarded.address, **refused)
    client = Client(guarded.address, subprotocols=["perfrdiff", "secret"])
    assert client.socket.subprotocol == "perfrdiff" and client.start()["type"] == "started"
    client = Client(guarded.address, additional_headers={"Authorization": "Bearer secret"})
    assert client.start()["type"] == "started"
    with pytest.raises(ValueError, match="letters, digits"):
        serving(token="my secret")


def test_all_answers_carry_the_policy(serving: Serving) -> None:
    """The tracker's worker has that of its own file; a head's textures come as blobs; nobody else is asked."""
    served = serving(framed_by="https://huggingface.co")
    for path in ("/", "/page/tracker-worker.js", "/page/main.js", "/api/about", "/nothing"):
        request = urllib.request.Request(f"http://{served.address}{path}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            headers = opener.open(request, timeout=60).headers
        except urllib.error.HTTPError as error:
            headers = error.headers
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert policy["connect-src"] == "'self' blob:" and policy["default-src"] == "'none'"
        assert policy["frame-ancestors"] == "https://huggingface.co"
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-cache"


def test_doors_of_an_app_that_is_mounted(serving: Serving) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from websockets.exceptions import InvalidStatus

    served = serving(token="secret", is_local=False, mounted=lambda app: Starlette(routes=[Mount("/below", app)]))
    assert ask(served, "/below/")[0] == 200
    assert ask(served, "/below/api/about")[0] == 403
    assert ask(served, "/below/api/about", Authorization="Bearer secret")[0] == 200
    with pytest.raises(InvalidStatus):
        Client(served.address, "/below/live")
    client = Client(served.address, "/below/live", subprotocols=["perfrdiff", "secret"])
    assert client.start()["type"] == "started"


def test_files_of_the_machine_are_not_served(serving: Serving) -> None:
    served = serving()
    for path in ("/page/../server.py", "/page/%2e%2e/server.py", "/vendor/../../secret", "/page//etc/passwd"):
        assert ask(served, path)[0] in (400, 404)


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
