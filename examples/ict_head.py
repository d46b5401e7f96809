"""ICT-FaceKit's head as a .glb that `perfrdiff avatar --head` and any viewer of glTF take.

    git clone https://github.com/ICT-VGL/ICT-FaceKit
    python examples/ict_head.py --model ICT-FaceKit/FaceXModel --output ict_head.glb

ICT-FaceKit (MIT licence, USC Institute for Creative Technologies) holds a head as obj files, one at rest and one for
each of 53 shapes. They become ARKit's 52: the halves of browInnerUp and cheekPuff are joined, and tongueOut is empty.
Eyeballs, whose shapes do not turn, become nodes that do, and get an iris. What is transparent around the eyes is left
out. `--model` may also be an npz with `neutral`, `faces_quads` (-1 marks a triangle), `deltas` and `names`.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from perfrdiff_hf.behaviour import BLENDSHAPE_NAMES
from perfrdiff_hf.faces.head import Head, Part
from perfrdiff_hf.faces.head.gltf import head_glb
from perfrdiff_hf.faces.names import channels_of
from perfrdiff_hf.files import file_beside


NEUTRAL = "generic_neutral_mesh"
METRES = 0.01
SKIN, MOUTH, TEETH, WHITE = (0.85, 0.68, 0.58), (0.55, 0.25, 0.25), (0.93, 0.90, 0.84), (0.96, 0.95, 0.93)
IRIS, PUPIL = (0.35, 0.26, 0.18), (0.03, 0.03, 0.03)
# Angles from the middle of the eyeball.
IRIS_ANGLE, PUPIL_ANGLE = np.deg2rad(27), np.deg2rad(11)
_LARGEST_TOOTH = 300


class Scan(NamedTuple):
    """A head as in the files: points `(n, 3)`, triangles, and how far each of the 52 moves the points."""

    points: np.ndarray
    triangles: np.ndarray
    shapes: np.ndarray


def main(arguments: list[str] | None = None) -> None:
    """Read, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of obj files, or an npz")
    parser.add_argument("--output", type=Path, required=True, help="the .glb to write")
    options = parser.parse_args(arguments)
    scan = read_npz(options.model) if options.model.suffix == ".npz" else read_folder(options.model)
    glb = head_glb(head_of(scan))
    with file_beside(options.output) as beside:
        glb.write(beside)
    print(f"{len(scan.points)} points, {len(scan.triangles)} triangles -> {options.output}")


def read_folder(folder: Path) -> Scan:
    """The obj files of ICT-FaceKit's FaceXModel folder; shapes of identity lie there too, and are left out.

    Raises:
        FileNotFoundError: if there is no neutral head, or no shape by ARKit's names.
    """
    neutral = folder / f"{NEUTRAL}.obj"
    if not neutral.is_file():
        raise FileNotFoundError(f"There is no {NEUTRAL}.obj in {folder}; it is ICT-FaceKit's folder FaceXModel.")
    points, triangles = read_obj(neutral)
    files = sorted(
        path for path in folder.glob("*.obj") if path != neutral and channels_of([path.stem])[0] is not None
    )
    if not files:
        raise FileNotFoundError(f"There is no shape by ARKit's names (jawOpen.obj, ...) in {folder}.")
    deltas = np.stack([read_obj(path)[0] - points for path in files])
    return Scan(points, triangles, joined([path.stem for path in files], deltas))


