"""PWSG, personalised weight shift generation: from a style to shifts of chosen GAFRG layers (equation 7).

Two heads. `"full"` is the paper's: one dense branch for each edited layer, which gives every entry of its weight
matrix (1.6 billion parameters at the official size). `"low_rank"` is ours: for each layer a learned pair of bases that
all listeners share, and between them a small matrix that the style decides, `up @ core(style) @ down`. It has 0.2 % of
the parameters, and gives shifts of exactly zero before training.
"""

from __future__ import annotations

import math
from dataclasses import field
from itertools import pairwise
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init

from .weight_shifts import SHIFT_MODES, FullShift, LayerShift, LowRankShift, WeightShifts


SHIFT_TYPES = ("full", "low_rank")

# Table 4's best row: the mapping layer, and the cross-attention of layers 4 and 6. First in the words of the table, as
# `GAFRGTransformer1DModel.editable_layers` takes them, then layer by layer at the official sizes.
OFFICIAL_EDIT: dict[str, Any] = {"components": ["cross_attention", "mapping"], "layers": [4, 6]}
OFFICIAL_EDITED_LAYERS = {
    "mapping": [25, 512],
    **{f"layers.{layer}.cross_attention.to_{part}": [512, 512] for layer in OFFICIAL_EDIT["layers"] for part in "qkv"},
}


@strict
class PWSGConfig(PreTrainedConfig):
    """Configuration of `PWSGModel`; the defaults are the official sizes and the paper's full shifts.

    Args:
        style_size: width of the style.
        hidden_size: width of the trunk.
        num_hidden_layers: layers of the trunk.
        edited_layers: name of each edited linear layer of the denoiser to its `[out_features, in_features]`; see
            `GAFRGTransformer1DModel.editable_layers`.
        shift_type: `"full"` (paper) or `"low_rank"`.
        shift_mode: `"shift"` W + dW, `"offset"` W * (1 + dW), or `"weight"` dW alone; the latter two are full only.
        rank: rank of a low-rank shift.
    """

    model_type = "perfrdiff_pwsg"

    style_size: int = 512
    hidden_size: int = 1024
    num_hidden_layers: int = 2
    edited_layers: dict[str, list[int]] = field(default_factory=lambda: dict(OFFICIAL_EDITED_LAYERS))
    shift_type: str = "full"
    shift_mode: str = "shift"
    rank: int = 16

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        # Config files are written with sorted keys, and the heads stand in the order of the layers.
        self.edited_layers = dict(sorted(self.edited_layers.items()))
        if self.shift_type not in SHIFT_TYPES:
            raise ValueError(f"shift_type must be one of {SHIFT_TYPES}; given: {self.shift_type!r}.")
        if self.shift_mode not in SHIFT_MODES:
            raise ValueError(f"shift_mode must be one of {SHIFT_MODES}; given: {self.shift_mode!r}.")
        if self.shift_type == "low_rank" and self.shift_mode != "shift":
            raise ValueError(f"shift_mode must be 'shift' for low-rank shifts; given: {self.shift_mode!r}.")
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1; given: {self.rank}.")


class FullShiftHead(nn.Module):
    """The paper's branch: one dense layer from the trunk to all entries of one weight matrix."""

    def __init__(self, hidden_size: int, layer_shape: tuple[int, int], mode: str):
        super().__init__()
        self.layer_shape = layer_shape
        self.mode = mode
        self.delta = nn.Linear(hidden_size, math.prod(layer_shape))

    def forward(self, hidden: Tensor) -> LayerShift:
        return FullShift(self.delta(hidden).unflatten(-1, self.layer_shape), mode=self.mode)


class LowRankShiftHead(nn.Module):
    """Bases shared by all listeners, and the listener's own small matrix between them."""

    def __init__(self, hidden_size: int, layer_shape: tuple[int, int], rank: int):
        super().__init__()
        out_features, in_features = layer_shape
        self.rank = rank
        self.down = nn.Parameter(torch.empty(rank, in_features))
        self.up = nn.Parameter(torch.empty(out_features, rank))
        self.core = nn.Linear(hidden_size, rank * rank)

    def forward(self, hidden: Tensor) -> LayerShift:
        core = self.core(hidden).unflatten(-1, (self.rank, self.rank))
        return LowRankShift(down=self.down.expand(len(hidden), -1, -1), up=self.up @ core)


class PWSGModel(PreTrainedModel):
    """A trunk over the style and one head for each edited layer."""

    config_class = PWSGConfig
    config: PWSGConfig
    main_input_name = "style"
    _no_split_modules = ["FullShiftHead", "LowRankShiftHead"]

    def __init__(self, config: PWSGConfig):
        super().__init__(config)
        sizes = [config.style_size, *[config.hidden_size] * config.num_hidden_layers]
        self.trunk = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        shapes = config.edited_layers.values()
        self.heads = nn.ModuleList(self._head((rows, columns)) for rows, columns in shapes)
        self.post_init()

    def _head(self, layer_shape: tuple[int, int]) -> nn.Module:
        if self.config.shift_type == "full":
            return FullShiftHead(self.config.hidden_size, layer_shape, self.config.shift_mode)
        return LowRankShiftHead(self.config.hidden_size, layer_shape, self.config.rank)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            # PyTorch's own default, as in the official implementation; transformers would draw N(0, 0.02).
            init.kaiming_uniform_(module.weight, a=math.sqrt(5))
            bound = module.in_features**-0.5
            init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, LowRankShiftHead):
            init.normal_(module.down, std=module.down.shape[1] ** -0.5)
            init.normal_(module.up, std=module.rank**-0.5)
            # The shift begins at exactly zero, and the core still receives gradients through both bases.
            init.zeros_(module.core.weight)
            init.zeros_(module.core.bias)

    def forward(self, style: Tensor) -> WeightShifts:
        """The weight shifts of a batch of listeners.

        Args:
            style: `(listeners, style_size)` with unit norm.

        Raises:
            ValueError: if the shape is wrong.
        """
        if style.dim() != 2 or style.shape[1] != self.config.style_size:
            expected = ("listeners", self.config.style_size)
            raise ValueError(f"style must have shape {expected}; given: {tuple(style.shape)}.")
        hidden = style
        if self.config.shift_type == "low_rank":
            # Entries of a unit vector are tiny; at unit variance the trunk sees listeners apart from the start.
            hidden = hidden * self.config.style_size**0.5
        for layer in self.trunk:
            hidden = torch.relu(layer(hidden))
        return WeightShifts({name: head(hidden) for name, head in zip(self.config.edited_layers, self.heads)})


# From here on `AutoModel.from_pretrained` knows the model.
AutoConfig.register(PWSGConfig.model_type, PWSGConfig, exist_ok=True)
AutoModel.register(PWSGConfig, PWSGModel, exist_ok=True)
