"""The auto classes of transformers know our models once one of our classes was imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch


FOLDER = Path(__file__).parent / "golden" / "pipeline_0_1_0" / "pipeline"


@pytest.mark.parametrize("name", ["style_encoder", "weight_shift_generator"])
def test_models_load_without_naming_their_class(name: str) -> None:
    import transformers

    import perfrdiff_hf

    cls = {"style_encoder": perfrdiff_hf.PSSLModel, "weight_shift_generator": perfrdiff_hf.PWSGModel}[name]
    assert type(transformers.AutoConfig.from_pretrained(FOLDER / name)) is cls.config_class
    model = transformers.AutoModel.from_pretrained(FOLDER / name)
    assert type(model) is cls
    expected = cls.from_pretrained(FOLDER / name).state_dict()
    assert all(torch.equal(values, expected[key]) for key, values in model.state_dict().items())


def test_the_feature_extractor_loads_without_naming_its_class() -> None:
    from transformers import AutoFeatureExtractor

    from perfrdiff_hf import PerFRDiffFeatureExtractor

    loaded = AutoFeatureExtractor.from_pretrained(FOLDER / "feature_extractor")
    assert type(loaded) is PerFRDiffFeatureExtractor
    assert loaded.window_size == 50


def test_the_pipeline_s_import_is_enough() -> None:
    code = (
        "from perfrdiff_hf import PerFRDiffPipeline; from transformers import AutoConfig, AutoFeatureExtractor; "
        f"folder = {str(FOLDER)!r}; AutoConfig.from_pretrained(folder + '/style_encoder'); "
        "AutoConfig.from_pretrained(folder + '/weight_shift_generator'); "
        "AutoFeatureExtractor.from_pretrained(folder + '/feature_extractor')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
