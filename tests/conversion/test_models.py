"""Conversion of single state dicts: what is read off them, what is refused, and the low-rank stand-in."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from perfrdiff_hf.conversion.models import convert_emotion_vae, convert_gafrg, convert_pssl, convert_pwsg
from perfrdiff_hf.models.low_rank import low_rank_pwsg
from perfrdiff_hf.models.pwsg import PWSGConfig, PWSGModel
from tests.official_modules import OfficialDenoiser, OfficialEmotionVAE, OfficialHypernetwork, OfficialStyleEncoder


WIDTH = 12
AREA = WIDTH * WIDTH
ATTENTION = "decoder.layers.1.multihead_attn"


def unit(rows: int, width: int) -> torch.Tensor:
    return F.normalize(torch.randn(rows, width), dim=1)


@torch.no_grad()
def test_a_denoiser_of_other_sizes_computes_what_pytorchs_own_layers_do():
    official = OfficialDenoiser(width=18, layers=3, heads=3, inner=31).eval()
    model = convert_gafrg(official.state_dict(), num_heads=3)
    audio, coefficients, latent = torch.randn(2, 5, 78), torch.randn(2, 5, 58), torch.randn(2, 18)
    noisy, steps = torch.randn(2, 5, 25), torch.tensor([3, 700])
    tokens = [official.speaker_audio_proj(audio) * 18**-0.5, official.speaker_3dmm_proj(coefficients), latent[:, None]]
    expected = official(noisy, model.time_proj(steps), tokens)
    encoded = model.encode_condition({"audio": audio, "coefficients": coefficients, "speaker_latent": latent})
    torch.testing.assert_close(model(noisy, steps, encoded).sample, expected, atol=1e-5, rtol=1e-5)
    assert not model.training and model.dtype == torch.float32


@torch.no_grad()
def test_projections_of_latents_and_style_follow_their_widths():
    official = OfficialDenoiser(latent=7, personal=9)
    kinds = ("audio", "speaker_latent", "listener_latent", "personal")
    model = convert_gafrg(official.state_dict(), num_heads=2, conditions=kinds)
    latent, style = torch.randn(2, 7), torch.randn(2, 9)
    tokens = model.encode_condition(
        {"speaker_latent": latent, "listener_latent": latent, "personal": style}, num_frames=4
    )
    expected = [official.speaker_latent_proj(latent), official.listener_latent_proj(latent)]
    # The official program rectifies latents before it projects them, and not the style.
    expected.append(official.listener_personal_proj(style))
    torch.testing.assert_close(tokens[:, 4:], torch.stack(expected, dim=1))


@torch.no_grad()
def test_half_precision_checkpoints_become_float32():
    state = {name: value.half() for name, value in OfficialStyleEncoder().state_dict().items()}
    assert convert_pssl(state, num_heads=2).dtype == torch.float32


def test_the_wrapper_of_a_checkpoint_file_is_taken_off():
    official = OfficialEmotionVAE()
    model = convert_emotion_vae({"state_dict": official.state_dict(), "optimizer": {"state": {}, "param_groups": []}})
    assert model.config.latent_size == 10 and tuple(model.config.decoder_sizes) == (9, 7)
    assert torch.equal(model.decoder_out.weight, official.d_out.weight)


@torch.no_grad()
def test_a_converted_model_shares_no_memory_with_the_checkpoint():
    official = OfficialHypernetwork([25 * WIDTH])
    model = convert_pwsg(official.state_dict(), ["to_emotion_feat"], 2)
    before = model.heads[0].delta.weight.clone()
    official.branches[0].weight.zero_()
    assert torch.equal(model.heads[0].delta.weight, before)


# Official layer and number of entries, to our layers in the order of the rows.
BRANCHES = {
    "to_emotion_feat": (25 * WIDTH, ["mapping"]),
    "decoder.layers.0.self_attn": (3 * AREA, [f"layers.0.self_attention.to_{part}" for part in "qkv"]),
    ATTENTION: (3 * AREA, [f"layers.1.cross_attention.to_{part}" for part in "qkv"]),
    "decoder.layers.0.multihead_attn": (2 * AREA, [f"layers.0.cross_attention.to_{part}" for part in "kv"]),
    "decoder.layers.1.linear1": (20 * WIDTH, ["layers.1.linear_1"]),
    "decoder.layers.1.linear2": (WIDTH * 20, ["layers.1.linear_2"]),
}


@pytest.mark.parametrize(
    "layers",
    [list(BRANCHES), ["decoder.layers.1.linear1", ATTENTION], ["to_emotion_feat", "decoder.layers.1.linear2"]],
)
@torch.no_grad()
def test_every_branch_becomes_the_shifts_of_its_layers(layers):
    official = OfficialHypernetwork([BRANCHES[name][0] for name in layers])
    shifts = convert_pwsg(official.state_dict(), layers, num_heads=2)(style := unit(1, 6))
    denoiser = convert_gafrg(OfficialDenoiser().state_dict(), num_heads=2)
    shifts.check_layers(denoiser)
    for name, branch in zip(layers, official(style)):
        ours = torch.cat([shifts[part].delta[0].flatten() for part in BRANCHES[name][1]])
        torch.testing.assert_close(ours, branch[0])
    assert len(shifts) == sum(len(BRANCHES[name][1]) for name in layers)


@torch.no_grad()
def test_names_may_carry_the_prefix_of_the_official_configuration():
    state = OfficialHypernetwork([25 * WIDTH]).state_dict()
    model = convert_pwsg(state, ["diffusion_decoder.model.to_emotion_feat"], num_heads=2)
    assert list(model.config.edited_layers) == ["mapping"]


@torch.no_grad()
def test_replaced_weights_of_keys_and_values_leave_no_query_as_officially():
    state = OfficialHypernetwork([2 * AREA]).state_dict()
    shifts = convert_pwsg(state, [ATTENTION], num_heads=2, shift_mode="weight")(unit(1, 6))
    query = shifts["layers.1.cross_attention.to_q"]
    weight = torch.randn(WIDTH, WIDTH)
    assert torch.equal(query.weight_change(weight)[0], -weight)


@torch.no_grad()
def test_feed_forward_layers_alone_need_the_width():
    official = OfficialHypernetwork([20 * WIDTH])
    with pytest.raises(ValueError, match="hidden_size"):
        convert_pwsg(official.state_dict(), ["decoder.layers.0.linear2"], num_heads=2)
    model = convert_pwsg(official.state_dict(), ["decoder.layers.0.linear2"], num_heads=2, hidden_size=WIDTH)
    assert model.config.edited_layers == {"layers.0.linear_2": [WIDTH, 20]}


CONVERSIONS = {
    "denoiser": (OfficialDenoiser, lambda state: convert_gafrg(state, num_heads=2), "decoder.layers.1.norm2.weight"),
    "emotion_vae": (OfficialEmotionVAE, convert_emotion_vae, "d_rnn.rnn_f.bias_hh"),
    "pssl": (OfficialStyleEncoder, lambda state: convert_pssl(state, num_heads=2), "proj_head.0.bias"),
    "pwsg": (
        lambda: OfficialHypernetwork([25 * WIDTH]),
        lambda state: convert_pwsg(state, ["to_emotion_feat"], num_heads=2),
        "branches.0.bias",
    ),
}


@pytest.mark.parametrize("model", CONVERSIONS)
def test_missing_unexpected_and_misshapen_tensors_are_named(model):
    make, convert, name = CONVERSIONS[model]
    state = make().state_dict()
    convert(state)
    with pytest.raises(ValueError, match=f"missing: {name}"):
        convert({key: value for key, value in state.items() if key != name})
    with pytest.raises(ValueError, match=r"unexpected: something\.else"):
        convert(state | {"something.else": torch.zeros(2)})
    with pytest.raises(ValueError, match=rf"misshapen: {name} must be .* and is \(3, 3, 3\)"):
        convert(state | {name: torch.zeros(3, 3, 3)})
    with pytest.raises(ValueError, match=f"'{name}' is str"):
        convert(state | {name: "weights"})
    with pytest.raises(ValueError, match="floating-point"):
        convert(state | {name: torch.zeros(3, dtype=torch.int64)})


@pytest.mark.parametrize("model", CONVERSIONS)
@pytest.mark.parametrize("other", CONVERSIONS)
def test_the_state_dict_of_another_model_is_refused(model, other):
    state = CONVERSIONS[other][0]().state_dict()
    if model != other:
        with pytest.raises(ValueError, match="not the state dict of an official"):
            CONVERSIONS[model][1](state)


@pytest.mark.parametrize("checkpoint", [None, [], {}, {"state_dict": 3}, {"state_dict": {}}])
def test_what_is_no_state_dict_is_refused(checkpoint):
    with pytest.raises(ValueError, match="state dict"):
        convert_emotion_vae(checkpoint)


def test_arguments_that_do_not_fit_are_refused():
    denoiser, encoder = OfficialDenoiser().state_dict(), OfficialStyleEncoder().state_dict()
    with pytest.raises(ValueError, match="num_heads"):
        convert_gafrg(denoiser, num_heads=5)
    with pytest.raises(ValueError, match="num_heads"):
        convert_pssl(encoder, num_heads=0)
    with pytest.raises(ValueError, match="smell"):
        convert_gafrg(denoiser, num_heads=2, conditions=("smell",))
    with pytest.raises(ValueError, match="unexpected"):
        convert_gafrg(OfficialDenoiser(latent=7).state_dict() | {"encoder.norm.weight": torch.zeros(2)}, num_heads=2)
    hypernetwork = OfficialHypernetwork([25 * WIDTH, 3 * AREA]).state_dict()
    for layers, named in (
        (["to_emotion_feat"], "branches"),
        (["to_emotion_feat", "to_emotion_feat"], "none twice"),
        (["to_emotion_feat", "decoder.layers.0.norm1"], "norm1"),
        ([ATTENTION, "to_emotion_feat"], "order"),
        (["to_emotion_feat", "decoder.layers.0.self_attn", "decoder.layers.1.self_attn"], "branches"),
    ):
        with pytest.raises(ValueError, match=named):
            convert_pwsg(hypernetwork, layers, num_heads=2)
    with pytest.raises(ValueError, match="num_heads"):
        convert_pwsg(hypernetwork, ["to_emotion_feat", ATTENTION], num_heads=5)
    with pytest.raises(ValueError, match="shift_mode"):
        convert_pwsg(hypernetwork, ["to_emotion_feat", ATTENTION], num_heads=2, shift_mode="add")


def low_rank_in_full(rank: int) -> PWSGModel:
    """A full PWSG whose shifts lie in bases of the given rank that all listeners share."""
    layers = {"layers.0.cross_attention.to_v": [WIDTH, WIDTH], "mapping": [5, WIDTH]}
    model = PWSGModel(PWSGConfig(style_size=6, hidden_size=10, edited_layers=layers)).eval()
    for head, (rows, columns) in zip(model.heads, layers.values()):
        up, down = torch.randn(rows, rank), torch.randn(rank, columns)
        core = torch.randn(rank, rank, 11)
        entries = torch.einsum("ir,rsk,sj->ijk", up, core, down).reshape(rows * columns, 11)
        head.delta.weight.data, head.delta.bias.data = entries[:, :10].contiguous(), entries[:, 10].contiguous()
    return model


@pytest.mark.parametrize("rank", [2, 3, 7])
@torch.no_grad()
def test_a_rank_that_suffices_gives_the_same_shifts(rank):
    full = low_rank_in_full(2)
    model, errors = low_rank_pwsg(full.config, full.state_dict(), rank)
    assert model.config.shift_type == "low_rank" and model.config.rank == rank
    assert max(error.shift for error in errors.values()) < 1e-5
    expected, given = full(style := unit(4, 6)), model(style)
    for name, shift in expected.items():
        weight = torch.zeros(shift.layer_shape)
        torch.testing.assert_close(given[name].weight_change(weight), shift.delta, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_reported_error_is_that_of_the_written_model_and_falls_with_the_rank():
    full = low_rank_in_full(5)
    styles = unit(64, 6)
    errors = []
    for rank in (1, 2, 4, 5):
        model, reported = low_rank_pwsg(full.config, full.state_dict(), rank, styles)
        name = "layers.0.cross_attention.to_v"
        unseen = styles[1::2]
        expected, given = full(unseen)[name].delta, model(unseen)[name].weight_change(torch.zeros(WIDTH, WIDTH))
        actual = (given - expected).norm() / expected.norm()
        assert reported[name].shift == pytest.approx(actual.item(), abs=1e-4)
        centred = (given - given.mean(0)) - (expected - expected.mean(0))
        assert reported[name].personal == pytest.approx(
            (centred.norm() / (expected - expected.mean(0)).norm()).item(), abs=1e-4
        )
        errors.append(reported[name].shift)
    assert errors == sorted(errors, reverse=True) and errors[0] > 0.1 and errors[-1] < 1e-5


@torch.no_grad()
def test_bases_are_better_than_those_of_a_single_listener():
    full = low_rank_in_full(6)
    styles = unit(64, 6)
    _, errors = low_rank_pwsg(full.config, full.state_dict(), 3, styles)
    deltas = full(styles)["layers.0.cross_attention.to_v"].delta
    left, _, right = torch.linalg.svd(deltas[0])
    kept = left[:, :3] @ (left[:, :3].T @ deltas[1::2] @ right[:3].T) @ right[:3]
    assert errors["layers.0.cross_attention.to_v"].shift < (kept - deltas[1::2]).norm() / deltas[1::2].norm()


def test_a_low_rank_that_cannot_be_had_is_refused():
    full = low_rank_in_full(2)
    with pytest.raises(ValueError, match="rank must be at least 1"):
        low_rank_pwsg(full.config, full.state_dict(), 0)
    with pytest.raises(ValueError, match="styles"):
        low_rank_pwsg(full.config, full.state_dict(), 2, torch.zeros(3, 6))
    offset = PWSGConfig(style_size=6, edited_layers={"mapping": [5, WIDTH]}, shift_mode="offset")
    with pytest.raises(ValueError, match="can't be had"):
        low_rank_pwsg(offset, {}, 2)
