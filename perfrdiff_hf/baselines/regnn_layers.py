"""The layers of REGNN: attention between sequences, and the invertible step along a graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..behaviour import EMOTION_CHANNELS


INVERSE_STEPS = 20
# A channel that hardly ever moves is not blown up: emotion lies within [-1, 1].
LEAST_SPREAD = 0.05


class AttentionLayer(nn.Module):
    """A pre-norm transformer layer whose keys come from itself or from another sequence.

    Args:
        width: of both.
        num_heads: of the attention.
    """

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, num_heads, batch_first=True)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, values: Tensor, keys: Tensor | None = None) -> Tensor:
        """Both `(batch, frames, width)`; None: the values are their own keys."""
        queries = self.attention_norm(values)
        read = queries if keys is None else self.attention_norm(keys)
        values = values + self.dropout(self.attention(queries, read, read, need_weights=False)[0])
        inner = self.dropout(functional.relu(self.widen(self.feed_forward_norm(values))))
        return values + self.dropout(self.narrow(inner))


class MotorLayer(nn.Module):
    """An invertible step: each channel scaled and shifted, then a bounded amount of its neighbours added.

    Args:
        window_size: features of a node.
        edge_channels: kinds of edges.
    """

    def __init__(self, window_size: int, edge_channels: int):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(EMOTION_CHANNELS))
        self.shift = nn.Parameter(torch.zeros(EMOTION_CHANNELS))
        self.mixture = nn.Parameter(torch.ones(edge_channels))
        self.to_query = nn.Linear(window_size, window_size)
        self.to_key = nn.Linear(window_size, window_size)

    @torch.no_grad()
    def fit(self, nodes: Tensor) -> None:
        """Scale and shift such that nodes `(batch, 25, frames)` get mean 0 and spread 1 in each channel."""
        mean, spread = nodes.mean(dim=(0, 2)), nodes.std(dim=(0, 2)).clamp(min=LEAST_SPREAD)
        self.shift.copy_(-mean)
        self.log_scale.copy_(-spread.log())

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        """`(batch, 25, frames)` along edges `(batch, edge_channels, 25, 25)`."""
        scaled = (nodes + self.shift[:, None]) * self.log_scale.exp()[:, None]
        return scaled + self._message(scaled, edges)

    def inverse(self, nodes: Tensor, edges: Tensor) -> Tensor:
        """What `forward` made these of; a fixed number of steps, so that no clip depends on the others of a batch."""
        scaled = nodes
        for _ in range(INVERSE_STEPS):
            scaled = nodes - self._message(scaled, edges)
        return scaled * (-self.log_scale).exp()[:, None] - self.shift[:, None]

    def _message(self, scaled: Tensor, edges: Tensor) -> Tensor:
        """Below a fifth in every value, since rows of the graph add up to 1."""
        states = torch.sigmoid(functional.elu(scaled))
        root = states.shape[-1] ** 0.5
        attention = (self.to_query(states) @ self.to_key(states).transpose(1, 2) / root).softmax(dim=-1)
        graphs = attention[:, None] * edges
        graphs = graphs / graphs.sum(dim=-1, keepdim=True).clamp(min=1e-8)
        weights = self.mixture / self.mixture.sum()
        graph = (weights[:, None, None] * graphs).sum(dim=1)
        product = self.to_query.weight @ self.to_key.weight.T
        identity = torch.eye(len(product), device=product.device, dtype=product.dtype)
        bound = torch.linalg.matrix_norm(identity + 2 * product / root, ord=2) + 5
        return graph @ states / bound
