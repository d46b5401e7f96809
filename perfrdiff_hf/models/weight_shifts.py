"""Weight shifts: the value that passes from PWSG to GAFRG, and how a linear layer applies it (equations 8 and 12).

Personalisation is a value and not a mutation. The generator takes `WeightShifts` as an argument of its forward call,
so that one batch may hold a different listener in every row, gradients flow back to PWSG, and no weight is ever
replaced in place.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..files import file_beside


SHIFT_MODES = ("shift", "offset", "weight")
WEIGHTS_NAME = "weight_shifts.safetensors"


@dataclass(frozen=True)
class FullShift:
    """A shift of every entry of one layer's weight matrix, for a batch of listeners.

    Args:
        delta: `(listeners, out_features, in_features)`.
        mode: how the personal weight follows from the generic `W`: `"shift"` is W + delta (equation 8), `"offset"`
            W * (1 + delta), `"weight"` delta alone.
    """

    delta: Tensor
    mode: str = "shift"

    @property
    def num_listeners(self) -> int:
        return self.delta.shape[0]

    @property
    def layer_shape(self) -> tuple[int, int]:
        return (self.delta.shape[1], self.delta.shape[2])

    def weight_change(self, weight: Tensor) -> Tensor:
        """What is added to `weight` `(out, in)` for each listener: `(listeners, out, in)`."""
        if self.mode == "offset":
            return weight * self.delta
        if self.mode == "weight":
            return self.delta - weight
        return self.delta

    def output_change(self, weight: Tensor, inputs: Tensor) -> Tensor:
        """What is added to the layer's output: `(listeners, positions, in)` to `(listeners, positions, out)`."""
        return torch.bmm(inputs, self.weight_change(weight).transpose(1, 2))


@dataclass(frozen=True)
class LowRankShift:
    """A shift of low rank, `up @ down`, added to one layer's weight matrix, for a batch of listeners.

    Args:
        down: `(listeners, rank, in_features)`.
        up: `(listeners, out_features, rank)`.
    """

    down: Tensor
    up: Tensor
    mode: str = "shift"

    @property
    def num_listeners(self) -> int:
        return self.down.shape[0]

    @property
    def layer_shape(self) -> tuple[int, int]:
        return (self.up.shape[1], self.down.shape[2])

    def weight_change(self, weight: Tensor) -> Tensor:
        """What is added to `weight` `(out, in)` for each listener: `(listeners, out, in)`."""
        return torch.bmm(self.up, self.down)

    def output_change(self, weight: Tensor, inputs: Tensor) -> Tensor:
        """What is added to the layer's output: `(listeners, positions, in)` to `(listeners, positions, out)`."""
        return torch.bmm(torch.bmm(inputs, self.down.transpose(1, 2)), self.up.transpose(1, 2))


LayerShift = FullShift | LowRankShift


def shifted_linear(linear: nn.Linear, inputs: Tensor, shift: LayerShift | None) -> Tensor:
    """Apply a linear layer whose weight may be shifted (equation 12).

    Args:
        linear: the generic layer; it is left as it is.
        inputs: `(rows, positions, in_features)`. Rows of one listener stand together: with `n` listeners, row `i`
            belongs to listener `i // (rows // n)`.
        shift: the listeners' shifts of this layer, or None for the generic layer.

    Returns:
        `(rows, positions, out_features)`.
    """
    outputs = linear(inputs)
    if shift is None:
        return outputs
    by_listener = inputs.reshape(shift.num_listeners, -1, inputs.shape[-1])
    return outputs + shift.output_change(linear.weight, by_listener).view_as(outputs)


