"""Optional libraries: asked for in one way, with the command that installs them."""

from __future__ import annotations

from importlib.util import find_spec


# Extra of the package -> modules that it brings -> names under which they are installed.
EXTRAS = {
    "rendering": {"PIL": "pillow", "matplotlib": "matplotlib", "av": "av"},
    "live": {
        "pythonosc": "python-osc",
        "starlette": "starlette",
        "uvicorn": "uvicorn",
        "websockets": "websockets",
    },
    "training": {"sklearn": "scikit-learn", "matplotlib": "matplotlib"},
}


def require(extra: str, purpose: str) -> None:
    """See that the libraries of an extra are installed.

    Args:
        extra: one of `EXTRAS`.
        purpose: what they are needed for, as the beginning of a sentence: "Pictures and videos".

    Raises:
        ImportError: if one is missing, with the command that helps.
    """
    missing = [package for module, package in EXTRAS[extra].items() if find_spec(module) is None]
    if missing:
        raise ImportError(
            f"{purpose} need {', '.join(missing)}. Install them with: pip install 'perfrdiff_hf[{extra}]'"
        )
