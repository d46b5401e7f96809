"""The head of our own making: whole, symmetric, and each shape moves what its name says."""

from __future__ import annotations

import numpy as np
import pytest

from perfrdiff_hf.behaviour import BLENDSHAPE_NAMES
from perfrdiff_hf.faces.head import Head, Part, build_head
from perfrdiff_hf.faces.head.building import METRES
from perfrdiff_hf.faces.head.face import EYE, MOUTH, SPOKES, Face
from perfrdiff_hf.faces.head.mesh import vertex_normals


MEET = 4  # the ring of vertices where the lips meet


@pytest.fixture(scope="module")
def head() -> Head:
    return build_head()


@pytest.fixture(scope="module")
def mesh() -> Face:
    return Face()


def part(head: Head, name: str) -> Part:
    return next(one for one in head.parts if one.name == name)


def posed(part: Part, **values: float) -> np.ndarray:
    """Positions in head units."""
    weights = np.zeros(52)
    for name, value in values.items():
        for channel, full in enumerate(BLENDSHAPE_NAMES):
            if full in (name, f"{name}Left", f"{name}Right"):
                weights[channel] = value
    return part.moved(weights) / METRES


def lips(points: np.ndarray) -> np.ndarray:
    return points[MEET * SPOKES : (MEET + 1) * SPOKES]


def lid_edges(mesh: Face, points: np.ndarray, left: bool) -> tuple[np.ndarray, np.ndarray]:
    """The edges of the upper and the lower lid of one eye."""
    count = len(mesh.lid_rows)
    first = mesh.num_ring_vertices + (0 if left else count)
    edge = points[first : first + count][mesh.lid_rows == 1]
    inner = int(np.flatnonzero(mesh.lid_angles == np.pi)[0])
    return edge[1:inner], edge[inner + 1 :]


def test_the_same_head_every_time(head: Head) -> None:
    build_head.cache_clear()
    again = build_head()
    for one, other in zip(head.parts, again.parts):
        np.testing.assert_array_equal(one.positions, other.positions)
        if one.shapes is not None:
            np.testing.assert_array_equal(one.shapes, other.shapes)


def test_a_few_thousand_sound_triangles(head: Head) -> None:
    assert 5_000 < sum(len(one.positions) for one in head.parts) < 12_000
    for one in head.parts:
        assert np.isfinite(one.positions).all() and one.triangles.max() < len(one.positions)
        assert one.colours.min() >= 0 and one.colours.max() <= 1
        np.testing.assert_allclose(np.linalg.norm(vertex_normals(one.positions, one.triangles), axis=1), 1, atol=1e-6)
    heights = np.concatenate([one.positions[:, 1] for one in head.parts if one.joint == "head"])
    assert 0.2 < np.ptp(heights) < 0.3  # metres


def test_the_skin_has_no_hole_but_eyes(head: Head) -> None:
    """Every edge of a triangle is met by the next one in the other direction, but around the two eyes."""
    triangles = part(head, "face").triangles
    edges = {
        (int(a), int(b)) for a, b in np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    }
    assert len(edges) == 3 * len(triangles)  # no edge twice in one direction
    open_edges = [(a, b) for a, b in edges if (b, a) not in edges]
    points = part(head, "face").positions / METRES
    ends = points[[a for a, _ in open_edges]]
    # The lids' inner rims, the middle of the bag of the mouth, and the one point at the back of the head.
    beside_eyes = np.hypot(np.abs(ends[:, 0]) - EYE[0], ends[:, 1] - EYE[1]) < 0.2
    in_mouth = np.linalg.norm(ends[:, :2] - MOUTH, axis=1) < 0.03
    behind = ends[:, 2] < -0.85
    assert (beside_eyes | in_mouth | behind).all()


def test_every_shape_moves_the_face_and_mirrors(head: Head, mesh: Face) -> None:
    face = part(head, "face")
    assert face.shapes is not None
    image = mesh.image
    np.testing.assert_allclose(face.positions[image], face.positions * [-1, 1, 1], atol=1e-5)
    for channel, name in enumerate(BLENDSHAPE_NAMES):
        moves = face.shapes[channel]
        assert np.abs(moves).max() > 0.0008, name
        other = name.replace("Left", "Right") if "Left" in name else name.replace("Right", "Left")
        mirrored = face.shapes[BLENDSHAPE_NAMES.index(other)][image] * [-1, 1, 1]
        np.testing.assert_allclose(moves, mirrored, atol=4e-5, err_msg=name)


