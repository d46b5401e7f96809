"""What `test_hub.py` looks at: models pushed to a loopback Hub and pulled from it, and an upload that breaks.

A program of its own, because huggingface_hub reads the Hub's address when it is imported. It prints one JSON line.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from hub_server import LoopbackHub


REPO_ID = "tester/perfrdiff-tiny"
OTHER_ID = "tester/perfrdiff-pushed"


def main(folder: Path) -> None:
    with LoopbackHub() as hub:
        os.environ |= {
            "HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "home"), "HF_TOKEN": "dummy", "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }  # fmt: skip
        print(json.dumps(play(hub, folder)))


def play(hub: LoopbackHub, folder: Path) -> dict[str, Any]:
    import torch

    from perfrdiff_hf import hub as package_hub
    from perfrdiff_hf.models.gafrg import GAFRGTransformer1DModel
    from perfrdiff_hf.models.pwsg import PWSGModel
    from perfrdiff_hf.pipelines.perfrdiff import PerFRDiffPipeline

    output_dir = folder / "trained"
    save_tiny_training(output_dir, seed=0)
    local = react(PerFRDiffPipeline.from_pretrained(str(output_dir / "model")))
    result: dict[str, Any] = {"url": package_hub.push_training(output_dir, "pipeline", REPO_ID)}
    first_revision, files = hub.repositories[REPO_ID].commits[-1]
    result["files"] = sorted(files)
    result["card"] = files["README.md"].decode()
    result["pulled equals local"] = torch.equal(react(PerFRDiffPipeline.from_pretrained(REPO_ID)), local)
    GAFRGTransformer1DModel.from_pretrained(REPO_ID, subfolder="denoiser")
    package_hub.push_training(output_dir, "weight_shift_generator", "tester/pwsg-tiny")
    alone = PWSGModel.from_pretrained("tester/pwsg-tiny").state_dict()
    here = PWSGModel.from_pretrained(str(output_dir / "weight_shift_generator")).state_dict()
    result["component equals local"] = all(torch.equal(alone[name], here[name]) for name in here)

    save_tiny_training(output_dir, seed=1)
    hub.break_after_bytes = 1000
    try:
        package_hub.push_training(output_dir, "pipeline", REPO_ID)
        result["broken upload"] = "went through"
    except Exception as error:
        result["broken upload"] = type(error).__name__
    hub.break_after_bytes = None
    result["revision kept"] = hub.repositories[REPO_ID].commits[-1][0] == first_revision
    again = PerFRDiffPipeline.from_pretrained(REPO_ID, cache_dir=str(folder / "other"))
    result["after broken upload equals local"] = torch.equal(react(again), local)

    package_hub.push_training(output_dir, "pipeline", REPO_ID)
    newest = react(PerFRDiffPipeline.from_pretrained(REPO_ID))
    changed = react(PerFRDiffPipeline.from_pretrained(str(output_dir / "model")))
    result["second upload equals local"] = torch.equal(newest, changed) and not torch.equal(newest, local)
    older = react(PerFRDiffPipeline.from_pretrained(REPO_ID, revision=first_revision))
    result["older revision equals local"] = torch.equal(older, local)
    return result | play_again(hub, folder)


def play_again(hub: LoopbackHub, folder: Path) -> dict[str, Any]:
    """A pipeline that is pushed by its own method: whole, as a variant, in shards, and whole again."""
    import torch

    from perfrdiff_hf.cards import Measurement
    from perfrdiff_hf.pipelines.perfrdiff import PerFRDiffPipeline

    def files() -> dict[str, bytes]:
        return hub.repositories[OTHER_ID].commits[-1][1]

    def load(output_dir: Path) -> PerFRDiffPipeline:
        return PerFRDiffPipeline.from_pretrained(str(output_dir / "model"))

    first, second = folder / "first", folder / "second"
    save_tiny_training(first, seed=2)
    save_tiny_training(second, seed=3)
    load(first).push_to_hub(OTHER_ID)
    load(first).push_to_hub(OTHER_ID, variant="fp16")
    load(second).push_to_hub(OTHER_ID, max_shard_size="20KB")
    result: dict[str, Any] = {"sharded files": sorted(files())}
    # Not to the last bit: where in memory the weights of a shard lie decides how products are summed up.
    pulled, expected = react(PerFRDiffPipeline.from_pretrained(OTHER_ID)), react(load(second))
    result["sharded equals local"] = torch.allclose(pulled, expected, atol=1e-4)
    measured = [Measurement("frcorr", 0.5, "react-tiny", "test", "PMAFRG")]
    load(first).push_to_hub(OTHER_ID, license="cc-by-nc-4.0", measurements=measured)
    result["last files"] = sorted(files())
    result["own card"] = files()["README.md"].decode()
    expected = react(load(first))
    result["unsharded again equals local"] = torch.equal(react(PerFRDiffPipeline.from_pretrained(OTHER_ID)), expected)
    return result


def save_tiny_training(output_dir: Path, seed: int) -> None:
    """An output folder as training leaves it, with models that nobody trained."""
    import torch
    from diffusers import DDIMScheduler

    from perfrdiff_hf.feature_extraction import PerFRDiffFeatureExtractor
    from perfrdiff_hf.models.emotion_vae import EmotionVAEModel
    from perfrdiff_hf.models.gafrg import GAFRGTransformer1DModel
    from perfrdiff_hf.models.pssl import PSSLConfig, PSSLModel
    from perfrdiff_hf.models.pwsg import PWSGConfig, PWSGModel
    from perfrdiff_hf.pipelines.perfrdiff import OFFICIAL_SCHEDULER_CONFIG, PerFRDiffPipeline

    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    layers = {"layers.0.cross_attention.to_q": [16, 16], "mapping": [25, 16]}
    parts: dict[str, Any] = {
        "emotion_vae": EmotionVAEModel(hidden_size=8, latent_size=4, decoder_sizes=[8]),
        "style_encoder": PSSLModel(PSSLConfig(**sizes, style_size=8)),
        "denoiser": GAFRGTransformer1DModel(
            hidden_size=16, num_layers=1, num_heads=2, feed_forward_size=16, latent_size=8
        ),
        "weight_shift_generator": PWSGModel(PWSGConfig(style_size=8, hidden_size=8, edited_layers=layers)),
    }
    scheduler: Any = DDIMScheduler(**OFFICIAL_SCHEDULER_CONFIG)
    pipeline = PerFRDiffPipeline(**parts, scheduler=scheduler, feature_extractor=PerFRDiffFeatureExtractor())
    pipeline.save_pretrained(str(output_dir / "model"))
    for name, part in parts.items():
        part.save_pretrained(str(output_dir / name))
    (output_dir / "weight_shift_generator" / "training.json").write_text(json.dumps(REPORT))


def react(pipeline: Any) -> Any:
    """A few personalised reactions to a few frames, always to the same."""
    import torch

    pipeline.set_progress_bar_config(disable=True)
    draw = torch.Generator().manual_seed(7)
    streams = [torch.rand(1, 100, width, generator=draw) for width in (78, 25, 58)]
    history = torch.rand(1, 60, 58, generator=draw)
    return pipeline(
        *streams,
        listener_history=history,
        num_reactions=2,
        num_inference_steps=3,
        generator=torch.Generator().manual_seed(1),
    ).reactions


STAGE = {"batch_size": 4, "optimizer": "sgd", "learning_rate": 0.001, "schedule": "constant"}
REPORT = {
    "stage": "weight_shift_generator",
    "title": "weight-shift generator (PWSG)",
    "setting": "PMAFRG, personalised",
    "measured": {"num_reactions": 3, "num_inference_steps": 20, "guidance_scale": 7.5, "clips": 16},
    "steps": 1234,
    "examples": 60,
    "processes": 2,
    "data": "react-tiny",
    "figures": {"loss": 0.5, "validation_loss": 0.25, "validation_frcorr": 0.375, "validation_frdist": 91.5},
    "config": {"seed": 3, "stages": {"weight_shift_generator": STAGE}, "run": {"mixed_precision": "bf16"}},
}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
