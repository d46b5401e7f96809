"""GAFRG against the official denoiser, and its own promises: shared conditions, checkpointing, storage, adapters."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig

from perfrdiff_hf.conversion.models import convert_gafrg
from perfrdiff_hf.models.gafrg import CONDITION_KINDS, ConditionCache, GAFRGTransformer1DModel
from perfrdiff_hf.models.positions import sinusoidal_positions


OFFICIAL_KINDS = ("audio", "coefficients", "speaker_latent")
FILES = {"denoiser_default": OFFICIAL_KINDS, "denoiser_all_conditions": CONDITION_KINDS}


def guided(model, file, kinds, dtype, weight_shifts=None):
    """Both halves of guidance in one batch, unconditional first, and the guided output."""
    tokens = model.encode_condition(file.conditions(kinds, dtype))
    tokens = torch.cat([torch.zeros_like(tokens), tokens])
    noisy, steps = file["in.x_t"].to(dtype).repeat(2, 1, 1), file["in.t"].repeat(2)
    halves = model(noisy, steps, tokens, weight_shifts).sample
    unconditional, conditional = halves.chunk(2)
    return halves, unconditional + 7.5 * (conditional - unconditional)


def record(model, file, kinds, dtype):
    """The official program's inner values, computed by our model: name to tensor."""
    seen: dict[str, list] = {"query": [], "memory": []}
    first = model.layers[0]
    hooks = [
        first.register_forward_pre_hook(lambda module, args: seen["query"].append(args[0])),
        first.cross_attention.to_k.register_forward_pre_hook(lambda module, args: seen["memory"].append(args[0])),
        model.norm_out.register_forward_hook(lambda module, args, output: seen.update(final_norm=[output])),
        model.time_embedding.register_forward_hook(lambda module, args, output: seen.update(time_embed=[output])),
    ]
    for index, layer in enumerate(model.layers):
        name = f"layer{index}_out"
        hooks.append(
            layer.register_forward_hook(lambda module, args, output, name=name: seen.update({name: [output]}))
        )
    halves, output = guided(model, file, kinds, dtype)
    for hook in hooks:
        hook.remove()
    memory, time_token = seen.pop("memory")
    values = {name: tensors[0] for name, tensors in seen.items()} | {"memory": torch.cat([time_token, memory], dim=1)}
    values = {name: value.transpose(0, 1) if value.dim() == 3 else value for name, value in values.items()}
    return values | {"pred_uncond_then_cond": halves, "output_guided": output}


@pytest.mark.parametrize("name", FILES)
@torch.no_grad()
def test_every_inner_value_is_the_official_one(golden_file, name):
    file = golden_file(name)
    model = convert_gafrg(file.state, num_heads=4, conditions=FILES[name])
    file.compare(record(model, file, FILES[name], torch.float32), "f32", 1e-5)


@pytest.mark.parametrize("name", FILES)
@torch.no_grad()
def test_float64_agrees_to_1e_9_given_the_same_time_channels(golden_file, name, monkeypatch):
    file = golden_file(name)
    model = convert_gafrg(file.state, num_heads=4, conditions=FILES[name]).double()
    # The official float64 run makes the sinusoid of the time step in float32, where the last bit of two of its 32
    # frequencies depends on the machine; feed the recorded one, and all the rest is float64 throughout.
    recorded = file["f64.time_in"]
    assert (model.time_proj(file["in.t"].repeat(2)) - recorded).abs().max() < 4e-5
    monkeypatch.setattr(model.time_proj, "forward", lambda steps: recorded)
    file.compare(record(model, file, FILES[name], torch.float64), "f64", 1e-9)


@torch.no_grad()
def test_the_training_path_is_the_conditional_half(golden_file, monkeypatch):
    file = golden_file("denoiser_default")
    model = convert_gafrg(file.state, num_heads=4).double()
    monkeypatch.setattr(model.time_proj, "forward", lambda steps: file["f64.time_in"][:3])
    tokens = model.encode_condition(file.conditions(OFFICIAL_KINDS, torch.float64))
    output = model(file["in.x_t"].double(), file["in.t"], tokens).sample
    assert (output - file["f64.forward_train_path_nodrop"]).abs().max() < 1e-9


def test_official_sizes_have_the_official_number_of_parameters():
    with torch.device("meta"):
        model = GAFRGTransformer1DModel()
    # Without the 26,624 of the two projections that the official default never uses.
    assert sum(parameter.numel() for parameter in model.parameters()) == 23_013_401 - 26_624


