"""GAFRG, the generic appropriate facial reaction generator: a transformer that denoises one window of a reaction.

Section 4.2 of the paper, with the sizes, the token order and the post-norm layers of the official implementation. The
speaker's behaviour enters as tokens to which every layer attends. Those tokens do not change from one denoising step
to the next, nor from one reaction to the next, so their keys and values can be computed once (`cache_condition`) and
shared by all of them; only the token of the time step is new in each step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders.peft import PeftAdapterMixin
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import BaseOutput
from torch import Tensor, nn

from ..behaviour import AUDIO_CHANNELS, COEFFICIENT_CHANNELS, EMOTION_CHANNELS, REACTION_CHANNELS, WINDOW_SIZE
from .fusing import FusingMixin
from .gafrg_layers import ConditionCache, GAFRGLayer, condition_projection, is_framed, shift_of, shifts_within
from .positions import sinusoidal_positions
from .standardisation import Standardiser
from .weight_shifts import WeightShifts, shifted_linear


# The kinds of condition in the order of their tokens.
SPEAKER_FRAMES = ("audio", "coefficients", "speaker_emotion")
CONDITION_KINDS = (
    "audio", "coefficients", "speaker_emotion", "speaker_latent", "listener_latent", "past_emotion", "personal",
)  # fmt: skip

# The layers of table 4 of the paper, by its names for them.
EDITABLE_COMPONENTS = {
    "self_attention": ("self_attention.to_q", "self_attention.to_k", "self_attention.to_v"),
    "cross_attention": ("cross_attention.to_q", "cross_attention.to_k", "cross_attention.to_v"),
    "feed_forward": ("linear_1", "linear_2"),
    "mapping": ("mapping",),
}

# A guidance scale that exceeds 1 by one is told apart from 1 like time steps that are so far apart.
GUIDANCE_UNIT = 100


@dataclass
class GAFRGOutput(BaseOutput):
    """The clean reaction that GAFRG predicts: `sample` is `(batch, frames, in_channels)`."""

    sample: Tensor


class GAFRGTransformer1DModel(FusingMixin, ModelMixin, ConfigMixin, PeftAdapterMixin):  # type: ignore[misc]
    """The denoiser: from a noisy window of a reaction, the time step and the condition to the clean window.

    Args:
        in_channels: channels of a reaction: 25 of emotion, from which a pipeline derives the coefficients; or 83, the
            emotion and the movement of the 58 coefficients (each clip without its own mean), so that what emotion
            does not tell, such as how the head moves, is part of the reaction.
        hidden_size: width of the transformer.
        num_layers: number of layers.
        num_heads: attention heads of each layer.
        feed_forward_size: inner width of the feed-forward blocks.
        dropout: dropout probability inside the layers while training.
        conditions: which kinds of condition give tokens, out of `CONDITION_KINDS`; their order is fixed. The default
            is the official one. Adding `"past_emotion"` is the paper's equation 9: the previous reaction window.
        condition_dropout: probability with which training drops each condition of an example, independently. Above
            zero, the model can also be sampled without a condition.
        audio_channels: channels of the speaker's audio features.
        coefficient_channels: channels of the speaker's 3DMM coefficients (mean face removed).
        latent_size: width of the speaker's and the listener's latent.
        style_size: width of the personal style, for the condition `"personal"` (table 3, "Input p").
        time_channels: channels of the sinusoidal time embedding.
        max_positions: longest window, and longest condition, in tokens.
        position_init: how the learned positions begin: `"uniform"` is the official way; `"sinusoidal"` lets
            neighbouring frames begin alike, and frame `i` of each condition like frame `i` of the window, which a
            small model on little data learns from much faster.
        window_size: frames of a window, for positions that begin as sinusoids.
        context_windows: windows of the speaker that are a condition. Equation 3 conditions on all that the speaker
            did; the official model sees one window.
        max_shown_frames: how many frames of a window, its first, may be those already shown: they stand in the input
            as they are, told apart by a channel of their own, and the condition is the speaker until the first new
            frame (equation 3 with w = the hop). None: all frames of a window are new, as in the official model.
        standardised: whether reactions, audio and coefficients go through the model as standard scores, with the
            statistics of the training data in its buffers. The official model reads them as they are.
        adaptive_norm: whether the condition `"personal"` also scales and shifts what every norm of a layer gives; see
            `GAFRGLayer`.
        distilled: of a student: `num_inference_steps`, which it must take; `guidance_scale`, its teacher's, and
            `guidance_scales`, the least and the most that it can be asked for; `weight_digests`, its teacher's, whose
            weight shifts it takes. None: no student.

    Raises:
        ValueError: if `conditions` is empty or names an unknown kind, lacks `"personal"` where `adaptive_norm` needs
            it, or the sizes do not fit together.
    """

    config: Any
    _supports_gradient_checkpointing = True
    _no_split_modules: Any = ["GAFRGLayer"]
    _repeated_blocks: Any = ["GAFRGLayer"]
    _gradient_checkpointing_func: Any

    @register_to_config
    def __init__(
        self,
        in_channels: int = EMOTION_CHANNELS,
        hidden_size: int = 512,
        num_layers: int = 7,
        num_heads: int = 4,
        feed_forward_size: int = 1024,
        dropout: float = 0.1,
        conditions: Sequence[str] = ("audio", "coefficients", "speaker_latent"),
        condition_dropout: float = 0.2,
        audio_channels: int = AUDIO_CHANNELS,
        coefficient_channels: int = COEFFICIENT_CHANNELS,
        latent_size: int = 512,
        style_size: int = 512,
        time_channels: int = 64,
        max_positions: int = 500,
        position_init: str = "uniform",
        window_size: int = WINDOW_SIZE,
        context_windows: int = 1,
        max_shown_frames: int | None = None,
        standardised: bool = False,
        adaptive_norm: bool = False,
        distilled: dict[str, Any] | None = None,
    ):
        super().__init__()
        unknown = [kind for kind in conditions if kind not in CONDITION_KINDS]
        if unknown or not conditions:
            raise ValueError(f"conditions must name at least one of {CONDITION_KINDS}; given: {tuple(conditions)}.")
        if adaptive_norm and "personal" not in conditions:
            raise ValueError(f"adaptive_norm needs the condition 'personal'; given: {tuple(conditions)}.")
        if position_init not in ("uniform", "sinusoidal"):
            raise ValueError(f"position_init must be 'uniform' or 'sinusoidal'; given: {position_init!r}.")
        if hidden_size % num_heads:
            raise ValueError(f"hidden_size ({hidden_size}) must be a multiple of num_heads ({num_heads}).")
        if in_channels not in (EMOTION_CHANNELS, REACTION_CHANNELS):
            raise ValueError(
                f"in_channels must be {EMOTION_CHANNELS} (emotion) or {REACTION_CHANNELS} (emotion and movement); "
                f"given: {in_channels}."
            )
        if context_windows < 1:
            raise ValueError(f"context_windows must be at least 1; given: {context_windows}.")
        if max_shown_frames is not None and not 1 <= max_shown_frames < window_size:
            raise ValueError(
                f"max_shown_frames must be at least 1 and less than window_size ({window_size}); given: "
                f"{max_shown_frames}."
            )
        widths = {
            "audio": audio_channels,
            "coefficients": coefficient_channels,
            "speaker_emotion": EMOTION_CHANNELS,
            "past_emotion": in_channels,
            "speaker_latent": latent_size,
            "listener_latent": latent_size,
            "personal": style_size,
        }
        self.condition_widths = {kind: widths[kind] for kind in CONDITION_KINDS if kind in conditions}
        self.condition_projections = nn.ModuleDict(
            {kind: condition_projection(kind, width, hidden_size) for kind, width in self.condition_widths.items()}
        )
        self.time_proj = Timesteps(time_channels, flip_sin_to_cos=True, downscale_freq_shift=0)
        guided = time_channels if distilled else None
        self.time_embedding = TimestepEmbedding(time_channels, hidden_size, act_fn="silu", cond_proj_dim=guided)
        self.input_projection = nn.Linear(in_channels + (max_shown_frames is not None), hidden_size)
        self.query_positions = nn.Parameter(torch.rand(max_positions, hidden_size))
        self.memory_positions = nn.Parameter(torch.rand(max_positions, hidden_size))
        self.layers = nn.ModuleList(
            GAFRGLayer(hidden_size, num_heads, feed_forward_size, dropout, adaptive_norm) for _ in range(num_layers)
        )
        self.norm_out = nn.LayerNorm(hidden_size)
        self.mapping = nn.Linear(hidden_size, in_channels)
        self.gradient_checkpointing = False
        self.reaction_scores = Standardiser(in_channels) if standardised else None
        self.speaker_scores = nn.ModuleDict(
            {kind: Standardiser(widths[kind]) for kind in SPEAKER_FRAMES if kind in self.condition_widths}
            if standardised
            else {}
        )
        self._begin_unfused()
        for parameter in self.layers.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        for name, parameter in self.layers.named_parameters():
            if "modulation" in name:
                nn.init.zeros_(parameter)  # the norms begin as they are without a style
        if guided:
            nn.init.zeros_(self.time_embedding.cond_proj.weight)  # a student begins as its teacher
        if position_init == "sinusoidal":
            self._begin_with_sinusoids()

    @torch.no_grad()
    def _begin_with_sinusoids(self) -> None:
        frames = sinusoidal_positions(*self.query_positions.shape)
        self.query_positions.copy_(frames)
        # The first token is the time step; then come the frames of one condition after the other.
        place = 1
        for kind in self.condition_widths:
            count = self.tokens_of(kind)
            count = max(0, min(count, len(self.memory_positions) - place))
            self.memory_positions[place : place + count] = frames[:count]
            place += count

    def tokens_of(self, kind: str) -> int:
        """How many tokens a kind of condition has: one for each frame, or one in all."""
        return self.config.window_size * self._windows_of(kind) if is_framed(kind) else 1

    def _windows_of(self, kind: str) -> int:
        return self.config.context_windows if kind in SPEAKER_FRAMES else 1

    @property
    def joins_shown_frames(self) -> bool:
        """Whether the first frames of a window may be those already shown; see `max_shown_frames`."""
        return self.config.max_shown_frames is not None

    def to_scores(self, reactions: Tensor) -> Tensor:
        """Reactions `(..., in_channels)` as the diffusion sees them: standard scores, or as they are."""
        return reactions if self.reaction_scores is None else self.reaction_scores(reactions)

    def from_scores(self, scores: Tensor) -> Tensor:
        """What the diffusion gives `(..., in_channels)` as reactions."""
        return scores if self.reaction_scores is None else self.reaction_scores.restore(scores)

    def editable_layers(self, components: Sequence[str], layers: Sequence[int]) -> dict[str, list[int]]:
        """Names and `[out_features, in_features]` of the linear layers that PWSG may edit (table 4 of the paper).

        Args:
            components: some of `"self_attention"`, `"cross_attention"`, `"feed_forward"` and `"mapping"`.
            layers: which transformer layers, counted from 0; the mapping layer stands outside them.

        Raises:
            ValueError: if a component or a layer does not exist.
        """
        unknown = set(components) - set(EDITABLE_COMPONENTS)
        if unknown or not components:
            raise ValueError(f"components must be some of {tuple(EDITABLE_COMPONENTS)}; given: {tuple(components)}.")
        outside = [layer for layer in layers if not 0 <= layer < len(self.layers)]
        if outside:
            raise ValueError(f"layers must lie between 0 and {len(self.layers) - 1}; given: {outside}.")
        names = ["mapping"] if "mapping" in components else []
        inside = [name for part in components if part != "mapping" for name in EDITABLE_COMPONENTS[part]]
        names += [f"layers.{layer}.{name}" for layer in layers for name in inside]
        weights = dict(self.named_parameters())
        return {name: list(weights[f"{name}.weight"].shape) for name in names}

    def encode_condition(
        self,
        conditions: Mapping[str, Tensor],
        dropped: Mapping[str, Tensor] | None = None,
        num_frames: int | None = None,
    ) -> Tensor:
        """The tokens of a condition (SBE, equation 4, for audio and coefficients: one linear layer each).

        Args:
            conditions: kind to values: `(batch, frames, width)` for frames, `(batch, width)` for latents and style.
                A kind of the model that is missing here is dropped for the whole batch.
            dropped: kind to a boolean `(batch,)`: which examples go without it.
            num_frames: length of a window; needed only where no condition with frames is given.

        Returns:
            `(batch, tokens, hidden_size)`; the tokens of a dropped condition are zero, as is the null condition.

        Raises:
            ValueError: if a kind is not one of the model's, none is given, or a width is wrong.
        """
        unknown = set(conditions) - set(self.condition_widths)
        if unknown or not conditions:
            raise ValueError(
                f"conditions must hold some of {tuple(self.condition_widths)}, the kinds of this model; "
                f"given: {tuple(conditions)}."
            )
        for kind, values in conditions.items():
            rank = 3 if is_framed(kind) else 2
            if values.dim() != rank or values.shape[-1] != self.condition_widths[kind]:
                shape = ("batch", "frames", self.condition_widths[kind]) if rank == 3 else ("batch", "width")
                raise ValueError(f"conditions['{kind}'] must have shape {shape}; given: {tuple(values.shape)}.")
        framed = [values.shape[1] // self._windows_of(kind) for kind, values in conditions.items() if is_framed(kind)]
        frames = framed[0] if framed else num_frames
        if frames is None:
            raise ValueError("num_frames must be given where no condition with frames is.")
        example = next(iter(conditions.values()))
        tokens = []
        for kind in self.condition_widths:
            if kind not in conditions:
                count = frames * self._windows_of(kind) if is_framed(kind) else 1
                tokens.append(example.new_zeros(len(example), count, self.config.hidden_size))
                continue
            values = conditions[kind]
            if kind in self.speaker_scores:
                values = self.speaker_scores[kind](values)
            elif kind == "past_emotion":
                values = self.to_scores(values)
            projected = self.condition_projections[kind](values)
            if not is_framed(kind):
                projected = projected[:, None]
            if dropped is not None and kind in dropped:
                projected = projected * ~dropped[kind][:, None, None]
            if kind == "audio" and kind not in self.speaker_scores:
                projected = projected * self.config.hidden_size**-0.5
            tokens.append(projected)
        return torch.cat(tokens, dim=1)

    def cache_condition(
        self,
        encoder_hidden_states: Tensor,
        weight_shifts: WeightShifts | None = None,
        guidance_scale: Tensor | float | None = None,
    ) -> ConditionCache:
        """Keys and values of a condition's tokens, to be shared by all denoising steps and all reactions.

        Args:
            encoder_hidden_states: `(conditions, tokens, hidden_size)` from `encode_condition`.
            weight_shifts: the listeners whose shifts hold; the forward call must get the same.
            guidance_scale: the input of a student: one for all, or `(conditions,)`; None: its teacher's.

        Raises:
            ValueError: if shifts do not fit, there are too many tokens, or another model is given a guidance scale.
        """
        if guidance_scale is not None and not self.config.distilled:
            raise ValueError("guidance_scale is an input of students alone; this model is guided by the sampler.")
        if weight_shifts is not None:
            self._check_not_fused()
            weight_shifts.check_layers(self)
            _check_listeners(len(encoder_hidden_states), weight_shifts)
        num_tokens = encoder_hidden_states.shape[1]
        if num_tokens + 1 > self.config.max_positions:
            raise ValueError(
                f"encoder_hidden_states must have fewer than {self.config.max_positions} tokens; given: {num_tokens}."
            )
        memory = encoder_hidden_states + self.memory_positions[1 : num_tokens + 1]
        pairs = [
            layer.cross_attention.keys_values(memory, shifts_within(weight_shifts, f"layers.{index}.cross_attention"))
            for index, layer in enumerate(self.layers)
        ]
        # The style's token is the last.
        adaptive = self.layers if self.config.adaptive_norm else ()
        modulations = tuple(layer.modulate(encoder_hidden_states[:, -1]) for layer in adaptive)
        guidance = (self._guidance(guidance_scale, memory),) if self.config.distilled else ()
        return ConditionCache(tuple(k for k, _ in pairs), tuple(v for _, v in pairs), modulations, guidance)

    def _guidance(self, guidance_scale: Tensor | float | None, like: Tensor) -> Tensor:
        """The scale as the time embedding takes it: sinusoids of what exceeds 1, `(conditions, time_channels)`."""
        scale = self.config.distilled["guidance_scale"] if guidance_scale is None else guidance_scale
        scales = torch.as_tensor(scale, dtype=torch.float32, device=like.device).reshape(-1).expand(len(like))
        return self.time_proj(GUIDANCE_UNIT * (scales - 1)).to(like.dtype)

    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor | int,
        encoder_hidden_states: Tensor | ConditionCache,
        weight_shifts: WeightShifts | None = None,
        return_dict: bool = True,
        shown: Tensor | None = None,
    ) -> GAFRGOutput | tuple[Tensor]:
        """Predict the clean window from a noisy one.

        Args:
            hidden_states: `(batch, frames, in_channels)` noisy reactions. With `c` conditions, `batch` is a multiple
                of `c` and row `i` belongs to condition `i // (batch // c)`; the same holds for listeners.
            timestep: one diffusion step for all, or `(conditions,)`.
            encoder_hidden_states: `(conditions, tokens, hidden_size)` from `encode_condition`, or the
                `ConditionCache` made of it.
            weight_shifts: the listeners' shifts; None is the generic model.
            return_dict: return a `GAFRGOutput` rather than a tuple.
            shown: `(batch, frames)` booleans, for a model with `max_shown_frames`: which frames were shown already and
                stand in `hidden_states` without noise; None: none.

        Returns:
            The predicted clean reactions, `(batch, frames, in_channels)`.

        Raises:
            ValueError: if the batch is no multiple of the number of conditions or listeners, the window is longer
                than `max_positions`, shifts are given while some are fused, or frames are shown to a model that
                cannot join them.
        """
        cache = encoder_hidden_states
        if not isinstance(cache, ConditionCache):
            cache = self.cache_condition(cache, weight_shifts)
        self.check_step(hidden_states, cache, weight_shifts, shown)

        time_token = self._time_token(timestep, cache, hidden_states)
        if self.joins_shown_frames:
            marks = hidden_states.new_zeros(hidden_states.shape[:2]) if shown is None else shown.to(hidden_states)
            hidden_states = torch.cat([hidden_states, marks[..., None]], dim=-1)
        hidden = self.input_projection(hidden_states) + self.query_positions[: hidden_states.shape[1]]
        for index, (layer, keys, values) in enumerate(zip(self.layers, cache.keys, cache.values)):
            modulation = cache.modulations[index] if cache.modulations else None
            inputs = (hidden, time_token, keys, values, shifts_within(weight_shifts, f"layers.{index}"), modulation)
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                hidden = self._gradient_checkpointing_func(layer, *inputs)
            else:
                hidden = layer(*inputs)
        sample = shifted_linear(self.mapping, self.norm_out(hidden), shift_of(weight_shifts, "mapping"))
        return GAFRGOutput(sample=sample) if return_dict else (sample,)

    def _time_token(self, timestep: Tensor | int, cache: ConditionCache, like: Tensor) -> Tensor:
        steps = torch.as_tensor(timestep, device=like.device).reshape(-1).expand(cache.num_conditions)
        token = self.time_embedding(self.time_proj(steps).to(like.dtype), *cache.guidance)
        return token[:, None] + self.memory_positions[:1]

    def check_step(
        self, hidden: Tensor, cache: ConditionCache, weight_shifts: WeightShifts | None, shown: Tensor | None
    ) -> None:
        """See that what a step is to be taken with fits together; see `forward`.

        Raises:
            ValueError: if not.
        """
        if shown is not None and not self.joins_shown_frames:
            raise ValueError(
                "shown needs a denoiser with max_shown_frames; this one takes every frame of a window for new."
            )
        batch, frames = hidden.shape[:2]
        if frames > self.config.max_positions:
            raise ValueError(f"hidden_states must have at most {self.config.max_positions} frames; given: {frames}.")
        if batch % cache.num_conditions:
            raise ValueError(f"A batch of {batch} does not divide into {cache.num_conditions} conditions.")
        if weight_shifts is not None:
            self._check_not_fused()
        _check_listeners(cache.num_conditions, weight_shifts)


def _check_listeners(num_conditions: int, weight_shifts: WeightShifts | None) -> None:
    if weight_shifts is not None and num_conditions % weight_shifts.num_listeners:
        raise ValueError(f"{num_conditions} conditions do not divide into {weight_shifts.num_listeners} listeners.")
