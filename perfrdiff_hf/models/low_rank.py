"""The best low-rank stand-in for a full PWSG: what a small weight-shift generator can keep of a large one.

A low-rank head gives `up @ core(h) @ down`, with bases that all listeners share. Over all listeners together, the
shifts of a full head form a tensor (listeners x rows x columns), and such a head is a Tucker decomposition of it that
leaves the listeners as they are. The bases come from the higher-order singular value decomposition, refined by
alternating between the two sides; for given bases the best core is the projection of the full head's own weights, so
the trunk stays as it is and no training is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .pwsg import LowRankShiftHead, PWSGConfig, PWSGModel


NUM_STYLES = 256
REFINEMENTS = 3


@dataclass(frozen=True)
class LowRankError:
    """What is lost of one layer's shifts, on styles that were not used for the bases.

    Args:
        shift: norm of the lost part of the shifts, over their norm.
        personal: the same for what tells listeners apart, the shifts without their mean.
    """

    shift: float
    personal: float


def check_low_rank(config: PWSGConfig, rank: int) -> None:
    """See that a low-rank stand-in is to be had.

    Raises:
        ValueError: if not; the message says why.
    """
    if rank < 1:
        raise ValueError(f"The rank must be at least 1; given: {rank}.")
    if config.shift_mode != "shift":
        raise ValueError(
            f"A low-rank approximation can't be had of shifts of mode '{config.shift_mode}': 'offset' multiplies the "
            "weights entry by entry and 'weight' replaces them, and neither change has a low rank. Leave it out."
        )


@torch.no_grad()
def low_rank_pwsg(
    config: PWSGConfig, state: Mapping[str, Tensor], rank: int, styles: Tensor | None = None
) -> tuple[PWSGModel, dict[str, LowRankError]]:
    """Approximate a full PWSG by one with low-rank heads.

    Args:
        config: of the full PWSG.
        state: parameters of the full PWSG by name; one head is read at a time.
        rank: rank of the shifts.
        styles: `(listeners, style_size)` styles for which the approximation should be good, at least 4; the best
            ones are those of real listeners. None draws unit vectors in all directions.

    Returns:
        The low-rank model in eval mode, and for each edited layer what is lost.

    Raises:
        ValueError: if the shifts are not of mode `"shift"`, the rank is below 1, or there are too few styles.
    """
    check_low_rank(config, rank)
    if styles is None:
        generator = torch.Generator().manual_seed(0)
        styles = F.normalize(torch.randn(NUM_STYLES, config.style_size, generator=generator), dim=1)
    if styles.dim() != 2 or len(styles) < 4 or styles.shape[1] != config.style_size:
        raise ValueError(f"styles must have shape (4 or more, {config.style_size}); given: {tuple(styles.shape)}.")
    model = PWSGModel(PWSGConfig(**{**_sizes(config), "shift_type": "low_rank", "rank": rank}))
    trunk = {name: state[name].float() for name in state if name.startswith("trunk.")}
    hidden = styles
    for layer in range(config.num_hidden_layers):
        hidden = torch.relu(F.linear(hidden, trunk[f"trunk.{layer}.weight"], trunk[f"trunk.{layer}.bias"]))
    # A low-rank PWSG multiplies the style by this factor first.
    trunk["trunk.0.weight"] = trunk["trunk.0.weight"] * config.style_size**-0.5
    model.load_state_dict(trunk, strict=False)

    errors = {}
    for index, (name, shape) in enumerate(config.edited_layers.items()):
        weight = state[f"heads.{index}.delta.weight"].float()
        bias = state[f"heads.{index}.delta.bias"].float()
        shifts = F.linear(hidden, weight, bias).unflatten(1, shape)
        up, down = _bases(shifts[0::2], rank)
        errors[name] = _error(shifts[1::2], up, down)
        del shifts
        _fill_head(model.heads[index], up, down, weight, bias)
    return model.eval(), errors


def _sizes(config: PWSGConfig) -> dict:
    names = ("style_size", "hidden_size", "num_hidden_layers", "edited_layers")
    return {name: getattr(config, name) for name in names}


def _bases(shifts: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Orthonormal bases `(rows, rank)` and `(columns, rank)` that keep most of shifts `(listeners, rows, columns)`."""
    up = _leading(shifts, rank)
    down = _leading(shifts.mT, rank)
    for _ in range(REFINEMENTS):
        up = _leading(shifts @ down, rank)
        down = _leading((up.T @ shifts).mT, rank)
    return up, down


def _leading(matrices: Tensor, rank: int) -> Tensor:
    """The leading left singular vectors of all matrices side by side."""
    gram = torch.einsum("nij,nkj->ik", matrices, matrices).double()
    return torch.linalg.eigh(gram).eigenvectors.flip(1)[:, :rank].to(matrices)


def _error(shifts: Tensor, up: Tensor, down: Tensor) -> LowRankError:
    def lost(matrices: Tensor) -> float:
        kept = up @ (up.T @ matrices @ down) @ down.T
        norm = matrices.norm()
        return float((matrices - kept).norm() / norm) if norm else 0.0

    return LowRankError(shift=lost(shifts), personal=lost(shifts - shifts.mean(0)))


def _fill_head(head: nn.Module, up: Tensor, down: Tensor, weight: Tensor, bias: Tensor) -> None:
    assert isinstance(head, LowRankShiftHead)
    rows, rank = up.shape
    columns, rank_down = down.shape
    # Rows first, so that the largest tensor in between is no larger than rank x columns x hidden.
    core = torch.einsum("rjk,js->rsk", (up.T @ weight.view(rows, -1)).view(rank, columns, -1), down)
    # A layer with fewer rows or columns than the rank leaves the rest of the bases at zero.
    head.up.zero_()[:, :rank] = up
    head.down.zero_()[:rank_down] = down.T
    head.core.weight.zero_().view(head.rank, head.rank, -1)[:rank, :rank_down] = core
    head.core.bias.zero_().view(head.rank, head.rank)[:rank, :rank_down] = up.T @ bias.view(rows, columns) @ down
