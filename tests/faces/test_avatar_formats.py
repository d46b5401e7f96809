"""Formats of avatars: each read by something that does not share its code."""

from __future__ import annotations

import csv
import json
import struct
import threading
from pathlib import Path

import numpy as np
import pytest

from perfrdiff_hf.behaviour import BLENDSHAPE_NAMES, BLENDSHAPES, MEAN_FACE, ROTATION, STD_FACE, Behaviour
from perfrdiff_hf.faces.formats import live_link_udp, vmc
from perfrdiff_hf.faces.formats.arkit import ANGLE_COLUMNS, ARKIT_COLUMNS
from perfrdiff_hf.faces.formats.arkit_json import encode_frame
from perfrdiff_hf.faces.motion import FaceMotion, face_motion, quaternions
from perfrdiff_hf.faces.tracks import read_face_track, write_face_track


@pytest.fixture
def motion() -> FaceMotion:
    rng = np.random.default_rng(0)
    return FaceMotion(rng.uniform(0, 1, (5, 52)), rng.uniform(-0.5, 0.5, (5, 3)))


@pytest.fixture
def reaction() -> Behaviour:
    rng = np.random.default_rng(3)
    coefficients = MEAN_FACE + STD_FACE * rng.uniform(0, 1, (40, 58)).astype(np.float32)
    coefficients[:, ROTATION] = np.array([np.pi, 0, 0]) + rng.uniform(-0.5, 0.5, (40, 3))
    return Behaviour(coefficients=coefficients)


def test_live_link_csv_comes_back_but_for_lost_rows(realdata: Path, tmp_path: Path) -> None:
    recorded = read_face_track(realdata / "arkit_livelink" / "S88-001.csv", calibrate=False)
    write_face_track(recorded.behaviour, tmp_path / "again.csv", "live_link", calibrate=False)
    again = read_face_track(tmp_path / "again.csv", calibrate=False)
    assert recorded.report.lost_rows == 129 and again.report.lost_rows == 0
    expected = recorded.behaviour.coefficients[:, BLENDSHAPES]
    np.testing.assert_allclose(again.behaviour.coefficients[:, BLENDSHAPES], expected, atol=1e-6)


def test_the_time_code_of_live_link_csv_counts_sixty_ticks_a_second(realdata: Path, tmp_path: Path) -> None:
    """As in recordings, which have 30 rows a second and move on by two ticks a row."""

    def ticks(path: Path) -> np.ndarray:
        return np.array([float(line.split(",")[0].rsplit(":", 1)[1]) for line in path.read_text().splitlines()[1:]])

    recorded = ticks(realdata / "arkit_livelink" / "S88-001.csv")
    assert recorded.max() > 59 and np.median(np.diff(recorded)) == pytest.approx(2, abs=0.01)
    write_face_track(Behaviour(coefficients=np.tile(MEAN_FACE, (30, 1))), tmp_path / "a.csv", "live_link")
    np.testing.assert_allclose(ticks(tmp_path / "a.csv"), np.arange(30) * 60 / 25 % 60, atol=1e-9)


def independent_reading(packet: bytes) -> dict[str, object]:
    """Live Link Face's datagram, read from its description: a cursor over big-endian fields."""
    at = 0

    def take(form: str) -> tuple:
        nonlocal at
        found = struct.unpack_from(">" + form, packet, at)
        at += struct.calcsize(">" + form)
        return found

    (version,) = take("B")
    device, subject = (take(f"{take('i')[0]}s")[0].decode() for _ in range(2))
    frame, subframe, fps, denominator = take("ifii")
    (count,) = take("B")
    # As Unreal's enumeration of ARKit's shapes has them, and as datagrams that an iPhone sent were read.
    order = list(ARKIT_COLUMNS)
    for one in ("JawRight", "MouthRight"):
        at_right = order.index(one)
        order[at_right : at_right + 2] = reversed(order[at_right : at_right + 2])
    values = dict(zip((*order, *ANGLE_COLUMNS), take(f"{count}f"), strict=True))
    assert at == len(packet)
    clock = {"frame": frame, "subframe": subframe, "fps": fps, "denominator": denominator}
    return {"version": version, "device": device, "subject": subject, **clock, **values}


