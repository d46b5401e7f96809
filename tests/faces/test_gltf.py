"""Animated glTF: read again by a reader that knows only the specification, and by Khronos' validator where it is."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfrdiff_hf.behaviour import BLENDSHAPE_NAMES
from perfrdiff_hf.faces.formats.gltf import animate_file, animated, check_head
from perfrdiff_hf.faces.glb import Glb
from perfrdiff_hf.faces.motion import FaceMotion, gaze, quaternions, rotation_matrices
from perfrdiff_hf.faces.tracks import read_face_track


@pytest.fixture(scope="module")
def motion() -> FaceMotion:
    rng = np.random.default_rng(0)
    return FaceMotion(rng.uniform(0, 1, (26, 52)), rng.uniform(-0.5, 0.5, (26, 3)))


def parsed(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Description and buffer, by the specification alone."""
    length, kind = struct.unpack_from("<I4s", data, 12)
    assert data[:4] == b"glTF" and kind == b"JSON" and struct.unpack_from("<I", data, 8) == (len(data),)
    size, kind = struct.unpack_from("<I4s", data, 20 + length)
    assert kind == b"BIN\x00"
    return json.loads(data[20 : 20 + length]), data[28 + length : 28 + length + size]


def floats(tree: dict[str, Any], binary: bytes, accessor: int) -> np.ndarray:
    entry = tree["accessors"][accessor]
    view = tree["bufferViews"][entry["bufferView"]]
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[entry["type"]]
    return np.frombuffer(binary, "<f4", entry["count"] * width, view["byteOffset"]).reshape(-1, width)


def channel(tree: dict[str, Any], node: str, path: str) -> dict[str, Any]:
    animation = tree["animations"][0]
    found = [
        animation["samplers"][entry["sampler"]]
        for entry in animation["channels"]
        if entry["target"]["path"] == path and tree["nodes"][entry["target"]["node"]]["name"] == node
    ]
    assert len(found) == 1
    return found[0]


def test_weights_and_turns_at_sampled_times(motion: FaceMotion) -> None:
    tree, binary = parsed(animated(motion).to_bytes())
    sampler = channel(tree, "faceMesh", "weights")
    times = floats(tree, binary, sampler["input"])[:, 0]
    np.testing.assert_allclose(times, np.arange(26) / 25, atol=1e-7)
    mesh = next(mesh for mesh in tree["meshes"] if "extras" in mesh)
    assert mesh["extras"]["targetNames"] == list(BLENDSHAPE_NAMES)
    weights = floats(tree, binary, sampler["output"]).reshape(26, 52)
    # Between two frames a viewer interpolates.
    for seconds in (0.0, 0.42, 0.5, 1.0):
        seen = [np.interp(seconds, times, column) for column in weights.T]
        expected = [np.interp(seconds * 25, np.arange(26), column) for column in motion.blendshapes.T]
        np.testing.assert_allclose(seen, expected, atol=1e-5)
    neck, head = (floats(tree, binary, channel(tree, node, "rotation")["output"]) for node in ("neck", "head"))
    whole = rotation_matrices(motion.rotation.astype(np.float64))
    np.testing.assert_allclose(matrices(neck) @ matrices(head), whole, atol=1e-6)
    eye = floats(tree, binary, channel(tree, "leftEye", "rotation")["output"])
    np.testing.assert_allclose(np.abs((eye * quaternions(gaze(motion.blendshapes))).sum(axis=1)), 1, atol=1e-6)


def matrices(turned: np.ndarray) -> np.ndarray:
    x, y, z, w = turned.astype(np.float64).T
    return np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], axis=1),
            np.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], axis=1),
            np.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], axis=1),
        ],
        axis=1,
    )


def test_targets_are_sparse_and_of_all_shapes(motion: FaceMotion) -> None:
    glb = animated(motion)
    mesh = next(mesh for mesh in glb.tree["meshes"] if "extras" in mesh)
    for primitive in mesh["primitives"]:
        assert len(primitive["targets"]) == 52
        for target in primitive["targets"]:
            entry = glb.tree["accessors"][target["POSITION"]]
            assert "bufferView" not in entry
            moves = glb.numbers(target["POSITION"])
            np.testing.assert_allclose(entry["max"], moves.max(axis=0))
            assert entry.get("sparse", {"count": 0})["count"] == moves.any(axis=1).sum()


