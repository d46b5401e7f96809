"""Which generator weight shifts belong to: digests of the weights that they change.

Shifts of one generator fit every other of the same sizes by name and shape, and give nonsense there. A digest of the
exact numbers tells them apart. As a model may be loaded in half precision, weights in full precision have a digest for
each precision that they can be rounded to, and two models are the same if they agree in one that both have.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import torch
from torch import Tensor


PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DIGEST_BYTES = 16


def weight_digests(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Digests of some weights: precision to hexadecimal digits.

    Args:
        weights: by name; their order does not matter.

    Returns:
        Of weights in half precision their own alone, of others one for each of `PRECISIONS`.
    """
    given = next(iter(weights.values())).dtype
    halves = {name: dtype for name, dtype in PRECISIONS.items() if dtype == given and dtype != torch.float32}
    return {name: _digest(weights, dtype) for name, dtype in (halves or PRECISIONS).items()}


def digests_agree(first: Mapping[str, str], second: Mapping[str, str]) -> bool:
    """Whether two sets of digests can be those of the same weights: true also where they share no precision."""
    shared = first.keys() & second.keys()
    return not shared or any(first[name] == second[name] for name in shared)


def _digest(weights: Mapping[str, Tensor], dtype: torch.dtype) -> str:
    digest = blake2b(digest_size=DIGEST_BYTES)
    for name in sorted(weights):
        values = weights[name].detach().to("cpu", dtype).contiguous()
        digest.update(f"{name} {tuple(values.shape)};".encode())
        digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()
