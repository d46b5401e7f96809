"""The format: names and lists, arrays and tars as the release has them, clips between lost faces."""

from __future__ import annotations

import io
import json
import tarfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from perfrdiff_hf.data.seamless.__main__ import main
from perfrdiff_hf.data.seamless.cutting import SOURCE_FRAMES, plan_clips
from perfrdiff_hf.data.seamless.names import (
    ListedFile,
    conversations_of,
    count_pairs,
    parse_name,
    people_in_two_splits,
    read_list,
)
from tests.golden_files import SHARED


REAL_LIST = SHARED / "realdata" / "seamless_lists" / "improvised_dev.csv"
# Section 2.5 of what is known about the release: shape of a frame, and dtype.
KEYS = {
    "movement:FAUValue": ((24,), "f4"), "movement:FAUToken": ((1,), "f4"), "movement:emotion_scores": ((8,), "f4"),
    "movement:emotion_valence": ((1,), "f4"), "movement:emotion_arousal": ((1,), "f4"),
    "movement:EmotionValenceToken": ((1,), "f4"), "movement:EmotionArousalToken": ((1,), "f4"),
    "movement:alignment_head_rotation": ((3,), "f4"), "movement:alignment_translation": ((2, 3), "f4"),
    "movement:head_encodings": ((3,), "f4"), "movement:gaze_encodings": ((2,), "f4"),
    "movement:expression": ((128,), "f4"), "movement:frame_latent": ((64,), "f4"),
    "movement:hypernet_features": ((5120,), "f4"), "movement:is_valid": (None, "f4"),
    "smplh:body_pose": ((21, 3), "f4"), "smplh:global_orient": ((3,), "f4"), "smplh:left_hand_pose": ((15, 3), "f4"),
    "smplh:right_hand_pose": ((15, 3), "f4"), "smplh:translation": ((3,), "f4"), "smplh:is_valid": ((), "?"),
    "boxes_and_keypoints:box": ((4,), "f4"), "boxes_and_keypoints:is_valid_box": ((), "?"),
    "boxes_and_keypoints:keypoints": ((133, 3), "f4"),
}  # fmt: skip


@pytest.mark.skipif(not REAL_LIST.is_file(), reason="the real pair list does not lie beside this checkout")
def test_the_counts_of_a_real_list(capsys: pytest.CaptureFixture) -> None:
    assert main(["pairs", str(REAL_LIST)]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "conversations": 342,
        "v00_conversations": 170,
        "v00_sessions": 15,
        "v00_people": 18,
        "v00_directions": 340,
        "v00_directions_with_another_session": 225,
        "v00_conversations_with_shared_prompt": 100,
    }


def test_names_keep_their_traps_apart() -> None:
    name = parse_name("V00_S0644_I00000125_P0299A")
    assert str(name) == "V00_S0644_I00000125_P0299A" and name.person == "V00/P0299A"
    assert parse_name("V01_S0644_I00000125_P0299").person == "V01/P0299"
    for wrong in ("V00_S0644_I00000125_P0299B", "S0644_I00000125_P0299", "V00_S0644_I00000125_P0299.npy"):
        with pytest.raises(ValueError, match="is no name of Seamless Interaction"):
            parse_name(wrong)


def names(*texts: str) -> list:
    return [parse_name(text) for text in texts]


def test_conversations_are_two_people_of_one_prompt_in_one_session() -> None:
    given = names("V00_S1_I1_P1", "V00_S1_I1_P2A", "V00_S2_I1_P1", "V00_S2_I1_P3", "V00_S1_I2_P1")
    given += names("V00_S3_I1_P1", "V00_S3_I1_P2", "V00_S3_I1_P4", "V01_S1_I1_P1", "V01_S1_I1_P2")
    pairs, others = conversations_of(given)
    assert [str(name) for pair in pairs for name in pair] == [
        "V00_S1_I1_P1", "V00_S1_I1_P2A", "V00_S2_I1_P1", "V00_S2_I1_P3", "V01_S1_I1_P1", "V01_S1_I1_P2",
    ]  # fmt: skip
    assert others == {("V00", "S1", "I2"): 1, ("V00", "S3", "I1"): 3}
    counts = count_pairs(given)
    assert (counts["conversations"], counts["v00_conversations"], counts["v00_people"]) == (3, 2, 3)
    assert counts["v00_directions_with_another_session"] == 2 and counts["v00_conversations_with_shared_prompt"] == 2


