"""The handler for Inference Endpoints, on a saved pipeline: a clip in, reactions out, and what is refused."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from perfrdiff_hf import PerFRDiffPipeline
from perfrdiff_hf.behaviour import MEAN_FACE, Behaviour


ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def handler_file() -> ModuleType:
    spec = importlib.util.spec_from_file_location("handler", ROOT / "examples" / "endpoint" / "handler.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pipeline(make_pipeline: Callable[..., PerFRDiffPipeline]) -> PerFRDiffPipeline:
    return make_pipeline()


@pytest.fixture
def handler(handler_file: ModuleType, pipeline: PerFRDiffPipeline, tmp_path: Path) -> Any:
    pipeline.save_pretrained(tmp_path / "model")
    return handler_file.EndpointHandler(str(tmp_path / "model"))


@pytest.fixture
def clip() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    sound = io.BytesIO()
    soundfile.write(sound, 0.1 * rng.standard_normal(60 * 640), 16000, format="WAV", subtype="FLOAT")
    return {
        "emotion": np.zeros((60, 25)).tolist(),
        "coefficients": np.tile(MEAN_FACE, (60, 1)).tolist(),
        "sound": base64.b64encode(sound.getvalue()).decode(),
    }


def test_a_clip_in_reactions_out(handler: Any, handler_file: ModuleType, clip: Any, pipeline: Any) -> None:
    history = (MEAN_FACE + np.random.default_rng(1).uniform(0, 0.2, (100, 58))).astype(np.float32)
    parameters = {"num_reactions": 2, "num_inference_steps": 2, "seed": 3, "history": history.tolist()}
    request = json.loads(json.dumps({"inputs": clip, "parameters": parameters}))
    answer = json.loads(json.dumps(handler(request)))
    assert np.array(answer["coefficients"]).shape == (2, 60, 58) and answer["frame_rate"] == 25
    expected = pipeline(
        speaker=handler_file.read_inputs(clip),
        listener_history=Behaviour(coefficients=history),
        num_reactions=2,
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(3),
    )
    np.testing.assert_allclose(answer["reactions"], expected.reactions[0], atol=1e-4)
    np.testing.assert_allclose(answer["coefficients"], expected.coefficients[0], atol=1e-4)


def test_what_is_missing_may_be_missing(handler: Any, clip: Any) -> None:
    answer = handler({"inputs": {"sound": clip["sound"]}, "parameters": {"num_inference_steps": 2}})
    assert np.array(answer["reactions"]).shape == (3, 60, 25)


def test_a_small_file_that_holds_hours_is_not_read(
    handler: Any, handler_file: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = io.BytesIO()
    soundfile.write(hours, np.zeros(8000 * 3600, dtype=np.int16), 8000, format="FLAC")
    monkeypatch.setattr(handler_file, "read_audio", lambda path: pytest.fail("it was read"))
    for beside in ({}, {"emotion": np.zeros((60, 25)).tolist()}):
        answer = handler({"inputs": {**beside, "sound": base64.b64encode(hours.getvalue()).decode()}})
        assert "1 to 3000 frames of 40 ms; it has 90000" in answer["error"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"inputs": None}, "inputs as an object"),
        ({"inputs": {}}, "at least one of"),
        ({"inputs": {"picture": []}}, "inputs may hold"),
        ({"inputs": {"emotion": [[0.0] * 24] * 60}}, "25"),
        ({"inputs": {"emotion": [[0.0] * 25] * 59 + [[0.0]]}}, "25 numbers in each frame"),
        ({"inputs": {"emotion": [[float("nan")] * 25] * 60}}, "NaN"),
        ({"inputs": {"emotion": [[0.0] * 25] * 3001}}, "at most 3000"),
        ({"inputs": {"emotion": [[0.0] * 25] * 60, "coefficients": [[0.0] * 58] * 61}}, "same number of frames"),
        ({"inputs": {"sound": "?"}}, "base64"),
        ({"inputs": {"sound": base64.b64encode(b"no sound").decode()}}, "read as a sound file"),
        ({"parameters": {"num_reactions": 1000}}, "from 1 to 10"),
        ({"parameters": {"colour": 1}}, "parameters may hold"),
        ({"parameters": {"history": [[0.0] * 58] * 3}}, "at least 50 frames"),
    ],
)
def test_what_is_refused(handler: Any, clip: Any, change: dict[str, Any], said: str) -> None:
    answer = handler({"inputs": clip} | change)
    assert said in answer["error"]
