"""The loop in real time, on a made-up clock and once on the true one, from a stream of a tiny model to datagrams."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable

import numpy as np
import pytest

from perfrdiff_hf import PerFRDiffPipeline
from perfrdiff_hf.behaviour import MEAN_FACE
from perfrdiff_hf.faces.formats import live_link_udp
from perfrdiff_hf.faces.motion import FaceMotion
from perfrdiff_hf.live.performing import perform, performing
from perfrdiff_hf.live.playout import Playout
from perfrdiff_hf.live.senders import PROTOCOLS, Sender


class Clock:
    """A clock that moves when somebody sleeps, and when showing takes time."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def run(seconds: float, fps: int, cost: Callable[[int], float]) -> tuple[list[tuple[int, float]], int]:
    """Number and time of each frame that was shown, and how many were skipped."""
    clock, shown = Clock(), []

    def show(motion: FaceMotion, frame: int, rate: int) -> None:
        assert len(motion) == 1 and rate == fps
        shown.append((frame, clock.now - 100))
        clock.now += cost(frame)

    done = perform(Playout(), show, fps, lambda: clock.now >= 100 + seconds, clock, clock.sleep)
    assert done.frames == len(shown)
    assert done.longest_gap == pytest.approx(np.diff([at for _, at in shown]).max())
    return shown, done.skipped


def test_ticks_do_not_drift() -> None:
    shown, skipped = run(10, 60, lambda frame: 0.004)
    assert len(shown) == 600 and skipped == 0
    np.testing.assert_allclose([at for _, at in shown], np.arange(600) / 60, atol=1e-9)


def test_what_takes_too_long_is_not_followed_by_a_burst() -> None:
    shown, skipped = run(2, 25, lambda frame: 0.205 if frame == 10 else 0.001)
    frames = [frame for frame, _ in shown]
    assert frames[10:13] == [10, 15, 16] and skipped == 4
    gaps = np.diff([at for _, at in shown])
    assert gaps.max() == pytest.approx(0.205) and gaps.min() > 0.03


def test_a_rate_must_be_positive() -> None:
    with pytest.raises(ValueError, match="fps must be positive"):
        perform(Playout(), lambda motion, frame, fps: None, 0)


@pytest.fixture
def receiver() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.settimeout(10)
    return made


def test_from_a_stream_to_datagrams(make_pipeline: Callable[..., PerFRDiffPipeline], receiver: socket.socket) -> None:
    stream = make_pipeline().stream(num_reactions=1, num_inference_steps=2)
    rng = np.random.default_rng(0)
    speaker = {
        "audio": rng.standard_normal((1, 60, 78)).astype(np.float32),
        "coefficients": np.tile(MEAN_FACE, (1, 60, 1)),
        "emotion": np.zeros((1, 60, 25), np.float32),
    }
    playout = Playout()
    with Sender("live_link", port=receiver.getsockname()[1]) as sender, performing(playout, sender.send, 60) as done:
        for segment in stream.push(**speaker):
            playout.add(segment.start, segment.coefficients[0, 0].numpy(), time.monotonic())
        packets = [live_link_udp.decode(receiver.recv(2048)) for _ in range(40)]
    receiver.close()
    assert done.frames >= 40 and playout.segments == 2
    moments = [packet.seconds for packet in packets]
    assert moments == sorted(moments) and moments[-1] > 0.6
    assert all(packet.motion is not None for packet in packets)
    first, last = packets[0].motion, packets[-1].motion
    assert first is not None and last is not None
    assert np.abs(last.blendshapes - first.blendshapes).max() > 0.01


def test_what_fails_while_performing_is_raised() -> None:
    def broken(motion: FaceMotion, frame: int, fps: int) -> None:
        raise OSError("no network")

    with pytest.raises(OSError, match="no network"), performing(Playout(), broken):
        time.sleep(0.1)


def test_json_datagrams(receiver: socket.socket) -> None:
    with Sender("arkit_json", port=receiver.getsockname()[1]) as sender:
        sender.send(FaceMotion(np.full((1, 52), 0.5), np.zeros((1, 3))), 30, 60)
    frame = json.loads(receiver.recv(4096))
    receiver.close()
    assert frame["time"] == 0.5 and frame["blendShapes"]["jawOpen"] == 0.5


def test_unknown_protocols_and_ports() -> None:
    with pytest.raises(ValueError, match=f"protocol must be one of {', '.join(PROTOCOLS)}"):
        Sender("osc")
    with pytest.raises(ValueError, match=r"port must lie in 1 ... 65535; it is 70000"):
        Sender("live_link", port=70000)
