"""Animated glTF: any head with ARKit-named morph targets, moved by a face's motion, both ways.

What is moved, by the names in the file: the weights of every mesh with such targets; a node called head, and its neck
if there is one; nodes called left and right eye. A head without such a node turns as a whole. Case and prefixes
(`mixamorig:Head`, `J_Bip_C_Neck`) do not count. The head is taken to look along z, as glTF wants it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...behaviour import BLENDSHAPE_NAMES, FRAME_RATE
from ...files import file_beside
from ..glb import Glb
from ..head.building import build_head
from ..head.gltf import head_glb
from ..head.mesh import NECK_SHARE
from ..motion import AHEAD, FaceMotion, gaze, quaternions
from ..names import channels_of
from .arkit import arkit_track
from .common import NO_HEAD_ANGLES, RecordedTrack, TrackFile, TrackFormat


_NO_SHAPES = "The head has no morph target by one of ARKit's 52 names (jawOpen, ...), or names none of its targets."
_JOINTS = {
    "head": re.compile(r"(^|[^a-z])head$", re.I),
    "neck": re.compile(r"(^|[^a-z])neck$", re.I),
    "leftEye": re.compile(r"(left_?eye|eye_?left|eye_l)$", re.I),
    "rightEye": re.compile(r"(right_?eye|eye_?right|eye_r)$", re.I),
}


def animated(motion: FaceMotion, head: Glb | None = None, fps: float = FRAME_RATE) -> Glb:
    """A head that moves.

    Args:
        motion: how.
        head: whose description and numbers are added to; an animation that it has already comes after the new one.
            None: the head of our own making.
        fps: frames per second of the motion.

    Raises:
        ValueError: if the head has no morph target by one of ARKit's names.
    """
    glb = head_glb(build_head()) if head is None else head
    times = glb.add_numbers((np.arange(len(motion)) / fps).astype(np.float32), bounds=True)
    animation = _Animation(glb, times)
    for node, channels in _morphing_nodes(glb):
        moved = np.array([channel is not None for channel in channels])
        weights = np.zeros((len(motion), len(channels)), dtype=np.float32)
        weights[:, moved] = motion.blendshapes[:, [channel for channel in channels if channel is not None]]
        animation.add(node, "weights", weights.reshape(-1))
    if not animation.channels:
        raise ValueError(f"{_NO_SHAPES} It has {_described_targets(glb)}.")
    for node, turns in _turns(glb, motion).items():
        animation.add(node, "rotation", turns.astype(np.float32))
    glb.tree.setdefault("animations", []).insert(0, animation.entry())
    return glb


def animate_file(motion: FaceMotion, path: Path, head: Path | None = None) -> None:
    """Write a motion as an animation of the head in another file; None: of our own. Whole or not at all.

    Raises:
        FileNotFoundError: if there is no such head, or no folder to write to.
        ValueError: if the head cannot be used.
    """
    if head is None:
        glb = animated(motion)
    else:
        base = check_head(head)
        with _sound_scene(head):
            glb = animated(motion, base)
    with file_beside(path) as beside:
        glb.write(beside)


def check_head(path: Path) -> Glb:
    """The head in a file, if `animated` can use it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no .glb with everything inside, or has no morph target by one of ARKit's names.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no head at {path}.")
    head = Glb.from_bytes(path.read_bytes(), str(path))
    with _sound_scene(path):
        if not any(_morphing_nodes(head)):
            raise ValueError(f"{path}: {_NO_SHAPES} It has {_described_targets(head)}.")
        _turns(head, FaceMotion(np.zeros((1, len(BLENDSHAPE_NAMES))), np.zeros((1, 3))))
    return head


def write_motion(motion: FaceMotion, path: Path) -> None:
    """A motion as an animation of the head of our own making."""
    animated(motion).write(path)


def read(file: TrackFile, calibrate: bool, fps: float | None) -> RecordedTrack:
    """The track in the first animation of a file, if it was made of frames as here."""
    glb = Glb.from_bytes(file.path.read_bytes(), str(file.path))
    notes: list[str] = []
    with _sound_scene(file.path):
        times, arkit = _read_shapes(glb, file.path)
        rotation = _read_rotation(glb, times, notes)
    seen = np.ones(len(times), dtype=bool)
    return arkit_track("animated glTF (glb)", times, seen, arkit, rotation, calibrate, notes)