@torch.no_grad()
def test_a_cached_condition_gives_the_same_bits(denoiser, speaker):
    noisy, tokens = torch.randn(6, 10, 25), denoiser.encode_condition(speaker)
    plain = denoiser(noisy, 300, tokens).sample
    cache = denoiser.cache_condition(tokens)
    assert torch.equal(denoiser(noisy, 300, cache).sample, plain)
    assert not torch.equal(denoiser(noisy, 301, cache).sample, plain)


@torch.no_grad()
def test_rows_that_share_a_condition_equal_rows_with_copies_of_it(denoiser, speaker):
    noisy, tokens = torch.randn(12, 10, 25), denoiser.encode_condition(speaker)
    shared = denoiser(noisy, torch.tensor([10, 500, 900]), tokens).sample
    copies = denoiser(noisy, torch.tensor([10, 500, 900]).repeat_interleave(4), tokens.repeat_interleave(4, 0)).sample
    torch.testing.assert_close(shared, copies, atol=1e-6, rtol=0)
    alone = torch.cat([denoiser(noisy[4 + i : 5 + i], 500, tokens[1:2]).sample for i in range(4)])
    torch.testing.assert_close(shared[4:8], alone, atol=1e-6, rtol=0)


@torch.no_grad()
def test_interleaved_caches_stand_row_beside_row(denoiser, speaker):
    tokens = denoiser.encode_condition(speaker)
    null = denoiser.cache_condition(torch.zeros_like(tokens))
    both = ConditionCache.interleave([null, denoiser.cache_condition(tokens)])
    order = torch.stack([torch.zeros_like(tokens), tokens], dim=1).flatten(0, 1)
    expected = denoiser.cache_condition(order)
    assert both.num_conditions == 6
    assert all(torch.equal(*pair) for pair in zip(both.keys, expected.keys))
    assert all(torch.equal(*pair) for pair in zip(both.values, expected.values))


@torch.no_grad()
def test_a_dropped_condition_is_zero_and_so_is_a_missing_one(denoiser, speaker):
    tokens = denoiser.encode_condition(speaker, dropped={"audio": torch.tensor([True, False, True])})
    assert tokens.shape == (3, 21, 32)
    assert not tokens[0, :10].any() and not tokens[2, :10].any() and tokens[1, :10].any()
    assert tokens[0, 10:].any(dim=-1).all()
    everything = torch.ones(3, dtype=torch.bool)
    dropped = denoiser.encode_condition(speaker, dropped={"coefficients": everything})
    missing = denoiser.encode_condition({kind: speaker[kind] for kind in ("audio", "speaker_latent")})
    assert torch.equal(dropped, missing)


@torch.no_grad()
def test_paper_mode_reacts_to_the_previous_window_and_official_mode_does_not_take_it(denoiser, speaker):
    model = GAFRGTransformer1DModel(
        hidden_size=32, num_layers=1, num_heads=4, feed_forward_size=64, latent_size=32,
        conditions=(*OFFICIAL_KINDS, "past_emotion"),
    ).eval()  # fmt: skip
    noisy = torch.randn(3, 10, 25)
    outputs = [
        model(noisy, 5, model.encode_condition(speaker | {"past_emotion": past})).sample
        for past in (torch.zeros(3, 10, 25), torch.ones(3, 10, 25))
    ]
    assert model.encode_condition(speaker | {"past_emotion": torch.ones(3, 10, 25)}).shape[1] == 31
    assert (outputs[0] - outputs[1]).abs().max() > 1e-3
    with pytest.raises(ValueError, match="past_emotion"):
        denoiser.encode_condition(speaker | {"past_emotion": torch.ones(3, 10, 25)})


def test_gradient_checkpointing_gives_the_same_gradients(denoiser, speaker):
    denoiser.train()
    noisy = torch.randn(3, 10, 25)

    def gradients():
        denoiser.zero_grad()
        torch.manual_seed(5)
        denoiser(noisy, 100, denoiser.encode_condition(speaker)).sample.square().mean().backward()
        return {name: parameter.grad.clone() for name, parameter in denoiser.named_parameters()}

    plain = gradients()
    denoiser.enable_gradient_checkpointing()
    checkpointed = gradients()
    assert plain.keys() == checkpointed.keys()
    for name, gradient in plain.items():
        assert torch.equal(gradient, checkpointed[name]), name


