"""`perfrdiff avatar`: from a track to files and to datagrams."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from perfrdiff_hf.behaviour import MEAN_FACE, ROTATION, STD_FACE
from perfrdiff_hf.cli import main
from perfrdiff_hf.faces.formats import live_link_udp, write_coefficients_npy
from perfrdiff_hf.faces.glb import Glb
from perfrdiff_hf.faces.motion import face_motion
from perfrdiff_hf.faces.tracks import read_face_track


@pytest.fixture
def coefficients() -> np.ndarray:
    rng = np.random.default_rng(0)
    made = MEAN_FACE + STD_FACE * rng.uniform(0, 0.8, (10, 58)).astype(np.float32)
    made[:, ROTATION] = np.array([np.pi, 0, 0]) + rng.uniform(-0.2, 0.2, (10, 3))
    return made


@pytest.fixture
def face(coefficients: np.ndarray, tmp_path: Path) -> str:
    write_coefficients_npy(tmp_path / "face.npy", coefficients)
    return str(tmp_path / "face.npy")


@pytest.mark.parametrize("name", ["a.glb", "a.csv", "a.jsonl"])
def test_files_that_are_read_again(name: str, face: str, coefficients: np.ndarray, tmp_path: Path) -> None:
    assert main(["avatar", face, "--output", str(tmp_path / name)]) == 0
    again = face_motion(read_face_track(tmp_path / name).behaviour.coefficients)
    expected = face_motion(coefficients)
    np.testing.assert_allclose(again.blendshapes, expected.blendshapes, atol=1e-5)
    np.testing.assert_allclose(again.rotation, expected.rotation, atol=1e-5)


def test_the_neutral_of_a_person(face: str, coefficients: np.ndarray, tmp_path: Path) -> None:
    output = tmp_path / "a.csv"
    assert main(["avatar", face, "--output", str(output), "--neutral", face]) == 0
    again = face_motion(read_face_track(output).behaviour.coefficients)
    expected = face_motion(coefficients, neutral=np.median(coefficients, axis=0))
    np.testing.assert_allclose(again.blendshapes, expected.blendshapes, atol=1e-5)


def test_another_head(face: str, tmp_path: Path) -> None:
    assert main(["avatar", face, "--output", str(tmp_path / "own.glb")]) == 0
    glb = Glb.from_bytes((tmp_path / "own.glb").read_bytes())
    mesh = next(mesh for mesh in glb.tree["meshes"] if "extras" in mesh)
    mesh["extras"]["targetNames"] = [f"blendShape1.{name}" for name in mesh["extras"]["targetNames"]]
    del glb.tree["animations"]
    glb.write(tmp_path / "theirs.glb")
    assert main(["avatar", face, "--output", str(tmp_path / "b.glb"), "--head", str(tmp_path / "theirs.glb")]) == 0
    written = Glb.from_bytes((tmp_path / "b.glb").read_bytes())
    assert len(written.tree["animations"]) == 1
    assert next(mesh for mesh in written.tree["meshes"] if "extras" in mesh)["extras"] == mesh["extras"]


def test_the_rate_of_a_track_that_counts_frames(counted: str, face: str, tmp_path: Path, refused) -> None:
    for words, frames in (((), 100), (("--face_fps", "50"), 50)):
        assert main(["avatar", counted, *words, "--output", str(tmp_path / "a.csv")]) == 0
        assert len(read_face_track(tmp_path / "a.csv").behaviour) == frames
    refused(
        "avatar", face, "--face_fps", "50", "--output", tmp_path / "b.csv", match="face_fps is for tracks of py-feat"
    )


def test_pictures_and_videos(face: str, tmp_path: Path) -> None:
    assert main(["avatar", face, "--output", str(tmp_path / "a.png"), "--size", "64", "--at", "0.2"]) == 0
    assert Image.open(tmp_path / "a.png").size == (64, 64)
    assert main(["avatar", face, "--output", str(tmp_path / "a.mp4"), "--size", "64"]) == 0
    with av.open(str(tmp_path / "a.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 10


def test_a_video_is_no_track_and_it_is_said_how_it_becomes_one(face: str, tmp_path: Path, refused) -> None:
    assert main(["avatar", face, "--output", str(tmp_path / "a.mp4"), "--size", "16"]) == 0
    film = str(tmp_path / "a.mp4")
    refused("avatar", film, "--output", tmp_path / "b.glb", match=rf"is a video.*perfrdiff track {film}")
    refused("avatar", face, "--neutral", film, "--output", tmp_path / "b.glb", match="is a video")


def test_what_was_done_as_json(face: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    output = str(tmp_path / "a.csv")
    assert main(["avatar", face, "--output", output, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["output"], told["frames"]) == (True, output, 10)
    assert any("emotion is derived" in note for note in told["notes"])
    assert main(["avatar", face, "--send", "arkit_json", "--port", "9", "--fps", "25", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["address"] == "127.0.0.1:9" and told["frames"] + told["skipped"] >= 20


def test_live(face: str, coefficients: np.ndarray, capsys: pytest.CaptureFixture) -> None:
    packets = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(3)

        def receive() -> None:
            while len(packets) < 20:
                packets.append(live_link_udp.decode(receiver.recv(2048)))

        thread = threading.Thread(target=receive, daemon=True)
        thread.start()
        port = str(receiver.getsockname()[1])
        assert main(["avatar", face, "--send", "live_link", "--port", port, "--fps", "25"]) == 0
        thread.join(5)
    assert f"Sending to 127.0.0.1:{port}, 25 frames a second" in capsys.readouterr().out
    # The last frame stays for a moment.
    last = packets[-1].motion
    assert last is not None
    np.testing.assert_allclose(last.blendshapes[0], face_motion(coefficients).blendshapes[-1], atol=0.05)


def test_misuse(face: str, tmp_path: Path, misused, refused) -> None:
    misused("avatar", face, match="give either output or send")
    misused("avatar", face, "--output", "a.glb", "--send", "vmc", match="give either output or send")
    misused("avatar", face, "--output", "a.fbx", match=r"output must end in \.glb, \.csv")
    misused("avatar", face, "--output", "a.csv", "--head", "b.glb", match=r"head is for an output that ends in \.glb")
    for option in (("--host", "::1"), ("--port", "9"), ("--fps", "60")):
        misused("avatar", face, "--output", "a.glb", *option, match=f"{option[0][2:]} is for send")
    for way in (("--output", "a.glb"), ("--output", "a.csv"), ("--send", "vmc")):
        misused("avatar", face, *way, "--size", "64", match=r"size is for an output that ends in \.mp4, \.png")
    for way in (("--output", "a.mp4"), ("--send", "vmc")):
        misused("avatar", face, *way, "--at", "0", match=r"at is for an output that ends in \.png")
    refused("avatar", face, "--output", tmp_path / "a.glb", "--head", tmp_path / "no.glb", match="There is no head at")
    refused("avatar", "no.npy", "--output", tmp_path / "a.glb", match=r"no face track at no\.npy")
    refused("avatar", face, "--output", tmp_path / "no" / "a.glb", match="There is no folder")
    for size in ("63", "8"):
        misused("avatar", face, "--output", "a.mp4", "--size", size, match="size must be an even number from 16 on")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["face.npy"]
