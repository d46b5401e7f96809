"""The nearest appropriate reaction under FRdist's weighted warping distance: exact, without warping everything.

Only the nearest target counts, so most pairs are ruled out early: by their valence and arousal, which are cheap and
weigh most, or part of the way through their other channels. All that is done in float32 with a bound on its error;
the few pairs that the bound leaves in doubt, mostly one for each prediction, are warped again in float64.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..inputs import CHANNEL_GROUPS, GROUP_WEIGHTS
from .lanes import LANES
from .warping import Warp, num_threads, relative_error


# Two registers of float32 pairs even if each reaction has a single candidate left.
_REACTIONS_AT_ONCE = 2 * LANES

# Distances below this may be lost in the smallest float32 numbers.
_UNDERFLOW = 1e-12


def nearest_of_each_clip(
    predictions: np.ndarray, targets: np.ndarray, appropriate: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which appropriate target is nearest to each prediction, and how far it is, on all cores.

    Args:
        predictions: `(clips, reactions, frames, 25)` float32.
        targets: `(targets, frames, 25)` float32.
        appropriate: `(clips, targets)` bool, at least one True in each row.

    Returns:
        `(clips, reactions)` int64 targets, and `(clips, reactions, 3)` float64 weighted distances to them in the
        order of `CHANNEL_GROUPS`.
    """
    used = np.flatnonzero(appropriate.any(axis=0))
    candidates = _by_group(targets[used], np.float32)
    # Several clips are searched together, so that their pairs fill the registers.
    size = max(1, _REACTIONS_AT_ONCE // predictions.shape[1])
    blocks = [slice(start, start + size) for start in range(0, len(predictions), size)]

    def search(block: slice) -> tuple[np.ndarray, np.ndarray]:
        reactions = predictions[block].reshape(-1, *predictions.shape[2:])
        allowed = np.repeat(appropriate[block][:, used], predictions.shape[1], axis=0)
        return _Search(_by_group(reactions, np.float32), candidates, allowed).nearest()

    with ThreadPoolExecutor(max_workers=num_threads()) as threads:
        found = list(threads.map(search, blocks))
    nearest = used[np.concatenate([target for target, _ in found])]
    distances = np.concatenate([distance for _, distance in found])
    return nearest.reshape(predictions.shape[:2]), distances.reshape(*predictions.shape[:2], len(CHANNEL_GROUPS))


def _by_group(behaviour: np.ndarray, dtype: type) -> dict[str, np.ndarray]:
    """The channel groups of `(items, frames, 25)`, each contiguous."""
    return {name: np.ascontiguousarray(behaviour[..., part], dtype=dtype) for name, part in CHANNEL_GROUPS.items()}


class _Search:
    """What is known so far about each pair of a reaction and a candidate.

    Args:
        reactions: by channel group, `(reactions, frames, channels)` float32.
        candidates: by channel group, `(candidates, frames, channels)` float32.
        allowed: `(reactions, candidates)` bool, which pairs are compared.

    Attributes:
        known: `(reactions, candidates)`, the weighted distance over the groups that were measured, in float32.
        best: `(reactions,)`, the smallest complete weighted distance so far, in float32.
    """

    def __init__(
        self, reactions: dict[str, np.ndarray], candidates: dict[str, np.ndarray], allowed: np.ndarray
    ) -> None:
        self.reactions, self.candidates, self.allowed = reactions, candidates, allowed
        self.warps = {name: Warp(reactions[name], candidates[name]) for name in CHANNEL_GROUPS}
        self.margin = 1 + max(relative_error(*items.shape[1:]) for items in reactions.values())
        self.known = np.zeros(allowed.shape)
        self.best = np.full(len(allowed), np.inf)

    def nearest(self) -> tuple[np.ndarray, np.ndarray]:
        """Nearest candidate of each reaction `(reactions,)`, and its exact weighted distances `(reactions, 3)`."""
        self._measure("valence arousal", self.allowed)
        promising = np.zeros_like(self.allowed)
        promising[np.arange(len(promising)), np.where(self.allowed, self.known, np.inf).argmin(axis=1)] = True
        for pairs in (promising, self.allowed & ~promising):
            self._measure("expressions", pairs)
            self._measure("action units", pairs, complete=True)
        return self._decide(np.argwhere(self._open()))

    def _room(self) -> np.ndarray:
        """How much further each pair may be in the groups to come, and still be the nearest."""
        return self.best[:, None] * self.margin - self.known / self.margin + _UNDERFLOW

    def _open(self) -> np.ndarray:
        """Which pairs may still be the nearest."""
        return self.allowed & (self._room() >= 0)

    def _measure(self, group: str, chosen: np.ndarray, complete: bool = False) -> None:
        """Add one group's distance to what is known of the chosen pairs, as far as they may still be the nearest."""
        pairs = np.argwhere(chosen & self._open())
        # Most room first: they may better the best, and spare the others the way.
        pairs = pairs[np.argsort(-self._room()[tuple(pairs.T)], kind="stable")]
        weight = GROUP_WEIGHTS[group]
        for start in range(0, len(pairs), LANES):
            some = pairs[start : start + LANES]
            room = self._room()[tuple(some.T)]
            some, room = some[room >= 0], room[room >= 0]
            if len(some) == 0:
                continue
            costs = self.warps[group].costs(some, (room * self.margin / weight) ** 2)
            self.known[tuple(some.T)] += weight * np.sqrt(costs, dtype=np.float64)
            if complete:
                np.minimum.at(self.best, some[:, 0], self.known[tuple(some.T)])

    def _decide(self, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The nearest among the pairs in float64; the first of several that are equally near."""
        chosen, column = np.unique(pairs[:, 1], return_inverse=True)
        where = np.stack([pairs[:, 0], column], axis=1)
        distances = np.empty((len(pairs), len(CHANNEL_GROUPS)))
        for index, name in enumerate(CHANNEL_GROUPS):
            exact = Warp(self.reactions[name].astype(np.float64), self.candidates[name][chosen].astype(np.float64))
            distances[:, index] = GROUP_WEIGHTS[name] * np.sqrt(exact.costs(where))
        total = distances[:, 0] + distances[:, 1] + distances[:, 2]
        order = np.lexsort((pairs[:, 1], total, pairs[:, 0]))
        first = order[np.unique(pairs[order, 0], return_index=True)[1]]
        return pairs[first, 1], distances[first]