def test_layers_start_out_different(denoiser):
    assert not torch.equal(denoiser.layers[0].linear_1.weight, denoiser.layers[1].linear_1.weight)


def test_positions_may_begin_as_sinusoids():
    sizes = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "feed_forward_size": 16, "max_positions": 120}
    model = GAFRGTransformer1DModel(**sizes, position_init="sinusoidal")
    table = sinusoidal_positions(120, 16)
    assert torch.equal(model.query_positions, table)
    # After the token of the time step, frame i of audio and of coefficients begins like frame i of the window.
    assert torch.equal(model.memory_positions[1:51], table[:50])
    assert torch.equal(model.memory_positions[51:101], table[:50])
    assert torch.equal(model.memory_positions[101], table[0])  # the speaker's latent is one token
    uniform = GAFRGTransformer1DModel(**sizes).query_positions
    assert uniform.min() >= 0 and uniform.max() <= 1 and uniform.std().item() == pytest.approx(12**-0.5, rel=0.1)
    with pytest.raises(ValueError, match="position_init"):
        GAFRGTransformer1DModel(**sizes, position_init="random")


@torch.no_grad()
def test_saved_and_loaded_to_the_bit(denoiser, speaker, tmp_path):
    denoiser.save_pretrained(str(tmp_path))
    loaded = GAFRGTransformer1DModel.from_pretrained(str(tmp_path)).eval()
    noisy = torch.randn(3, 10, 25)
    expected = denoiser(noisy, 7, denoiser.encode_condition(speaker)).sample
    assert torch.equal(loaded(noisy, 7, loaded.encode_condition(speaker)).sample, expected)
    assert tuple(loaded.config.conditions) == OFFICIAL_KINDS


@torch.no_grad()
def test_a_lora_adapter_can_be_injected(denoiser, speaker):
    noisy, tokens = torch.randn(3, 10, 25), denoiser.encode_condition(speaker)
    plain = denoiser(noisy, 7, tokens).sample
    denoiser.add_adapter(LoraConfig(r=2, target_modules=["to_k", "to_v"]))
    assert torch.equal(denoiser(noisy, 7, tokens).sample, plain)
    for name, parameter in denoiser.named_parameters():
        if "lora_B" in name:
            parameter.fill_(0.1)
    assert (denoiser(noisy, 7, tokens).sample - plain).abs().max() > 1e-3


def test_editable_layers_name_linear_layers_with_their_shapes(denoiser):
    layers = denoiser.editable_layers(["cross_attention", "mapping", "feed_forward"], [1])
    assert layers["mapping"] == [25, 32]
    assert layers["layers.1.linear_1"] == [64, 32]
    assert layers["layers.1.cross_attention.to_q"] == [32, 32]
    assert len(layers) == 6


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"conditions": ("audio", "smell")}, "smell"),
        ({"conditions": ()}, "conditions"),
        ({"hidden_size": 30, "num_heads": 4}, "num_heads"),
    ],
)
def test_impossible_configurations_are_refused(arguments, named):
    with pytest.raises(ValueError, match=named):
        GAFRGTransformer1DModel(**({"num_layers": 1, "hidden_size": 32} | arguments))


def test_bad_input_is_refused_by_name(denoiser, speaker):
    with pytest.raises(ValueError, match="audio"):
        denoiser.encode_condition(speaker | {"audio": torch.zeros(3, 10, 77)})
    with pytest.raises(ValueError, match="speaker_latent"):
        denoiser.encode_condition(speaker | {"speaker_latent": torch.zeros(3, 1, 32)})
    with pytest.raises(ValueError, match="num_frames"):
        denoiser.encode_condition({"speaker_latent": torch.zeros(3, 32)})
    tokens = denoiser.encode_condition(speaker)
    with pytest.raises(ValueError, match="4"):
        denoiser(torch.zeros(4, 10, 25), 1, tokens)
    with pytest.raises(ValueError, match="500"):
        denoiser(torch.zeros(3, 501, 25), 1, tokens)
    with pytest.raises(ValueError, match="tokens"):
        denoiser.cache_condition(torch.zeros(1, 500, 32))
    with pytest.raises(ValueError, match="components"):
        denoiser.editable_layers(["norm"], [0])
    with pytest.raises(ValueError, match="between 0 and 1"):
        denoiser.editable_layers(["mapping"], [2])
