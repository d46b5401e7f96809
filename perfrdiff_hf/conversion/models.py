"""Official PerFRDiff state dicts to models of ours, number for number.

The sizes are read off the tensors. What a state dict does not tell, the number of heads and the switches of the
official configuration, is given by the caller. `convert_checkpoint_folder` in `conversion_folder` does it for the
whole folder that the authors published.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..models.emotion_vae import EmotionVAEModel
from ..models.gafrg import GAFRGTransformer1DModel
from ..models.pssl import PSSLConfig, PSSLModel
from ..models.pwsg import PWSGModel
from .hypernetwork import plan_pwsg
from .state import ConvertedState, Source, check_state, copy_state, size_of, tensors_of


Model = TypeVar("Model", bound=nn.Module)

# The official denoiser's projection for each kind of condition, and where it keeps the weights inside.
CONDITION_PROJECTIONS = {
    "audio": "speaker_audio_proj",
    "coefficients": "speaker_3dmm_proj",
    "speaker_emotion": "speaker_emotion_proj",
    "speaker_latent": "speaker_latent_proj",
    "listener_latent": "listener_latent_proj",
    "past_emotion": "listener_emotion_proj",
    "personal": "listener_personal_proj",
}

# Our names to the official ones, applied in this order; attention's in-projections are treated apart.
GAFRG_NAMES = (
    (r"^layers\.(\d+)\.(linear|norm)_(\d)\.", r"decoder.layers.\1.\2\3."),
    (r"^layers\.", "decoder.layers."),
    (r"^norm_out\.", "decoder.norm."),
    (r"\.self_attention\.", ".self_attn."),
    (r"\.cross_attention\.", ".multihead_attn."),
    (r"\.to_out\.", ".out_proj."),
    (r"^input_projection\.", "to_emotion_embed."),
    (r"^mapping\.", "to_emotion_feat."),
    (r"^query_positions$", "query_pos.pe"),
    (r"^memory_positions$", "mem_pos.pe"),
    *((rf"^condition_projections\.{kind}\.", f"{name}.") for kind, name in CONDITION_PROJECTIONS.items()),
)
PSSL_NAMES = (
    (r"^embedding\.", "embed_layer."),
    (r"^class_token$", "cls_token"),
    (r"^encoder\.", "transformer."),
    (r"^projection\.", "proj_head."),
)
EMOTION_VAE_NAMES = (
    (r"^encoder\.(\w+)_l0$", r"x_rnn.rnn_f.\1"),
    (r"^to_mean\.", "fc_mu_enc."),
    (r"^to_logvar\.", "fc_logvar_enc."),
    (r"^from_latent\.", "fc_z_dec."),
    (r"^decoder\.", "d_rnn.rnn_f."),
    (r"^decoder_layers\.", "d_mlp.affine_layers."),
    (r"^decoder_out\.", "d_out."),
    (r"^coefficient_regressor\.", "coeff_reg."),
)

# The official style encoder reads up to 1000 tokens at once, one of which is the class token.
PSSL_MAX_FRAMES = 999


def convert_gafrg(
    state_dict: Mapping[str, Tensor],
    num_heads: int,
    conditions: Sequence[str] = ("audio", "coefficients", "speaker_latent"),
) -> GAFRGTransformer1DModel:
    """The official denoiser (`TransformerDenoiser`) as a `GAFRGTransformer1DModel` in eval mode.

    Args:
        state_dict: official names to tensors, or the checkpoint around it.
        num_heads: attention heads (4 in the official configuration).
        conditions: the kinds of condition that were switched on in training; see `GAFRGTransformer1DModel`. With
            `"past_emotion"` the model is that of the paper's equation 9, without it that of the official default.

    Raises:
        ValueError: if a tensor is missing, unexpected or misshapen (the message names it), or an argument does not
            fit. The projections of conditions that are not switched on may be there and are not used.
    """
    owner = "GAFRG denoiser"
    tensors = tensors_of(state_dict, owner)
    hidden_size, in_channels = size_of(tensors, "to_emotion_embed.weight", owner)
    model = GAFRGTransformer1DModel(
        in_channels=in_channels,
        hidden_size=hidden_size,
        num_layers=_count(tensors, r"decoder\.layers\.(\d+)\.", owner),
        num_heads=num_heads,
        feed_forward_size=size_of(tensors, "decoder.layers.0.linear1.weight", owner)[0],
        conditions=tuple(conditions),
        audio_channels=size_of(tensors, "speaker_audio_proj.weight", owner)[1],
        coefficient_channels=size_of(tensors, "speaker_3dmm_proj.weight", owner)[1],
        latent_size=_latent_size(tensors, conditions, hidden_size),
        style_size=_projected_width(tensors, "listener_personal_proj.weight", hidden_size),
        time_channels=size_of(tensors, "time_embedding.linear_1.weight", owner)[1],
        max_positions=size_of(tensors, "query_pos.pe", owner, dimensions=3)[0],
    )
    sources = {name: _gafrg_source(name, tuple(value.shape)) for name, value in model.state_dict().items()}
    unused = [f"{name}." for kind, name in CONDITION_PROJECTIONS.items() if kind not in conditions]
    check_state(tensors, sources.values(), owner, unused)
    copy_state(model, ConvertedState(tensors, sources, model))
    return model.eval()


def convert_emotion_vae(state_dict: Mapping[str, Tensor]) -> EmotionVAEModel:
    """The official emotion VAE (`embedder_latent`) as an `EmotionVAEModel` in eval mode.

    Args:
        state_dict: official names to tensors, or the checkpoint around it.

    Raises:
        ValueError: if a tensor is missing, unexpected or misshapen; the message names it.
    """
    owner = "emotion VAE"
    tensors = tensors_of(state_dict, owner)
    emotion_channels = size_of(tensors, "x_rnn.rnn_f.weight_ih", owner)[1]
    layers = range(_count(tensors, r"d_mlp\.affine_layers\.(\d+)\.", owner))
    model = EmotionVAEModel(
        emotion_channels=emotion_channels,
        coefficient_channels=size_of(tensors, "coeff_reg.2.weight", owner)[0],
        hidden_size=size_of(tensors, "x_rnn.rnn_f.weight_hh", owner)[1],
        latent_size=size_of(tensors, "fc_mu_enc.weight", owner)[0],
        decoder_sizes=tuple(size_of(tensors, f"d_mlp.affine_layers.{i}.weight", owner)[0] for i in layers),
    )
    return _copied(model, tensors, EMOTION_VAE_NAMES, owner)


def convert_pssl(state_dict: Mapping[str, Tensor], num_heads: int) -> PSSLModel:
    """The official style encoder (`person_specific`) as a `PSSLModel` in eval mode.

    Args:
        state_dict: official names to tensors, or the checkpoint around it.
        num_heads: attention heads (4 in the official configuration).

    Raises:
        ValueError: if a tensor is missing, unexpected or misshapen (the message names it), or `num_heads` does not
            divide the width.
    """
    owner = "PSSL style encoder"
    tensors = tensors_of(state_dict, owner)
    hidden_size, channels = size_of(tensors, "embed_layer.weight", owner)
    _check_heads(num_heads, hidden_size)
    config = PSSLConfig(
        coefficient_channels=channels,
        hidden_size=hidden_size,
        num_hidden_layers=_count(tensors, r"transformer\.layers\.(\d+)\.", owner),
        num_attention_heads=num_heads,
        intermediate_size=size_of(tensors, "transformer.layers.0.linear1.weight", owner)[0],
        style_size=size_of(tensors, "proj_head.2.weight", owner)[0],
        max_frames=PSSL_MAX_FRAMES,
    )
    return _copied(PSSLModel(config), tensors, PSSL_NAMES, owner)


def convert_pwsg(
    state_dict: Mapping[str, Tensor],
    edited_layers: Sequence[str],
    num_heads: int,
    shift_mode: str = "shift",
    hidden_size: int | None = None,
) -> PWSGModel:
    """The official hypernetwork (`ModifierNetwork`) as a `PWSGModel` with full shifts, in eval mode.

    Where the official program edits a packed in-projection, ours edits the projections for queries, keys and values
    by themselves: the branch is split by rows, and its shifts are the same numbers. A branch that shifts keys and
    values only is told by its size.

    Args:
        state_dict: official names to tensors, or the checkpoint around it.
        edited_layers: official name of the layer that each branch edits, in the order of the branches, such as
            `["to_emotion_feat", "decoder.layers.4.multihead_attn"]`.
        num_heads: attention heads of the denoiser.
        shift_mode: the official `predict`: `"shift"`, `"offset"` or `"weight"`.
        hidden_size: the denoiser's width; needed only where no attention and not `to_emotion_feat` is edited.

    Raises:
        ValueError: if a tensor is missing, unexpected or misshapen (the message names it), the branches do not fit
            `edited_layers`, or a layer is not one that can be edited.
    """
    tensors = tensors_of(state_dict, "PWSG hypernetwork")
    plan = plan_pwsg(tensors, edited_layers, num_heads, shift_mode, hidden_size)
    with torch.device("meta"):
        model = PWSGModel(plan.config)
    model = model.to_empty(device="cpu")
    copy_state(model, ConvertedState(tensors, plan.sources, model))
    return model.eval()


def _copied(model: Model, tensors: Mapping[str, Tensor], names: Sequence[tuple[str, str]], owner: str) -> Model:
    sources = {
        name: Source(_official_name(name, names), tuple(value.shape)) for name, value in model.state_dict().items()
    }
    check_state(tensors, sources.values(), owner)
    copy_state(model, ConvertedState(tensors, sources, model))
    return model.eval()


def _gafrg_source(name: str, shape: tuple[int, ...]) -> Source:
    official = _official_name(name, GAFRG_NAMES)
    if name in ("query_positions", "memory_positions"):
        return Source(official, (shape[0], 1, shape[1]))
    packed = re.fullmatch(r"(.*\.)to_([qkv])\.(weight|bias)", official)
    if packed is None:
        return Source(official, shape)
    rows, part = shape[0], "qkv".index(packed[2])
    return Source(f"{packed[1]}in_proj_{packed[3]}", (3 * rows, *shape[1:]), slice(part * rows, (part + 1) * rows))


def _official_name(name: str, names: Sequence[tuple[str, str]]) -> str:
    for ours, official in names:
        name = re.sub(ours, official, name)
    return name


def _count(tensors: Mapping[str, Tensor], pattern: str, owner: str) -> int:
    indices = {int(match[1]) for name in tensors if (match := re.match(pattern, name))}
    if not indices:
        raise ValueError(f"This is not the state dict of an official {owner}: no tensor is named like {pattern!r}.")
    if max(indices) > 1000:
        raise ValueError(f"The state dict of the {owner} names layer {max(indices)}; 1000 is the most.")
    return max(indices) + 1


def _check_heads(num_heads: int, hidden_size: int) -> None:
    if num_heads < 1 or hidden_size % num_heads:
        raise ValueError(f"num_heads must divide the width {hidden_size}; given: {num_heads}.")


def _latent_size(tensors: Mapping[str, Tensor], conditions: Sequence[str], hidden_size: int) -> int:
    names = [f"{CONDITION_PROJECTIONS[kind]}.1.weight" for kind in ("speaker_latent", "listener_latent")
             if kind in conditions]  # fmt: skip
    widths = {name: _projected_width(tensors, name, hidden_size) for name in names}
    if len(set(widths.values())) > 1:
        raise ValueError(f"The speaker's and the listener's latent must have the same width; given: {widths}.")
    return next(iter(widths.values()), hidden_size)


def _projected_width(tensors: Mapping[str, Tensor], name: str, hidden_size: int) -> int:
    # Where the widths are equal, the official model has no projection at all.
    return size_of(tensors, name, "GAFRG denoiser")[1] if name in tensors else hidden_size
