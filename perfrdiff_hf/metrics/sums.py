"""Sums over batches from which variances and covariances follow; they merge across processes without loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .realism import FeatureStatistics


@dataclass
class Moments:
    """Number, mean and sum of squared deviations of arrays, which can be merged without loss."""

    count: int = 0
    mean: np.ndarray | float = 0.0
    squares: np.ndarray | float = 0.0

    def merge(self, other: Moments) -> None:
        """Take in what another has seen."""
        if other.count == 0:
            return
        total = self.count + other.count
        gap = other.mean - self.mean
        self.squares = self.squares + other.squares + np.square(gap) * (self.count * other.count / total)
        self.mean = self.mean + gap * (other.count / total)
        self.count = total


@dataclass
class FeatureSums:
    """Sums from which the mean and covariance of features follow."""

    count: int = 0
    total: np.ndarray | float = 0.0
    products: np.ndarray | float = 0.0

    def add(self, features: np.ndarray) -> None:
        """Take in `(samples, features)`."""
        self.merge(FeatureSums(len(features), features.sum(axis=0), features.T @ features))

    def merge(self, other: FeatureSums) -> None:
        """Take in what another has seen."""
        self.count += other.count
        self.total = self.total + other.total
        self.products = self.products + other.products

    def statistics(self) -> FeatureStatistics:
        """Mean and unbiased covariance."""
        mean = self.total / self.count
        covariance = (self.products - self.count * np.outer(mean, mean)) / (self.count - 1)
        return FeatureStatistics(np.asarray(mean), covariance)
