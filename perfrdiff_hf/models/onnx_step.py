"""A denoiser's step in ONNX Runtime: the same numbers, sooner where a processor generates (docs/live.md)."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from ..extras import require
from .gafrg import GAFRGOutput, GAFRGTransformer1DModel
from .gafrg_layers import ConditionCache
from .weight_shifts import WeightShifts


def use_onnx_runtime(denoiser: GAFRGTransformer1DModel, int8: bool = False) -> None:
    """Let a denoiser take its steps in ONNX Runtime from now on; `use_pytorch` ends it.

    All else stays as it is: pipelines, streams, listeners and saving do not notice. A step is exported when one of its
    shape (reactions, speakers, listeners, whether frames are shown) is taken for the first time, which takes some
    seconds, and anew when weights have changed. It computes with as many threads as PyTorch has then.

    Args:
        denoiser: on the processor, in float32.
        int8: multiply in integers of eight bits where one factor is a weight; what that changes in reactions is in
            docs/live.md. Else the difference to PyTorch is below 1e-4.

    Raises:
        ImportError: if `perfrdiff_hf[onnx]` is not installed.
        ValueError: if the denoiser is elsewhere or computes in something else.
    """
    require("onnx", "Steps in ONNX Runtime")
    _check_place(denoiser)
    vars(denoiser)["forward"] = ONNXStep(denoiser, int8)


def use_pytorch(denoiser: GAFRGTransformer1DModel) -> None:
    """Let a denoiser take its steps in PyTorch, as every denoiser does at first."""
    vars(denoiser).pop("forward", None)


class ONNXStep:
    """What stands in the place of a denoiser's `forward`; see `use_onnx_runtime`.

    Args:
        denoiser: whose step it is.
        int8: see `use_onnx_runtime`.
    """

    def __init__(self, denoiser: GAFRGTransformer1DModel, int8: bool):
        self.denoiser = denoiser
        self.int8 = int8
        self._sessions: dict[Any, Any] = {}
        self._seen: list[tuple[int, int]] = []
        self._held: list[Tensor] = []

    def __call__(
        self,
        hidden_states: Tensor,
        timestep: Tensor | int,
        encoder_hidden_states: Tensor | ConditionCache,
        weight_shifts: WeightShifts | None = None,
        return_dict: bool = True,
        shown: Tensor | None = None,
    ) -> GAFRGOutput | tuple[Tensor]:
        """See `GAFRGTransformer1DModel.forward`.

        Raises:
            RuntimeError: if gradients are wanted.
            ValueError: as `forward` does, and if the denoiser was moved or converted.
        """
        if torch.is_grad_enabled():
            raise RuntimeError("Steps in ONNX Runtime have no gradients: call under torch.no_grad(), or use_pytorch.")
        _check_place(self.denoiser)
        cache = encoder_hidden_states
        if not isinstance(cache, ConditionCache):
            cache = self.denoiser.cache_condition(cache, weight_shifts)
        self.denoiser.check_step(hidden_states, cache, weight_shifts, shown)
        timesteps = torch.as_tensor(timestep, dtype=torch.long).reshape(-1).expand(cache.num_conditions)
        told = StepArguments(hidden_states, timesteps, cache, weight_shifts, shown)
        feed = {f"input_{place}": tensor.numpy() for place, tensor in enumerate(told.tensors())}
        sample = torch.from_numpy(self._session(told).run(None, feed)[0])
        return GAFRGOutput(sample=sample) if return_dict else (sample,)

    def __deepcopy__(self, memo: dict[int, Any]) -> ONNXStep:
        """A copied denoiser exports its own steps: sessions cannot be copied."""
        return ONNXStep(copy.deepcopy(self.denoiser, memo), self.int8)

    def _session(self, told: StepArguments) -> Any:
        weights = list(self.denoiser.parameters())
        seen = [(weight.data_ptr(), weight._version) for weight in weights]
        if seen != self._seen:
            # While the old ones are held, no new ones lie in their place.
            self._sessions, self._seen, self._held = {}, seen, [weight.data for weight in weights]
        if told.layout not in self._sessions:
            self._sessions[told.layout] = new_session(self.denoiser, told, self.int8)
        return self._sessions[told.layout]


@dataclass(frozen=True)
class StepArguments:
    """Those of `GAFRGTransformer1DModel.forward`, and the tensors in them in one order, as a graph takes them."""

    hidden_states: Tensor
    timesteps: Tensor
    cache: ConditionCache
    weight_shifts: WeightShifts | None
    shown: Tensor | None

    def map(self, function: Callable[[Tensor], Tensor]) -> StepArguments:
        """The same with `function` applied to every tensor, always in the same order."""
        return StepArguments(
            function(self.hidden_states),
            function(self.timesteps),
            self.cache.map(function),
            None if self.weight_shifts is None else self.weight_shifts.map(function),
            None if self.shown is None else function(self.shown),
        )

    def tensors(self) -> list[Tensor]:
        """All tensors, in the order of `map`."""
        found: list[Tensor] = []

        def keep(tensor: Tensor) -> Tensor:
            found.append(tensor)
            return tensor

        self.map(keep)
        return found

    @property
    def layout(self) -> tuple[Any, ...]:
        """What the arguments of two steps must share to be taken by the same graph."""
        shifts = None if self.weight_shifts is None else self.weight_shifts.layout
        return (shifts, self.shown is None, *(tuple(tensor.shape) for tensor in self.tensors()))


class FlatStep(nn.Module):
    """A denoiser's step as a function of tensors alone.

    Args:
        denoiser: whose step it is.
        like: arguments of the layout that it takes.
    """

    def __init__(self, denoiser: GAFRGTransformer1DModel, like: StepArguments):
        super().__init__()
        self.denoiser = denoiser
        self.like = like

    def forward(self, *tensors: Tensor) -> Tensor:
        """From the tensors of `StepArguments` to the predicted window."""
        rest = iter(tensors)
        told = self.like.map(lambda _: next(rest))
        output = GAFRGTransformer1DModel.forward(
            self.denoiser, told.hidden_states, told.timesteps, told.cache, told.weight_shifts, shown=told.shown
        )
        assert isinstance(output, GAFRGOutput)
        return output.sample


def new_session(denoiser: GAFRGTransformer1DModel, like: StepArguments, int8: bool) -> Any:
    """A session of ONNX Runtime that takes a denoiser's steps with arguments of such a layout."""
    import onnxruntime

    tensors = tuple(tensor.contiguous() for tensor in like.tensors())
    names = [f"input_{place}" for place in range(len(tensors))]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that wait by spinning would be in the way of PyTorch's, which compute in turn with them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with TemporaryDirectory() as folder, _quiet():
        path = Path(folder, "step.onnx")
        step = FlatStep(denoiser, like).eval()
        torch.onnx.export(step, tensors, path, input_names=names, dynamo=True, verbose=False)
        if int8:
            path = in_int8(path)
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def in_int8(path: Path) -> Path:
    """The graph of a file in one beside it, with matrix products in eight bits where one factor is a weight."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    output = path.with_stem(f"{path.stem}_int8")
    quantize_dynamic(path, output, weight_type=QuantType.QInt8)
    return output


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what exporters say of libraries that nobody asked for."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _check_place(denoiser: GAFRGTransformer1DModel) -> None:
    if denoiser.device.type != "cpu" or denoiser.dtype != torch.float32:
        raise ValueError(
            f"denoiser must be on the processor and in float32 for ONNX Runtime; given: {denoiser.device} and "
            f"{denoiser.dtype}. Bring it there with denoiser.to('cpu', torch.float32), or go on with use_pytorch."
        )
