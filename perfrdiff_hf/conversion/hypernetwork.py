"""How an official hypernetwork is laid out, and which part of it becomes which part of a `PWSGModel`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..behaviour import EMOTION_CHANNELS
from ..models.pwsg import PWSGConfig
from .state import Source, check_state, size_of


OWNER = "PWSG hypernetwork"

# The official default, in the order of its branches: the best row of table 4 of the paper.
OFFICIAL_EDITED_MODULES = ("to_emotion_feat", "decoder.layers.4.multihead_attn", "decoder.layers.6.multihead_attn")

# The official configuration writes the names of layers with this in front.
OFFICIAL_PREFIX = "diffusion_decoder.model."

ORDER_HINT = "Are edited_layers in the order of the branches (to_emotion_feat first)?"
LAYER_PATTERN = r"decoder\.layers\.(\d+)\.(self_attn|multihead_attn|linear1|linear2)"
LAYER_NAMES = {
    "self_attn": "self_attention", "multihead_attn": "cross_attention", "linear1": "linear_1", "linear2": "linear_2",
}  # fmt: skip


@dataclass(frozen=True)
class PWSGPlan:
    """The configuration of the converted model, and the source of each of its parameters; None stands for zeros."""

    config: PWSGConfig
    sources: dict[str, Source | None]


@dataclass(frozen=True)
class _EditedLinear:
    """One linear layer of ours: its shape and the rows `[first, ...)` of an official branch that shift it."""

    shape: tuple[int, int]
    branch: int
    first: int | None

    def source(self, parameter: str, branch_shape: tuple[int, ...]) -> Source | None:
        if self.first is None:
            return None
        rows = slice(self.first, self.first + math.prod(self.shape))
        return Source(f"branches.{self.branch}.{parameter}", branch_shape, rows)


def plan_pwsg(
    tensors: Mapping[str, Tensor],
    edited_layers: Sequence[str],
    num_heads: int,
    shift_mode: str,
    hidden_size: int | None = None,
) -> PWSGPlan:
    """Work out how an official hypernetwork becomes a `PWSGModel`, and check its tensors.

    Args:
        tensors: official names to tensors.
        edited_layers: official name of the layer that each branch edits, in the order of the branches.
        num_heads: attention heads of the denoiser.
        shift_mode: `"shift"`, `"offset"` or `"weight"`.
        hidden_size: the denoiser's width, where the branches do not tell.

    Raises:
        ValueError: as `conversion.convert_pwsg`.
    """
    names = [name.removeprefix(OFFICIAL_PREFIX) for name in edited_layers]
    trunk_size, style_size = size_of(tensors, "shared_layers.0.weight", OWNER)
    depth = sum(re.fullmatch(r"shared_layers\.\d+\.weight", name) is not None for name in tensors)
    branches = _branch_sizes(tensors, names)
    hidden_size = hidden_size or _denoiser_width(names, branches)
    if num_heads < 1 or hidden_size % num_heads:
        raise ValueError(f"num_heads must divide the denoiser's width {hidden_size}; given: {num_heads}.")
    linears: dict[str, _EditedLinear] = {}
    for index, name in enumerate(names):
        linears |= _split_branch(index, name, branches[index], hidden_size, shift_mode)

    config = PWSGConfig(
        style_size=style_size,
        hidden_size=trunk_size,
        num_hidden_layers=depth,
        edited_layers={name: list(linear.shape) for name, linear in linears.items()},
        shift_mode=shift_mode,
    )
    sources: dict[str, Source | None] = {}
    for layer in range(depth):
        width = trunk_size if layer else style_size
        sources[f"trunk.{layer}.weight"] = Source(f"shared_layers.{layer}.weight", (trunk_size, width))
        sources[f"trunk.{layer}.bias"] = Source(f"shared_layers.{layer}.bias", (trunk_size,))
    for head, name in enumerate(config.edited_layers):
        size = branches[linears[name].branch]
        sources[f"heads.{head}.delta.weight"] = linears[name].source("weight", (size, trunk_size))
        sources[f"heads.{head}.delta.bias"] = linears[name].source("bias", (size,))
    check_state(tensors, [source for source in sources.values() if source], OWNER)
    return PWSGPlan(config, sources)


def _branch_sizes(tensors: Mapping[str, Tensor], names: Sequence[str]) -> list[int]:
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"edited_layers must name one layer for each branch, none twice; given: {list(names)}.")
    held = sorted({int(match[1]) for name in tensors if (match := re.match(r"branches\.(\d+)\.", name))})
    if held != list(range(len(names))):
        raise ValueError(
            f"edited_layers must name the layer of each branch; the hypernetwork has branches {held}, "
            f"and {len(names)} layers are given: {list(names)}."
        )
    return [size_of(tensors, f"branches.{branch}.weight", OWNER)[0] for branch in held]


def _denoiser_width(names: Sequence[str], branches: Sequence[int]) -> int:
    """The width of the denoiser, from the branch of an attention if there is one, or else of the output layer."""
    for name, size in zip(names, branches):
        if name.endswith("_attn"):
            for parts in (3, 2):
                width = math.isqrt(size // parts)
                if parts * width * width == size:
                    return width
            raise ValueError(
                f"A branch of {size} rows does not fit '{name}', which takes 3 or 2 squares of the denoiser's width. "
                f"{ORDER_HINT}"
            )
    if "to_emotion_feat" in names:
        return branches[names.index("to_emotion_feat")] // EMOTION_CHANNELS
    raise ValueError(
        "The denoiser's width cannot be told from the branches of feed-forward layers alone; give it as hidden_size. "
        f"edited_layers: {list(names)}."
    )


def _split_branch(branch: int, name: str, size: int, width: int, shift_mode: str) -> dict[str, _EditedLinear]:
    """Our linear layers that one official branch shifts, by name."""
    ours, kind = _our_layer(name)
    area = width * width
    if kind.endswith("_attn"):
        parts = {3 * area: "qkv", 2 * area: "kv" if kind == "multihead_attn" else None}.get(size)
        if parts is not None:
            firsts: dict[str, int | None] = {part: index * area for index, part in enumerate(parts)}
            if parts == "kv" and shift_mode == "weight":
                # The official program fills up with zeros, which here mean not "no shift" but the weight itself.
                firsts["q"] = None
            return {
                f"{ours}.to_{part}": _EditedLinear((width, width), branch, first) for part, first in firsts.items()
            }
    elif size % width == 0:
        inner = size // width
        return {ours: _EditedLinear((width, inner) if kind == "linear2" else (inner, width), branch, 0)}
    raise ValueError(
        f"branches.{branch}.weight has {size} rows, which does not fit '{name}' of a denoiser of width {width}. "
        f"{ORDER_HINT}"
    )


def _our_layer(name: str) -> tuple[str, str]:
    """Our name of an official layer, and its kind."""
    if name == "to_emotion_feat":
        return "mapping", name
    match = re.fullmatch(LAYER_PATTERN, name)
    if match is None:
        raise ValueError(
            f"edited_layers: '{name}' is not a layer that the official program can edit, which are to_emotion_feat "
            "and self_attn, multihead_attn, linear1 and linear2 of decoder.layers.N."
        )
    return f"layers.{match[1]}.{LAYER_NAMES[match[2]]}", match[2]
