"""Scripts around heads: ICT-FaceKit's as glTF, on a made-up model of its shape, and the sheet of poses."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perfrdiff_hf.behaviour import BLENDSHAPE_NAMES
from perfrdiff_hf.faces.formats.gltf import check_head
from perfrdiff_hf.faces.head import build_head
from perfrdiff_hf.faces.head.building import METRES


EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def write_obj(path: Path, points: np.ndarray, triangles: np.ndarray) -> None:
    lines = [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in points.tolist()]
    lines += [f"f {a}/1 {b}/1 {c}/1" for a, b, c in (triangles + 1).tolist()]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Our own head's skin and eyeballs in the layout and size of ICT-FaceKit's files."""
    own = {part.name: part for part in build_head().parts}
    parts = [own["face"], own["leftEye"], own["rightEye"]]
    first = np.cumsum([0, *(len(part.positions) for part in parts[:-1])])
    triangles = np.concatenate([part.triangles + at for part, at in zip(parts, first)])
    points = 12 / METRES * np.concatenate([part.positions for part in parts])
    folder = tmp_path / "FaceXModel"
    folder.mkdir()
    write_obj(folder / "generic_neutral_mesh.obj", points, triangles)
    write_obj(folder / "identity000.obj", 1.1 * points, triangles)
    shapes = own["face"].shapes
    assert shapes is not None
    files = {"jawOpen": ("jawOpen", 1.0), "mouthSmile_L": ("mouthSmileLeft", 1.0)}
    files |= {"browInnerUp_L": ("browInnerUp", 0.5), "browInnerUp_R": ("browInnerUp", 0.5)}
    for name, (ours, share) in files.items():
        moved = points.copy()
        moved[: shapes.shape[1]] += 12 / METRES * share * shapes[BLENDSHAPE_NAMES.index(ours)]
        write_obj(folder / f"{name}.obj", moved, triangles)
    return folder


def test_ict_facekit_becomes_a_head_that_drops_in(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    script = runpy.run_path(str(EXAMPLES / "ict_head.py"))
    script["main"](["--model", str(model), "--output", str(tmp_path / "head.glb")])
    glb = check_head(tmp_path / "head.glb")
    assert {"head", "leftEye", "rightEye"} <= {node.get("name") for node in glb.tree["nodes"]}
    mesh = next(mesh for mesh in glb.tree["meshes"] if "extras" in mesh)
    moving = {
        name
        for name, target in zip(mesh["extras"]["targetNames"], mesh["primitives"][0]["targets"])
        if glb.numbers(target["POSITION"]).any()
    }
    assert moving == {"jawOpen", "mouthSmileLeft", "browInnerUp"}
    # Halves make a whole, and centimetres become metres.
    brow = glb.numbers(mesh["primitives"][0]["targets"][BLENDSHAPE_NAMES.index("browInnerUp")]["POSITION"])
    own = next(part for part in build_head().parts if part.name == "face").shapes
    assert own is not None
    expected = 0.01 * 12 / METRES * own[BLENDSHAPE_NAMES.index("browInnerUp")]
    assert np.abs(brow).max() == pytest.approx(np.abs(expected).max(), rel=1e-3)
    assert "triangles ->" in capsys.readouterr().out


def test_a_folder_without_the_model(tmp_path: Path) -> None:
    script = runpy.run_path(str(EXAMPLES / "ict_head.py"))
    with pytest.raises(FileNotFoundError, match=r"no generic_neutral_mesh\.obj"):
        script["main"](["--model", str(tmp_path), "--output", str(tmp_path / "head.glb")])
    assert not list(tmp_path.iterdir())


def test_the_sheet_of_poses(tmp_path: Path) -> None:
    script = runpy.run_path(str(EXAMPLES / "draw_head.py"))
    script["main"](["--output", str(tmp_path / "a.png"), "--size", "48"])
    assert Image.open(tmp_path / "a.png").size == (4 * 56 + 8, 2 * (56 + 24) + 8)
