"""What the page needs of others, fetched once with npm at exact versions and kept in a folder of the user's.

Versions and their sha512 stand in `page/package.json` and `page/package-lock.json`; npm refuses what differs. No later
version of tasks-vision may be taken without the visitors' consent: from 1.0 on it reports to its maker.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ..files import PathLike, folder_beside


PAGE = Path(__file__).parent / "page"
# Where a file is served from -> where it lies in its package.
VENDORED = {
    "three.module.js": "three/build/three.module.js",
    "three.core.js": "three/build/three.core.js",
    "addons/loaders/GLTFLoader.js": "three/examples/jsm/loaders/GLTFLoader.js",
    "addons/utils/BufferGeometryUtils.js": "three/examples/jsm/utils/BufferGeometryUtils.js",
    "addons/utils/SkeletonUtils.js": "three/examples/jsm/utils/SkeletonUtils.js",
    "three.LICENSE": "three/LICENSE",
    "tasks-vision/vision_bundle.mjs": "@mediapipe/tasks-vision/vision_bundle.mjs",
    "tasks-vision/wasm/vision_wasm_module_internal.js": "@mediapipe/tasks-vision/wasm/vision_wasm_module_internal.js",
    "tasks-vision/wasm/vision_wasm_module_internal.wasm":
        "@mediapipe/tasks-vision/wasm/vision_wasm_module_internal.wasm",
    "tasks-vision/README.md": "@mediapipe/tasks-vision/README.md",
}  # fmt: skip


def default_folder() -> Path:
    """Where `install` puts things unless told otherwise: below the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "perfrdiff_hf" / "page"


def is_installed(folder: PathLike) -> bool:
    """Whether a folder holds all that the page needs."""
    return all((Path(folder) / name).is_file() for name in VENDORED)


def install(folder: PathLike) -> Path:
    """Fetch three.js and MediaPipe tasks-vision with npm; nothing of theirs is run.

    Args:
        folder: what it will hold, 14 MB; what was there is replaced.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: if there is no npm.
        FileExistsError: if the folder holds something else.
        OSError: if npm fails; its last words are in the message.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm was not found. Install Node.js, which brings it, and try again.")
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "three.module.js").is_file():
        raise FileExistsError(f"{folder} holds something else. Choose an empty folder.")
    with tempfile.TemporaryDirectory() as name:
        for file in ("package.json", "package-lock.json"):
            shutil.copy(PAGE / file, name)
        words = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(words, cwd=name, capture_output=True, text=True)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()[-3:]
            raise OSError(f"npm could not fetch the page's libraries: {' '.join(said)}")
        with folder_beside(folder) as beside:
            for served, packaged in VENDORED.items():
                (beside / served).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(Path(name) / "node_modules" / packaged, beside / served)
    return folder
