"""PerFRDiff for the Hugging Face ecosystem: personalised, multiple, appropriate facial reactions, generated online.

The public names load what they need when they are first used, so that `import perfrdiff_hf` itself stays light. Each
name stands twice below, once where it is loaded from and once for type checkers; a test compares the two.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING


__version__ = "0.2.0"

_MODULES = {
    "Behaviour": "behaviour",
    "EmotionVAEModel": "models.emotion_vae",
    "GAFRGTransformer1DModel": "models.gafrg",
    "PSSLConfig": "models.pssl",
    "PSSLModel": "models.pssl",
    "PWSGConfig": "models.pwsg",
    "PWSGModel": "models.pwsg",
    "WeightShifts": "models.weight_shifts",
    "use_onnx_runtime": "models.onnx_step",
    "use_pytorch": "models.onnx_step",
    "PerFRDiffFeatureExtractor": "feature_extraction",
    "PerFRDiffPipeline": "pipelines.perfrdiff",
    "ReactionPipeline": "pipelines.reaction_pipeline",
    "ReactionOutput": "pipelines.reaction_pipeline",
    "ReactionStream": "pipelines.streaming",
    "serve": "pipelines.serving",
    "load_system": "baselines.system",
    "load_dyads": "data.catalogue",
    "load_react2024": "data.react2024.dataset",
    "load_appropriateness": "data.react2024.appropriateness",
    "write_synthetic_world": "synthetic.world",
}

__all__ = sorted(_MODULES)

if TYPE_CHECKING:
    from .baselines.system import load_system as load_system
    from .behaviour import Behaviour as Behaviour
    from .data.catalogue import load_dyads as load_dyads
    from .data.react2024.appropriateness import load_appropriateness as load_appropriateness
    from .data.react2024.dataset import load_react2024 as load_react2024
    from .feature_extraction import PerFRDiffFeatureExtractor as PerFRDiffFeatureExtractor
    from .models.emotion_vae import EmotionVAEModel as EmotionVAEModel
    from .models.gafrg import GAFRGTransformer1DModel as GAFRGTransformer1DModel
    from .models.onnx_step import use_onnx_runtime as use_onnx_runtime
    from .models.onnx_step import use_pytorch as use_pytorch
    from .models.pssl import PSSLConfig as PSSLConfig
    from .models.pssl import PSSLModel as PSSLModel
    from .models.pwsg import PWSGConfig as PWSGConfig
    from .models.pwsg import PWSGModel as PWSGModel
    from .models.weight_shifts import WeightShifts as WeightShifts
    from .pipelines.perfrdiff import PerFRDiffPipeline as PerFRDiffPipeline
    from .pipelines.reaction_pipeline import ReactionOutput as ReactionOutput
    from .pipelines.reaction_pipeline import ReactionPipeline as ReactionPipeline
    from .pipelines.serving import serve as serve
    from .pipelines.streaming import ReactionStream as ReactionStream
    from .synthetic.world import write_synthetic_world as write_synthetic_world
else:
    # Not seen by type checkers: to them, a name that is not listed above is an error and not "anything".
    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module 'perfrdiff_hf' has no attribute {name!r}")
        value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
