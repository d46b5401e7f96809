"""What pictures and videos need beyond the package's own requirements."""

from __future__ import annotations

from importlib.util import find_spec


_MODULES = {"PIL": "pillow", "matplotlib": "matplotlib", "av": "av"}


def require_rendering() -> None:
    """Raises ImportError with the command that helps, if a library for pictures or videos is missing."""
    missing = [package for module, package in _MODULES.items() if find_spec(module) is None]
    if missing:
        raise ImportError(
            f"Pictures and videos need {', '.join(missing)}. Install them with: pip install 'perfrdiff_hf[rendering]'"
        )