def test_live_link_datagrams(motion: FaceMotion) -> None:
    packet = live_link_udp.encode(motion, frame=77, fps=60, subject="Aliçe")
    read = independent_reading(packet)
    assert (read["version"], read["subject"], read["frame"], read["fps"]) == (6, "Aliçe", 77, 60)
    assert len(str(read["device"])) == 36  # some receivers count on it
    for name in ("JawOpen", "MouthSmileRight", "TongueOut"):
        channel = BLENDSHAPE_NAMES.index(name[0].lower() + name[1:])
        assert read[name] == pytest.approx(motion.blendshapes[0, channel])
    # The signs are those of the csv: its pitch grows as the face looks up.
    pitch, yaw, roll = motion.rotation[0].tolist()
    assert (read["HeadPitch"], read["HeadYaw"], read["HeadRoll"]) == pytest.approx((-pitch, yaw, roll))
    again = live_link_udp.decode(packet)
    assert again.motion is not None and again.seconds == pytest.approx(77 / 60)
    np.testing.assert_array_equal(again.motion.blendshapes, motion.blendshapes[:1])
    np.testing.assert_allclose(again.motion.rotation, motion.rotation[:1], atol=1e-7)


def test_csv_and_datagram_say_the_same(reaction: Behaviour, tmp_path: Path) -> None:
    write_face_track(reaction, tmp_path / "a.csv", "live_link")
    with open(tmp_path / "a.csv") as file:
        row = next(csv.DictReader(file))
    sent = independent_reading(live_link_udp.encode(face_motion(reaction.coefficients), 0, 25))
    for name in (*ARKIT_COLUMNS, "HeadYaw", "HeadPitch", "HeadRoll"):
        assert float(row[name]) == pytest.approx(sent[name], abs=1e-6), name


def test_a_lost_face_and_broken_datagrams(motion: FaceMotion) -> None:
    packet = live_link_udp.encode(motion, 0, 60)
    assert live_link_udp.decode(packet[:-245]).motion is None  # 61 values and their number
    for broken in (b"", b"hello", packet[:-1], packet[:30], b"\x05" + packet[1:]):
        with pytest.raises(ValueError, match="datagram"):
            live_link_udp.decode(broken)


def test_vmc_messages(motion: FaceMotion) -> None:
    bone, *blends, apply, ok = vmc.messages(motion)
    assert bone[0] == "/VMC/Ext/Bone/Pos" and bone[1][:4] == ("Head", 0.0, 0.0, 0.0)
    x, y, z, w = quaternions(motion.rotation[0].astype(np.float64)).tolist()
    assert bone[1][4:] == pytest.approx((x, -y, -z, w))
    values = {arguments[0]: arguments[1] for address, arguments in blends if address == "/VMC/Ext/Blend/Val"}
    assert len(values) == 52
    assert values["BrowInnerUp"] == pytest.approx(motion.blendshapes[0, BLENDSHAPE_NAMES.index("browInnerUp")])
    assert (apply[0], ok) == ("/VMC/Ext/Blend/Apply", ("/VMC/Ext/OK", (1,)))
    assert "Joy" in {arguments[0] for _, arguments in vmc.messages(motion, "presets")[1:-2]}
    with pytest.raises(ValueError, match="names must be perfect_sync or presets"):
        vmc.messages(motion, "vrm")  # type: ignore[arg-type]


def test_an_osc_server_hears_vmc(motion: FaceMotion) -> None:
    pytest.importorskip("pythonosc", reason="python-osc is an extra")
    from pythonosc.dispatcher import Dispatcher
    from pythonosc.osc_server import BlockingOSCUDPServer

    from perfrdiff_hf.live.senders import Sender

    heard: list[tuple] = []
    done = threading.Event()
    dispatcher = Dispatcher()
    dispatcher.map("/VMC/Ext/Blend/Val", lambda address, name, value: heard.append((name, value)))
    dispatcher.map("/VMC/Ext/Bone/Pos", lambda address, *arguments: heard.append(arguments))
    dispatcher.map("/VMC/Ext/OK", lambda address, loaded: done.set())
    with BlockingOSCUDPServer(("127.0.0.1", 0), dispatcher) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Sender("vmc", port=server.server_address[1]) as sender:
            sender.send(motion, 0, 60)
        assert done.wait(10)
        server.shutdown()
    assert heard[0][0] == "Head" and len(heard) == 53
    expected = [(name[0].upper() + name[1:], value) for name, value in zip(BLENDSHAPE_NAMES, motion.blendshapes[0])]
    assert [name for name, _ in heard[1:]] == [name for name, _ in expected]
    np.testing.assert_allclose([value for _, value in heard[1:]], [value for _, value in expected], rtol=1e-6)


