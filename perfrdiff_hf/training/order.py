"""The order of training examples, and the randomness that belongs to each of them.

Both depend on the seed, the epoch and the example alone: not on the number of processes or workers, and not on
whether the run was interrupted. That is what makes two processes learn what one learns, and a resumed run end with
the weights of an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ..baselines.stage import Draws, Examples


ExampleKey = tuple[int, int]


class ExampleStream(Sampler[list[ExampleKey]]):
    """Endless batches of (epoch, index): every epoch holds each example once, in an order of its own.

    Batches run on across the border of two epochs, so that all are full and no example is repeated to fill one.

    Args:
        num_examples: how many examples an epoch has.
        batch_size: examples per optimiser step over all processes; a multiple of `num_processes * accumulation`.
        seed: of the orders.
        process_index: which share of each batch this process takes.
        num_processes: over how many processes a batch is spread.
        accumulation: into how many forward passes a process cuts its share; one list of keys is yielded for each.
        first_step: the optimiser step to begin with.

    Raises:
        ValueError: if there are no examples, or the batch cannot be divided.
    """

    def __init__(
        self,
        num_examples: int,
        batch_size: int,
        seed: int,
        process_index: int = 0,
        num_processes: int = 1,
        accumulation: int = 1,
        first_step: int = 0,
    ):
        if num_examples < 1:
            raise ValueError("There are no training examples.")
        if batch_size % (num_processes * accumulation):
            raise ValueError(
                f"batch_size ({batch_size}) must be a multiple of processes x gradient_accumulation_steps "
                f"({num_processes} x {accumulation}): it counts all examples of an optimiser step."
            )
        self.num_examples = num_examples
        self.batch_size = batch_size
        self.seed = seed
        self.process_index = process_index
        self.num_processes = num_processes
        self.accumulation = accumulation
        self.first_step = first_step

    def __iter__(self) -> Iterator[list[ExampleKey]]:
        share = self.batch_size // self.num_processes
        size = share // self.accumulation
        step = self.first_step
        while True:
            begin = step * self.batch_size + self.process_index * share
            for part in range(begin, begin + share, size):
                yield [self._key(position) for position in range(part, part + size)]
            step += 1

    def _key(self, position: int) -> ExampleKey:
        epoch, place = divmod(position, self.num_examples)
        return epoch, int(self._order(epoch)[place])

    def _order(self, epoch: int) -> np.ndarray:
        if getattr(self, "_cached_epoch", None) != epoch:
            self._cached_epoch = epoch
            self._cached_order = np.random.default_rng((self.seed, epoch)).permutation(self.num_examples)
        return self._cached_order


class KeyedExamples(Dataset):
    """Examples by (epoch, index), each with the random numbers that its loss needs.

    The epoch travels with the index: a batch may hold the end of one epoch and the beginning of the next, and a
    data-loader worker may be in the next one already.

    Args:
        examples: what is trained on.
        draws: makes the random numbers of an example from it and a generator of its own.
        seed: of those generators.
    """

    def __init__(self, examples: Examples, draws: Draws, seed: int):
        self.examples = examples
        self.draws = draws
        self.seed = seed

    def __len__(self) -> int:
        return len(self.examples)

    def __getitems__(self, keys: Sequence[ExampleKey]) -> list[dict[str, Tensor]]:
        batch = []
        for epoch, of_epoch in groupby(keys, key=lambda key: key[0]):
            indices = [index for _, index in of_epoch]
            for index, example in zip(indices, self.examples.at_epoch(epoch).__getitems__(indices)):
                generator = torch.Generator().manual_seed(mixed_seed(self.seed, epoch, index))
                batch.append({**example, **self.draws(example, generator)})
        return batch

    def __getitem__(self, key: ExampleKey) -> dict[str, Tensor]:
        return self.__getitems__([key])[0]


def mixed_seed(*numbers: int) -> int:
    """One seed out of several numbers, such that neighbours have nothing in common."""
    low, high = np.random.SeedSequence(numbers).generate_state(2)
    return int(low) | int(high) << 32
