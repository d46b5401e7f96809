"""PSSL, personalised style space learning: from a listener's past facial behaviour to a style (equation 5)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from ..behaviour import CLIP_FRAMES, COEFFICIENT_CHANNELS
from .positions import sinusoidal_positions
from .standardisation import Standardiser


# Change from one frame to the next is about half as large as the place itself.
CHANGE_SCALE = 2.0


@strict
class PSSLConfig(PreTrainedConfig):
    """Configuration of `PSSLModel`; the defaults are the official sizes.

    Args:
        coefficient_channels: channels of the 3DMM coefficients.
        hidden_size: width of the transformer.
        num_hidden_layers: number of its layers.
        num_attention_heads: heads of each layer.
        intermediate_size: inner width of the feed-forward blocks.
        style_size: width of the style.
        dropout: dropout probability while training.
        max_frames: longest piece of a history that is read at once. A longer one is read in pieces of equal length
            whose styles are averaged.
        movement: whether it reads movement alone: each piece without its own mean, so that neither a resting face nor
            the camera's place counts (equation 6 asks for a style free of identity), in standard scores, beside its
            change from frame to frame and the size of both, as people differ in how much and how fast each part of
            their face moves. The official model reads the coefficients as they are.
    """

    model_type = "perfrdiff_pssl"

    coefficient_channels: int = COEFFICIENT_CHANNELS
    hidden_size: int = 512
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    intermediate_size: int = 1024
    style_size: int = 512
    dropout: float = 0.1
    max_frames: int = CLIP_FRAMES
    movement: bool = False


@dataclass
class PSSLOutput(ModelOutput):
    """The style of each history.

    Args:
        style: `(batch, style_size)`, the projection with unit norm: p of equations 5 and 7.
        features: `(batch, hidden_size)`, the class token's output, which the "Input p" variant uses (table 3).
    """

    style: Tensor | None = None
    features: Tensor | None = None


class StyleEncoderLayer(nn.TransformerEncoderLayer):
    """A post-norm layer for the first tokens alone: of the last layer, the class token is all that is read."""

    def forward(self, tokens: Tensor, num_first: int) -> Tensor:  # type: ignore[override]
        """The first tokens `(batch, num_first, width)` after the layer, of all `(batch, tokens, width)`."""
        # Never the same object as the keys: for those PyTorch takes a way of its own, which is slower on processors.
        first = tokens[:, :num_first]
        attended = self.self_attn(first, tokens, tokens, need_weights=False)[0]
        hidden = self.norm1(first + self.dropout1(attended))
        widened = self.dropout(self.activation(self.linear1(hidden)))
        return self.norm2(hidden + self.dropout2(self.linear2(widened)))


class PSSLModel(PreTrainedModel):
    """A transformer encoder with a class token over the frames of a history, and a projection head."""

    config_class = PSSLConfig
    config: PSSLConfig
    main_input_name = "coefficients"
    _no_split_modules = ["StyleEncoderLayer"]

    def __init__(self, config: PSSLConfig):
        super().__init__(config)
        self.standardiser = Standardiser(config.coefficient_channels) if config.movement else None
        self.embedding = nn.Linear(config.coefficient_channels * (4 if config.movement else 1), config.hidden_size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        layer = StyleEncoderLayer(
            config.hidden_size,
            config.num_attention_heads,
            config.intermediate_size,
            config.dropout,
            batch_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, config.num_hidden_layers, enable_nested_tensor=False)
        self.dropout = nn.Dropout(config.dropout)
        self.projection = nn.Sequential(
            nn.Linear(config.hidden_size, config.hidden_size),
            nn.ReLU(),
            nn.Linear(config.hidden_size, config.style_size),
        )
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # PyTorch's own defaults, as in the official implementation; transformers would draw N(0, 0.02).
        if isinstance(module, nn.Linear):
            init.kaiming_uniform_(module.weight, a=math.sqrt(5))
            bound = module.in_features**-0.5
            init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, nn.MultiheadAttention):
            init.xavier_uniform_(module.in_proj_weight)
            init.zeros_(module.in_proj_bias)
        elif isinstance(module, PSSLModel):
            init.zeros_(module.class_token)

    def forward(self, coefficients: Tensor, return_dict: bool | None = None) -> PSSLOutput | tuple:
        """Read the style from a history.

        Args:
            coefficients: `(batch, frames, 58)`, mean face removed, any number of frames.
            return_dict: return a `PSSLOutput` rather than a tuple.

        Raises:
            ValueError: if the shape is wrong or there is no frame.
        """
        if coefficients.dim() != 3 or coefficients.shape[-1] != self.config.coefficient_channels:
            expected = ("batch", "frames", self.config.coefficient_channels)
            raise ValueError(f"coefficients must have shape {expected}; given: {tuple(coefficients.shape)}.")
        frames = coefficients.shape[1]
        if not frames:
            raise ValueError("coefficients must hold at least one frame; given: an empty history.")
        pieces = torch.tensor_split(coefficients, math.ceil(frames / self.config.max_frames), dim=1)
        features = torch.stack([self._class_features(piece) for piece in pieces])
        style = F.normalize(F.normalize(self.projection(features), dim=-1).mean(dim=0), dim=-1)
        output = PSSLOutput(style=style, features=features.mean(dim=0))
        return output if return_dict is not False else output.to_tuple()

    def _class_features(self, coefficients: Tensor) -> Tensor:
        if self.standardiser is not None:
            coefficients = _movement(self.standardiser(coefficients))
        tokens = self.embedding(coefficients)
        tokens = torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], dim=1)
        tokens = self.dropout(tokens + sinusoidal_positions(tokens.shape[1], tokens.shape[2]).to(tokens))
        *layers, last = self.encoder.layers
        for layer in layers:
            tokens = layer(tokens, tokens.shape[1])
        return last(tokens, 1)[:, 0]


def _movement(scores: Tensor) -> Tensor:
    """What a face does, `(batch, frames, 4 channels)`: where it is, how it changes, and the size of both."""
    place = scores - scores.mean(dim=1, keepdim=True)
    change = CHANGE_SCALE * torch.diff(scores, dim=1, prepend=scores[:, :1])
    return torch.cat([place, change, place.abs(), change.abs()], dim=-1)


# From here on `AutoModel.from_pretrained` knows the model.
AutoConfig.register(PSSLConfig.model_type, PSSLConfig, exist_ok=True)
AutoModel.register(PSSLConfig, PSSLModel, exist_ok=True)