def read_npz(path: Path) -> Scan:
    """The same as arrays in one file."""
    with np.load(path) as arrays:
        quads = arrays["faces_quads"]
        triangles = np.concatenate([quads[:, [0, 1, 2]], quads[quads[:, 3] >= 0][:, [0, 2, 3]]])
        shapes = joined([str(name) for name in arrays["names"]], arrays["deltas"].astype(np.float32))
        return Scan(arrays["neutral"].astype(np.float64), triangles.astype(np.int64), shapes)


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Points and triangles of an obj file; polygons are cut into triangles."""
    points, triangles = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, *words = line.split() or [""]
        if kind == "v":
            points.append([float(word) for word in words[:3]])
        elif kind == "f":
            corners = [int(word.split("/")[0]) - 1 for word in words]
            triangles += [(corners[0], *pair) for pair in pairwise(corners[1:])]
    return np.array(points), np.array(triangles, dtype=np.int64)


def joined(names: list[str], deltas: np.ndarray) -> np.ndarray:
    """`(52, points, 3)` from shapes `(n, points, 3)` of which some are halves."""
    shapes = np.zeros((len(BLENDSHAPE_NAMES), *deltas.shape[1:]), dtype=np.float32)
    for channel, delta in zip(channels_of(names), deltas):
        if channel is not None:
            shapes[channel] += delta
    return shapes


def head_of(scan: Scan) -> Head:
    """The head with its parts on joints, in metres."""
    count = len(scan.points)
    pairs = np.concatenate([scan.triangles[:, [0, 1]], scan.triangles[:, [1, 2]]])
    _, piece = connected_components(coo_matrix((np.ones(len(pairs)), pairs.T), shape=(count, count)), directed=False)
    sizes = np.bincount(piece)
    balls = eyeballs(scan.points, piece)
    skin = int(np.argmax(sizes))
    near_eyes = {number for number in range(len(sizes)) if beside_eyes(scan.points[piece == number], scan, balls)}
    teeth = [n for n in range(len(sizes)) if sizes[n] <= _LARGEST_TOOTH and n not in near_eyes]
    mouth = [n for n in range(len(sizes)) if n not in {skin, *teeth, *near_eyes}]
    parts = [part_of("face", scan, np.isin(piece, [skin]), SKIN)]
    for name, numbers, colour in (("mouth", mouth, MOUTH), ("teeth", teeth, TEETH)):
        if numbers:
            parts.append(part_of(name, scan, np.isin(piece, numbers), colour))
    low = float(scan.points[:, 1].min())
    base = np.array([0.0, 0.75 * low, 0.0])
    pivots = {"body": np.zeros(3), "neck": base, "head": base}
    for joint, (number, middle) in balls.items():
        parts.append(eye_of(joint, scan, piece == number, middle))
        pivots[joint] = middle
    return Head(tuple(parts), {joint: METRES * pivot for joint, pivot in pivots.items()})


def eyeballs(points: np.ndarray, piece: np.ndarray) -> dict[str, tuple[int, np.ndarray]]:
    """The two eyeballs: pieces that are balls, with their middles. Of several shells the innermost, which is opaque.

    Raises:
        ValueError: if there are not two.
    """
    found: dict[str, tuple[float, int, np.ndarray]] = {}
    for number in np.flatnonzero(np.bincount(piece) > _LARGEST_TOOTH):
        own = points[piece == number]
        middle = (own.min(axis=0) + own.max(axis=0)) / 2
        reach = np.linalg.norm(own - middle, axis=1)
        joint = "leftEye" if middle[0] > 0 else "rightEye"
        if reach.std() < 0.08 * reach.mean() and (joint not in found or reach.mean() < found[joint][0]):
            found[joint] = (float(reach.mean()), int(number), middle)
    if len(found) < 2:
        raise ValueError("The model has no two eyeballs; give ICT-FaceKit's head as it is.")
    return {joint: found[joint][1:] for joint in ("leftEye", "rightEye")}


def beside_eyes(own: np.ndarray, scan: Scan, balls: dict[str, tuple[int, np.ndarray]]) -> bool:
    """Whether a piece lies around an eyeball: the ball itself, its clear shell, lashes and so on."""
    wide = 0.12 * np.ptp(scan.points[:, 0])
    middle = (own.min(axis=0) + own.max(axis=0)) / 2
    return any(np.linalg.norm(middle - centre) < wide for _, centre in balls.values()) and np.ptp(own[:, 0]) < 2 * wide


def part_of(name: str, scan: Scan, mine: np.ndarray, colour: tuple[float, float, float]) -> Part:
    """Some of the points as a part of the head that goes with its shapes."""
    place = np.cumsum(mine) - 1
    triangles = place[scan.triangles[mine[scan.triangles].all(axis=1)]]
    points = METRES * scan.points[mine]
    shapes = METRES * scan.shapes[:, mine]
    shapes[np.abs(shapes).max(axis=2) < 2e-5] = 0
    colours = np.tile(np.array(colour), (len(points), 1))
    return Part(name, "head", points.astype(np.float32), triangles, colours, shapes.astype(np.float32), 0.65)


def eye_of(joint: str, scan: Scan, mine: np.ndarray, middle: np.ndarray) -> Part:
    """An eyeball that turns about its middle, with an iris where it looks ahead."""
    part = part_of(joint, scan, mine, WHITE)
    away = part.positions - METRES * middle
    ahead = np.arccos(np.clip(away[:, 2] / np.linalg.norm(away, axis=1), -1, 1))
    colours = part.colours.copy()
    colours[ahead < IRIS_ANGLE] = IRIS
    colours[ahead < PUPIL_ANGLE] = PUPIL
    return Part(joint, joint, part.positions, part.triangles, colours, None, 0.15)


if __name__ == "__main__":
    main()
