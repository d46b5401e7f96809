"""The synthetic world: its files, its truth, and the room that it leaves for personal reactions."""

from __future__ import annotations

import csv
import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from perfrdiff_hf.behaviour import (
    BLENDSHAPES,
    CLIP_FRAMES,
    COEFFICIENT_NAMES,
    EMOTION_NAMES,
    EXPRESSIONS,
    MEAN_FACE,
    STD_FACE,
    VALENCE_AROUSAL,
)
from perfrdiff_hf.data.audio import mfcc_features
from perfrdiff_hf.data.react2024.appropriateness import load_appropriateness
from perfrdiff_hf.data.react2024.dataset import load_react2024
from perfrdiff_hf.metrics import frcorr
from perfrdiff_hf.synthetic.cast import SIZES, SPLITS, World, plan_world
from perfrdiff_hf.synthetic.face import face_scores, resting_face
from perfrdiff_hf.synthetic.oracles import mean_oracle_reactions, oracle_reactions, sample_reactions
from perfrdiff_hf.synthetic.people import (
    ACTS,
    FACTORS,
    REACTIONS,
    cast_styles,
    draw_reactions,
    draw_styles,
    envelopes,
    reaction_odds,
)
from perfrdiff_hf.synthetic.recording import render
from perfrdiff_hf.synthetic.world import WorldSize, load_world, write_synthetic_world


TINY = WorldSize(dyads=(1, 1, 2), clips=2, scripts=(2, 1, 2), sample_rate=8000, sound="ULAW")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_world(tmp_path_factory.mktemp("worlds") / "tiny", TINY, seed=3)


@pytest.fixture(scope="module")
def world(folder: Path) -> World:
    return load_world(folder)


@pytest.fixture(scope="module")
def planned() -> World:
    return plan_world(WorldSize(dyads=(1, 1, 3), clips=3, scripts=(1, 1, 3), sample_rate=8000, sound="ULAW"), seed=1)


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def style(**factors: float) -> np.ndarray:
    return np.array([factors.get(name, 0.0) for name in FACTORS])


# Files


def test_same_seed_same_bytes_whatever_the_processes(folder: Path, tmp_path: Path) -> None:
    again = write_synthetic_world(tmp_path / "again", TINY, seed=3, num_proc=2)
    assert digest(again) == digest(folder)


def test_another_seed_is_another_world(world: World) -> None:
    other = plan_world(TINY, seed=4)
    assert other.recordings != world.recordings
    assert not np.allclose(np.stack(list(other.styles.values())), np.stack(list(world.styles.values())))


