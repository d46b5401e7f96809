"""FRRea: how far generated behaviour as a whole lies from real behaviour, as a Fréchet distance between features.

The published FRRea compares Inception features of rendered frames (those of `pytorch-fid`). This package renders no
photographs and downloads no network; it takes such features, or the statistics that `pytorch-fid --save-stats` writes,
from a local file. `frrea_motion` needs no pictures; it is a metric of its own, with a scale of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..behaviour import WINDOW_SIZE


@dataclass(frozen=True)
class FeatureStatistics:
    """A normal distribution fitted to features.

    Args:
        mean: `(features,)` float64.
        covariance: `(features, features)` float64, unbiased.
    """

    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, features: Any) -> FeatureStatistics:
        """Statistics of `(samples, features)`, at least two samples.

        Raises:
            ValueError: if the shape is wrong or a value is NaN or infinite.
        """
        array = np.asarray(features.detach().cpu() if hasattr(features, "detach") else features, dtype=np.float64)
        if array.ndim != 2 or len(array) < 2 or array.shape[1] == 0:
            raise ValueError(
                f"features must have shape (samples, features), at least two samples; it is {array.shape}."
            )
        if not np.isfinite(array).all():
            raise ValueError("features hold NaN or infinite values.")
        return cls(array.mean(axis=0), np.atleast_2d(np.cov(array, rowvar=False)))


def frrea(real_features: Any, generated_features: Any) -> float:
    """FRRea: squared Fréchet distance between two sets of features (FID, if they are Inception's).

    Args:
        real_features: `(samples, features)`, or `FeatureStatistics`.
        generated_features: the same of generated behaviour; the numbers of samples may differ.

    Returns:
        At least 0, and 0 for equal mean and covariance. It depends on the number of samples: compare figures of the
        same frames only.
    """
    real, generated = (
        item if isinstance(item, FeatureStatistics) else FeatureStatistics.of(item)
        for item in (real_features, generated_features)
    )
    if real.mean.shape != generated.mean.shape:
        raise ValueError(
            f"generated_features must have the {len(real.mean)} features of real_features; "
            f"it has {len(generated.mean)}."
        )
    # The trace of the root of a product of covariances is the sum of singular values of the product of their roots.
    overlap = np.linalg.svd(_root(real.covariance) @ _root(generated.covariance), compute_uv=False).sum()
    spread = np.trace(real.covariance) + np.trace(generated.covariance) - 2 * overlap
    return float(max(np.square(real.mean - generated.mean).sum() + spread, 0.0))


def load_frame_features(path: str | Path) -> FeatureStatistics:
    """Features of rendered frames from a local file.

    Args:
        path: npy or safetensors with features `(samples, features)`, or npz with either `features` or the `mu` and
            `sigma` of `pytorch-fid --save-stats`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of frame features at {path}.")
    if path.suffix == ".npy":
        return FeatureStatistics.of(np.load(path, allow_pickle=False))
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        arrays = load_file(path)
    elif path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    else:
        raise ValueError(f"Frame features are read from npy, npz or safetensors, not from {path}.")
    if "features" in arrays:
        return FeatureStatistics.of(arrays["features"])
    if {"mu", "sigma"} <= set(arrays):
        return FeatureStatistics(arrays["mu"].astype(np.float64), arrays["sigma"].astype(np.float64))
    raise ValueError(f"{path} must hold `features`, or `mu` and `sigma`; it holds {', '.join(sorted(arrays))}.")


def motion_features(behaviour: Any) -> np.ndarray:
    """What two seconds of behaviour look like, without pictures: level, spread and speed of each channel.

    Args:
        behaviour: `(..., frames, channels)`, at least two frames; cut into windows of 50 frames, the rest left out
            (a shorter sequence is one window).

    Returns:
        `(windows, 3 * channels)` float64: mean, standard deviation and mean absolute change from frame to frame.
    """
    array = np.asarray(behaviour.detach().cpu() if hasattr(behaviour, "detach") else behaviour, dtype=np.float64)
    if array.ndim < 2 or array.shape[-2] < 2:
        raise ValueError(f"behaviour must have shape (..., frames, channels), at least 2 frames; it is {array.shape}.")
    size = min(WINDOW_SIZE, array.shape[-2])
    count = array.shape[-2] // size
    windows = array[..., : count * size, :].reshape(-1, size, array.shape[-1])
    speed = np.abs(np.diff(windows, axis=1)).mean(axis=1)
    return np.concatenate([windows.mean(axis=1), windows.std(axis=1), speed], axis=-1)


def frrea_motion(real: Any, generated: Any) -> float:
    """Fréchet distance between motion features, standardised by those of the real behaviour.

    Not the published FRRea, and not comparable with it.

    Args:
        real: `(..., frames, channels)` recorded behaviour.
        generated: `(..., frames, channels)` of the same channels.
    """
    return frechet_of_motion(
        FeatureStatistics.of(motion_features(real)), FeatureStatistics.of(motion_features(generated))
    )


def frechet_of_motion(real: FeatureStatistics, generated: FeatureStatistics) -> float:
    """`frrea` after dividing each feature by its standard deviation in real behaviour (where it has one)."""
    deviation = np.sqrt(np.diag(real.covariance))
    scale = np.where(deviation > 0, deviation, 1.0)
    return frrea(
        *(FeatureStatistics(s.mean / scale, s.covariance / np.outer(scale, scale)) for s in (real, generated))
    )


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric root of a positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T
