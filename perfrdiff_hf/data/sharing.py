"""Built datasets as a folder to share: parquet files and a dataset card, as the Hub and `load_dataset` expect them.

For those who may share their data: REACT2024 itself may not be passed on, Seamless Interaction may under its licence.

```python
from perfrdiff_hf import load_dyads
from perfrdiff_hf.data.sharing import write_shareable

splits = {split: load_dyads("seamless", "DIR", split) for split in ("train", "val", "test")}
source = splits["train"].source
datasets = {split: dyads.dataset for split, dyads in splits.items()}
write_shareable(datasets, "to_share", name="Some of Seamless", license=source.license, credit=source.credit)
```

`datasets.load_dataset("to_share", split="train")` then gives the same rows, and `ClipArrays.from_dataset` takes them.
"""

from __future__ import annotations

import os
from pathlib import Path

from datasets import Dataset
from huggingface_hub import DatasetCard, DatasetCardData

from ..behaviour import FRAME_RATE, STREAMS
from ..files import folder_beside


SHARD_ROWS = 500
STREAM_MEANINGS = {
    "audio": "`(num_frames, 78)` audio features: two sub-frames of 13 cepstral coefficients, deltas, delta-deltas",
    "emotion": "`(num_frames, 25)`: 15 action units, valence, arousal, 8 expression probabilities",
    "coefficients": "`(num_frames, 58)` 3DMM coefficients as recorded: 52 expressions, rotation (rad), translation",
}
CARD = """---
{{ card_data }}
---

# {{ name }}

Dyads for facial reaction generation, in the form of `perfrdiff_hf.load_dyads`: one row for each ordered pair,
holding the behaviour of its *listener* at {{ frame_rate }} frames per second. The speaker whom row `i` listens to is
the listener of row `partner[i]`.

| split | rows | people | hours of behaviour |
|---|---|---|---|
{{ counts }}

| column | meaning |
|---|---|
| `site`, `session`, `person`, `clip` | where the recording belongs |
| `listener_id` | `site/session/person` |
| `partner` | the row of the other person in the same clip |
| `num_frames` | frames of the clip |
{{ columns }}

Load it with `datasets.load_dataset`, and cut training windows with `perfrdiff_hf.data.arrays.ClipArrays`.
{{ credit }}
## Before you publish

These are measurements of identifiable people's faces and voices. State here who they are, what they consented to, and
under which licence others may use the data.
"""


def write_shareable(
    splits: dict[str, Dataset],
    folder: str | os.PathLike,
    name: str = "Dyads",
    license: str | None = None,
    credit: str = "",
) -> Path:
    """Write datasets as parquet with a card. The folder appears whole or not at all.

    Args:
        splits: for each split's name the dataset of `load_dyads`; all with the same columns.
        folder: a folder that does not exist yet or is empty.
        name: title of the card.
        license: under which others may use the data, as the Hub names it; None: `"other"`.
        credit: whom the card names.

    Returns:
        The folder, ready for `huggingface_hub.upload_folder(..., repo_type="dataset")`.

    Raises:
        FileExistsError: if the folder holds anything.
        ValueError: if there are no splits or their columns differ.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder.")
    if not splits or any(dataset.features != next(iter(splits.values())).features for dataset in splits.values()):
        raise ValueError("splits must hold at least one dataset, and all must have the same columns.")
    with folder_beside(folder, existing="refuse") as beside:
        for split, dataset in splits.items():
            _write_parquet(dataset, beside / "data", split)
        _card(splits, name, license, credit).save(beside / "README.md")
    return folder


def _write_parquet(dataset: Dataset, folder: Path, split: str) -> None:
    folder.mkdir(exist_ok=True)
    shards = max(1, -(-len(dataset) // SHARD_ROWS))
    for number in range(shards):
        shard = dataset.shard(shards, number, contiguous=True)
        shard.to_parquet(folder / f"{split}-{number:05d}-of-{shards:05d}.parquet")


def _card(splits: dict[str, Dataset], name: str, license: str | None, credit: str) -> DatasetCard:
    data = DatasetCardData(
        pretty_name=name,
        license=license or "other",
        tags=["facial-reaction-generation", "perfrdiff", "dyadic-interaction"],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in splits],
            }
        ],
    )
    counts = [
        f"| {split} | {len(dataset)} | {len(set(dataset['listener_id']))} "
        f"| {sum(dataset['num_frames']) / FRAME_RATE / 3600:.2f} |"
        for split, dataset in splits.items()
    ]
    held = [stream for stream in STREAMS if stream in next(iter(splits.values())).column_names]
    return DatasetCard.from_template(
        data,
        template_str=CARD,
        name=name,
        frame_rate=FRAME_RATE,
        credit=f"\n## Credit\n\n{credit}\n" if credit else "",
        counts="\n".join(counts),
        columns="\n".join(f"| `{stream}` | {STREAM_MEANINGS[stream]} |" for stream in held),
    )
