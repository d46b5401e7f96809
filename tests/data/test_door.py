"""The one door: every source in one form, and REACT2024 and the synthetic world as they always were."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfrdiff_hf import load_dyads
from perfrdiff_hf.behaviour import COEFFICIENT_NAMES, EMOTION_NAMES
from perfrdiff_hf.data.arrays import ClipArrays
from perfrdiff_hf.data.catalogue import SOURCES, open_source
from perfrdiff_hf.data.corpus import Corpus
from perfrdiff_hf.data.histories import history_row, history_rows
from perfrdiff_hf.data.masks import ChannelMask
from perfrdiff_hf.data.react2024.appropriateness import load_appropriateness
from perfrdiff_hf.data.react2024.dataset import load_react2024
from perfrdiff_hf.data.style_clips import StyleClips
from perfrdiff_hf.data.windows import EmotionWindows, ReactionWindows
from perfrdiff_hf.synthetic.world import WorldSize, write_synthetic_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    size = WorldSize(dyads=(3, 1, 1), clips=3, scripts=(3, 2, 2), sample_rate=8000, sound="ULAW")
    return write_synthetic_world(tmp_path_factory.mktemp("door") / "world", size, seed=2)


def every_example(arrays: ClipArrays, appropriate: np.ndarray) -> list[dict[str, Any]]:
    """Some of each kind of example."""
    rows = range(len(arrays))
    personal = ReactionWindows(arrays, appropriate, 1, history_frames=60, seed=3)
    return [
        *EmotionWindows(arrays, seed=3).__getitems__(rows),
        *ReactionWindows(arrays, appropriate, 2, seed=3, with_movement=True).__getitems__(rows),
        *personal.__getitems__(rows),
        *StyleClips(arrays, appropriate, frames=50, seed=3).__getitems__([0]),
    ]


def test_examples_are_the_same_through_the_door(world: Path, tmp_path: Path) -> None:
    direct = ClipArrays.from_dataset(load_react2024(world, "train", cache_dir=tmp_path / "direct"))
    expected = every_example(direct, load_appropriateness(world, "train"))
    for source in ("synthetic", "react2024", None):
        dyads = load_dyads(source, world, "train", cache_dir=tmp_path / "door")
        assert dyads.mask.is_whole
        found = every_example(dyads.arrays, dyads.appropriate)
        for one, other in zip(expected, found, strict=True):
            assert one.keys() == other.keys()
            for name, values in one.items():
                assert values.numpy().tobytes() == other[name].numpy().tobytes()


def test_the_personal_task_is_the_same_through_the_door(world: Path, tmp_path: Path) -> None:
    dyads = load_dyads(None, world, "val", personal=True, cache_dir=tmp_path)
    expected = load_react2024(world, "val", personal=True, cache_dir=tmp_path)
    assert dyads.dataset.to_dict() == expected.to_dict()
    np.testing.assert_array_equal(dyads.appropriate, load_appropriateness(world, "val", personal=True))


def test_a_folder_is_recognised(world: Path, tmp_path: Path) -> None:
    assert open_source(world).name == "synthetic"
    own = tmp_path / "own"
    shutil.copytree(world, own)
    (own / "world.json").unlink()
    assert open_source(own).name == Corpus(own).source.name == "react2024"
    np.save(own / "mean_face.npy", np.zeros(57))
    with pytest.raises(ValueError, match="58 values; it holds 57"):
        Corpus(own).mean_face()


def test_a_folder_says_which_channels_it_has(world: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(world, own)
    (own / "mask.json").write_text('{"derived": ["jawOpen"], "unavailable": ["AU23", "translation_x"]}')
    dyads = load_dyads("react2024", own, "val", cache_dir=tmp_path / "cache")
    assert dyads.mask == ChannelMask(("jawOpen",), ("AU23", "translation_x")) == Corpus(own).mask
    whole = Corpus(world, tmp_path / "cache").digest("val")
    assert Corpus(own, tmp_path / "cache").digest("val") != whole
    for wrong in ("AU23", '{"unknown": []}', '{"unavailable": ["AU99"]}', "[]"):
        (own / "mask.json").write_text(wrong)
        with pytest.raises(ValueError, match=r"mask\.json must be json with lists of channels"):
            _ = open_source(own).mask()


def test_what_is_not_there_is_said(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"source must be one of .*react2024.*given: 'react2025'"):
        load_dyads("react2025", world, "train")
    with pytest.raises(ValueError, match="split must be one of"):
        load_dyads("react2024", world, "dev")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        load_dyads("react2024", tmp_path / "nowhere", "train")
    assert {"react2024", "synthetic"} <= set(SOURCES)


def test_masks_say_the_kind_of_every_channel() -> None:
    mask = ChannelMask.of_measured(["AU6", "AU12"], derived=["mouthSmileLeft"])
    assert mask.kind("AU6") == "measured" and mask.kind("mouthSmileLeft") == "derived"
    assert mask.kind("AU1") == "unavailable" and not mask.is_whole
    assert [EMOTION_NAMES[at] for at in np.flatnonzero(mask.available("emotion"))] == ["AU6", "AU12"]
    assert mask.available("coefficients").sum() == 1 and len(mask.available("coefficients")) == len(COEFFICIENT_NAMES)
    assert mask.names("derived") == ("mouthSmileLeft",)
    with pytest.raises(ValueError, match="'AU99' is none"):
        ChannelMask(unavailable=("AU99",))
    with pytest.raises(ValueError, match="AU1 is in both"):
        ChannelMask(derived=("AU1",), unavailable=("AU1",))


class Meetings:
    """Rows of one person in two sessions, and of one in a single session; two clips are of one conversation."""

    listener_ids = np.array(["a", "a", "a", "b", "b", "b"])
    sessions = np.array(["s1", "s1", "s2", "s1", "s1", "s1"])
    conversations = np.array(["s1-x", "s1-y", "s2-x", "s1-x", "s1-x", "s1-y"])
    clips = np.array(["s1-x-0", "s1-y-0", "s2-x-0", "s1-x-0", "s1-x-1", "s1-y-0"])


def test_a_history_is_of_another_session_else_of_another_conversation() -> None:
    found = [history_rows(Meetings, row).tolist() for row in range(6)]
    assert found == [[2], [2], [0, 1], [5], [5], [3, 4]]
    assert [history_row(Meetings, row) for row in range(6)] == [2, 2, 0, 5, 5, 3]
