"""Speaker behaviour encoding (SBE): from what a speaker shows to the conditions of GAFRG, for training and generation.

Audio features and coefficients go in as they are; emotion gives the speaker's latent through the emotion VAE
(equation 4). The past reaction is the condition of equation 9.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .emotion_vae import EmotionVAEModel


# Which stream of behaviour a kind of condition is made of. `"past_emotion"` is made of reactions.
STREAM_OF_CONDITION = {
    "audio": "audio",
    "coefficients": "coefficients",
    "speaker_emotion": "emotion",
    "speaker_latent": "emotion",
}
# Kinds that training and pipelines can fill; the model itself knows more of them, for converted checkpoints.
FILLED_CONDITIONS = (*STREAM_OF_CONDITION, "past_emotion")
# The listener's style as an input (table 3, "Input p"), which a style encoder fills.
STYLE_CONDITION = "personal"


def takes_style(denoiser: Any) -> bool:
    """Whether the style of a listener is one of a denoiser's conditions."""
    return STYLE_CONDITION in getattr(denoiser, "condition_widths", ())


def check_conditions(denoiser: Any, style_encoder: Any = None) -> None:
    """See that every condition of a denoiser can be filled.

    Raises:
        ValueError: if not: the tokens of the others would be zero for ever.
    """
    filled = (*FILLED_CONDITIONS, *([] if style_encoder is None else [STYLE_CONDITION]))
    empty = [kind for kind in getattr(denoiser, "condition_widths", ()) if kind not in filled]
    if empty:
        raise ValueError(
            f"denoiser must have conditions of {filled}; given also: {empty}, which nothing fills. Such a "
            "model can be called by itself, with conditions that you make."
        )
    if takes_style(denoiser) and denoiser.config.style_size != style_encoder.config.style_size:
        raise ValueError(
            f"denoiser must take styles of the width that style_encoder gives ({style_encoder.config.style_size}); "
            f"its style_size is {denoiser.config.style_size}."
        )


def speaker_conditions(
    denoiser: Any,
    emotion_vae: EmotionVAEModel | None,
    speaker: Mapping[str, Tensor],
    past: Tensor | None = None,
    style: Tensor | None = None,
) -> dict[str, Tensor]:
    """The conditions of a denoiser for windows of speakers.

    Args:
        denoiser: a `GAFRGTransformer1DModel`; it says which kinds there are.
        emotion_vae: for the speaker's latent; None where the denoiser has none.
        speaker: `"audio"` `(batch, n, 78)`, `"emotion"` `(batch, n, 25)` and `"coefficients"` `(batch, n, 58)` with
            the mean face removed, over the denoiser's `context_windows`, of which the latent is that of the last;
            kinds made of a stream that is missing are missing in what is returned.
        past: `(batch, k, w, channels)` the `k` reactions over the window before, each with a past of its own, so that
            each is a condition of its own; left out where the denoiser takes no past.
        style: `(batch, style_size)` of unit length, of the listener of each speaker; left out where the denoiser takes
            no style.

    Returns:
        Kind to values for `encode_condition`: `batch` rows, or `batch * k` where a past is given and taken.
    """
    kinds = denoiser.condition_widths
    takes_past = past is not None and "past_emotion" in kinds
    repeats = past.shape[1] if takes_past and past is not None else 1
    conditions: dict[str, Tensor] = {}
    for kind, stream in STREAM_OF_CONDITION.items():
        if kind not in kinds or stream not in speaker:
            continue
        values = speaker[stream]
        if kind == "speaker_latent":
            values = _latent(emotion_vae, values[:, -(values.shape[1] // denoiser.config.context_windows) :])
        conditions[kind] = values.repeat_interleave(repeats, dim=0)
    if takes_past and past is not None:
        conditions["past_emotion"] = past.flatten(0, 1)
    if style is not None and takes_style(denoiser):
        # Entries of a unit vector are tiny; at unit variance listeners are apart from the start, as in PWSG.
        scaled = style * style.shape[-1] ** 0.5
        conditions[STYLE_CONDITION] = scaled.repeat_interleave(repeats, dim=0)
    return {kind: conditions[kind] for kind in kinds if kind in conditions}


def _latent(emotion_vae: EmotionVAEModel | None, emotion: Tensor) -> Tensor:
    if emotion_vae is None:
        raise ValueError("This denoiser has the condition 'speaker_latent' and needs an emotion_vae; given: None.")
    with torch.no_grad():  # the VAE is frozen wherever a denoiser uses it
        return emotion_vae.encode(emotion.to(emotion_vae.dtype)).hidden_state
