"""Listeners, fixed or made by visitors, and recordings: what the server takes and gives as files."""

from __future__ import annotations

import numpy as np
import pytest

from perfrdiff_hf.behaviour import MEAN_FACE
from tests.live.clients import Client, Serving, ask, face_rows, segments


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
