"""Official state dicts: reading them from files, and copying their tensors into models of ours.

Each conversion says for every parameter of our model where it lies in the official state dict (`Source`). From that
follow both the copy and the check: a tensor that is missing, unexpected or of the wrong shape is an error that names
it.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn


StateDict = Mapping[str, Tensor]


@dataclass(frozen=True)
class Source:
    """Where a parameter of ours lies in an official state dict.

    Args:
        name: the official tensor.
        shape: the shape that it must have.
        rows: which of its rows are ours.
    """

    name: str
    shape: tuple[int, ...]
    rows: slice = field(default_factory=lambda: slice(None))


def tensors_of(checkpoint: Mapping, owner: str) -> dict[str, Tensor]:
    """The tensors of an official checkpoint: a state dict, or the wrapper `{"state_dict": ..., "optimizer": ...}`.

    Args:
        checkpoint: what `torch.load` returned.
        owner: what it should be; error messages name it.

    Raises:
        ValueError: if it is neither, or holds something other than floating-point tensors.
    """
    inner = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, Mapping) else checkpoint
    if not isinstance(inner, Mapping) or not inner:
        raise ValueError(f"The checkpoint of the {owner} must be a state dict; given: {type(inner).__name__}.")
    for name, value in inner.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"The checkpoint of the {owner} must hold tensors; '{name}' is {type(value).__name__}.")
        if not value.is_floating_point():
            raise ValueError(
                f"The checkpoint of the {owner} must hold floating-point tensors; '{name}': {value.dtype}."
            )
    return {str(name): value for name, value in inner.items()}


def load_checkpoint(path: str | os.PathLike, owner: str) -> dict[str, Tensor]:
    """Read an official checkpoint file without running any code in it and without reading it into memory as a whole.

    The tensors are mapped from the file: what is never touched, such as the optimiser's state, costs no memory.

    Raises:
        ValueError: if the file is truncated, is no PyTorch file, or holds pickled objects other than tensors.
    """
    try:
        checkpoint = torch.load(Path(path), map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        reason = str(error).split("\n")[0]
        raise ValueError(
            f"{path} holds pickled objects that are not tensors; refused to run them. ({reason})"
        ) from None
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"{path} is not a readable PyTorch checkpoint: truncated or damaged? ({reason})") from None
    return tensors_of(checkpoint, f"{owner} ({path})")


def size_of(state_dict: StateDict, name: str, owner: str, dimensions: int = 2) -> torch.Size:
    """The shape of an official tensor from which sizes are read.

    Raises:
        ValueError: if there is no such tensor, or it has another number of dimensions.
    """
    if name not in state_dict:
        held = sorted(state_dict)
        raise ValueError(
            f"This is not the state dict of an official {owner}: '{name}' is missing. "
            f"It holds {_listed(held)}. Is it the checkpoint of another model?"
        )
    shape = state_dict[name].shape
    if len(shape) != dimensions:
        raise ValueError(f"'{name}' of the {owner} must have {dimensions} dimensions; its shape is {tuple(shape)}.")
    return shape


def check_state(state_dict: StateDict, sources: Iterable[Source], owner: str, unused: Iterable[str] = ()) -> None:
    """See that a state dict holds exactly what the sources name.

    Args:
        state_dict: official names to tensors.
        sources: where our parameters lie.
        owner: what the state dict belongs to; the message names it.
        unused: beginnings of official names that may be there and are not needed.

    Raises:
        ValueError: if a tensor is missing, unexpected or misshapen; the message names all of them.
    """
    expected = {source.name: source.shape for source in sources}
    missing = sorted(set(expected) - set(state_dict))
    unexpected = sorted(name for name in set(state_dict) - set(expected) if not name.startswith(tuple(unused)))
    misshapen = [
        f"{name} must be {shape} and is {tuple(state_dict[name].shape)}"
        for name, shape in expected.items()
        if name in state_dict and tuple(state_dict[name].shape) != shape
    ]
    found = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
    problems = "; ".join(f"{kind}: {_listed(names)}" for kind, names in found.items() if names)
    if problems:
        raise ValueError(f"The state dict does not fit an official {owner}. {problems}.")


class ConvertedState(Mapping[str, Tensor]):
    """Our parameters by our names, each cut out of the official tensors when it is asked for.

    Args:
        tensors: official names to tensors.
        sources: our names to where the parameters lie; None stands for zeros.
        model: a model of ours, on any device, for names and shapes.
    """

    def __init__(self, tensors: StateDict, sources: Mapping[str, Source | None], model: nn.Module):
        self._tensors = tensors
        self._sources = sources
        self._shapes = {name: value.shape for name, value in model.state_dict().items()}

    def __getitem__(self, name: str) -> Tensor:
        source, shape = self._sources[name], self._shapes[name]
        if source is None:
            return torch.zeros(()).expand(shape)
        return self._tensors[source.name][source.rows].reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


@torch.no_grad()
def copy_state(model: nn.Module, state: StateDict) -> None:
    """Copy converted parameters into a model of ours, one after the other."""
    for name, parameter in model.state_dict().items():
        parameter.copy_(state[name])


def _listed(names: list[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
