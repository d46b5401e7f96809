"""The authors' folder of checkpoints to a pipeline folder that `PerFRDiffPipeline.from_pretrained` loads."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from torch import Tensor, nn

from ..feature_extraction import PerFRDiffFeatureExtractor
from ..files import folder_beside
from ..models.conditions import FILLED_CONDITIONS
from ..models.gafrg import GAFRGTransformer1DModel
from ..models.low_rank import LowRankError, check_low_rank, low_rank_pwsg
from ..models.pssl import PSSLModel
from ..models.pwsg import PWSGModel
from ..pipelines.perfrdiff import OFFICIAL_SCHEDULER_CONFIG, PerFRDiffPipeline
from ..pipelines.sampling import OFFICIAL_SAMPLING
from .hypernetwork import OFFICIAL_EDITED_MODULES, PWSGPlan, plan_pwsg
from .models import convert_emotion_vae, convert_gafrg, convert_pssl
from .state import ConvertedState, load_checkpoint


CHECKPOINT_NAME = "checkpoint.pth"
MAX_SHARD_SIZE = "2GB"

# Where each part may lie, the most telling place first. The personalised program of the authors loads the generator
# that lies beside the hypernetwork, so that is the one that its shifts belong to.
GENERIC_DENOISER = ("diffusion_model/TransformerDenoiser", "diffusion_model", "TransformerDenoiser")
PERSONAL_DENOISER = ("rewrite_weight/TransformerDenoiser",)
EMOTION_VAE = ("embedder_latent",)
STYLE_ENCODER = ("person_specific",)
HYPERNETWORK = ("rewrite_weight/ModifierNetwork", "rewrite_weight", "ModifierNetwork")

PARTS = {
    "denoiser": ("GAFRG denoiser", (*PERSONAL_DENOISER, *GENERIC_DENOISER)),
    "emotion_vae": ("emotion VAE", EMOTION_VAE),
    "style_encoder": ("PSSL style encoder", STYLE_ENCODER),
    "weight_shift_generator": ("PWSG hypernetwork", HYPERNETWORK),
}
GENERIC_PARTS = {"denoiser": ("GAFRG denoiser", GENERIC_DENOISER), "emotion_vae": PARTS["emotion_vae"]}


@dataclass(frozen=True)
class OfficialSettings:
    """What the authors' configuration files say and their checkpoints do not.

    Args:
        num_heads: attention heads of the denoiser and of the style encoder.
        conditions: kinds of condition that the denoiser was trained with; see `convert_gafrg`.
        edited_layers: official names of the edited layers, in the order of the hypernetwork's branches.
        shift_mode: `"shift"`, `"offset"` or `"weight"`.

    Raises:
        ValueError: if a pipeline cannot fill one of the conditions.
    """

    num_heads: int = 4
    conditions: Sequence[str] = ("audio", "coefficients", "speaker_latent")
    edited_layers: Sequence[str] = OFFICIAL_EDITED_MODULES
    shift_mode: str = "shift"

    def __post_init__(self) -> None:
        unfilled = [kind for kind in self.conditions if kind not in FILLED_CONDITIONS]
        if unfilled:
            raise ValueError(
                f"conditions must be some of {FILLED_CONDITIONS}, which a pipeline can fill; given also: {unfilled}. "
                "convert_gafrg converts the denoiser of such a checkpoint by itself."
            )


@dataclass
class ConversionReport:
    """What was converted: each part's file and number of parameters, remarks, and what a low rank loses by layer."""

    files: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    low_rank: dict[str, LowRankError] = field(default_factory=dict)


def find_checkpoints(folder: str | os.PathLike, generic: bool = False) -> dict[str, Path]:
    """The checkpoint file of each component in the authors' folder, which may hold it all in a folder `checkpoints`.

    Args:
        folder: the authors' folder.
        generic: look for what a generic pipeline needs only.

    Raises:
        FileNotFoundError: if the folder or a part is missing; the message names every missing part.
    """
    root = _root(folder)
    found, missing = {}, []
    for component, (owner, places) in (GENERIC_PARTS if generic else PARTS).items():
        file = _first_file(root, places)
        if file is not None:
            found[component] = file
        else:
            missing.append(f"{owner} (looked for {', '.join(f'{place}/{CHECKPOINT_NAME}' for place in places)})")
    if missing:
        hint = "" if generic else " Without style encoder and hypernetwork, convert it as a generic model (generic)."
        raise FileNotFoundError(f"{root} lacks the {'; the '.join(missing)}.{hint}")
    return found


def _root(folder: str | os.PathLike) -> Path:
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {root}.")
    return root / "checkpoints" if (root / "checkpoints").is_dir() else root


def _first_file(root: Path, places: Sequence[str]) -> Path | None:
    return next((file for place in places if (file := root / place / CHECKPOINT_NAME).is_file()), None)


