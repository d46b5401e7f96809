"""Weight shifts: the value that passes from PWSG to GAFRG, and how a linear layer applies it (equations 8 and 12).

Personalisation is a value and not a mutation. The generator takes `WeightShifts` as an argument of its forward call,
so that one batch may hold a different listener in every row, gradients flow back to PWSG, and no weight is ever
replaced in place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import torch
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import HFValidationError, RemoteEntryNotFoundError
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..files import file_beside
from .weight_digests import digests_agree


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
        generator_digests: `denoiser.weight_digests` of the generator that they were made for, so that no other one
            takes them; None where it is not known, as for listeners that version 0.1.0 saved.

    Raises:
        ValueError: if there is no layer, the layers differ in their number of listeners or in their mode, or the mode
            is unknown.
    """

    def __init__(self, shifts: Mapping[str, LayerShift], generator_digests: Mapping[str, str] | None = None):
        self._shifts = dict(shifts)
        self.generator_digests = None if generator_digests is None else dict(generator_digests)
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
        mapped = {name: _map_tensors(shift, function) for name, shift in self.items()}
        return WeightShifts(mapped, self.generator_digests)

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
            ValueError: if all entries are None, the entries differ in their layout or in the generator that they were
                made for, or a None stands beside shifts of mode `"weight"`, which have no neutral value.
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
        known = [row.generator_digests for row in rows if row.generator_digests is not None]
        if not all(digests_agree(known[0], other) for other in known[1:]):
            raise ValueError("All listeners must have shifts that were made for the same generator.")
        stacked = {name: _concatenate([row[name] for row in rows]) for name in template}
        return cls(stacked, known[0] if known else None)

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
        metadata = {"format": "pt", "shift_mode": next(iter(self.values())).mode}
        if self.generator_digests is not None:
            metadata["generator_digests"] = json.dumps(self.generator_digests)
        with file_beside(folder / WEIGHTS_NAME) as beside:
            save_file(tensors, beside, metadata=metadata)

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | os.PathLike,
        *,
        subfolder: str | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
    ) -> WeightShifts:
        """Read what `save_pretrained` or `push_to_hub` wrote.

        Args:
            name_or_folder: a folder, or where there is none, a repository on the Hub.
            subfolder: folder inside it.
            revision: branch, tag or commit on the Hub.
            token: for a private repository; None is the stored login.
            cache_dir: where downloads are kept.
            force_download: download also what is there already.
            local_files_only: take nothing but what was downloaded before.

        Raises:
            FileNotFoundError: if there are no weight shifts.
            ValueError: if the file is not one of weight shifts.
            huggingface_hub.errors.HfHubHTTPError: if the repository or the revision is not to be had.
        """
        path = Path(name_or_folder, subfolder or "", WEIGHTS_NAME)
        if not path.is_file() and not Path(name_or_folder).exists():
            options: dict[str, Any] = {"revision": revision, "token": token, "cache_dir": cache_dir}
            options |= {"force_download": force_download, "local_files_only": local_files_only}
            try:
                downloaded = hf_hub_download(str(name_or_folder), WEIGHTS_NAME, subfolder=subfolder, **options)
            except (HFValidationError, RemoteEntryNotFoundError) as error:
                raise FileNotFoundError(_nothing_at(path)) from error
            path = Path(downloaded)
        if not path.is_file():
            raise FileNotFoundError(_nothing_at(path))
        return cls._read(path)

    @classmethod
    def _read(cls, path: Path) -> WeightShifts:
        parts: dict[str, dict[str, Tensor]] = {}
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            for key in file.keys():  # noqa: SIM118  (a safetensors file is no mapping)
                name, _, field = key.rpartition(".")
                parts.setdefault(name, {})[field] = file.get_tensor(key)
        shifts: dict[str, LayerShift] = {}
        for name, tensors in parts.items():
            kind = {frozenset({"delta"}): FullShift, frozenset({"down", "up"}): LowRankShift}.get(frozenset(tensors))
            if kind is None:
                raise ValueError(f"{path} is not a file of weight shifts: '{name}' holds {sorted(tensors)}.")
            shifts[name] = kind(**tensors, mode=metadata.get("shift_mode", "shift"))
        digests = metadata.get("generator_digests")
        return cls(shifts, None if digests is None else json.loads(digests))

    def push_to_hub(
        self,
        repo_id: str,
        *,
        subfolder: str | None = None,
        private: bool = True,
        token: str | bool | None = None,
        revision: str | None = None,
        commit_message: str = "Upload weight shifts",
    ) -> str:
        """Upload the shifts as one file; many listeners may share a repository, each in a subfolder.

        Args:
            repo_id: the repository, which is made if need be.
            subfolder: folder inside it.
            private: whether a new repository is private. It is unless you say otherwise, as a listener's manner is
                personal data.
            token: None is the stored login.
            revision: branch to commit to.
            commit_message: what the commit is called.

        Returns:
            The address of the commit.
        """
        api = HfApi(token=token)
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            commit = api.upload_file(
                path_or_fileobj=Path(folder) / WEIGHTS_NAME,
                path_in_repo=str(PurePosixPath(subfolder or "", WEIGHTS_NAME)),
                repo_id=repo_id,
                revision=revision,
                commit_message=commit_message,
            )
        return commit.commit_url


def _nothing_at(path: Path) -> str:
    return f"No weight shifts at {path}. Write them with WeightShifts.save_pretrained or push_to_hub."


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
