"""The layers of GAFRG, and the keys and values of a condition that they share between steps and reactions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .weight_shifts import LayerShift, WeightShifts, shifted_linear


FRAME_CONDITIONS = ("audio", "coefficients", "speaker_emotion", "past_emotion")


@dataclass(frozen=True)
class ConditionCache:
    """Keys and values of a condition's tokens for every layer, each `(conditions, heads, tokens, head_size)`.

    `modulations`, with layers that have adaptive norms, `(conditions, 6, hidden)` each; else empty. `guidance`, of a
    student, the guidance scale as its time embedding takes it, `(conditions, time_channels)`; else empty.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    modulations: tuple[Tensor, ...] = ()
    guidance: tuple[Tensor, ...] = ()

    @property
    def num_conditions(self) -> int:
        return self.keys[0].shape[0]

    def map(self, function: Callable[[Tensor], Tensor]) -> ConditionCache:
        """The same cache with `function` applied to every tensor."""
        return ConditionCache(*(tuple(map(function, getattr(self, field.name))) for field in fields(self)))

    @classmethod
    def concatenate(cls, caches: Sequence[ConditionCache]) -> ConditionCache:
        """One cache of several: all conditions of the first, then all of the second, and so on."""
        return cls._join(caches, torch.cat)

    @classmethod
    def interleave(cls, caches: Sequence[ConditionCache]) -> ConditionCache:
        """One cache of several of equal size: first row of each, then second row of each, and so on."""
        return cls._join(caches, lambda tensors: torch.stack(tensors, dim=1).flatten(0, 1))

    @classmethod
    def _join(cls, caches: Sequence[ConditionCache], join: Callable[[tuple[Tensor, ...]], Tensor]) -> ConditionCache:
        of_each = ([getattr(cache, field.name) for cache in caches] for field in fields(cls))
        return cls(*(tuple(join(tensors) for tensors in zip(*some)) for some in of_each))


