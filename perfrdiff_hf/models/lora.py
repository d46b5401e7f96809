"""Low-rank weight shifts as a standard LoRA, which diffusers and PEFT load."""

from __future__ import annotations

import json
import os
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from ..files import file_beside
from .weight_shifts import LowRankShift, WeightShifts


def lora_state_dict(weight_shifts: WeightShifts) -> dict[str, Tensor]:
    """One listener's low-rank shifts under LoRA's names: `denoiser.load_lora_adapter(..., prefix=None)` takes them.

    Returns:
        `{layer}.lora_A.weight` `(rank, in)` and `{layer}.lora_B.weight` `(out, rank)` for every layer.

    Raises:
        ValueError: if there are several listeners, or the shifts are full: those have no low-rank factors.
    """
    if weight_shifts.num_listeners != 1:
        raise ValueError(
            f"weight_shifts must hold one listener; given: {weight_shifts.num_listeners}. Use .listener(i)."
        )
    state: dict[str, Tensor] = {}
    for name, shift in weight_shifts.items():
        if not isinstance(shift, LowRankShift):
            raise ValueError(f"Only low-rank shifts are a LoRA; the shift of '{name}' is full.")
        state[f"{name}.lora_A.weight"] = shift.down[0].detach().contiguous()
        state[f"{name}.lora_B.weight"] = shift.up[0].detach().contiguous()
    return state


def save_lora(weight_shifts: WeightShifts, save_directory: str | os.PathLike) -> None:
    """Write one listener as a PEFT adapter: `PeftModel.from_pretrained(denoiser, folder)` loads it.

    Args:
        weight_shifts: one listener's low-rank shifts.
        save_directory: folder for `adapter_model.safetensors` and `adapter_config.json`; made if need be.

    Raises:
        ValueError: see `lora_state_dict`.
    """
    state = lora_state_dict(weight_shifts)
    rank = max(tensor.shape[0] for name, tensor in state.items() if name.endswith("lora_A.weight"))
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": rank,  # a scale of one
        "target_modules": sorted(weight_shifts),
        "auto_mapping": {"base_model_class": "GAFRGTransformer1DModel", "parent_library": "perfrdiff_hf.models.gafrg"},
        "bias": "none",
        "inference_mode": True,
    }
    folder = Path(save_directory)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"base_model.model.{key}": tensor for key, tensor in state.items()}
    with file_beside(folder / "adapter_model.safetensors") as beside:
        save_file(tensors, beside, metadata={"format": "pt"})
    with file_beside(folder / "adapter_config.json") as beside:
        beside.write_text(json.dumps(config, indent=2), encoding="utf-8")