@contextmanager
def _sound_scene(path: Path) -> Iterator[None]:
    """What a description lacks, or what it refers to and is not there, as one error that names the file."""
    try:
        yield
    except (KeyError, IndexError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is damaged: its description of the scene is incomplete ({error}).") from error


class _Animation:
    """Samplers and channels of one animation, all with the same times."""

    def __init__(self, glb: Glb, times: int):
        self.glb, self.times = glb, times
        self.samplers: list[dict[str, Any]] = []
        self.channels: list[dict[str, Any]] = []

    def add(self, node: int, path: str, values: np.ndarray) -> None:
        self.channels.append({"sampler": len(self.samplers), "target": {"node": node, "path": path}})
        self.samplers.append({"input": self.times, "output": self.glb.add_numbers(values), "interpolation": "LINEAR"})

    def entry(self) -> dict[str, Any]:
        return {"name": "reaction", "samplers": self.samplers, "channels": self.channels}


def _morphing_nodes(glb: Glb) -> Iterator[tuple[int, list[int | None]]]:
    """Nodes whose mesh has some of the 52, each with the blendshape that its targets mean."""
    for number, node in enumerate(glb.tree.get("nodes", [])):
        channels = channels_of(_target_names(glb, node["mesh"])) if "mesh" in node else []
        if any(channel is not None for channel in channels):
            yield number, channels


def _target_names(glb: Glb, mesh: int) -> list[str]:
    entry = glb.tree["meshes"][mesh]
    first = entry["primitives"][0]
    names = (entry.get("extras") or {}).get("targetNames") or (first.get("extras") or {}).get("targetNames") or []
    # Programs that cannot count would be told more weights than there are targets.
    return list(names) if len(names) == len(first.get("targets", [])) else []


def _described_targets(glb: Glb) -> str:
    names = [name for mesh in range(len(glb.tree.get("meshes", []))) for name in _target_names(glb, mesh)]
    return f"{', '.join(names[:6])}{', ...' if len(names) > 6 else ''}" if names else "none"


def _turns(glb: Glb, motion: FaceMotion) -> dict[int, np.ndarray]:
    """Rotations `(frames, 4)` of the nodes that are turned, in each node's own axes."""
    whole = quaternions(motion.rotation.astype(np.float64))
    neck_turn = quaternions(NECK_SHARE * motion.rotation.astype(np.float64))
    above, joints = _parents(glb), _joints(glb)
    head = joints.get("head")
    if head is None:
        root = _line(above, next(node for node, _ in _morphing_nodes(glb)))[-1]
        return {root: _in_own_axes(glb, above, root, whole)}
    turns = {}
    neck = joints.get("neck")
    if neck is not None and neck in _line(above, head):
        turns[neck] = _in_own_axes(glb, above, neck, neck_turn)
        whole = _product(neck_turn * [-1, -1, -1, 1], whole)
    turns[head] = _in_own_axes(glb, above, head, whole)
    looks = quaternions(gaze(motion.blendshapes.astype(np.float64)))
    for eye in ("leftEye", "rightEye"):
        if eye in joints:
            turns[joints[eye]] = _in_own_axes(glb, above, joints[eye], looks)
    return turns


def _joints(glb: Glb) -> dict[str, int]:
    """The nodes to turn, by what they are: bones before meshes, which are often called the same and follow bones."""
    found: dict[str, int] = {}
    for number, node in sorted(enumerate(glb.tree["nodes"]), key=lambda numbered: "mesh" in numbered[1]):
        for joint, name in _JOINTS.items():
            if joint not in found and name.search(node.get("name", "")) is not None:
                found[joint] = number
    return found


def _in_own_axes(glb: Glb, above: dict[int, int], node: int, turns: np.ndarray) -> np.ndarray:
    """World turns `(frames, 4)` on top of a node's rest, as the node's own rotation.

    What turns above the node at the same time takes it along, and is not to be counted here.
    """
    outer = np.array([0.0, 0.0, 0.0, 1.0])
    for parent in _line(above, node)[1:]:
        outer = _product(_rest_rotation(glb, parent), outer)
    inverse = outer * [-1, -1, -1, 1]
    own = _product(inverse, _product(turns, _product(outer, _rest_rotation(glb, node))))
    # Viewers interpolate between neighbours: they should be on the same side.
    flips = np.cumprod(np.where((own[1:] * own[:-1]).sum(axis=1) < 0, -1, 1))
    own[1:] *= flips[:, None]
    return own / np.linalg.norm(own, axis=1, keepdims=True)


def _rest_rotation(glb: Glb, node: int) -> np.ndarray:
    entry = glb.tree["nodes"][node]
    if "matrix" in entry:
        _split_matrix(entry)
    return np.array(entry.get("rotation", [0.0, 0.0, 0.0, 1.0]))


def _split_matrix(node: dict[str, Any]) -> None:
    """A node's matrix as translation, rotation and scale, since only these can be animated."""
    matrix = np.array(node.pop("matrix"), dtype=np.float64).reshape(4, 4).T
    scale = np.linalg.norm(matrix[:3, :3], axis=0)
    if np.linalg.det(matrix[:3, :3]) < 0:
        scale[0] *= -1
    rows = matrix[:3, :3] / scale
    # The largest of the four is computed first, for the others are divided by it.
    w = np.sqrt(max(0.0, 1 + rows[0, 0] + rows[1, 1] + rows[2, 2])) / 2
    x = np.sqrt(max(0.0, 1 + rows[0, 0] - rows[1, 1] - rows[2, 2])) / 2
    y = np.sqrt(max(0.0, 1 - rows[0, 0] + rows[1, 1] - rows[2, 2])) / 2
    z = np.sqrt(max(0.0, 1 - rows[0, 0] - rows[1, 1] + rows[2, 2])) / 2
    x, y, z = (np.copysign(a, b) for a, b in
               ((x, rows[2, 1] - rows[1, 2]), (y, rows[0, 2] - rows[2, 0]), (z, rows[1, 0] - rows[0, 1])))  # fmt: skip
    turned = np.array([x, y, z, w])
    node |= {
        "translation": matrix[:3, 3].tolist(),
        "rotation": (turned / np.linalg.norm(turned)).tolist(),
        "scale": scale.tolist(),
    }


def _parents(glb: Glb) -> dict[int, int]:
    return {child: number for number, node in enumerate(glb.tree["nodes"]) for child in node.get("children", [])}


def _line(above: dict[int, int], node: int) -> list[int]:
    """A node and what stands above it, up to the root."""
    line = [node]
    while line[-1] in above:
        if above[line[-1]] in line:
            raise ValueError("The scene is damaged: a node stands above itself.")
        line.append(above[line[-1]])
    return line


def _product(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The product of quaternions `(..., 4)` x, y, z, w."""
    (a, b, c, d), (e, f, g, h) = np.moveaxis(one, -1, 0), np.moveaxis(other, -1, 0)
    parts = [d * e + a * h + b * g - c * f, d * f - a * g + b * h + c * e, d * g + a * f - b * e + c * h,
             d * h - a * e - b * f - c * g]  # fmt: skip
    return np.stack(np.broadcast_arrays(*parts), axis=-1)


def _samplers(glb: Glb) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Node, path and sampler of the first animation's channels."""
    for animation in glb.tree.get("animations", [])[:1]:
        for channel in animation["channels"]:
            target = channel["target"]
            yield target.get("node", -1), target["path"], animation["samplers"][channel["sampler"]]


def _read_shapes(glb: Glb, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times `(frames,)` and blendshapes `(frames, 52)` on Apple's scale."""
    nodes = dict(_morphing_nodes(glb))
    moving = [(node, sampler) for node, moved, sampler in _samplers(glb) if moved == "weights" and node in nodes]
    if not moving:
        raise ValueError(f"{path} has no animation of morph targets by ARKit's names.")
    node, sampler = moving[0]
    times = np.round(glb.numbers(sampler["input"]).astype(np.float64), 4)  # kept in float32
    values = glb.numbers(sampler["output"])
    if values.size != len(times) * len(nodes[node]):
        raise ValueError(f"{path} is not animated frame by frame: {values.size} weights at {len(times)} times.")
    arkit = np.zeros((len(times), len(BLENDSHAPE_NAMES)))
    for channel, column in zip(nodes[node], values.reshape(len(times), -1).T):
        if channel is not None:
            arkit[:, channel] = column
    return times, arkit


def _read_rotation(glb: Glb, times: np.ndarray, notes: list[str]) -> np.ndarray | None:
    """REACT's rotation `(frames, 3)` from the nodes of neck and head; None where these do not move."""
    joints = _joints(glb)
    found = {node: glb.numbers(sampler["output"]) for node, path, sampler in _samplers(glb) if path == "rotation"}
    turns = [found[joints[name]] for name in ("neck", "head") if joints.get(name) in found]
    above = _parents(glb)
    line = _line(above, joints["head"]) if turns and "head" in joints else []
    at_rest = all(np.allclose(_rest_rotation(glb, node), [0, 0, 0, 1]) for node in line)
    if not turns or not at_rest or any(len(turn) != len(times) for turn in turns):
        notes.append(NO_HEAD_ANGLES)
        return None
    whole = turns[0].astype(np.float64)
    for turn in turns[1:]:
        whole = _product(whole, turn.astype(np.float64))
    notes.append("translation is the mean face's")
    return _angles(whole) + AHEAD


def _angles(turned: np.ndarray) -> np.ndarray:
    """The inverse of `motion.quaternions`: pitch, yaw and roll `(frames, 3)`."""
    x, y, z, w = turned.T
    pitch = np.arcsin(np.clip(2 * (w * x - y * z), -1, 1))
    yaw = np.arctan2(2 * (x * z + w * y), 1 - 2 * (x * x + y * y))
    roll = np.arctan2(2 * (x * y + w * z), 1 - 2 * (x * x + z * z))
    return np.stack([pitch, yaw, roll], axis=1)


def _recognises(file: TrackFile) -> bool:
    return file.is_glb


FORMAT = TrackFormat("glb", "animated glTF (glb)", _recognises, read, write_motion=write_motion, suffix=".glb")
