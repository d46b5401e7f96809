"""What `pipelines/test_downloading.py` looks at: listeners on a loopback Hub, and repositories with more than a model.

A program of its own, because huggingface_hub reads the Hub's address when it is imported. It prints one JSON line.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from hub_server import LoopbackHub


LISTENERS, MODELS = "tester/listeners", "tester/models"


def main(folder: Path) -> None:
    with LoopbackHub() as hub:
        os.environ |= {
            "HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "home"), "HF_TOKEN": "dummy", "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }  # fmt: skip
        from conftest import build_pipeline

        pipeline = build_pipeline()
        print(json.dumps({**play_listeners(hub, pipeline, folder), **play_variants(pipeline, folder)}))


def play_listeners(hub: LoopbackHub, pipeline: Any, folder: Path) -> dict[str, Any]:
    import torch

    from perfrdiff_hf import WeightShifts

    histories = torch.rand(2, 60, 58, generator=torch.Generator().manual_seed(1))
    first, second = (pipeline.personalise(histories[row : row + 1]) for row in (0, 1))

    def same(ours: WeightShifts, theirs: WeightShifts) -> bool:
        equal = all(torch.equal(ours[name].up, theirs[name].up) for name in theirs)
        return equal and ours.generator_digests == theirs.generator_digests

    result: dict[str, Any] = {"url": first.push_to_hub(LISTENERS)}
    revision = hub.repositories[LISTENERS].commits[-1][0]
    result["files"] = sorted(hub.repositories[LISTENERS].commits[-1][1])
    result["pulled"] = same(WeightShifts.from_pretrained(LISTENERS), first)
    second.push_to_hub(LISTENERS)
    first.push_to_hub(LISTENERS, subfolder="alice")
    newest = WeightShifts.from_pretrained(LISTENERS, token="dummy", cache_dir=folder / "cache")
    result["pushed again"] = same(newest, second)
    result["older revision"] = same(WeightShifts.from_pretrained(LISTENERS, revision=revision), first)
    result["in a subfolder"] = same(pipeline.load_listener(LISTENERS, subfolder="alice"), first)
    result["from the cache"] = same(
        WeightShifts.from_pretrained(LISTENERS, cache_dir=folder / "cache", local_files_only=True), second
    )
    result["nobody"] = failure(lambda: WeightShifts.from_pretrained(LISTENERS, subfolder="bob"))
    result["nowhere"] = failure(lambda: WeightShifts.from_pretrained("tester/nowhere"))
    with torch.no_grad():
        pipeline.denoiser.mapping.weight.mul_(2)
    result["another generator"] = failure(lambda: pipeline.load_listener(LISTENERS))
    return result


def play_variants(pipeline: Any, folder: Path) -> dict[str, Any]:
    """A repository with two variants of some parts, a folder that the index does not name, and loose files."""
    import torch
    from huggingface_hub import HfApi

    from perfrdiff_hf import PerFRDiffPipeline

    source = folder / "source"
    pipeline.save_pretrained(str(source))
    for name in ("denoiser", "style_encoder"):
        getattr(pipeline, name).save_pretrained(str(source / name), variant="fp16")
    pipeline.emotion_vae.save_pretrained(str(source / "emotion_vae"), variant="fp16", max_shard_size="4KB")
    pipeline.weight_shift_generator.save_pretrained(str(source / "weight_shift_generator_rank16"))
    (source / "README.md").write_text("A card.")
    (source / "notes.txt").write_text("No part of the model.")
    (source / "other.safetensors").write_bytes(b"no part either")
    HfApi().create_repo(MODELS)
    HfApi().upload_folder(repo_id=MODELS, folder_path=str(source))

    def fetched(**options: Any) -> list[str]:
        cache = folder / f"cache-{options.get('variant')}"
        root = Path(PerFRDiffPipeline.download(MODELS, cache_dir=str(cache), **options))
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    result: dict[str, Any] = {"plain": fetched(), "fp16": fetched(variant="fp16"), "bf16": fetched(variant="bf16")}
    weights = pipeline.denoiser.state_dict()
    options = {"cache_dir": str(folder / "cache-fp16"), "variant": "fp16"}
    loaded = PerFRDiffPipeline.from_pretrained(MODELS, **options).denoiser.state_dict()
    result["variant loads"] = all(torch.equal(loaded[name], values) for name, values in weights.items())
    result["missing"] = failure(lambda: PerFRDiffPipeline.from_pretrained("tester/nowhere"))
    offline = PerFRDiffPipeline.from_pretrained(MODELS, **options, local_files_only=True).denoiser.state_dict()
    result["offline"] = all(torch.equal(offline[name], values) for name, values in weights.items())
    return result


def failure(function: Any) -> str:
    try:
        function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "went through"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
