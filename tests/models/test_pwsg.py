"""PWSG against the official hypernetwork, its two heads, and the gradients that reach it through the denoiser."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from perfrdiff_hf.conversion.models import convert_gafrg, convert_pssl, convert_pwsg
from perfrdiff_hf.models.gafrg import GAFRGTransformer1DModel
from perfrdiff_hf.models.pwsg import PWSGConfig, PWSGModel
from perfrdiff_hf.models.weight_shifts import WeightShifts
from tests.golden_files import if_shared


FILES = ("hypernet_shift_all", "hypernet_offset_all", *if_shared("hypernet_shift_kv"))
KINDS = ("audio", "coefficients", "speaker_latent")


def official_layout(shifts: WeightShifts, layer: str) -> torch.Tensor:
    """Our shifts of one listener, packed as the official program packs them."""
    if layer == "to_emotion_feat":
        return shifts["mapping"].delta[0]
    prefix = layer.replace("decoder.", "").replace("multihead_attn", "cross_attention")
    parts = [shifts.get(f"{prefix}.to_{part}") for part in "qkv"]
    return torch.cat([part.delta[0] for part in parts if part is not None])


def guided(model, file, weight_shifts, rows=slice(None)):
    tokens = model.encode_condition({k: v[rows] for k, v in file.conditions(KINDS, model.dtype).items()})
    noisy = file["in.x_t"][rows].to(model.dtype)
    halves = []
    for condition in (torch.zeros_like(tokens), tokens):
        halves.append(model(noisy, file["in.t"][rows], condition, weight_shifts).sample)
    return halves[0] + 7.5 * (halves[1] - halves[0])


def small_config(**changes) -> PWSGConfig:
    layers = {"mapping": [25, 32], "layers.1.cross_attention.to_k": [32, 32], "layers.0.linear_1": [64, 32]}
    return PWSGConfig(**({"style_size": 8, "hidden_size": 16, "edited_layers": layers, "rank": 4} | changes))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-9)])
@torch.no_grad()
def test_shifts_and_edited_weights_are_the_official_ones(golden_file, name, dtype, tolerance):
    file, generic = golden_file(name), convert_gafrg(golden_file("denoiser_default").state, num_heads=4)
    model = convert_pwsg(file.state, file.branch_order, 4, shift_mode=file.settings["predict"])
    shifts = model.to(getattr(torch, dtype))(file["in.p"].to(getattr(torch, dtype)))
    shifts.check_layers(generic)
    for branch, layer in enumerate(file.branch_order):
        delta = official_layout(shifts, layer)
        assert (delta - file[f"f64.delta.{branch}"]).abs().max() < tolerance
    for name_, shift in shifts.to(dtype=torch.float32).items():
        weight = generic.get_submodule(name_).weight
        expected = edited_rows(file, name_)
        assert (weight + shift.weight_change(weight)[0] - expected).abs().max() < 1e-5, name_


def edited_rows(file, name: str) -> torch.Tensor:
    """The official edited weight that belongs to a layer of ours."""
    if name == "mapping":
        return file["edited.0"]
    layer, part = name.split(".")[1], "qkv".index(name[-1])
    branch = file.branch_order.index(f"decoder.layers.{layer}.multihead_attn")
    return file[f"edited.{branch}"].chunk(3)[part]


@pytest.mark.parametrize("name", FILES)
@torch.no_grad()
def test_one_listener_changes_the_guided_output_as_the_official_program_does(golden_file, name):
    file, inputs = golden_file(name), golden_file("denoiser_default")
    generic = convert_gafrg(inputs.state, num_heads=4)
    style = convert_pssl(golden_file("pssl").state, num_heads=4)(file["in.clip"]).style
    assert (style - file["in.p"]).abs().max() < 1e-5
    shifts = convert_pwsg(file.state, file.branch_order, 4, shift_mode=file.settings["predict"])(style)
    # Guidance multiplies the rounding of both float32 programs: the recorded output itself lies up to 1.9e-5 from a
    # float64 computation where it reaches 12.7. So the tolerance grows with the output.
    expected = file["f32.denoiser_after"]
    assert (guided(generic, inputs, shifts) - expected).abs().max() < 1e-5 * expected.abs().max().clamp(min=1)
    assert (guided(generic, inputs, None) - file["f32.denoiser_before"]).abs().max() < 1e-5
    assert (file["f32.denoiser_after"] - file["f32.denoiser_before"]).abs().max() > 0.1


@pytest.mark.parametrize("name", FILES)
@torch.no_grad()
def test_a_batch_in_which_only_some_rows_carry_shifts(golden_file, name):
    file, inputs = golden_file(name), golden_file("denoiser_default")
    generic = convert_gafrg(inputs.state, num_heads=4)
    pwsg = convert_pwsg(file.state, file.branch_order, 4, shift_mode=file.settings["predict"])
    output = guided(generic, inputs, WeightShifts.stack([None, pwsg(file["in.p"]), None]))
    before, after = file["f32.denoiser_before"], file["f32.denoiser_after"]
    assert (output[[0, 2]] - before[[0, 2]]).abs().max() < 1e-5
    assert (output[1] - after[1]).abs().max() < 1e-5 * after.abs().max().clamp(min=1)
    assert torch.equal(output[[0, 2]], guided(generic, inputs, None)[[0, 2]])


def test_parameters_at_official_sizes():
    with torch.device("meta"):
        full = PWSGModel(PWSGConfig())
        low_rank = PWSGModel(PWSGConfig(shift_type="low_rank"))
    sizes = [sum(parameter.numel() for parameter in model.parameters()) for model in (full, low_rank)]
    assert sizes[0] == 1_626_880_512
    assert sizes[1] < 0.01 * sizes[0]


@torch.no_grad()
def test_a_fresh_low_rank_model_changes_no_bit(denoiser, speaker):
    shifts = PWSGModel(small_config(shift_type="low_rank"))(F.normalize(torch.randn(3, 8), dim=1))
    noisy, tokens = torch.randn(3, 10, 25), denoiser.encode_condition(speaker)
    assert torch.equal(denoiser(noisy, 9, tokens, shifts).sample, denoiser(noisy, 9, tokens).sample)


@torch.no_grad()
def test_low_rank_shifts_have_at_most_that_rank(denoiser):
    model = PWSGModel(small_config(shift_type="low_rank", rank=3))
    for head in model.heads:
        head.core.weight.normal_()
    shifts = model(F.normalize(torch.randn(2, 8), dim=1))
    for name, shift in shifts.items():
        weight = denoiser.get_submodule(name).weight
        change = shift.weight_change(weight)
        assert change.shape == (2, *weight.shape)
        assert torch.linalg.matrix_rank(change).tolist() == [3, 3]


@pytest.mark.parametrize("shift_type", ["full", "low_rank"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_pwsg_through_the_denoiser(denoiser, speaker, shift_type, checkpointing):
    torch.manual_seed(3)
    denoiser = GAFRGTransformer1DModel.from_config(denoiser.config, dropout=0.0).double().requires_grad_(False)
    if checkpointing:
        denoiser.train().enable_gradient_checkpointing()
    model = PWSGModel(small_config(shift_type=shift_type)).double()
    if shift_type == "low_rank":
        for head in model.heads:
            torch.nn.init.normal_(head.core.weight, std=0.1)
    styles = F.normalize(torch.randn(3, 8, dtype=torch.float64), dim=1)
    noisy = torch.randn(3, 10, 25, dtype=torch.float64)
    tokens = denoiser.encode_condition({kind: values.double() for kind, values in speaker.items()})

    def loss():
        return denoiser(noisy, 9, tokens, model(styles)).sample.square().mean()

    loss().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.any(), name
        direction = torch.randn_like(parameter)
        step = 1e-6 * direction
        with torch.no_grad():
            parameter += step
            above = loss()
            parameter -= 2 * step
            below = loss()
            parameter += step
        slope = (above - below) / 2e-6
        assert (parameter.grad * direction).sum().item() == pytest.approx(slope.item(), rel=1e-5, abs=1e-9), name


def test_gradients_equal_those_through_edited_weights(denoiser, speaker):
    denoiser.requires_grad_(False)
    model = PWSGModel(small_config())
    style, noisy = F.normalize(torch.randn(1, 8), dim=1), torch.randn(3, 10, 25)
    tokens = denoiser.encode_condition(speaker)

    def gradients(sample):
        model.zero_grad()
        sample.square().mean().backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    ours = gradients(denoiser(noisy, 9, tokens, model(style)).sample)
    edited = {
        f"{name}.weight": denoiser.get_submodule(name).weight + shift.delta[0] for name, shift in model(style).items()
    }
    theirs = gradients(torch.func.functional_call(denoiser, edited, (noisy, 9, tokens)).sample)
    for mine, other in zip(ours, theirs):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("shift_type", ["full", "low_rank"])
@torch.no_grad()
def test_saved_and_loaded_to_the_bit(shift_type, tmp_path):
    model = PWSGModel(small_config(shift_type=shift_type)).eval()
    for parameter in model.parameters():
        parameter.normal_()
    model.save_pretrained(str(tmp_path))
    loaded = PWSGModel.from_pretrained(str(tmp_path))
    style = F.normalize(torch.randn(2, 8), dim=1)
    expected, given = model(style), loaded(style)
    # The order of layers in the configuration file is not that of the argument.
    assert list(given) == list(expected)
    for name, shift in expected.items():
        for field in ("delta", "down", "up"):
            if hasattr(shift, field):
                assert torch.equal(getattr(shift, field), getattr(given[name], field)), name


def test_a_missing_head_is_initialised_as_in_a_new_model(tmp_path):
    model = PWSGModel(small_config(shift_type="low_rank"))
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("heads.1")}
    model.save_pretrained(str(tmp_path), state_dict=state)
    loaded = PWSGModel.from_pretrained(str(tmp_path))
    assert not loaded.heads[1].core.weight.any()
    assert loaded.heads[1].down.std().item() == pytest.approx(model.heads[1].down.shape[1] ** -0.5, rel=0.3)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"shift_type": "medium"}, "shift_type"),
        ({"shift_mode": "add"}, "shift_mode"),
        ({"shift_type": "low_rank", "shift_mode": "offset"}, "shift_mode"),
        ({"rank": 0}, "rank"),
    ],
)
def test_impossible_configurations_are_refused(changes, named):
    with pytest.raises(ValueError, match=named):
        small_config(**changes)


def test_a_style_of_a_wrong_shape_is_refused():
    model = PWSGModel(small_config())
    for shape in ((8,), (2, 9), (1, 2, 8)):
        with pytest.raises(ValueError, match="style"):
            model(torch.zeros(shape))