def test_layout_is_that_of_react2024(folder: Path) -> None:
    session = "003_2024-01-01_Synthetic"
    assert sorted(path.name for path in folder.iterdir()) == [
        "Approprirate_facial_reaction.npy", "data_indices.csv", "mean_face.npy", "std_face.npy", "test", "test.csv",
        "train", "train.csv", "val", "val.csv", "world.json",
    ]  # fmt: skip
    with open(folder / "test.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["", "speaker_path", "listener_path"]
    assert rows[1] == ["0", f"NoXI/{session}/Expert_video/1", f"NoXI/{session}/Novice_video/1"]
    assert len(rows) == 1 + 4
    assert (folder / "data_indices.csv").read_text().splitlines()[0] == "site,chat_index,clip_index"
    clip = np.load(folder / "test/3D_FV_files/NoXI" / session / "Expert_video/2.npy")
    assert clip.shape == (751, 1, 58) and clip.dtype == np.float32
    sound = soundfile.info(folder / "test/Audio_files/NoXI" / session / "Novice_video/2.wav")
    assert sound.samplerate == 8000 and sound.frames == 751 * 320
    lines = (folder / "test/Emotion/NoXI" / session / "P2/2.csv").read_text().splitlines()
    assert lines[0].split(",") == list(EMOTION_NAMES) and len(lines) == 751
    np.testing.assert_array_equal(np.load(folder / "mean_face.npy"), MEAN_FACE)
    np.testing.assert_array_equal(np.load(folder / "std_face.npy"), STD_FACE)


@pytest.mark.parametrize("personal", [False, True])
def test_reader_sees_the_truth_in_its_row_order(folder: Path, world: World, tmp_path: Path, personal: bool) -> None:
    rows = load_react2024(folder, "test", personal=personal, streams=("emotion",), cache_dir=tmp_path)
    truth = [r for r in world.of_split("test") if not (personal and r.clip == 1)]
    assert list(zip(rows["listener_id"], rows["clip"])) == [(r.listener_id, str(r.clip)) for r in truth]
    assert [truth[i].listener_id for i in rows["partner"]] == [r.partner_id for r in truth]
    np.testing.assert_allclose(np.array(rows[1]["emotion"]), render(world, truth[1]).emotion, atol=6e-5)
    played = [(world.partner(r).script, world.partner(r).role, r.listener_id if personal else "") for r in truth]
    expected = np.array([[a == b for b in played] for a in played])
    np.testing.assert_array_equal(load_appropriateness(folder, "test", personal=personal), expected)
    assert personal or expected.sum(axis=1).min() == 2  # both dyads play both scripts, in one role or the other


def test_matrix_is_false_across_splits(folder: Path) -> None:
    matrix = np.load(folder / "Approprirate_facial_reaction.npy")
    assert matrix.shape == (16, 16) and matrix.dtype == np.float64
    split = np.tile([0, 0, 1, 1, 2, 2, 2, 2], 2)
    assert not matrix[split[:, None] != split].any() and np.diag(matrix).all()


def test_world_survives_its_file(world: World) -> None:
    planned = plan_world(TINY, seed=3)
    assert world.recordings == planned.recordings and world.size == planned.size and world.pitches == planned.pitches
    assert all(np.array_equal(world.styles[name], planned.styles[name]) for name in planned.styles)
    with pytest.raises(ValueError, match="split must be one of"):
        world.of_split("dev")


def test_errors_name_what_is_wrong_and_leave_nothing(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="quick, demo, bench, listeners or a WorldSize; given: 'huge'"):
        write_synthetic_world(tmp_path / "x", "huge")
    with pytest.raises(ValueError, match="num_proc must be 1 or more"):
        write_synthetic_world(tmp_path / "x", TINY, num_proc=0)
    with pytest.raises(ValueError, match="two clips or more"):
        replace(TINY, clips=1)
    with pytest.raises(ValueError, match="sample_rate must be a multiple of 25"):
        replace(TINY, sample_rate=11025 + 1)
    with pytest.raises(FileExistsError, match="is not empty"):
        write_synthetic_world(folder, TINY)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="is a file"):
        write_synthetic_world(tmp_path / "file", TINY)
    with pytest.raises(OSError, match="Cannot write a synthetic world to"):
        write_synthetic_world(tmp_path / "file" / "below", TINY)
    with pytest.raises(FileNotFoundError, match="is not a synthetic world"):
        load_world(tmp_path)
    assert os.listdir(tmp_path) == ["file"]


