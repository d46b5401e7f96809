"""Filling in masked tokens in rounds, the surest first (MaskGIT), with noise that is given."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def fill_in(
    predict: Callable[[Tensor, Tensor], list[Tensor]],
    noise: Callable[[], Tensor],
    shape: tuple[int, int, int],
    steps: int,
    temperature: float,
    top_k: int,
    top_p: float,
) -> Tensor:
    """Tokens `(batch, frames, kinds)`, all of which are unknown at first.

    After round `s` of `S`, all but `round(kinds * frames * cos(s pi / 2 S))` are settled: those whose choice was the
    likeliest, over all kinds together.

    Args:
        predict: from tokens, and which are masked, to the logits of each kind, `(batch, frames, size)`.
        noise: gives standard normal noise of `shape`, in each round anew.
        shape: of the tokens.
        steps: rounds.
        temperature: see `choose`.
        top_k: see `choose`.
        top_p: see `choose`.
    """
    batch, frames, kinds = shape
    drawn = noise()
    tokens = torch.zeros(shape, dtype=torch.long, device=drawn.device)
    masked = torch.ones(shape, dtype=torch.bool, device=drawn.device)
    for step in range(1, steps + 1):
        drawn = noise() if step > 1 else drawn
        logits = predict(tokens, masked)
        chosen = [choose(one, drawn[..., kind], temperature, top_k, top_p) for kind, one in enumerate(logits)]
        words, sureness = (torch.stack(values, dim=-1) for values in zip(*chosen))
        tokens = torch.where(masked, words, tokens)
        sureness = sureness.masked_fill(~masked, torch.inf)
        open_tokens = round(kinds * frames * math.cos(step * math.pi / (2 * steps))) if step < steps else 0
        ranks = sureness.flatten(1).argsort(dim=1, stable=True).argsort(dim=1)
        masked &= (ranks < open_tokens).unflatten(1, (frames, kinds))
    return tokens


def choose(logits: Tensor, noise: Tensor, temperature: float, top_k: int, top_p: float) -> tuple[Tensor, Tensor]:
    """Tokens that noise chooses, and their probabilities.

    Args:
        logits: `(..., size)`.
        noise: `(...)` standard normal.
        temperature: what the logits are divided by.
        top_k: only so many of the likeliest can be chosen,
        top_p: and of these only the fewest that make up so much of the probability.

    Returns:
        Both `(...)`.
    """
    probabilities, words = (logits / temperature).softmax(dim=-1).topk(min(top_k, logits.shape[-1]), dim=-1)
    probabilities = probabilities / probabilities.sum(dim=-1, keepdim=True)
    before = probabilities.cumsum(dim=-1) - probabilities
    probabilities = probabilities.masked_fill(before >= top_p, 0)
    probabilities = probabilities / probabilities.sum(dim=-1, keepdim=True)
    point = torch.special.ndtr(noise)[..., None].clamp(max=1 - 1e-6)
    place = (probabilities.cumsum(dim=-1) <= point).sum(dim=-1, keepdim=True)
    # Rounding must not lead beyond the last that can be chosen.
    place = torch.minimum(place, (probabilities > 0).sum(dim=-1, keepdim=True) - 1)
    return words.gather(-1, place)[..., 0], probabilities.gather(-1, place)[..., 0]