def test_people_in_two_splits_are_found_with_and_without_their_a() -> None:
    listed = [("V00_S1_I1_P1", "train"), ("V00_S2_I1_P1A", "dev"), ("V00_S1_I1_P2", "train"), ("V01_S2_I1_P2", "dev")]
    files = [ListedFile(parse_name(name), "improvised", split) for name, split in listed]
    assert people_in_two_splits(files) == {"V00/P1", "V00/P1A"}


def test_lists_that_are_none_are_named(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    with pytest.raises(FileNotFoundError, match="no list"):
        read_list(path)
    path.write_text("name\nV00_S1_I1_P1\n")
    with pytest.raises(ValueError, match=r"needs a column file_id.*it has name"):
        read_list(path)
    path.write_text("file_id\n")
    with pytest.raises(ValueError, match="names no files"):
        read_list(path)


def test_the_writer_writes_the_format(seamless_release: Path) -> None:
    seen: dict[str, set] = {"is_valid": set(), "archives": set()}
    for archive in sorted((seamless_release / "improvised" / "train" / "0000").glob("*.tar")):
        with tarfile.open(archive) as tar:
            members = {Path(member.name).name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        for member, content in members.items():
            stem, ending = member.rsplit(".", 1)
            seen["archives"].add((stem.rsplit("_", 1)[0], archive.name))
            if ending != "npz":
                continue
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                assert set(arrays.files) == set(KEYS)
                frames = len(arrays["movement:FAUValue"])
                for key, (shape, kind) in KEYS.items():
                    assert arrays[key].dtype == np.dtype(kind), key
                    assert shape is None or arrays[key].shape[1:] == shape, key
                valid = arrays["movement:is_valid"]
                assert arrays["movement:hypernet_features"].shape[0] == frames // 15
                seen["is_valid"].add(valid.ndim)
                lost = valid.reshape(-1) == 0
                assert not arrays["movement:FAUValue"][lost].any() and lost.sum() % 60 == 0
                assert frames == 0 or arrays["movement:FAUValue"][:, 16:19].max() < 0.03
            if f"{stem}.wav" in members and len(members[f"{stem}.wav"]) > 58 and frames:
                heard, rate = soundfile.read(io.BytesIO(members[f"{stem}.wav"]))
                assert rate == 48000 and heard.ndim == 1 and len(heard) == frames * 1600
    assert seen["is_valid"] == {1, 2}
    conversations = [name for name, _ in seen["archives"]]
    assert max(map(conversations.count, conversations)) == 2  # partners lie in different tars


def test_clips_lie_between_lost_faces() -> None:
    seen = np.ones(3 * SOURCE_FRAMES + 60, dtype=bool)
    seen[SOURCE_FRAMES : SOURCE_FRAMES + 60] = False
    assert plan_clips(seen) == [0, 960, 1860]
    # A second at most is bridged, and 5 % of a clip.
    for gap, expected in ((30, [0, 900]), (31, [132, 1032])):
        seen = np.ones(2000, dtype=bool)
        seen[100 : 100 + gap] = False
        assert plan_clips(seen) == expected
    seen = np.ones(SOURCE_FRAMES, dtype=bool)
    seen[100:125] = seen[300:320] = False
    assert plan_clips(seen) == [0]
    seen[320] = False
    assert plan_clips(seen) == []
    assert plan_clips(np.ones(SOURCE_FRAMES - 1, dtype=bool)) == plan_clips(np.zeros(0, dtype=bool)) == []


def test_every_planned_clip_keeps_the_rule() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        seen = np.repeat(rng.random(60) > 0.03, 60)
        seen[rng.integers(len(seen), size=40)] = False
        starts = plan_clips(seen)
        assert all(b - a >= SOURCE_FRAMES for a, b in pairwise(starts))
        for start in starts:
            clip = seen[start : start + SOURCE_FRAMES]
            assert len(clip) == SOURCE_FRAMES and start % 6 == 0 and clip.mean() >= 0.95
            assert not np.convolve(~clip, np.ones(31), "valid").max() >= 31