@pytest.mark.parametrize(("name", "left"), [("eyeBlinkLeft", True), ("eyeBlinkRight", False)])
def test_a_blink_closes_one_eye(head: Head, mesh: Face, name: str, left: bool) -> None:
    face = part(head, "face")
    for side in (True, False):
        upper, lower = lid_edges(mesh, posed(face, **{name: 1.0}), side)
        gap = upper[:, 1].max() - np.interp(upper[:, 0], *sorted_by_x(lower)).max()
        openness = (upper[:, 1] - np.interp(upper[:, 0], *sorted_by_x(lower))).max()
        assert (openness < 0.012) == (side == left), (gap, openness)


def sorted_by_x(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(points[:, 0])
    return points[order, 0], points[order, 1]


def test_lids_stay_outside_the_eyeball(head: Head, mesh: Face) -> None:
    eyeball = part(head, "leftEye").positions / METRES
    radius = np.linalg.norm(eyeball - EYE, axis=1).max()
    count = len(mesh.lid_rows)
    for amount in (0.0, 0.25, 0.5, 0.75, 1.0):
        lids = posed(part(head, "face"), eyeBlinkLeft=amount)[mesh.num_ring_vertices :][:count][mesh.lid_rows > 0]
        assert np.linalg.norm(lids - EYE, axis=1).min() > 0.99 * radius


def test_mouth(head: Head) -> None:
    face = part(head, "face")
    rest = lips(posed(face))
    top, bottom, corner = SPOKES // 4, 3 * SPOKES // 4, 0
    opened = lips(posed(face, jawOpen=1))
    assert rest[top, 1] - rest[bottom, 1] < 0.01
    assert opened[top, 1] - opened[bottom, 1] > 0.25
    closed = lips(posed(face, jawOpen=1, mouthClose=1))
    assert closed[top, 1] - closed[bottom, 1] < 0.04
    smile, frown = lips(posed(face, mouthSmile=1)), lips(posed(face, mouthFrown=1))
    assert smile[corner, 1] > rest[corner, 1] + 0.08 and smile[corner, 0] > rest[corner, 0] + 0.04
    assert frown[corner, 1] < rest[corner, 1] - 0.06
    # Half a smile is half of it, and stays on its side.
    half = lips(posed(face, mouthSmileLeft=1))
    assert half[corner, 1] > rest[corner, 1] + 0.08 and abs(half[SPOKES // 2, 1] - rest[SPOKES // 2, 1]) < 0.005
    pucker = lips(posed(face, mouthPucker=1))
    assert np.ptp(pucker[:, 0]) < 0.7 * np.ptp(rest[:, 0]) and pucker[top, 2] > rest[top, 2] + 0.04
    assert lips(posed(face, mouthLeft=1))[:, 0].mean() > rest[:, 0].mean() + 0.04


def test_brows_and_jaw_carry_what_hangs_on_them(head: Head) -> None:
    brows, teeth = part(head, "brows"), part(head, "lowerTeeth")
    rest = posed(brows)
    assert (posed(brows, browInnerUp=1)[:, 1] - rest[:, 1]).max() > 0.05
    assert (posed(brows, browDown=1)[:, 1] - rest[:, 1]).min() < -0.05
    left = rest[:, 0] > 0
    raised = posed(brows, browOuterUpLeft=1)[:, 1] - rest[:, 1]
    assert raised[left].max() > 0.05 and np.abs(raised[~left]).max() < 0.005
    assert (posed(teeth, jawOpen=1)[:, 1] - posed(teeth)[:, 1]).max() < -0.12
    assert part(head, "upperTeeth").shapes is None
    tongue = part(head, "tongue")
    assert posed(tongue, tongueOut=1)[:, 2].max() > posed(part(head, "face"))[:, 2].max() - 0.1


def test_forehead_and_skull_stay(head: Head) -> None:
    face = part(head, "face")
    assert face.shapes is not None
    back = face.positions[:, 2] < -0.2 * METRES
    assert np.abs(face.shapes[:, back]).max() < 0.002
