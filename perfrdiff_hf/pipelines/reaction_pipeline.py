"""What every system that reacts to speakers offers: a call for whole clips, streams, and saving as diffusers does."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils import BaseOutput
from huggingface_hub import HfApi
from torch import Tensor

from ..behaviour import Behaviour
from ..cards import UNKNOWN_LICENSE, Measurement, facts_of_pipeline
from ..feature_extraction import PerFRDiffFeatureExtractor
from ..hub import push_folder
from .downloading import download_pipeline
from .inputs import ArrayLike, History, check_speaker, speaker_streams
from .streaming import ReactionStream
from .windows import WindowReactor


@dataclass
class ReactionOutput(BaseOutput):
    """Reactions to each speaker.

    Args:
        reactions: `(batch, num_reactions, frames, 25)` emotion channels in [-1, 1].
        coefficients: `(batch, num_reactions, frames, 58)` 3DMM coefficients that go with them, mean face included.
    """

    reactions: Tensor | np.ndarray
    coefficients: Tensor | np.ndarray

    def behaviour(self, speaker: int = 0, reaction: int = 0) -> Behaviour:
        """One reaction to one speaker."""
        emotion, coefficients = (
            _as_array(values[speaker][reaction]) for values in (self.reactions, self.coefficients)
        )
        return Behaviour(emotion=emotion, coefficients=coefficients)


class ReactionPipeline(DiffusionPipeline):
    """The base of systems that react to speakers window by window.

    A subclass registers its models and a `feature_extractor`, and makes a `WindowReactor` for a session. The call and
    streams follow: a whole clip is a stream that happens to be complete.
    """

    feature_extractor: PerFRDiffFeatureExtractor
    _interrupt = False

    @classmethod
    def download(cls, pretrained_model_name: str, **kwargs: Any) -> str | os.PathLike:
        """Download a pipeline from the Hub: the parts that its index names, in the `variant` that is asked for.

        diffusers asks for a Python file beside every component that neither it nor transformers defines; here the
        components come with this package, and the repository holds data only. A part that lacks the variant comes
        without one.
        """
        return download_pipeline(pretrained_model_name, **kwargs)

    @property
    def interrupt(self) -> bool:
        """Whether the call that is running was asked to stop, by `pipe._interrupt = True` as in all of diffusers."""
        return self._interrupt

    def enable_model_cpu_offload(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not offered: the models here are entered by other doors than `forward`, where offloading waits.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            f"{type(self).__name__} cannot offload its models by itself. What is large is needed once for each "
            "listener: move it away afterwards, as in pipe.weight_shift_generator.to('cpu')."
        )

    enable_sequential_cpu_offload = enable_model_cpu_offload
    enable_group_offload = enable_model_cpu_offload

    @property
    def window_size(self) -> int:
        """Frames of a window, w of the paper."""
        return self.feature_extractor.window_size

    @property
    def is_personal(self) -> bool:
        """Whether the pipeline can react in the manner of one listener; by default it cannot."""
        return False

    @property
    def sampling(self) -> dict[str, Any]:
        """How reactions are made where a call does not say, as it was saved; by default nothing is."""
        return {}

    def window_reactor(
        self, listener_history: History | None = None, batch_size: int = 1, **settings: Any
    ) -> WindowReactor:
        """What turns windows of speakers into reactions in one session.

        Args:
            listener_history: as for the call.
            batch_size: speakers at once, each with their own listener.
            settings: how to react; `num_reactions` and `generator` are known to every system.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement window_reactor.")

    def stream(
        self,
        listener_history: History | None = None,
        batch_size: int = 1,
        sampling_rate: int | None = None,
        streams: Iterable[str] | None = None,
        **settings: Any,
    ) -> ReactionStream:
        """Open a stream of reactions; see `ReactionStream`.

        Args:
            listener_history: as for the call.
            batch_size: speakers that are heard at once, each with their own listener.
            sampling_rate: samples per second, if sound will come as raw samples.
            streams: which of `"audio"`, `"emotion"` and `"coefficients"` will be heard, where they may come one at a
                time; None: those of the first chunk.
            settings: how to react, as for the call.

        Raises:
            TypeError, ValueError: as the call.

        Example:
            ```python
            stream = pipe.stream(num_reactions=1, sampling_rate=16_000, streams=("audio", "coefficients"))
            for samples, coefficients in microphone_and_camera:
                for segment in stream.push(samples=samples, coefficients=coefficients):
                    play(segment.start, segment.coefficients)
            ```
        """
        reactor = self.window_reactor(listener_history, batch_size, **settings)
        return ReactionStream(reactor, batch_size, sampling_rate, streams)

    @torch.no_grad()
    def __call__(
        self,
        speaker_audio: ArrayLike | None = None,
        speaker_emotion: ArrayLike | None = None,
        speaker_coefficients: ArrayLike | None = None,
        speaker: Behaviour | Sequence[Behaviour] | None = None,
        listener_history: History | None = None,
        output_type: str = "pt",
        return_dict: bool = True,
        **settings: Any,
    ) -> ReactionOutput | tuple:
        """React to whole clips, window after window.

        Args:
            speaker_audio: `(batch, frames, 78)` audio features.
            speaker_emotion: `(batch, frames, 25)` emotion channels.
            speaker_coefficients: `(batch, frames, 58)` 3DMM coefficients as recorded (mean face included).
            speaker: instead of the three, a `Behaviour`, or one for each speaker.
            listener_history: `(batch, frames, 58)` coefficients of each listener's past, or `Behaviour`.
            output_type: `"pt"` or `"np"`.
            return_dict: return a `ReactionOutput` rather than a tuple.
            settings: of the system.

        Raises:
            TypeError, ValueError: if an argument has a wrong type, shape or value; the message names it.
        """
        streams = speaker_streams(speaker_audio, speaker_emotion, speaker_coefficients, speaker)
        checked = self.check_inputs(streams, output_type)
        reactor = self.window_reactor(listener_history, _batch_size(checked), **settings)
        return self.output(*self.react(checked, reactor), output_type, return_dict)

    def push_to_hub(  # type: ignore[override]
        self,
        repo_id: str,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        create_pr: bool = False,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
        license: str = UNKNOWN_LICENSE,
        measurements: Sequence[Measurement] = (),
    ) -> str:
        """Upload the pipeline with a card that tells its configuration, use, licence and limits, in one commit.

        Args:
            repo_id: repository, such as `"user/my-model"`; it is made if need be.
            commit_message: what was done.
            private: whether a new repository is private; None is the account's default.
            token: of the account; None uses the stored login.
            create_pr: propose the commit instead of making it.
            variant: such as `"fp16"`, in the names of the weights' files.
            max_shard_size: of one file of weights, such as `"2GB"`; None is diffusers' own.
            license: of the weights, as the Hub names it; they may be bound by the licence of their data.
            measurements: what the card shows as measured.

        Returns:
            The address of the commit.
        """
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self.save_pretrained(name, variant=variant, max_shard_size=max_shard_size)
            facts = facts_of_pipeline(folder, repo_id, measurements=measurements, license=license)
            return push_folder(folder, facts, private, commit_message, create_pr, HfApi(token=token))

    def check_inputs(self, streams: Mapping[str, ArrayLike | None], output_type: str) -> dict[str, Tensor]:
        """See that a call makes sense before any work begins; the speaker's streams as tensors.

        Raises:
            TypeError, ValueError: as the call.
        """
        if output_type not in ("pt", "np"):
            raise ValueError(f"output_type must be 'pt' or 'np'; given: {output_type!r}.")
        return check_speaker(streams, min_frames=self.window_size)

    def react(self, speaker: Mapping[str, Tensor], reactor: WindowReactor) -> tuple[Tensor, Tensor]:
        """Reactions to whole clips that were checked, and their coefficients.

        A whole clip goes through the same windows as a live one, so that the two agree to the last bit. Where the call
        is interrupted, the frames end with the window that it was at.
        """
        self._interrupt = False
        frames = next(iter(speaker.values())).shape[1]
        reactor.check_streams(speaker)
        stream = ReactionStream(reactor, _batch_size(speaker))
        stream.hear_checked(speaker)
        segments = []
        with self.progress_bar(total=stream.count_segments(frames)) as progress_bar:
            for segment in stream.segments(until=frames):
                segments.append(segment)
                progress_bar.update()
                if self.interrupt:
                    break
        reactions = torch.cat([segment.reactions for segment in segments], dim=2)[:, :, :frames]
        coefficients = torch.cat([segment.coefficients for segment in segments], dim=2)[:, :, :frames]
        return reactions, coefficients

    def output(
        self, reactions: Tensor, coefficients: Tensor, output_type: str, return_dict: bool
    ) -> ReactionOutput | tuple:
        """What the call returns."""
        outputs: tuple = (reactions, coefficients)
        if output_type == "np":
            outputs = tuple(values.cpu().numpy() for values in outputs)
        return ReactionOutput(*outputs) if return_dict else outputs


def _as_array(values: Tensor | np.ndarray) -> np.ndarray:
    return values.float().cpu().numpy() if isinstance(values, Tensor) else values


def _batch_size(speaker: Mapping[str, Tensor]) -> int:
    return next(iter(speaker.values())).shape[0]