def test_an_animation_comes_back(motion: FaceMotion, tmp_path: Path) -> None:
    animate_file(motion, tmp_path / "a.glb")
    track = read_face_track(tmp_path / "a.glb", calibrate=False)
    assert track.report.num_frames == 26
    np.testing.assert_allclose(track.behaviour.coefficients[:, :52], motion.blendshapes, atol=1e-6)
    np.testing.assert_allclose(track.behaviour.coefficients[:, 52:55] - [np.pi, 0, 0], motion.rotation, atol=1e-6)


def foreign_head(**head: Any) -> Glb:
    """A head as others make it: a skeleton with a turned parent, two shapes by other spellings, one unknown."""
    glb = Glb()
    positions = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=np.float32)
    targets = [{"POSITION": glb.add_sparse(positions * k, bounds=True)} for k in range(3)]
    primitive = {"attributes": {"POSITION": glb.add_numbers(positions, 34962, bounds=True)}, "targets": targets}
    names = {"targetNames": ["JawOpen", "Happy", "mouthSmile_L"]}
    glb.add("meshes", {"primitives": [primitive], "extras": names})
    up = [float(np.sqrt(0.5)), 0.0, 0.0, float(np.sqrt(0.5))]
    glb.tree["nodes"] = [
        {"name": "Armature", "rotation": up, "children": [1, 2]},
        {"name": "Body", "mesh": 0},
        {"name": "mixamorig:Head", **head},
    ]
    glb.tree |= {"scenes": [{"nodes": [0]}], "scene": 0}
    return glb


def test_a_foreign_head_is_moved_by_its_own_names_and_axes(motion: FaceMotion) -> None:
    rest = quaternions(np.array([0.2, -0.4, 0.1])).tolist()
    tree, binary = parsed(animated(motion, foreign_head(rotation=rest)).to_bytes())
    weights = floats(tree, binary, channel(tree, "Body", "weights")["output"]).reshape(-1, 3)
    jaw, smile = (BLENDSHAPE_NAMES.index(name) for name in ("jawOpen", "mouthSmileLeft"))
    np.testing.assert_array_equal(weights[:, 0], motion.blendshapes[:, jaw])
    np.testing.assert_array_equal(weights[:, 2], motion.blendshapes[:, smile])
    assert not weights[:, 1].any()
    turns = floats(tree, binary, channel(tree, "mixamorig:Head", "rotation")["output"])
    parent, at_rest = matrices(np.array([tree["nodes"][0]["rotation"], rest]))
    # Seen from outside, the head turns on top of how it rests, in the world's axes.
    whole = rotation_matrices(motion.rotation.astype(np.float64))
    np.testing.assert_allclose(parent @ matrices(turns), whole @ parent @ at_rest, atol=1e-6)


def test_a_node_with_a_matrix(motion: FaceMotion) -> None:
    turned = rotation_matrices(np.array([0.3, 2.8, -0.2]))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turned * [1.0, 2.0, 3.0], [4, 5, 6]
    glb = animated(motion, foreign_head(matrix=matrix.T.ravel().tolist()))
    node = glb.tree["nodes"][2]
    assert "matrix" not in node and node["translation"] == [4, 5, 6]
    np.testing.assert_allclose(node["scale"], [1, 2, 3], atol=1e-9)
    np.testing.assert_allclose(matrices(np.array([node["rotation"]]))[0], turned, atol=1e-9)


def test_bones_turn_and_not_the_meshes_of_their_names(motion: FaceMotion) -> None:
    """Where a skeleton moves a mesh, viewers do not look at how the mesh's own node is turned."""
    glb = foreign_head()
    glb.tree["nodes"][1]["name"] = "Avatar_Head"
    tree, _ = parsed(animated(motion, glb).to_bytes())
    assert channel(tree, "mixamorig:Head", "rotation") and channel(tree, "Avatar_Head", "weights")
    turned = [entry for entry in tree["animations"][0]["channels"] if entry["target"]["path"] == "rotation"]
    assert [tree["nodes"][entry["target"]["node"]]["name"] for entry in turned] == ["mixamorig:Head"]


