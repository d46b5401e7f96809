from __future__ import annotations

import pytest
import torch

from perfrdiff_hf import GAFRGTransformer1DModel, PWSGConfig, PWSGModel
from perfrdiff_hf.models.lora import lora_state_dict, save_lora


@pytest.fixture
def denoiser():
    torch.manual_seed(0)
    return GAFRGTransformer1DModel(
        hidden_size=32, num_layers=2, num_heads=2, feed_forward_size=32, conditions=("audio",)
    ).eval()


def listeners(denoiser, count=1, shift_type="low_rank"):
    edited = denoiser.editable_layers(["cross_attention", "feed_forward", "mapping"], [0, 1])
    model = PWSGModel(PWSGConfig(style_size=8, hidden_size=16, edited_layers=edited, shift_type=shift_type, rank=3))
    if shift_type == "low_rank":
        for head in model.heads:
            torch.nn.init.normal_(head.core.weight, std=0.5)
    return model(torch.nn.functional.normalize(torch.randn(count, 8), dim=-1)).detach()


@pytest.fixture
def inputs(denoiser):
    tokens = denoiser.encode_condition({"audio": torch.randn(2, 50, 78)})
    return torch.randn(2, 50, 25), torch.tensor([500, 20]), tokens.detach()


@torch.no_grad()
def test_diffusers_loads_the_export(denoiser, inputs):
    shifts = listeners(denoiser)
    generic, shifted = denoiser(*inputs).sample, denoiser(*inputs, weight_shifts=shifts).sample
    denoiser.load_lora_adapter(lora_state_dict(shifts), prefix=None, adapter_name="alice")
    assert torch.allclose(denoiser(*inputs).sample, shifted, atol=1e-5)
    assert not torch.allclose(shifted, generic, atol=1e-3)
    denoiser.disable_lora()
    assert torch.equal(denoiser(*inputs).sample, generic)


@torch.no_grad()
def test_peft_loads_the_export(denoiser, inputs, tmp_path):
    from peft import PeftModel

    shifts = listeners(denoiser)
    shifted = denoiser(*inputs, weight_shifts=shifts).sample
    save_lora(shifts, tmp_path / "alice")
    assert sorted(path.name for path in (tmp_path / "alice").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    peft_model = PeftModel.from_pretrained(denoiser, str(tmp_path / "alice"))
    assert torch.allclose(peft_model(*inputs).sample, shifted, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("shift_type", ["low_rank", "full"])
def test_fused_equals_shifted_and_unfused_is_exact(denoiser, inputs, shift_type):
    shifts = listeners(denoiser, shift_type=shift_type)
    generic, shifted = denoiser(*inputs).sample, denoiser(*inputs, weight_shifts=shifts).sample
    before = {name: tensor.clone() for name, tensor in denoiser.state_dict().items()}
    denoiser.fuse_weight_shifts(shifts)
    assert torch.allclose(denoiser(*inputs).sample, shifted, atol=1e-5)
    with pytest.raises(ValueError, match="already"):
        denoiser.fuse_weight_shifts(shifts)
    denoiser.unfuse_weight_shifts()
    assert all(torch.equal(tensor, before[name]) for name, tensor in denoiser.state_dict().items())
    assert torch.equal(denoiser(*inputs).sample, generic)


def test_what_is_no_lora_is_refused(denoiser):
    with pytest.raises(ValueError, match="one listener"):
        lora_state_dict(listeners(denoiser, count=2))
    with pytest.raises(ValueError, match="full"):
        lora_state_dict(listeners(denoiser, shift_type="full"))
    with pytest.raises(ValueError, match="one listener"):
        denoiser.fuse_weight_shifts(listeners(denoiser, count=2))
