"""Optional libraries: asked for in one way, with the command that installs them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec


# Extra of the package -> modules that it brings -> names under which they are installed.
EXTRAS = {
    "rendering": {"PIL": "pillow", "matplotlib": "matplotlib", "av": "av"},
    "tracking": {"mediapipe": "mediapipe", "av": "av", "PIL": "pillow", "h5py": "h5py"},
    "live": {
        "pythonosc": "python-osc",
        "starlette": "starlette",
        "uvicorn": "uvicorn",
        "websockets": "websockets",
    },
    "onnx": {"onnx": "onnx", "onnxscript": "onnxscript", "onnxruntime": "onnxruntime"},
    "training": {"sklearn": "scikit-learn", "matplotlib": "matplotlib"},
}


def require(extra: str, purpose: str, modules: Sequence[str] | None = None) -> None:
    """See that the libraries of an extra are installed.

    Args:
        extra: one of `EXTRAS`.
        purpose: what they are needed for, as the beginning of a sentence: "Pictures and videos".
        modules: which of the extra's are needed; None: all.

    Raises:
        ImportError: if one is missing, with the command that helps.
    """
    wanted = EXTRAS[extra] if modules is None else modules
    missing = [package for module, package in EXTRAS[extra].items() if module in wanted and find_spec(module) is None]
    if missing:
        raise ImportError(
            f"{purpose} need {', '.join(missing)}. Install them with: pip install 'perfrdiff_hf[{extra}]'"
        )
