"""Channels that the data do not have are not trained: they weigh nothing, and what would give them gives zeros."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..behaviour import EMOTION_CHANNELS
from ..data.corpus import Corpus
from ..feature_extraction import PerFRDiffFeatureExtractor


def known_alone(weights: Tensor, feature_extractor: PerFRDiffFeatureExtractor) -> Tensor:
    """Weights of the channels of a reaction `(25 or 83,)`, 0 where the data have none."""
    emotion, coefficients = (feature_extractor.available(stream) for stream in ("emotion", "coefficients"))
    if emotion is None or coefficients is None:
        return weights
    known = torch.cat([emotion, coefficients])[: len(weights)]
    return weights * known.to(weights)


def known_channels(stream: str, feature_extractor: PerFRDiffFeatureExtractor, *values: Tensor) -> list[Tensor]:
    """Each of `values` `(..., channels)` with the channels of a stream that the data have."""
    known = feature_extractor.available(stream)
    return list(values) if known is None else [one[..., known.to(one.device)] for one in values]


@torch.no_grad()
def silence(layer: nn.Linear, corpus: Corpus, stream: str | None = None) -> None:
    """Let the outputs of a fresh layer be zero where the data have no channel.

    No gradient reaches those rows, so that they stay so: sampling then sees there what training saw, and not numbers
    that nobody learned.

    Args:
        layer: the last one, with a row for each channel.
        corpus: the data.
        stream: of the channels; None: a reaction, which is emotion and, with 83 channels, coefficients.
    """
    if corpus.mask.is_whole:
        return
    streams = (stream,) if stream else ("emotion", "coefficients")
    known = torch.cat([torch.from_numpy(corpus.mask.available(one)) for one in streams])
    if stream is None and layer.out_features == EMOTION_CHANNELS:
        known = known[:EMOTION_CHANNELS]
    layer.weight[~known] = 0
    layer.bias[~known] = 0


@torch.no_grad()
def deafen(weight: Tensor, corpus: Corpus, first: int = 0) -> None:
    """Let a fresh layer read nothing of the emotion channels that the data do not have.

    What reads a silent channel would else pass a gradient on to it.

    Args:
        weight: `(out_features, in_features)`; its input holds a frame of emotion.
        corpus: the data.
        first: where in the input the frame begins.
    """
    unknown = torch.from_numpy(~corpus.mask.available("emotion"))
    weight[:, first : first + EMOTION_CHANNELS][:, unknown] = 0
