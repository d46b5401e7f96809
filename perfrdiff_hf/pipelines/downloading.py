"""Which files of a pipeline's repository on the Hub are fetched: what its index names, in one variant."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from ..hub import variant_of


INDEX_NAME = "model_index.json"
WEIGHTS_SUFFIX = ".safetensors"
# Of everything that `from_pretrained` takes, what concerns the Hub.
HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "token", "revision")


def download_pipeline(repo_id: str, variant: str | None = None, **options: Any) -> str:
    """Fetch a pipeline that consists of data only; its models come with this package.

    Args:
        repo_id: on the Hub.
        variant: such as `"fp16"`; a part that lacks it comes without a variant, as every part does for None.
        options: `HUB_OPTIONS`, as for `snapshot_download`.

    Returns:
        The folder.

    Raises:
        huggingface_hub.errors.RepositoryNotFoundError, OSError: as `snapshot_download` does.
    """
    options = {name: options[name] for name in HUB_OPTIONS if options.get(name) is not None}
    index_file = Path(hf_hub_download(repo_id, INDEX_NAME, **options))
    cached = str(index_file.parent)
    if options.get("local_files_only"):
        return cached
    try:
        files = HfApi(token=options.get("token")).list_repo_files(repo_id, revision=options.get("revision"))
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise
    except Exception:  # no connection, whatever the client calls it: the index came from the cache, so does the rest
        return cached
    index = json.loads(index_file.read_text(encoding="utf-8"))
    return snapshot_download(repo_id, allow_patterns=files_of_pipeline(files, index, variant), **options)


def files_of_pipeline(files: Iterable[str], index: Mapping[str, Any], variant: str | None = None) -> list[str]:
    """Of a repository's files, those that a pipeline consists of.

    Args:
        files: paths in the repository.
        index: what `model_index.json` says.
        variant: see `download_pipeline`.
    """
    parts = {name for name, value in index.items() if not name.startswith("_") and any(value or ())}
    wanted, weights = [INDEX_NAME], {part: dict[str | None, list[str]]() for part in parts}
    for name in files:
        path = PurePosixPath(name)
        folder = path.parts[0]
        if folder in parts and len(path.parts) > 1:
            if path.suffix == WEIGHTS_SUFFIX:
                weights[folder].setdefault(variant_of(name), []).append(name)
            elif path.suffix in (".json", ".txt"):
                wanted.append(name)
        elif name.endswith(".md"):
            wanted.append(name)
    for variants in weights.values():
        wanted += variants.get(variant, variants.get(None, []))
    return wanted
