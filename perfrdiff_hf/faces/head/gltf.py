"""A head as a glTF scene: a node for each joint, one mesh for all that blendshapes move, sparse morph targets.

Colours stand in the vertices, so that there are no pictures to carry.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...behaviour import BLENDSHAPE_NAMES
from ..glb import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, Glb
from .mesh import JOINTS, Head, Part, vertex_normals


def head_glb(head: Head) -> Glb:
    """The head at rest, without animation."""
    glb = Glb()
    nodes = {joint: glb.add("nodes", {"name": joint}) for joint in JOINTS}
    for joint, before in JOINTS.items():
        node = glb.tree["nodes"][nodes[joint]]
        node["translation"] = (head.pivots[joint] - (head.pivots[before] if before else 0)).tolist()
        children = [nodes[other] for other, outer in JOINTS.items() if outer == joint]
        hung = [_mesh_node(glb, head, parts) for parts in _meshes(head, joint)]
        if children or hung:
            node["children"] = children + hung
    glb.tree |= {"scene": 0, "scenes": [{"nodes": [nodes["body"]]}]}
    return glb


def _meshes(head: Head, joint: str) -> list[list[Part]]:
    """The parts of a joint by meshes: those with blendshapes together, the others each on its own."""
    parts = [part for part in head.parts if part.joint == joint]
    moving = [part for part in parts if part.shapes is not None]
    return ([moving] if moving else []) + [[part] for part in parts if part.shapes is None]


def _mesh_node(glb: Glb, head: Head, parts: list[Part]) -> int:
    mesh: dict[str, Any] = {"name": parts[0].name, "primitives": [_primitive(glb, head, part) for part in parts]}
    if parts[0].shapes is not None:
        mesh |= {"weights": [0.0] * len(BLENDSHAPE_NAMES), "extras": {"targetNames": list(BLENDSHAPE_NAMES)}}
    return glb.add("nodes", {"name": f"{parts[0].name}Mesh", "mesh": glb.add("meshes", mesh)})


def _primitive(glb: Glb, head: Head, part: Part) -> dict[str, Any]:
    # Each joint's origin is its pivot.
    points = (part.positions - head.pivots[part.joint]).astype(np.float32)
    normals = vertex_normals(part.positions, part.triangles)
    linear = np.clip(part.colours, 0, 1) ** 2.2
    # Colours may be bytes, but each must begin at a multiple of four.
    paint = np.full((len(points), 4), 255, dtype=np.uint8)
    paint[:, :3] = np.round(linear * 255)
    colours = glb.add_numbers(paint, ARRAY_BUFFER)
    glb.tree["accessors"][colours]["normalized"] = True
    primitive: dict[str, Any] = {
        "attributes": {
            "POSITION": glb.add_numbers(points, ARRAY_BUFFER, bounds=True),
            "NORMAL": glb.add_numbers(normals.astype(np.float32), ARRAY_BUFFER),
            "COLOR_0": colours,
        },
        "indices": glb.add_numbers(part.triangles.ravel().astype(np.uint32 if len(points) > 65535 else np.uint16),
                                   ELEMENT_ARRAY_BUFFER),
        "material": _material(glb, part),
    }  # fmt: skip
    if part.shapes is not None:
        primitive["targets"] = [_target(glb, part, normals, moves) for moves in part.shapes]
    return primitive


def _target(glb: Glb, part: Part, normals: np.ndarray, moves: np.ndarray) -> dict[str, int]:
    turned = vertex_normals(part.positions + moves, part.triangles) - normals
    # What turns by less than half a degree is not seen.
    turned = np.where(np.abs(turned).max(axis=1, keepdims=True) < 0.01, 0, turned).astype(np.float32)
    return {"POSITION": glb.add_sparse(moves, bounds=True), "NORMAL": glb.add_sparse(turned)}


def _material(glb: Glb, part: Part) -> int:
    surface = {"baseColorFactor": [1.0, 1.0, 1.0, 1.0], "metallicFactor": 0.0, "roughnessFactor": part.roughness}
    return glb.add("materials", {"name": part.name, "pbrMetallicRoughness": surface})
