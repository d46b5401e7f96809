"""Binary glTF files as a container: a description in JSON, and numbers in one buffer."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


_MAGIC, _VERSION, _JSON, _BINARY = b"glTF", 2, b"JSON", b"BIN\x00"
_COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_CODES = {np.dtype(code): number for number, code in _COMPONENTS.items()}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963


class Glb:
    """A glTF file in memory: `tree` is its description, to which the methods add what refers to numbers.

    Args:
        tree: the description.
        binary: its first buffer.
    """

    def __init__(self, tree: dict[str, Any] | None = None, binary: bytes = b""):
        self.tree: dict[str, Any] = tree or {"asset": {"version": "2.0", "generator": "perfrdiff_hf"}}
        self._binary = bytearray(binary)

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "This") -> Glb:
        """Read a file.

        Raises:
            ValueError: if it is no binary glTF 2.0, is truncated, or refers to other files.
        """
        if len(data) < 12 or data[:4] != _MAGIC:
            raise ValueError(f"{name} is no binary glTF file (.glb).")
        version, length = struct.unpack_from("<II", data, 4)
        if version != _VERSION or length > len(data):
            raise ValueError(f"{name} is of glTF version {version}, or truncated: {len(data)} of {length} bytes.")
        chunks = dict(_chunks(data[:length], name))
        try:
            tree = json.loads(chunks[_JSON])
            links = [entry["uri"] for entry in tree.get("images", []) if "uri" in entry]
            outside = any("uri" in entry for entry in tree.get("buffers", []))  # even if the link is its own content
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{name} has no readable description of its scene: {error}.") from error
        if outside or not all(link.startswith("data:") for link in links):
            raise ValueError(f"{name} refers to other files; save it as one .glb with everything inside.")
        return cls(tree, chunks.get(_BINARY, b""))

    def to_bytes(self) -> bytes:
        """The file."""
        if self._binary:
            self._pad(4)
            buffers = self.tree.setdefault("buffers", [{}])
            buffers[0]["byteLength"] = len(self._binary)
        text = json.dumps(self.tree, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        parts = struct.pack("<I4s", len(text), _JSON) + text
        if self._binary:
            parts += struct.pack("<I4s", len(self._binary), _BINARY) + bytes(self._binary)
        return struct.pack("<4sII", _MAGIC, _VERSION, 12 + len(parts)) + parts

    def write(self, path: Path) -> None:
        """Write the file."""
        path.write_bytes(self.to_bytes())

    def add(self, kind: str, entry: dict[str, Any]) -> int:
        """Add an entry to one of the description's lists; its index."""
        entries = self.tree.setdefault(kind, [])
        entries.append(entry)
        return len(entries) - 1

    def add_numbers(self, values: np.ndarray, target: int | None = None, bounds: bool = False) -> int:
        """Add an accessor for `(n,)` or `(n, width)` numbers; its index.

        Args:
            values: of a type that glTF has.
            target: what a graphics card uses them for; None: nothing.
            bounds: whether the least and the largest are said, which glTF wants of positions and times.
        """
        accessor = {
            "bufferView": self._add_view(values, target),
            "componentType": _CODES[values.dtype],
            "count": len(values),
            "type": _TYPES[1 if values.ndim == 1 else values.shape[1]],
        }
        return self.add("accessors", {**accessor, **(_bounds(values) if bounds else {})})

    def add_sparse(self, values: np.ndarray, bounds: bool = False) -> int:
        """Add an accessor for `(n, 3)` float32 of which most rows are 0; its index."""
        rows = np.flatnonzero(values.any(axis=1))
        accessor: dict[str, Any] = {"componentType": 5126, "count": len(values), "type": "VEC3"}
        if len(rows):
            indices = rows.astype("<u2" if len(values) <= 65535 else "<u4")
            accessor["sparse"] = {
                "count": len(rows),
                "indices": {"bufferView": self._add_view(indices), "componentType": _CODES[indices.dtype]},
                "values": {"bufferView": self._add_view(values[rows])},
            }
        return self.add("accessors", {**accessor, **(_bounds(values) if bounds else {})})

    def numbers(self, accessor: int) -> np.ndarray:
        """The numbers of an accessor, `(count,)` or `(count, width)`, sparse ones filled in.

        Raises:
            ValueError: if the description and the buffer do not fit together.
        """
        try:
            entry = self.tree["accessors"][accessor]
            width, dtype = _WIDTHS[entry["type"]], np.dtype(_COMPONENTS[entry["componentType"]])
            values = np.zeros((entry["count"], width), dtype=dtype)
            if "bufferView" in entry:
                values = self._view(entry["bufferView"], entry.get("byteOffset", 0), dtype, entry["count"], width)
            if "sparse" in entry:
                values = values.copy()
                values[self._sparse(entry["sparse"], "indices")[:, 0]] = self._sparse(
                    entry["sparse"], "values", dtype, width
                )
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise ValueError(f"The glTF file is damaged: accessor {accessor} cannot be read ({error}).") from error
        return values[:, 0] if width == 1 else values

    def _sparse(self, entry: dict[str, Any], part: str, dtype: Any = None, width: int = 1) -> np.ndarray:
        found = entry[part]
        dtype = np.dtype(_COMPONENTS[found["componentType"]] if dtype is None else dtype)
        return self._view(found["bufferView"], found.get("byteOffset", 0), dtype, entry["count"], width)

    def _view(self, view: int, offset: int, dtype: np.dtype, count: int, width: int) -> np.ndarray:
        entry = self.tree["bufferViews"][view]
        if entry["buffer"] != 0 or "uri" in self.tree["buffers"][0]:
            raise ValueError("its numbers do not lie in the file's own buffer")
        stride = entry.get("byteStride", dtype.itemsize * width)
        begin = entry.get("byteOffset", 0) + offset
        span = stride * (count - 1) + dtype.itemsize * width if count else 0
        raw = np.frombuffer(bytes(self._binary[begin : begin + span]), dtype=np.uint8)
        if len(raw) < span:
            raise ValueError("the buffer is too short")
        rows = np.lib.stride_tricks.as_strided(raw, (count, dtype.itemsize * width), (stride, 1))
        return np.ascontiguousarray(rows).view(dtype).reshape(count, width)

    def _add_view(self, values: np.ndarray, target: int | None = None) -> int:
        self._pad(4)
        raw = np.ascontiguousarray(values).tobytes()
        entry = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": len(raw)}
        self._binary += raw
        self.tree.setdefault("buffers", [{"byteLength": 0}])
        return self.add("bufferViews", entry if target is None else {**entry, "target": target})

    def _pad(self, step: int) -> None:
        self._binary += bytes(-len(self._binary) % step)


def _chunks(data: bytes, name: str) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(data):
        length, kind = struct.unpack_from("<I4s", data, at)
        if at + 8 + length > len(data):
            raise ValueError(f"{name} is truncated: a part of {length} bytes does not fit into it.")
        yield kind, data[at + 8 : at + 8 + length]
        at += 8 + length


def _bounds(values: np.ndarray) -> dict[str, list[float]]:
    columns = values if values.ndim > 1 else values[:, None]
    return {"min": columns.min(axis=0).tolist(), "max": columns.max(axis=0).tolist()}