def test_datagrams_fit_into_a_packet(motion: FaceMotion) -> None:
    pytest.importorskip("pythonosc", reason="python-osc is an extra")
    sizes = [len(datagram) for datagram in vmc.datagrams(motion)]
    assert len(sizes) == 2 and max(sizes) < 1472


def test_json_frames(reaction: Behaviour, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_face_track(reaction, path, "arkit_json")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 40 and lines[25]["time"] == 1.0
    assert set(lines[0]["blendShapes"]) == set(BLENDSHAPE_NAMES)
    assert lines[3]["head"]["yaw"] == pytest.approx(reaction.coefficients[3, ROTATION.start + 1], abs=1e-5)
    again = read_face_track(path).behaviour
    np.testing.assert_allclose(again.coefficients[:, 52:55], reaction.coefficients[:, 52:55], atol=2e-6)
    expected = face_motion(reaction.coefficients).blendshapes
    np.testing.assert_allclose(face_motion(again.coefficients).blendshapes, expected, atol=1e-5)


def test_json_as_one_list_with_a_lost_frame(motion: FaceMotion, tmp_path: Path) -> None:
    frames = [json.loads(encode_frame(motion[k : k + 1], k / 30)) for k in range(5)]
    frames[2]["blendShapes"] = None
    for frame in frames:
        del frame["head"]
    (tmp_path / "a.json").write_text(json.dumps(frames))
    track = read_face_track(tmp_path / "a.json", calibrate=False)
    assert (track.report.rows, track.report.lost_rows) == (5, 1)
    np.testing.assert_allclose(track.behaviour.coefficients[0, BLENDSHAPES], motion.blendshapes[0], atol=1e-6)
    np.testing.assert_array_equal(track.behaviour.coefficients[0, ROTATION], MEAN_FACE[ROTATION])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"time": 0', "cannot be read as JSON frames"),
        ("[]", "must hold JSON objects"),
        ('{"blendShapes": {}}', "frame 0: time must be a number; it is None"),
        ('{"time": 0, "blendShapes": {"jawOpen": 0.1}}', "frame 0: browDownLeft must be a number"),
        ('{"time": 0, "blendShapes": [1]}', "blendShapes must be an object"),
    ],
)
def test_broken_json(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_face_track(tmp_path / "a.json")


def test_json_with_another_head(motion: FaceMotion, tmp_path: Path) -> None:
    frame = json.loads(encode_frame(motion[:1], 0)) | {"head": [0.1, 0.2, 0.3]}
    (tmp_path / "a.json").write_text(json.dumps(frame))
    with pytest.raises(ValueError, match=r"frame 0: head must be an object of numbers; it is \[0.1"):
        read_face_track(tmp_path / "a.json")
    (tmp_path / "a.json").write_bytes(b'{"time": \xff}')
    with pytest.raises(ValueError, match=r"a\.json cannot be read as JSON frames"):
        read_face_track(tmp_path / "a.json")


def test_json_on_another_scale(motion: FaceMotion, tmp_path: Path) -> None:
    frame = json.loads(encode_frame(motion[:1], 0))
    frame["blendShapes"]["jawOpen"] = 50
    (tmp_path / "a.json").write_text(json.dumps([frame]))
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        read_face_track(tmp_path / "a.json")


def test_neutral_is_for_avatars(reaction: Behaviour, tmp_path: Path) -> None:
    neutral = reaction.coefficients[0]
    write_face_track(reaction, tmp_path / "a.csv", "live_link", neutral=neutral)
    with open(tmp_path / "a.csv") as file:
        row = next(csv.DictReader(file))
    assert all(abs(float(row[name])) < 1e-6 for name in (*ARKIT_COLUMNS, "HeadYaw", "HeadPitch"))
    with pytest.raises(ValueError, match="neutral is for avatars"):
        write_face_track(reaction, tmp_path / "a.npy", neutral=neutral)
    assert not (tmp_path / "a.npy").exists()
