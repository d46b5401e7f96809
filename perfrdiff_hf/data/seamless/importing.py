"""From what the user already has: the release's tars, or folders of files that were unpacked from them."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from ...files import file_beside
from .layout import (
    FEATURES,
    audio_features_path,
    begin_folder,
    check_license,
    check_place,
    feature_path,
    metadata_path,
)
from .names import parse_name
from .sound import keep_features


ENDINGS = (".npz", ".json", ".wav")
NO_FEATURES = "npz without face features (other vendors have none)"


def import_files(
    sources: Iterable[str | Path], output: str | Path, label: str, split: str, accept: str | None
) -> Counter[str]:
    """Bring tars and folders of the release into the layout that `load_dyads` reads.

    Args:
        sources: tars, or folders with files `<id>.npz`, `<id>.json` and `<id>.wav` or tars anywhere below.
        output: the folder to fill.
        label: "improvised" or "naturalistic".
        split: "train", "dev" or "test", as the release calls it.
        accept: the name of the licence, to confirm it.

    Returns:
        How many files of each kind were taken, and skipped, and why.

    Raises:
        ValueError: if the licence was not confirmed, there is no such label or split, or nothing to import.
        FileNotFoundError: if a source does not exist.
        OSError: if the output cannot be written; what was finished before stays, and the same call goes on.
    """
    check_license(accept)
    check_place(label, split)
    paths = [Path(source) for source in sources]
    if absent := [source for source in paths if not source.exists()]:
        raise FileNotFoundError(f"There is no {absent[0]}.")
    place = Path(output) / label / split
    counts: Counter[str] = Counter()
    for name, ending, file in _members(paths):
        begin_folder(output)
        try:
            counts[_keep(place, name, ending, file)] += 1
        except (zipfile.BadZipFile, EOFError, ValueError, KeyError) as error:
            counts[f"broken {ending[1:]} ({type(error).__name__})"] += 1
    if not any(counts[ending[1:]] for ending in ENDINGS):
        found = ", ".join(f"{what} {count}" for what, count in counts.items()) or "nothing"
        where = ", ".join(map(str, paths))
        raise ValueError(f"There are no usable files <id>{', <id>'.join(ENDINGS)} in {where}; found: {found}.")
    return counts


def _members(sources: list[Path]) -> Iterator[tuple[str, str, IO[bytes]]]:
    """The name, ending and content of every file that may be of use."""
    for source in sources:
        paths = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
        for path in paths:
            if path.suffix == ".tar":
                with tarfile.open(path) as tar:
                    for member in tar:
                        content = tar.extractfile(member) if member.isfile() else None
                        if content is not None and Path(member.name).suffix in ENDINGS:
                            yield Path(member.name).stem, Path(member.name).suffix, content
            elif path.suffix in ENDINGS:
                with open(path, "rb") as file:
                    yield path.stem, path.suffix, file


def _keep(place: Path, stem: str, ending: str, file: IO[bytes]) -> str:
    """Take one file over; what was done with it, in a word or two."""
    try:
        name = parse_name(stem)
    except ValueError:
        return "no name of the release"
    if ending == ".wav":
        with tempfile.NamedTemporaryFile(suffix=".wav") as wav:
            while piece := file.read(1 << 20):
                wav.write(piece)
            wav.flush()
            return "wav" if keep_features(Path(wav.name), audio_features_path(place, name)) else "wav without sound"
    if ending == ".json":
        about = json.loads(file.read())
        for kind in ("vad", "transcript"):
            lines = about.get(f"metadata:{kind}")
            if lines is not None:
                _write(metadata_path(place, kind, name), "\n".join(map(json.dumps, lines)).encode())
        return "json"
    with np.load(io.BytesIO(file.read()), allow_pickle=False) as arrays:
        wanted = {feature: f"movement:{feature}" for feature in FEATURES}
        if not set(wanted.values()) <= set(arrays.files):
            return NO_FEATURES
        for feature, key in wanted.items():
            content = io.BytesIO()
            np.save(content, arrays[key])
            _write(feature_path(place, feature, name), content.getvalue())
    return "npz"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_beside(path) as beside:
        beside.write_bytes(content)
