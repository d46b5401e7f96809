"""A reaction stream: behaviour goes in as it happens, in chunks of any length, and windows of reactions come out.

The full-clip call of the pipeline is a stream that happens to be complete: both walk through the same windows with the
same numbers, so that they agree to the last bit for the same seed, however the behaviour is cut into chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Optional, Union

import torch
from torch import Tensor

from ..models.gafrg import ConditionCache
from ..models.weight_shifts import WeightShifts
from .inputs import ArrayLike, check_speaker


if TYPE_CHECKING:
    from .perfrdiff import PerFRDiffPipeline


Generators = Union[torch.Generator, Sequence[torch.Generator], None]


@dataclass
class SamplingSettings:
    """How reactions are sampled; the same for every window of a session.

    Args:
        num_reactions: reactions to each speaker.
        num_inference_steps: denoising steps of each window.
        guidance_scale: strength of classifier-free guidance; 1 is none.
        generator: one source of noise, or one for each speaker.
        eta: noise of each DDIM step, from 0 to 1; other schedulers ignore it.
        on_step_end: called after every denoising step with `(step, timestep, tensors)`, counted over all windows; may
            return tensors to go on with.
    """

    num_reactions: int = 10
    num_inference_steps: int = 50
    guidance_scale: float = 7.5
    generator: Generators = None
    eta: float = 0.0
    on_step_end: Optional[Callable[[int, Tensor, dict[str, Tensor]], dict[str, Tensor]]] = None

    def __post_init__(self) -> None:
        for name in ("num_reactions", "num_inference_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; given: {getattr(self, name)}.")


@dataclass
class ReactionSegment:
    """One window of reactions.

    Args:
        start: index of its first frame since the stream began.
        reactions: `(batch, num_reactions, window, 25)`.
        coefficients: `(batch, num_reactions, window, 58)`, mean face included.
    """

    start: int
    reactions: Tensor
    coefficients: Tensor


@dataclass
class SessionState:
    """What a session carries from window to window.

    Args:
        batch_size: speakers that are heard at once.
        settings: how to sample.
        weight_shifts: the listeners' shifts; None is the generic model.
        windows: how many windows have been generated.
        null_cache: the condition cache of the unconditional half of guidance: it never changes in a session.
        previous: the window generated last, `(batch, num_reactions, window, 25)`.
    """

    batch_size: int
    settings: SamplingSettings
    weight_shifts: Optional[WeightShifts] = None
    windows: int = 0
    null_cache: Optional[ConditionCache] = None
    previous: Optional[Tensor] = field(default=None, repr=False)


class ReactionStream:
    """Reactions to behaviour that arrives bit by bit; made by `PerFRDiffPipeline.stream`.

    Window `i` of the reaction covers frames `[i * w, (i + 1) * w)` and depends on the speaker's windows before it
    (equation 3). It comes out of `push` as soon as the speaker's window `i - 1` is complete; window 0, which depends
    on nothing that the speaker did, comes out of the first `push`. What is kept is less than one window of the speaker
    and one of the reaction, however long the session.
    """

    def __init__(self, pipeline: PerFRDiffPipeline, state: SessionState):
        self._pipeline = pipeline
        self._first_state = state
        self.reset()

    def reset(self) -> None:
        """Forget everything that was pushed; the listeners and the settings stay, the generator goes on."""
        first = self._first_state
        self._state = SessionState(first.batch_size, first.settings, first.weight_shifts)
        self._pending: Optional[dict[str, Tensor]] = None

    @property
    def frames_pushed(self) -> int:
        """Frames of the speaker since the stream began."""
        complete = max(self._state.windows - 1, 0) * self._pipeline.window_size
        return complete + self._pending_frames

    @property
    def _pending_frames(self) -> int:
        return next(iter(self._pending.values())).shape[1] if self._pending else 0

    def push(
        self,
        audio: Optional[ArrayLike] = None,
        emotion: Optional[ArrayLike] = None,
        coefficients: Optional[ArrayLike] = None,
    ) -> list[ReactionSegment]:
        """Take the next frames of the speaker and give the segments that they complete.

        Args:
            audio: `(batch, frames, 78)`.
            emotion: `(batch, frames, 25)`.
            coefficients: `(batch, frames, 58)`, mean face included.

        Raises:
            TypeError, ValueError: if the chunk does not fit the stream: other streams of behaviour than in the first
                chunk, wrong shapes, NaN. The chunk is then ignored as a whole, and the stream goes on as before.
        """
        chunk = check_speaker({"audio": audio, "emotion": emotion, "coefficients": coefficients}, min_frames=1)
        self._check_chunk(chunk)
        chunk = self._pipeline.prepare_speaker(chunk)
        if self._pending is not None:
            chunk = {name: torch.cat([self._pending[name], values], dim=1) for name, values in chunk.items()}
        size = self._pipeline.window_size
        frames = next(iter(chunk.values())).shape[1]
        complete = frames // size
        self._pending = {name: values[:, complete * size :] for name, values in chunk.items()}
        windows = [
            {name: values[:, i * size : (i + 1) * size] for name, values in chunk.items()} for i in range(complete)
        ]
        return self._segments(chunk.keys(), windows)

    def flush(self) -> list[ReactionSegment]:
        """End the session: complete the last, partial window by holding its last frame, and give its segment."""
        if not self._pending_frames:
            return []
        pending = self._pending or {}
        missing = self._pipeline.window_size - self._pending_frames
        window = {
            name: torch.cat([values, values[:, -1:].expand(-1, missing, -1)], dim=1)
            for name, values in pending.items()
        }
        self._pending = {name: values[:, :0] for name, values in pending.items()}
        return self._segments(window.keys(), [window])

    def _segments(self, streams: Iterable[str], windows: list[dict[str, Tensor]]) -> list[ReactionSegment]:
        segments = []
        if self._state.windows == 0:
            segments.append(self._react(self._pipeline.silent_window(streams, self._state.batch_size)))
        for window in windows:
            segments.append(self._react(window))
        return segments

    def _react(self, window: Mapping[str, Tensor]) -> ReactionSegment:
        start = self._state.windows * self._pipeline.window_size
        reactions = self._pipeline.react(window, self._state)
        return ReactionSegment(start, reactions, self._pipeline.decode(reactions))

    def _check_chunk(self, chunk: Mapping[str, Tensor]) -> None:
        if self._pending is not None and set(chunk) != set(self._pending):
            raise ValueError(
                f"Every chunk must hold the streams of the first one, {sorted(self._pending)}; given: {sorted(chunk)}."
            )
        batch = next(iter(chunk.values())).shape[0]
        if batch != self._state.batch_size:
            raise ValueError(f"Every chunk must hold {self._state.batch_size} speakers; given: {batch}.")
