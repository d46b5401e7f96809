"""PerFRDiff for the Hugging Face ecosystem: personalised, multiple, appropriate facial reactions, generated online.

The public names load what they need when they are first used, so that `import perfrdiff_hf` itself stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


__version__ = "0.1.0"

_MODULES = {
    "Behaviour": "behaviour",
    "EmotionVAEModel": "models.emotion_vae",
    "GAFRGTransformer1DModel": "models.gafrg",
    "PSSLConfig": "models.pssl",
    "PSSLModel": "models.pssl",
    "PWSGConfig": "models.pwsg",
    "PWSGModel": "models.pwsg",
    "WeightShifts": "models.weight_shifts",
    "PerFRDiffFeatureExtractor": "feature_extraction",
    "PerFRDiffPipeline": "pipelines.perfrdiff",
    "ReactionStream": "pipelines.streaming",
    "serve": "pipelines.serving",
    "load_react2024": "data.react2024.dataset",
    "load_appropriateness": "data.react2024.appropriateness",
    "write_synthetic_world": "synthetic.world",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'perfrdiff_hf' has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
