"""Sessions on the live server, with an ordinary WebSocket client: they get what the pipeline gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from perfrdiff_hf import PerFRDiffFeatureExtractor, PerFRDiffPipeline
from perfrdiff_hf.baselines import TransVAEModel, TransVAEReactionPipeline
from perfrdiff_hf.data.audio import mfcc_features
from perfrdiff_hf.faces.motion import face_motion
from perfrdiff_hf.live.camera import behaviour_of_faces
from tests.live.clients import Client, Serving, ask, segments


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