def test_failure_keeps_the_old_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / "precious").write_text("kept")

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(soundfile, "write", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_synthetic_world(tmp_path / "world", TINY, overwrite=True)
    assert os.listdir(tmp_path) == ["world"] and os.listdir(tmp_path / "world") == ["precious"]


# People


@pytest.mark.parametrize("size", SIZES)
def test_sizes_have_disjoint_people_and_shared_scripts(size: str) -> None:
    world = plan_world(SIZES[size], seed=0)
    people = {split: {r.listener_id for r in world.of_split(split)} for split in SPLITS}
    assert len(set.union(*people.values())) == sum(map(len, people.values())) == 2 * sum(SIZES[size].dyads)
    for name in world.styles:
        assert sorted(r.clip for r in world.recordings if r.listener_id == name) == list(
            range(1, 1 + SIZES[size].clips)
        )
    for split in (split for split, number in zip(SPLITS, SIZES[size].dyads, strict=True) if number > 1):
        dyads: dict[int, set[str]] = {}
        for recording in world.of_split(split):
            dyads.setdefault(recording.script, set()).add(recording.session)
        assert min(map(len, dyads.values())) >= 2


def test_nobody_plays_two_acts_at_once_and_acts_last(planned: World) -> None:
    for recording in planned.recordings:
        starts, ends = np.array(recording.starts), np.array(recording.ends)
        assert (starts[1:] > ends[:-1]).all() and starts[-1] < CLIP_FRAMES
        assert ((ends - starts) / 25 >= 3).all() and ((ends - starts) / 25 <= 8).all()


def test_style_decides_which_reaction_follows() -> None:
    people = np.stack([style(warmth=w, mirroring=m) for w in (1, -1) for m in (1, -1)])
    odds = reaction_odds(people[:, None], np.arange(len(ACTS)))
    np.testing.assert_allclose(odds.sum(axis=-1), 1)
    likely = [REACTIONS[i] for i in odds[:, ACTS.index("joke")].argmax(axis=-1)]
    assert likely == ["smile", "concern", "scorn", "frown"]
    likely = [REACTIONS[i] for i in odds[:, ACTS.index("bad_news")].argmax(axis=-1)]
    assert likely == ["concern", "smile", "frown", "scorn"]
    several = reaction_odds(draw_styles(np.random.default_rng(0), 500)[:, None], np.arange(len(ACTS)))
    assert 0.5 < np.square(several).sum(axis=-1).mean() < 0.8  # neither certain nor left to chance
    assert several.mean(axis=(0, 1)).min() > 0.04 and several.mean(axis=0).max() < 0.5


def test_reactions_follow_their_odds_and_their_timing() -> None:
    rng = np.random.default_rng(0)
    quick, slow = style(quickness=1, expressiveness=1), style(quickness=-1, expressiveness=-1)
    acts = np.full(4000, ACTS.index("question"))
    drawn = draw_reactions(rng, quick, acts)
    share = np.bincount(drawn.kind, minlength=len(REACTIONS)) / len(acts)
    np.testing.assert_allclose(share, reaction_odds(quick, acts[0]), atol=0.03)
    late = draw_reactions(rng, slow, acts)
    assert drawn.latency.max() < late.latency.min() and drawn.height.mean() > 1.5 * late.height.mean()
    strength = envelopes(drawn, np.full(4000, 100), np.full(4000, 200), np.arange(400))
    assert not strength[:, :110].any() and not strength[:, 270:].any() and (strength[:, 190] > 0.5).all()


def test_a_cast_is_spread_evenly() -> None:
    cast = cast_styles(np.random.default_rng(0), 8)
    assert cast.shape == (8, len(FACTORS)) and np.abs(cast).max() <= 1
    assert ((cast > 0).sum(axis=0) == 4).all()
    assert np.abs(np.corrcoef(cast.T) - np.eye(len(FACTORS))).max() < 0.5


# Recordings


def test_streams_are_valid_and_agree(planned: World) -> None:
    clips = [render(planned, recording) for recording in planned.of_split("test")[:12]]
    emotion = np.concatenate([clip.emotion for clip in clips])
    coefficients = np.concatenate([clip.coefficients[:CLIP_FRAMES] for clip in clips])
    movement = np.concatenate([c - c.mean(axis=0) for c in (clip.coefficients[:CLIP_FRAMES] for clip in clips)])
    assert set(np.unique(emotion[:, :15])) == {0, 1}
    assert np.abs(emotion[:, VALENCE_AROUSAL]).max() <= 1
    assert emotion[:, EXPRESSIONS].min() >= 0
    np.testing.assert_allclose(emotion[:, EXPRESSIONS].sum(axis=1), 1, atol=1e-5)
    assert coefficients[:, BLENDSHAPES].min() >= 0 and coefficients[:, BLENDSHAPES].max() <= 1
    assert all(np.abs(clip.sound).max() <= 1 for clip in clips)

    def together(channel: str, coefficient: str) -> float:
        pair = emotion[:, EMOTION_NAMES.index(channel)], movement[:, COEFFICIENT_NAMES.index(coefficient)]
        return float(np.corrcoef(*pair)[0, 1])

    same = {"AU12": "mouthSmileLeft", "AU1": "browInnerUp", "AU6": "cheekSquintRight", "AU26": "jawOpen"}
    for channel, coefficient in {**same, "Happy": "mouthSmileRight", "Sad": "mouthFrownLeft"}.items():
        assert together(channel, coefficient) > 0.4, (channel, coefficient)
    assert together("Happy", "mouthFrownLeft") < 0.1


def test_a_population_has_the_mean_and_spread_of_react() -> None:
    world = plan_world(WorldSize((24, 1, 1), 2, (24, 1, 1), 8000, "ULAW"), seed=11)
    coefficients = np.concatenate([render(world, r).coefficients for r in world.of_split("train")])
    off_mean = np.abs(coefficients.mean(axis=0) - MEAN_FACE) / STD_FACE
    off_spread = np.abs(np.log(coefficients.std(axis=0) / STD_FACE))
    assert np.median(off_mean) < 0.1 and off_mean.max() < 0.6
    assert np.median(off_spread) < 0.15


def test_an_act_can_be_heard_within_two_seconds(planned: World) -> None:
    heard, kinds, sides = [], [], []
    for recording in planned.of_split("test"):
        features = mfcc_features(render(planned, recording).sound, 8000, CLIP_FRAMES)
        for kind, start in zip(recording.acts, recording.starts):
            if start + 50 <= CLIP_FRAMES:
                heard.append(features[start : start + 50, :26].mean(axis=0))
                kinds.append(kind)
                sides.append(recording.session != planned.of_split("test")[-1].session)
    x, y, train = np.stack(heard), np.array(kinds), np.array(sides)
    x = (x - x[train].mean(axis=0)) / x[train].std(axis=0)
    centres = np.stack([x[train & (y == kind)].mean(axis=0) for kind in range(len(ACTS))])
    nearest = np.square(x[~train][:, None] - centres).sum(axis=-1).argmin(axis=1)
    assert len(nearest) >= 20 and (nearest == y[~train]).mean() > 0.85


# Oracles


def test_online_oracle_knows_nothing_of_the_future(planned: World) -> None:
    speaker = planned.of_split("test")[0]
    now = -(-(speaker.starts[1] + 5) // 50) * 50  # a window begins while the second act goes on
    changed = replace(
        speaker,
        acts=(*speaker.acts[:2], *((kind + 1) % len(ACTS) for kind in speaker.acts[2:])),
        starts=(*speaker.starts[:2], *(start + 40 for start in speaker.starts[2:])),
        ends=(speaker.ends[0], *(end + 40 for end in speaker.ends[1:])),
    )
    assert speaker.ends[0] <= now < min(speaker.ends[1], speaker.starts[2])
    own = np.tile(style(warmth=1, mirroring=1), (6, 1))

    def sample(of: object, hop: int | None) -> tuple[np.ndarray, np.ndarray]:
        answering = np.repeat(own[:, None], len(speaker.acts), axis=1)
        return sample_reactions(of, own, answering, np.random.default_rng(0), hop)

    (first, first_face), (second, second_face) = sample(speaker, 50), sample(changed, 50)
    np.testing.assert_array_equal(first[:, : now + 50], second[:, : now + 50])
    # Nods of a face are drawn in one piece, so that rounding differs where sums of reactions do.
    np.testing.assert_allclose(first_face[:, : now + 50], second_face[:, : now + 50], atol=1e-6)
    assert not np.array_equal(first[:, now + 50 :], second[:, now + 50 :])
    start = speaker.starts[0] // 50 * 50 + 50  # before the first act was seen there is nothing to react to
    assert first[:, :start, :15].mean() < 0.05 < first[:, start : start + 100, :15].mean()
    np.testing.assert_array_equal(sample(speaker, None)[0], sample(speaker, None)[0])
    assert not np.array_equal(sample(speaker, None)[0], first)
    # With a shorter hop an act is known sooner.
    sooner = sample(speaker, 10)[0]
    assert sooner[:, :start, :15].mean() > first[:, :start, :15].mean()


def test_world_leaves_room_to_be_personal(planned: World) -> None:
    rows = [r for r in planned.of_split("test") if r.clip != 1]
    recorded = np.stack([render(planned, r).emotion for r in rows])
    speaker = np.roll(recorded, len(rows) // 2, axis=0)
    own = np.eye(len(rows), dtype=bool)

    def score(knowledge: str, **options: Any) -> float:
        options = {"knowledge": knowledge, "personal": True, "num_reactions": 4, **options}
        drawn, coefficients = oracle_reactions(planned, "test", **options)
        assert coefficients.shape == (len(rows), 4, CLIP_FRAMES, 58) and coefficients.dtype == np.float32
        assert drawn.shape == (len(rows), 4, CLIP_FRAMES, len(EMOTION_NAMES)) and drawn.dtype == np.float32
        return frcorr(drawn, recorded, own) / 4

    personal, generic, swapped = score("personal"), score("generic"), score("swapped")
    assert personal > 0.3 and personal > 1.5 * generic
    assert swapped - generic < 0.5 * (personal - generic)
    assert score("personal", online=False) > 0.95 * personal
    assert frcorr(speaker[:, None], recorded, own) < 0.5 * generic
    averaged = mean_oracle_reactions(planned, "test", personal=True, num_reactions=2).emotion
    assert np.array_equal(averaged[:, 0], averaged[:, 1])
    assert frcorr(averaged, recorded, own) / 2 > personal  # no oracle is a ceiling
    with pytest.raises(ValueError, match="knowledge must be"):
        oracle_reactions(planned, "test", knowledge="all")
    with pytest.raises(ValueError, match="hop must lie between 1 and 50 frames; given: 51"):
        oracle_reactions(planned, "test", hop=51)
    with pytest.raises(ValueError, match=rf"rows must lie between 0 and {len(rows) - 1}; given: {len(rows)}"):
        oracle_reactions(planned, "test", personal=True, rows=[0, len(rows)])
    everything, some = (oracle_reactions(planned, "test", num_reactions=1, rows=chosen) for chosen in (None, [3, 1]))
    np.testing.assert_array_equal(some.emotion, everything.emotion[[3, 1]])
    np.testing.assert_array_equal(some.coefficients, everything.coefficients[[3, 1]])


def test_resting_faces_tell_nothing_of_style() -> None:
    """The same style with another resting face moves alike; the same face is another one in the next clip."""
    rng = np.random.default_rng(0)
    nothing = np.zeros((100, 25)), np.zeros((100, len(ACTS))), np.zeros(100), np.zeros(100)

    def scores(resting: np.ndarray, seed: int) -> np.ndarray:
        return face_scores(style(warmth=0.7), resting, *nothing, np.random.default_rng(seed))

    one, other = resting_face(rng), resting_face(rng)
    a, b = scores(one, 3), scores(other, 3)
    np.testing.assert_allclose(a - a.mean(axis=0), b - b.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(b.mean(axis=0) - a.mean(axis=0), other - one, atol=1e-9)
    assert np.abs(scores(one, 4).mean(axis=0) - a.mean(axis=0)).mean() > 0.2


def test_dyads_play_their_scripts_again() -> None:
    world = plan_world(SIZES["demo"], seed=0)
    for split in ("train", "test"):
        played: dict[tuple[str, int], list[int]] = {}
        for recording in world.of_split(split):
            played.setdefault((recording.listener_id, recording.script), []).append(recording.role)
        assert all(len(roles) == 2 and len(set(roles)) == 1 for roles in played.values())
    with pytest.raises(ValueError, match="plays must lie between 1 and the 4 clips"):
        replace(SIZES["demo"], plays=7)
