"""MediaPipe's model file: where it lies, and how it is fetched when somebody asks for it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from ...files import PathLike, file_beside


MODEL_NAME = "face_landmarker.task"
MODEL_ADDRESS = (
    f"https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/{MODEL_NAME}"
)
MODEL_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
MODEL_BYTES = 3_758_596
SECONDS_TO_WAIT = 30


def model_folder() -> Path:
    """Where the model file is kept: in `PERFRDIFF_HOME`, by default `~/.cache/perfrdiff_hf`."""
    return Path(os.environ.get("PERFRDIFF_HOME", Path.home() / ".cache" / "perfrdiff_hf"))


def is_downloaded() -> bool:
    """Whether `download_model` has kept a model file."""
    return (model_folder() / MODEL_NAME).is_file()


def find_model(path: PathLike | None = None) -> Path:
    """The model file: at a given path, or where `download_model` keeps it. Nothing is fetched.

    Raises:
        FileNotFoundError: if there is none; the message says how to get it.
    """
    place = model_folder() / MODEL_NAME if path is None else Path(path)
    if not place.is_file():
        raise FileNotFoundError(
            f"There is no face model at {place}. Fetch it from its maker ({MODEL_BYTES / 1e6:.1f} MB, Apache-2.0) "
            f"with: perfrdiff track --download_model. Or give the path of a {MODEL_NAME} as face_model."
        )
    return place


def download_model(address: str = MODEL_ADDRESS) -> Path:
    """Fetch the model file from its maker, check it, and keep it in `model_folder()`. One that is there stays.

    Args:
        address: where it is fetched from.

    Returns:
        Where it lies.

    Raises:
        ConnectionError: if it cannot be fetched.
        ValueError: if what came is another file.
    """
    place = model_folder() / MODEL_NAME
    if place.is_file() and _digest(place.read_bytes()) == MODEL_SHA256:
        return place
    try:
        with urlopen(address, timeout=SECONDS_TO_WAIT) as answer:
            content = answer.read(MODEL_BYTES + 1)
    except (URLError, OSError) as error:
        raise ConnectionError(
            f"{address} cannot be fetched: {error}. Fetch it in another way and give its path."
        ) from error
    if _digest(content) != MODEL_SHA256:
        raise ValueError(f"What {address} gave is not the file that was expected (sha256 {MODEL_SHA256}).")
    place.parent.mkdir(parents=True, exist_ok=True)
    with file_beside(place) as beside:
        beside.write_bytes(content)
    return place


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