class GAFRGAttention(nn.Module):
    """Multi-head attention with one projection each for queries, keys and values, so that each can be shifted."""

    def __init__(self, hidden_size: int, num_heads: int, dropout: float):
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.to_q = nn.Linear(hidden_size, hidden_size)
        self.to_k = nn.Linear(hidden_size, hidden_size)
        self.to_v = nn.Linear(hidden_size, hidden_size)
        self.to_out = nn.Linear(hidden_size, hidden_size)

    def keys_values(self, tokens: Tensor, shifts: WeightShifts | None) -> tuple[Tensor, Tensor]:
        """`(rows, tokens, hidden)` to keys and values of `(rows, heads, tokens, head_size)`."""
        keys = shifted_linear(self.to_k, tokens, shift_of(shifts, "to_k"))
        values = shifted_linear(self.to_v, tokens, shift_of(shifts, "to_v"))
        return self._split_heads(keys), self._split_heads(values)

    def forward(self, hidden: Tensor, keys: Tensor, values: Tensor, shifts: WeightShifts | None) -> Tensor:
        """Attend from `hidden` `(rows, frames, hidden)`; rows that share keys and values stand together."""
        queries = shifted_linear(self.to_q, hidden, shift_of(shifts, "to_q"))
        # All rows that share a condition ask as one long row: the keys and values need no copies.
        queries = self._split_heads(queries.reshape(keys.shape[0], -1, hidden.shape[-1]))
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout)
        attended = attended.transpose(1, 2).reshape(hidden.shape)
        return shifted_linear(self.to_out, attended, shift_of(shifts, "to_out"))

    def _split_heads(self, tensor: Tensor) -> Tensor:
        return tensor.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class GAFRGLayer(nn.Module):
    """Self-attention over the window, cross-attention to the condition, feed-forward; each with a norm after it.

    With `adaptive_norm`, what the norms give is scaled and shifted, channel by channel, as a linear layer makes it of
    the style: FiLM (Perez et al., 2018) in the place of adaptive norms. Without a style, the norms are as they were.
    """

    def __init__(
        self, hidden_size: int, num_heads: int, feed_forward_size: int, dropout: float, adaptive_norm: bool = False
    ):
        super().__init__()
        self.self_attention = GAFRGAttention(hidden_size, num_heads, dropout)
        self.cross_attention = GAFRGAttention(hidden_size, num_heads, dropout)
        self.linear_1 = nn.Linear(hidden_size, feed_forward_size)
        self.linear_2 = nn.Linear(feed_forward_size, hidden_size)
        self.norm_1 = nn.LayerNorm(hidden_size)
        self.norm_2 = nn.LayerNorm(hidden_size)
        self.norm_3 = nn.LayerNorm(hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.modulation = nn.Linear(hidden_size, 6 * hidden_size, bias=False) if adaptive_norm else None

    def modulate(self, style_token: Tensor) -> Tensor:
        """What an adaptive norm does, `(conditions, 6, hidden)`, from the style's token `(conditions, hidden)`."""
        assert self.modulation is not None
        return self.modulation(style_token).unflatten(-1, (6, -1))

    def forward(
        self,
        hidden: Tensor,
        time_token: Tensor,
        keys: Tensor,
        values: Tensor,
        shifts: WeightShifts | None,
        modulation: Tensor | None = None,
    ) -> Tensor:
        norms = (self.norm_1, self.norm_2, self.norm_3)
        norm_1, norm_2, norm_3 = (partial(_normed, norm, place, modulation) for place, norm in enumerate(norms))
        self_shifts = shifts_within(shifts, "self_attention")
        cross_shifts = shifts_within(shifts, "cross_attention")

        own_keys, own_values = self.self_attention.keys_values(hidden, self_shifts)
        hidden = norm_1(hidden + self.dropout(self.self_attention(hidden, own_keys, own_values, self_shifts)))

        time_keys, time_values = self.cross_attention.keys_values(time_token, cross_shifts)
        keys = torch.cat([time_keys, keys], dim=2)
        values = torch.cat([time_values, values], dim=2)
        hidden = norm_2(hidden + self.dropout(self.cross_attention(hidden, keys, values, cross_shifts)))

        inner = self.dropout(F.gelu(shifted_linear(self.linear_1, hidden, shift_of(shifts, "linear_1"))))
        outer = shifted_linear(self.linear_2, inner, shift_of(shifts, "linear_2"))
        return norm_3(hidden + self.dropout(outer))


def _normed(norm: nn.LayerNorm, place: int, modulation: Tensor | None, hidden: Tensor) -> Tensor:
    """A norm of `(rows, frames, hidden)`; rows that share a condition stand together."""
    normed = norm(hidden)
    if modulation is None:
        return normed
    scale, shift = modulation[:, 2 * place, None, None], modulation[:, 2 * place + 1, None, None]
    by_condition = normed.unflatten(0, (len(modulation), -1))
    return (by_condition * (1 + scale) + shift).flatten(0, 1)


def is_framed(kind: str) -> bool:
    """Whether a kind of condition has a token for each frame; the others have one in all."""
    return kind in FRAME_CONDITIONS


def condition_projection(kind: str, width: int, hidden_size: int) -> nn.Module:
    """From the values of a kind of condition to its tokens."""
    if not is_framed(kind) and width == hidden_size:
        return nn.Identity()
    if is_framed(kind) or kind == "personal":
        return nn.Linear(width, hidden_size)
    return nn.Sequential(nn.ReLU(), nn.Linear(width, hidden_size))


def shifts_within(weight_shifts: WeightShifts | None, module: str) -> WeightShifts | None:
    return None if weight_shifts is None else weight_shifts.within(module)


def shift_of(weight_shifts: WeightShifts | None, layer: str) -> LayerShift | None:
    return None if weight_shifts is None else weight_shifts.get(layer)