def test_a_head_without_joints_turns_as_a_whole(motion: FaceMotion) -> None:
    glb = foreign_head()
    glb.tree["nodes"][2]["name"] = "hat"
    tree, _ = parsed(animated(motion, glb).to_bytes())
    assert channel(tree, "Armature", "rotation")


def test_heads_that_cannot_be_used(motion: FaceMotion, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no head at"):
        check_head(tmp_path / "missing.glb")
    whole = animated(motion).to_bytes()
    plain = foreign_head()
    plain.tree["meshes"][0]["extras"]["targetNames"] = ["a", "b", "c"]
    elsewhere = foreign_head()
    elsewhere.tree["buffers"][0]["uri"] = "head.bin"
    for data, message in (
        (b"v 0 0 0\n", "is no binary glTF"),
        (whole[: len(whole) // 2], "truncated"),
        (plain.to_bytes(), r"no morph target by one of ARKit's 52 names .* It has a, b, c"),
        (elsewhere.to_bytes(), "refers to other files"),
    ):
        (tmp_path / "a.glb").write_bytes(data)
        with pytest.raises(ValueError, match=message):
            animate_file(motion, tmp_path / "b.glb", tmp_path / "a.glb")
        assert not (tmp_path / "b.glb").exists()


def without(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda tree: tree.pop(key)


@pytest.mark.parametrize(
    ("damage", "hits"),
    [
        (without("meshes"), "both"),
        (lambda tree: tree["meshes"][0].pop("primitives"), "both"),
        (lambda tree: tree.update(buffers=None), "both"),
        (lambda tree: tree["buffers"][0].update(uri="data:,"), "both"),
        (lambda tree: tree["nodes"].__setitem__(0, None), "both"),
        (lambda tree: tree["nodes"][2].update(children=[0]), "both"),
        (lambda tree: tree["animations"][0]["channels"][0].pop("target"), "animation"),
        (lambda tree: tree["animations"][0]["samplers"].clear(), "animation"),
    ],
)
def test_damaged_descriptions_are_named(
    damage: Callable[[dict[str, Any]], object], hits: str, motion: FaceMotion, tmp_path: Path
) -> None:
    glb, path = animated(motion, foreign_head()), tmp_path / "a.glb"
    tree, binary = parsed(glb.to_bytes())
    damage(tree)
    text = json.dumps(tree).encode()
    parts = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\x00") + binary
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(parts)) + parts)
    with pytest.raises(ValueError, match=r"damaged|no readable description|refers to other files"):
        read_face_track(path)
    if hits == "both":
        with pytest.raises(ValueError, match=r"damaged|no readable description|refers to other files"):
            animate_file(motion, tmp_path / "b.glb", path)
        assert not (tmp_path / "b.glb").exists()


def test_khronos_finds_no_fault(motion: FaceMotion, tmp_path: Path) -> None:
    """`npm install gltf-validator` somewhere, and GLTF_VALIDATOR=.../node_modules/gltf-validator."""
    validator = os.environ.get("GLTF_VALIDATOR", "")
    if shutil.which("node") is None or not Path(validator, "package.json").is_file():
        pytest.skip("node or GLTF_VALIDATOR, the folder of npm's gltf-validator, is missing")
    animated(motion).write(tmp_path / "own.glb")
    animated(motion, foreign_head()).write(tmp_path / "foreign.glb")
    program = (
        f"const v = require({json.dumps(validator)}), fs = require('fs');"
        "v.validateBytes(new Uint8Array(fs.readFileSync(process.argv[1])))"
        ".then(report => console.log(JSON.stringify(report.issues)))"
    )
    for name in ("own.glb", "foreign.glb"):
        said = subprocess.run(
            ["node", "-e", program, str(tmp_path / name)], capture_output=True, text=True, check=True
        )
        issues = json.loads(said.stdout)
        assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]