def convert_checkpoint_folder(
    checkpoints: str | os.PathLike,
    output: str | os.PathLike,
    settings: OfficialSettings | None = None,
    dtype: torch.dtype = torch.float32,
    low_rank: int | None = None,
    generic: bool = False,
) -> ConversionReport:
    """Convert the authors' checkpoints to a pipeline folder. It appears when it is complete, or not at all.

    Args:
        checkpoints: the authors' folder; see `find_checkpoints`.
        output: the folder to write, which must not exist yet or be empty.
        settings: what the checkpoints do not tell; None is the official default.
        dtype: type of the written weights.
        low_rank: also write the best approximation of the weight-shift generator by one of this rank, beside it as
            `weight_shift_generator_rank<R>`.
        generic: convert a folder without a style encoder and a hypernetwork to a generic pipeline.

    Raises:
        FileNotFoundError: if a part is missing.
        FileExistsError: if `output` holds something already.
        ValueError: if a file is damaged, unsafe, or of another model, or the parts do not fit together.
    """
    settings = settings or OfficialSettings()
    output = Path(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(f"{output} is there already; give a folder that does not exist yet.")
    files = find_checkpoints(checkpoints, generic)
    report = ConversionReport(files={name: str(file.relative_to(checkpoints)) for name, file in files.items()})
    pipeline = _convert_small_parts(files, settings, report)
    if not generic:
        _compare_generators(_root(checkpoints), files["denoiser"], report)
    hypernetwork: tuple[PWSGPlan, ConvertedState] | None = None
    if "weight_shift_generator" in files:
        hypernetwork = _plan_hypernetwork(files["weight_shift_generator"], settings, pipeline)
        if low_rank is not None:
            check_low_rank(hypernetwork[0].config, low_rank)

    with folder_beside(output, existing="refuse") as beside:
        pipeline.to(dtype=dtype).save_pretrained(str(beside))
        if hypernetwork is not None:
            plan, state = hypernetwork
            report.parameters["weight_shift_generator"] = sum(state[name].numel() for name in state)
            _write_hypernetwork(plan, state, beside, dtype)
            if low_rank is not None:
                model, report.low_rank = low_rank_pwsg(plan.config, state, low_rank)
                model.to(dtype=dtype)  # type: ignore[call-arg]
                model.save_pretrained(str(beside / f"weight_shift_generator_rank{low_rank}"))
        (beside / "README.md").write_text(_card(report, low_rank, dtype), encoding="utf-8")
    return report


def _convert_small_parts(
    files: dict[str, Path], settings: OfficialSettings, report: ConversionReport
) -> PerFRDiffPipeline:
    """The pipeline without its weight-shift generator, which is too large to be held in memory for long."""
    tensors = {
        name: load_checkpoint(file, PARTS[name][0]) for name, file in files.items() if name != "weight_shift_generator"
    }
    denoiser = convert_gafrg(tensors["denoiser"], settings.num_heads, settings.conditions)
    emotion_vae = convert_emotion_vae(tensors["emotion_vae"])
    style_encoder: PSSLModel | None = None
    if "style_encoder" in tensors:
        style_encoder = convert_pssl(tensors["style_encoder"], settings.num_heads)
    if emotion_vae.config.hidden_size != denoiser.config.latent_size:
        raise ValueError(
            f"The emotion VAE's state is {emotion_vae.config.hidden_size} wide, and the denoiser takes a speaker "
            f"latent of {denoiser.config.latent_size}. Do both checkpoints come from the same training?"
        )
    for name, model in (("denoiser", denoiser), ("emotion_vae", emotion_vae), ("style_encoder", style_encoder)):
        if isinstance(model, nn.Module):
            report.parameters[name] = sum(parameter.numel() for parameter in model.parameters())
    scheduler = DDIMScheduler(**OFFICIAL_SCHEDULER_CONFIG)
    extractor = PerFRDiffFeatureExtractor()
    return PerFRDiffPipeline(denoiser, emotion_vae, scheduler, extractor, style_encoder, sampling=OFFICIAL_SAMPLING)


def _compare_generators(root: Path, chosen: Path, report: ConversionReport) -> None:
    """Remark if the generator beside the hypernetwork is not the generic one."""
    generic = _first_file(root, GENERIC_DENOISER)
    if generic is None or generic == chosen:
        return
    ours, other = load_checkpoint(chosen, "GAFRG denoiser"), load_checkpoint(generic, "GAFRG denoiser")
    if set(ours) != set(other) or any(not torch.equal(ours[name], other[name]) for name in ours):
        report.remarks.append(
            f"The generator beside the hypernetwork ({chosen.relative_to(root)}) is not the generic one "
            f"({generic.relative_to(root)}). The former was taken, because the weight shifts belong to it; convert "
            "the latter as a generic model."
        )


def _plan_hypernetwork(
    file: Path, settings: OfficialSettings, pipeline: PerFRDiffPipeline
) -> tuple[PWSGPlan, ConvertedState]:
    tensors = load_checkpoint(file, "PWSG hypernetwork")
    denoiser: GAFRGTransformer1DModel = pipeline.denoiser
    plan = plan_pwsg(
        tensors, settings.edited_layers, settings.num_heads, settings.shift_mode, denoiser.config.hidden_size
    )
    for name, shape in plan.config.edited_layers.items():
        try:
            given = list(denoiser.get_parameter(f"{name}.weight").shape)
        except AttributeError:
            raise ValueError(f"The hypernetwork edits '{name}', which the denoiser does not have.") from None
        if given != shape:
            raise ValueError(f"The hypernetwork edits '{name}' of shape {shape}; the denoiser's is {given}.")
    style_encoder = pipeline.style_encoder
    if style_encoder is not None and style_encoder.config.style_size != plan.config.style_size:
        raise ValueError(
            f"The style encoder's styles are {style_encoder.config.style_size} wide, and the hypernetwork takes "
            f"{plan.config.style_size}. Do both checkpoints come from the same training?"
        )
    with torch.device("meta"):
        model = PWSGModel(plan.config)
    return plan, ConvertedState(tensors, plan.sources, model)


def _write_hypernetwork(plan: PWSGPlan, state: ConvertedState, pipeline_folder: Path, dtype: torch.dtype) -> None:
    """Write a full PWSG as `PWSGModel.save_pretrained` would, without ever holding more than one shard of it."""
    folder = pipeline_folder / "weight_shift_generator"
    folder.mkdir()
    empty: dict[str, Tensor] = {name: state[name].to("meta", dtype) for name in state}
    split = split_torch_state_dict_into_shards(
        empty, filename_pattern="model{suffix}.safetensors", max_shard_size=MAX_SHARD_SIZE
    )
    for filename, names in split.filename_to_tensors.items():
        # A copy, because the parts of one official tensor share its memory.
        shard = {name: state[name].to(dtype, copy=True).contiguous() for name in names}
        save_file(shard, folder / filename, metadata={"format": "pt"})
        del shard
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    plan.config.dtype = dtype
    plan.config.architectures = [PWSGModel.__name__]
    plan.config.save_pretrained(str(folder))
    index_file = pipeline_folder / "model_index.json"
    model_index = json.loads(index_file.read_text(encoding="utf-8"))
    model_index["weight_shift_generator"] = [PWSGModel.__module__, PWSGModel.__name__]
    index_file.write_text(json.dumps(model_index, indent=2) + "\n", encoding="utf-8")


CARD = """---
library_name: perfrdiff_hf
license: other
pipeline_tag: other
tags: [perfrdiff, facial-reaction-generation, diffusion]
---

# PerFRDiff, converted from the authors' checkpoints

Personalised, multiple, appropriate facial reactions to what a speaker says and shows (Zhu et al., *PerFRDiff:
Personalised Weight Editing for Multiple Appropriate Facial Reaction Generation*, ACM Multimedia 2024). The weights
were trained by the paper's authors on REACT2024 and converted by `perfrdiff_hf` without further training; rights and
terms of use are theirs and those of the data. The official diffusion prior, whose output the official default never
uses, was left out.

```python
from perfrdiff_hf import PerFRDiffPipeline

pipe = PerFRDiffPipeline.from_pretrained("path/to/this/folder")
```

| component | from | parameters |
|---|---|---|
{rows}

Weights are written as {dtype}.{remarks}{low_rank}

Do not use it to imitate a real person without their consent. The reactions are generated: they are no evidence of
what anybody felt or thought.
"""


def _card(report: ConversionReport, low_rank: int | None, dtype: torch.dtype) -> str:
    rows = [f"| {name} | `{file}` | {report.parameters[name]:,} |" for name, file in report.files.items()]
    table = ""
    if report.low_rank:
        table = (
            f"\n\n`weight_shift_generator_rank{low_rank}` approximates the weight-shift generator at rank {low_rank}. "
            "Norm of what is lost, as a share of the shifts, and of what tells listeners apart in them (measured on "
            "styles drawn from all directions):\n\n| layer | lost of the shift | lost of the personal part |\n"
            "|---|---|---|\n"
        ) + "\n".join(
            f"| {name} | {error.shift:.1%} | {error.personal:.1%} |" for name, error in report.low_rank.items()
        )
    remarks = "".join(f"\n\n{remark}" for remark in report.remarks)
    name = str(dtype).removeprefix("torch.")
    return CARD.format(rows="\n".join(rows), dtype=name, remarks=remarks, low_rank=table)
