"""Systems whose offline form reads and answers a whole clip at once, rather than window by window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..pipelines.windows import WindowReactor
from .reacting import SystemPipeline, SystemReactor
from .recipe import Recipe


class ClipReactor(SystemReactor):
    """A `SystemReactor` that has `react_to_clips` for its offline form, and `react` for windows."""

    def react_to_clips(self, speaker: Mapping[str, Tensor]) -> Tensor:
        """Reactions `(batch, num_reactions, frames, channels)` to prepared streams `(batch, frames, width)`."""
        raise NotImplementedError(f"{type(self).__name__} must implement react_to_clips.")


class ClipSystemPipeline(SystemPipeline):
    """A `SystemPipeline` that makes `ClipReactor`s."""

    @property
    def is_online(self) -> bool:
        """Whether the model reacts window by window to the past."""
        raise NotImplementedError(f"{type(self).__name__} must implement is_online.")

    def stream(self, *arguments: Any, **settings: Any) -> Any:
        """See `ReactionPipeline`.

        Raises:
            ValueError: if the model is offline.
        """
        if not self.is_online:
            raise ValueError("This system is offline and reads whole clips; train one with online: true to stream.")
        return super().stream(*arguments, **settings)

    @torch.no_grad()
    def react(self, speaker: Mapping[str, Tensor], reactor: WindowReactor) -> tuple[Tensor, Tensor]:
        """See `ReactionPipeline`; offline, a whole clip at once."""
        if isinstance(reactor, ClipReactor) and not reactor.online:
            reactor.check_streams(speaker)
            return reactor.decode(reactor.react_to_clips(reactor.prepare(speaker)))
        return super().react(speaker, reactor)


def check_clip_frames(recipe: Recipe) -> None:
    """See that a clip which is learned from holds a window.

    Raises:
        ValueError: if not.
    """
    frames, size = recipe.data.clip_frames, recipe.data.window_size
    if frames is not None and frames < size:
        raise ValueError(f"data.clip_frames ({frames}) must be at least data.window_size ({size}).")


def windows_of(values: Tensor, size: int) -> Tensor:
    """`(batch, frames, width)` as `(batch, windows, size, width)`, without the frames that fill no window."""
    return values[:, : values.shape[1] // size * size].unflatten(1, (-1, size))
