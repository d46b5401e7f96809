"""The searches behind FRCorr and FRdist on an accelerator, in float64 and to the same figures as on the CPU.

Every function here runs on any torch device that knows float64. What has no part in the cost (moments, which pairs to
compare, the choice among the distances) stays in NumPy. Inputs lie on the device as they are, beside them at most a
gigabyte or so: pairs are taken as many at a time as fit.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..inputs import CHANNEL_GROUPS, GROUP_WEIGHTS


# Float64 values in one operand (256 MB); about four such operands are alive at a time.
_OPERAND_VALUES = 2**25

# Distances that are equal but for the order of their sums must not rule each other out.
_ROUNDING = 1e-12


def nearest_on_device(
    predictions: np.ndarray, targets: np.ndarray, appropriate: np.ndarray, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Which appropriate target is nearest to each prediction in time, and how far it is.

    All pairs are warped by their valence and arousal. The nearest pair so far of each reaction is completed, and of
    the others only those that may still be nearer.

    Args:
        predictions: `(clips, reactions, frames, 25)` float32.
        targets: `(targets, frames, 25)` float32.
        appropriate: `(clips, targets)` bool, at least one True in each row.
        device: where to warp.

    Returns:
        `(clips, reactions)` int64 targets, and `(clips, reactions, 3)` float64 weighted distances to them in the
        order of `CHANNEL_GROUPS`.
    """
    clips, reactions = predictions.shape[:2]
    used = np.flatnonzero(appropriate.any(axis=0))
    pairs = np.argwhere(np.repeat(appropriate[:, used], reactions, axis=0))
    rows = pairs[:, 0]
    first_of_row = np.flatnonzero(np.diff(rows, prepend=-1))
    x = _pairs_last(predictions.reshape(-1, *predictions.shape[2:]), device)
    y = _pairs_last(targets[used], device)
    distances = {name: np.full(len(pairs), np.inf) for name in CHANNEL_GROUPS}

    def measure(name: str, chosen: np.ndarray) -> None:
        part = CHANNEL_GROUPS[name]
        distances[name][chosen] = GROUP_WEIGHTS[name] * np.sqrt(_costs(x[:, part], y[:, part], pairs[chosen]))

    def smallest(values: np.ndarray) -> np.ndarray:
        """The smallest value among the pairs of the same reaction, `(pairs,)`."""
        return np.minimum.reduceat(values, first_of_row)[rows]

    measure("valence arousal", np.arange(len(pairs)))
    promising = distances["valence arousal"] == smallest(distances["valence arousal"])
    limit = np.full(len(pairs), np.inf)
    for chosen in (promising, ~promising):
        known = distances["valence arousal"]
        for name in ("expressions", "action units"):
            measure(name, np.flatnonzero(chosen & (known <= limit)))
            known = known + distances[name]
        limit = smallest(known) * (1 + _ROUNDING)

    parts = np.stack(list(distances.values()), axis=1)
    total = parts.sum(axis=1)
    equal = np.flatnonzero(total == smallest(total))
    winners = equal[np.unique(rows[equal], return_index=True)[1]]
    nearest = used[pairs[winners, 1]].reshape(clips, reactions)
    return nearest, parts[winners].reshape(clips, reactions, len(CHANNEL_GROUPS))


