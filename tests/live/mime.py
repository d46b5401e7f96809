"""A system for tests of the page: a listener that shows a second later what the speaker showed, or smiles at sound.

What comes down can so be told from what went up, which no random model allows.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from perfrdiff_hf.behaviour import BLENDSHAPE_NAMES, EMOTION_CHANNELS, REACTION_CHANNELS, STD_FACE
from perfrdiff_hf.feature_extraction import PerFRDiffFeatureExtractor
from perfrdiff_hf.pipelines.reaction_pipeline import ReactionPipeline
from perfrdiff_hf.pipelines.windows import DueWindow, WindowReactor


HOP = 25
SMILE = [BLENDSHAPE_NAMES.index("mouthSmileLeft"), BLENDSHAPE_NAMES.index("mouthSmileRight")]
# The logarithm of a frame's energy at which the smile begins, and by how much it must rise until it is whole.
QUIET, RISE = -4.0, 6.0


class MimeReactor(WindowReactor):
    """New frames are the speaker's last ones; further reactions are weaker."""

    def __init__(self, extractor: PerFRDiffFeatureExtractor, num_reactions: int = 1, **settings: Any):
        super().__init__(extractor, torch.device("cpu"), torch.float32, num_reactions, REACTION_CHANNELS, HOP, HOP)

    def react(self, window: DueWindow) -> Tensor:
        batch = window.batch_size
        shown = torch.zeros(batch, self.window_size, REACTION_CHANNELS)
        if "coefficients" in window.speaker:
            shown[..., EMOTION_CHANNELS:] = window.speaker["coefficients"]
        else:
            loud = ((window.speaker["audio"][..., 0] - QUIET) / RISE).clamp(0, 1)
            for channel in SMILE:
                shown[..., EMOTION_CHANNELS + channel] = 3 * float(STD_FACE[channel]) * loud
        strengths = torch.linspace(1, 0.5, self.num_reactions)[None, :, None, None]
        return shown[:, None] * strengths

    def decode(self, reactions: Tensor) -> tuple[Tensor, Tensor]:
        emotion, movement = reactions[..., :EMOTION_CHANNELS], reactions[..., EMOTION_CHANNELS:]
        return emotion, self.feature_extractor.add_mean_face(movement)

    def batch_key(self, batch_size: int) -> Hashable:
        return "mime", self.num_reactions

    def join(self, others: Sequence[WindowReactor], batch_sizes: Sequence[int]) -> MimeReactor:
        return self


class MimePipeline(ReactionPipeline):
    """The pipeline of it; nothing is trained."""

    def __init__(self, feature_extractor: PerFRDiffFeatureExtractor):
        super().__init__()
        self.register_modules(feature_extractor=feature_extractor)

    def window_reactor(self, listener_history: Any = None, batch_size: int = 1, **settings: Any) -> MimeReactor:
        return MimeReactor(self.feature_extractor, settings.get("num_reactions", 1))
