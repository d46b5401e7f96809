"""To the Hub: folders with their cards, in uploads that are whole or not at all and leave no old weights behind."""

from __future__ import annotations

from glob import escape
from pathlib import Path

from huggingface_hub import HfApi

from .cards import CARD_NAME, UNKNOWN_LICENSE, CardFacts, facts_of_component, facts_of_pipeline, render_card


WEIGHTS, INDEX = ".safetensors", ".safetensors.index"


def push_folder(
    folder: Path,
    facts: CardFacts,
    private: bool | None = None,
    commit_message: str | None = None,
    create_pr: bool = False,
    api: HfApi | None = None,
) -> str:
    """Upload a folder with its card in one commit: the repository shows all of it, or what it showed before.

    Weights of an earlier upload that this one does not replace are removed in the same commit, since loaders would
    prefer an old whole file to new parts of one; weights of other variants, such as fp16, stay.

    Args:
        folder: as `save_pretrained` wrote it.
        facts: for its card.
        private: whether a new repository is private; None is the account's default.
        commit_message: what was done.
        create_pr: propose the commit instead of making it.
        api: client; None uses the stored login.

    Returns:
        The address of the commit.
    """
    api = api or HfApi()
    repo_id = api.create_repo(facts.repo_id, private=private, exist_ok=True).repo_id
    (folder / CARD_NAME).write_text(str(render_card(facts)), encoding="utf-8")
    pushed = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    commit = api.upload_folder(
        repo_id=repo_id,
        folder_path=str(folder),
        commit_message=commit_message or f"Upload {facts.name}",
        delete_patterns=[escape(name) for name in _outdated(api.list_repo_files(repo_id), pushed)],
        create_pr=create_pr,
    )
    return commit.commit_url


def push_training(output_dir: Path, name: str, repo_id: str, license: str = UNKNOWN_LICENSE) -> str:
    """Upload what a training run made: the pipeline (`name` is `"pipeline"`), or one component.

    Args:
        output_dir: of the run.
        name: what to upload.
        repo_id: where to.
        license: of the weights; those that were trained on data of others may be bound by these.

    Returns:
        The address of the commit.

    Raises:
        FileNotFoundError: if it has not been trained.
    """
    if name == "pipeline":
        folder = output_dir / "model"
        return push_folder(folder, facts_of_pipeline(folder, repo_id, output_dir, license=license))
    folder = output_dir / name
    return push_folder(folder, facts_of_component(folder, name, repo_id, license))


def variant_of(path: str) -> str | None:
    """The variant in the name of a file of weights or of their index, such as `"fp16"`.

    `model.fp16.safetensors`, `model.fp16-00001-of-00002.safetensors` and `model.safetensors.index.fp16.json` have it.
    """
    name = path.rpartition("/")[2]
    if INDEX in name:
        return name.rpartition(INDEX)[2].removesuffix("json").strip(".") or None
    _, _, middle = name.removesuffix(WEIGHTS).partition(".")
    return middle.split("-")[0] or None


def _is_weights(path: str) -> bool:
    return path.endswith(WEIGHTS) or INDEX in path


def _outdated(there: list[str], pushed: list[str]) -> list[str]:
    """Weights in a repository that belong to the variants that are pushed, and are not among what is pushed."""
    variants = {variant_of(path) for path in pushed if _is_weights(path)}
    return [path for path in there if _is_weights(path) and path not in pushed and variant_of(path) in variants]