class WeightShifts(Mapping[str, LayerShift]):
    """The weight shifts of one listener or of a batch of listeners, by the name of the linear layer that they shift.

    Args:
        shifts: layer name (as in `denoiser.named_modules()`) to its shift. All hold the same number of listeners.

    Raises:
        ValueError: if there is no layer, the layers differ in their number of listeners or in their mode, or the mode
            is unknown.
    """

    def __init__(self, shifts: Mapping[str, LayerShift]):
        self._shifts = dict(shifts)
        if not self._shifts:
            raise ValueError("shifts must hold at least one layer; for the generic model pass None as weight_shifts.")
        if len({shift.num_listeners for shift in self.values()}) > 1:
            given = {name: shift.num_listeners for name, shift in self.items()}
            raise ValueError(f"shifts must hold the same number of listeners for every layer; given: {given}.")
        modes = {shift.mode for shift in self.values()}
        if len(modes) > 1 or not modes <= set(SHIFT_MODES):
            raise ValueError(f"shifts must share one mode of {SHIFT_MODES}; given: {sorted(modes)}.")

    def __getitem__(self, layer: str) -> LayerShift:
        return self._shifts[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._shifts)

    def __len__(self) -> int:
        return len(self._shifts)

    def __repr__(self) -> str:
        kinds = sorted({type(shift).__name__ for shift in self.values()})
        return f"WeightShifts({self.num_listeners} listeners, {len(self)} layers, {', '.join(kinds)})"

    @property
    def num_listeners(self) -> int:
        return next(iter(self.values())).num_listeners

    @property
    def layout(self) -> frozenset[tuple[Any, ...]]:
        """What two `WeightShifts` must share to be stacked: layers, kind of shift, mode and sizes."""
        return frozenset(
            (name, type(shift).__name__, shift.mode, *(tuple(tensor.shape[1:]) for tensor in _tensors(shift).values()))
            for name, shift in self.items()
        )

    def within(self, module: str) -> WeightShifts | None:
        """The shifts of the layers inside `module`, by their names there; None where nothing is shifted."""
        prefix = f"{module}."
        inside = {name.removeprefix(prefix): shift for name, shift in self.items() if name.startswith(prefix)}
        return WeightShifts(inside) if inside else None

    def map(self, function: Callable[[Tensor], Tensor]) -> WeightShifts:
        """The same shifts with `function` applied to every tensor."""
        return WeightShifts({name: _map_tensors(shift, function) for name, shift in self.items()})

    def listener(self, rows: int | slice | Sequence[int] | Tensor) -> WeightShifts:
        """Some of the listeners, in the given order; an int gives a batch of one."""
        picked = [rows] if isinstance(rows, int) else rows
        return self.map(lambda tensor: tensor[picked])

    def to(self, device: torch.device | None = None, dtype: torch.dtype | None = None) -> WeightShifts:
        """The same shifts on another device or in another floating-point type."""
        return self.map(lambda tensor: tensor.to(device=device, dtype=dtype))

    def detach(self) -> WeightShifts:
        """The same shifts outside the autograd graph."""
        return self.map(Tensor.detach)

    @classmethod
    def stack(cls, listeners: Sequence[WeightShifts | None]) -> WeightShifts:
        """One batch out of several: each entry adds its listeners, and None adds one row of the generic model.

        Raises:
            ValueError: if all entries are None, the entries differ in their layout, or a None stands beside shifts of
                mode `"weight"`, which have no neutral value.
        """
        template = next((shifts for shifts in listeners if shifts is not None), None)
        if template is None:
            raise ValueError("listeners must hold at least one WeightShifts; all entries are None.")
        if None in listeners and any(shift.mode == "weight" for shift in template.values()):
            raise ValueError("A generic row cannot stand beside shifts of mode 'weight', which replace the weights.")
        neutral = template.listener(0).map(torch.zeros_like)
        rows = [neutral if shifts is None else shifts for shifts in listeners]
        for row in rows:
            if row.layout != template.layout:
                differing = sorted(template.layout ^ row.layout, key=str)
                raise ValueError(
                    f"All listeners must have shifts of the same layers, kind, mode and size; differing: {differing}."
                )
        return cls({name: _concatenate([row[name] for row in rows]) for name in template})

    def check_layers(self, model: nn.Module) -> None:
        """See that every shifted layer exists in `model` and has the shape that the shift expects.

        Raises:
            ValueError: if not; the message names the layer and both shapes.
        """
        for name, shift in self.items():
            try:
                weight: Any = model.get_submodule(name).weight
            except AttributeError:
                raise ValueError(
                    f"weight_shifts holds a shift for '{name}', which is not a linear layer of "
                    f"{type(model).__name__}. Were the shifts made for another generator?"
                ) from None
            if shift.layer_shape != tuple(weight.shape):
                raise ValueError(
                    f"weight_shifts for '{name}' must have shape {tuple(weight.shape)}; given: {shift.layer_shape}."
                )

    def save_pretrained(self, save_directory: str | os.PathLike) -> None:
        """Write the shifts as `weight_shifts.safetensors` into a folder, which is made if need be."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"{name}.{field}": tensor.detach().contiguous()
            for name, shift in self.items()
            for field, tensor in _tensors(shift).items()
        }
        mode = next(iter(self.values())).mode
        with file_beside(folder / WEIGHTS_NAME) as beside:
            save_file(tensors, beside, metadata={"format": "pt", "shift_mode": mode})

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike) -> WeightShifts:
        """Read what `save_pretrained` wrote.

        Raises:
            FileNotFoundError: if the folder holds no `weight_shifts.safetensors`.
            ValueError: if the file is not one of weight shifts.
        """
        path = Path(folder) / WEIGHTS_NAME
        if not path.is_file():
            raise FileNotFoundError(f"No weight shifts at {path}. Write them with WeightShifts.save_pretrained.")
        parts: dict[str, dict[str, Tensor]] = {}
        with safe_open(path, framework="pt") as file:
            mode = (file.metadata() or {}).get("shift_mode", "shift")
            for key in file.keys():  # noqa: SIM118  (a safetensors file is no mapping)
                name, _, field = key.rpartition(".")
                parts.setdefault(name, {})[field] = file.get_tensor(key)
        shifts: dict[str, LayerShift] = {}
        for name, tensors in parts.items():
            kind = {frozenset({"delta"}): FullShift, frozenset({"down", "up"}): LowRankShift}.get(frozenset(tensors))
            if kind is None:
                raise ValueError(f"{path} is not a file of weight shifts: '{name}' holds {sorted(tensors)}.")
            shifts[name] = kind(**tensors, mode=mode)
        return cls(shifts)


def _tensors(shift: LayerShift) -> dict[str, Tensor]:
    return {field.name: getattr(shift, field.name) for field in fields(shift) if field.name != "mode"}


def _map_tensors(shift: LayerShift, function: Callable[[Tensor], Tensor]) -> LayerShift:
    mapped: dict[str, Any] = {name: function(tensor) for name, tensor in _tensors(shift).items()}
    return replace(shift, **mapped)


def _concatenate(shifts: Sequence[LayerShift]) -> LayerShift:
    joined: dict[str, Any] = {
        name: torch.cat([getattr(shift, name) for shift in shifts]) for name in _tensors(shifts[0])
    }
    return replace(shifts[0], **joined)