def most_concordant_on_device(
    predictions: np.ndarray,
    targets: np.ndarray,
    appropriate: np.ndarray,
    moments: tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]],
    device: torch.device,
) -> tuple[np.ndarray, np.ndarray]:
    """Which appropriate target is most concordant with each prediction, and how concordant each channel is.

    Args:
        predictions: `(clips, reactions, frames, channels)` float32.
        targets: `(targets, frames, channels)` float32.
        appropriate: `(clips, targets)` bool, at least one True in each row.
        moments: of all reactions in turn and of the targets: float32 mean, variance and deviation, each `(items,
            channels)`. They are the official float32 sums, whose order a device does not keep.
        device: where to multiply.

    Returns:
        `(clips, reactions)` int64 targets, and `(clips, reactions, channels)` float64 concordances with them.
    """
    clips, reactions, _, channels = predictions.shape
    used = np.flatnonzero(appropriate.any(axis=0))
    everything = predictions.reshape(-1, *predictions.shape[2:])
    allowed = np.repeat(appropriate[:, used], reactions, axis=0)
    y = _standardised(targets[used], device)
    moments_y = [torch.from_numpy(m[used]).to(device).T[:, None] for m in moments[1]]
    nearest, best = [], []
    size = max(1, _OPERAND_VALUES // (channels * max(len(used), predictions.shape[2])))
    for start in range(0, len(everything), size):
        block = slice(start, start + size)
        moments_x = [torch.from_numpy(m[block]).to(device).T[:, :, None] for m in moments[0]]
        correlation = (_standardised(everything[block], device) @ y.mT).clamp(-1, 1)
        concordance = _concordance(correlation, moments_x, moments_y)
        forbidden = torch.from_numpy(~allowed[block]).to(device)
        choice = concordance.mean(dim=0).masked_fill(forbidden, -torch.inf).argmax(dim=1)
        nearest.append(choice.cpu().numpy())
        best.append(concordance[:, torch.arange(len(choice), device=device), choice].T.cpu().numpy())
    found = used[np.concatenate(nearest)].reshape(clips, reactions)
    return found, np.concatenate(best).reshape(clips, reactions, channels)


def warping_costs(x: Tensor, y: Tensor) -> Tensor:
    """Costs of pairs under dynamic time warping, one anti-diagonal of all pairs after the other.

    Args:
        x: `(frames, channels, pairs)` float64.
        y: the other side of each pair, of the same shape.

    Returns:
        `(pairs,)`, the smallest sum of squared distances along a path of steps (1, 0), (0, 1) and (1, 1), no band.
    """
    frames = len(x)
    y = y.flip(0)  # so that an anti-diagonal is a slice of both
    # Entry i + 1 of a diagonal belongs to frame i of x. What lies beside the matrix is never written and stays inf.
    before, last, current = x.new_full((3, frames + 1, x.shape[-1]), torch.inf)
    last[1] = (x[0] - y[-1]).square().sum(dim=0)
    for diagonal in range(1, 2 * frames - 1):
        low, high = max(0, diagonal - frames + 1), min(diagonal, frames - 1) + 1
        shift = frames - 1 - diagonal
        local = (x[low:high] - y[low + shift : high + shift]).square_().sum(dim=1)
        cheapest = torch.minimum(last[low:high], last[low + 1 : high + 1])
        cheapest = torch.minimum(cheapest, before[low:high])
        torch.add(local, cheapest, out=current[low + 1 : high + 1])
        before, last, current = last, current, before
    return last[frames].clone()


def _costs(x: Tensor, y: Tensor, pairs: np.ndarray) -> np.ndarray:
    """Warping costs of `pairs` (index into the items of x, of y), as many at a time as the memory is meant for."""
    frames, channels = x.shape[:2]
    size = max(1, _OPERAND_VALUES // (frames * channels))
    costs = np.empty(len(pairs))
    for start in range(0, len(pairs), size):
        left, right = torch.from_numpy(pairs[start : start + size].T.copy()).to(x.device)
        found = warping_costs(x.index_select(2, left).double(), y.index_select(2, right).double())
        costs[start : start + size] = found.cpu().numpy()
    return costs


def _pairs_last(items: np.ndarray, device: torch.device) -> Tensor:
    """`(items, frames, channels)` as `(frames, channels, items)`: neighbouring threads work on neighbouring items."""
    return torch.from_numpy(items).to(device).permute(1, 2, 0).contiguous()


def _standardised(items: np.ndarray, device: torch.device) -> Tensor:
    """`(items, frames, channels)` as float64 `(channels, items, frames)` of mean 0 and norm 1; 0 if constant.

    The first frame is taken off before the mean: a constant channel is exactly 0 then, however a device divides.
    """
    signals = torch.from_numpy(items).to(device).permute(2, 0, 1).double()
    signals = signals - signals[..., :1]
    signals = signals - signals.mean(dim=-1, keepdim=True)
    norm = torch.linalg.vector_norm(signals, dim=-1, keepdim=True)
    return signals / torch.where(norm > 0, norm, torch.ones_like(norm))


def _concordance(correlation: Tensor, moments_x: list[Tensor], moments_y: list[Tensor]) -> Tensor:
    """Concordance `(channels, reactions, targets)` float64 from correlation and float32 moments, as on the CPU."""
    (mean_x, variance_x, deviation_x), (mean_y, variance_y, deviation_y) = moments_x, moments_y
    denominator = variance_x + variance_y + (mean_x - mean_y).square() + 1e-8
    return 2.0 * correlation * deviation_y * deviation_x / denominator
