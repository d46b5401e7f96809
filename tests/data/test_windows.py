from __future__ import annotations

import pickle
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from accelerate.data_loader import prepare_data_loader
from datasets import Array2D, Dataset, Features, Value
from torch.utils.data import DataLoader

from perfrdiff_hf.behaviour import MEAN_FACE, STREAM_WIDTHS
from perfrdiff_hf.data.arrays import ClipArrays
from perfrdiff_hf.data.examples import random_cut
from perfrdiff_hf.data.style_clips import StyleClips
from perfrdiff_hf.data.windows import EmotionWindows, ReactionWindows


WIDTHS = STREAM_WIDTHS
PAIRS, FRAMES, W = 12, 60, 10


def made_up(people: list[str], frames: list[int], streams: dict[str, int] = WIDTHS) -> Dataset:
    """Rows whose every value tells where it was cut from: row + frame / 1000, the same in all channels."""
    rows = len(people)
    columns = {
        "listener_id": people,
        "clip": [str(people[:row].count(who) + 1) for row, who in enumerate(people)],
        "partner": [(row + rows // 2) % rows for row in range(rows)],
        "num_frames": frames,
    }
    for stream, width in streams.items():
        columns[stream] = [np.full((n, width), row) + np.arange(n)[:, None] / 1000 for row, n in enumerate(frames)]
    arrays = {stream: Array2D((None, width), "float32") for stream, width in streams.items()}
    strings, numbers = dict.fromkeys(["listener_id", "clip"], Value("string")), Value("int64")
    return Dataset.from_dict(columns, Features({**strings, "partner": numbers, "num_frames": numbers, **arrays}))


# Row r and row r + 12 are the two sides of a clip; six people have four clips each.
PEOPLE = [f"N/{row % PAIRS // 4}/{'b' if row < PAIRS else 'a'}" for row in range(2 * PAIRS)]


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    return ClipArrays.from_dataset(made_up(PEOPLE, [FRAMES] * 2 * PAIRS), tmp_path_factory.mktemp("arrays"))


@pytest.fixture(scope="module")
def appropriate():
    return (np.random.default_rng(0).random((2 * PAIRS, 2 * PAIRS)) < 0.4) | np.eye(2 * PAIRS, dtype=bool)


def origin(window) -> tuple[int, int, int]:
    """Row, first frame and length that a made-up window was cut from, after checking that it is one stretch."""
    values = np.asarray(window)[:, 0]
    row = int(values[0])
    frames = np.rint((values - row) * 1000).astype(int)
    assert (np.asarray(window) == np.asarray(window)[:, :1]).all()
    np.testing.assert_array_equal(np.diff(frames), 1)
    return row, int(frames[0]), len(values)


def test_arrays_hold_every_clip(arrays):
    assert len(arrays) == 2 * PAIRS
    for row in (0, 5, 23):
        assert origin(arrays.emotion(row)) == origin(arrays.audio(row)) == (row, 0, FRAMES)
        assert arrays.coefficients(row).shape == (FRAMES, 58)
    with pytest.raises(ValueError, match="read-only"):
        arrays.emotion(0)[0] = 1


def test_a_row_as_behaviour(arrays):
    behaviour = arrays.behaviour(5)
    assert set(behaviour.streams) == {"audio", "emotion", "coefficients"} and len(behaviour) == FRAMES
    np.testing.assert_array_equal(behaviour.coefficients, arrays.coefficients(5))


def test_partners_of_other_lengths_are_refused(tmp_path):
    """A window of the speaker is cut at the listener's frames; it must not run into the next clip."""
    with pytest.raises(ValueError, match=r"clip 1 of N/0/b has 20, that of N/0/a 40\. Cut them alike"):
        ClipArrays.from_dataset(made_up(["N/0/b", "N/0/a"], [20, 40]), tmp_path)
    astray = made_up(["N/0/b", "N/0/a"], [20, 20]).map(lambda row: {"partner": 0})
    with pytest.raises(ValueError, match="partner must hold"):
        ClipArrays.from_dataset(astray, tmp_path)


def test_wrong_counts_of_frames_are_refused(tmp_path):
    dataset = made_up(["N/0/b", "N/0/a"], [20, 20]).map(lambda row: {"num_frames": 21})
    with pytest.raises(ValueError, match="Row 0: audio has 20 frames; num_frames is 21"):
        ClipArrays.from_dataset(dataset, tmp_path)
    assert not list(tmp_path.iterdir())


def test_arrays_travel_as_paths(arrays):
    packed = pickle.dumps(arrays)
    assert len(packed) < 20_000
    np.testing.assert_array_equal(pickle.loads(packed).audio(7), arrays.audio(7))


def test_arrays_need_a_place_and_the_right_columns(tmp_path):
    dataset = made_up(PEOPLE[:2], [20, 20])
    with pytest.raises(ValueError, match="cache_dir"):
        ClipArrays.from_dataset(dataset)
    with pytest.raises(ValueError, match="lacks the columns partner"):
        ClipArrays.from_dataset(dataset.remove_columns("partner"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_emotion_windows_are_stretches_of_the_own_clip(arrays):
    windows = EmotionWindows(arrays, window_size=W)
    starts = set()
    for epoch in range(40):
        windows.set_epoch(epoch)
        for row in (0, 23):
            item = windows[row]
            assert origin(item["emotion"]) == origin(item["coefficients"])
            assert origin(item["emotion"])[::2] == (row, W)
            starts.add(origin(item["emotion"])[1])
    assert min(starts) >= 0 and max(starts) <= FRAMES - W and len(starts) > 25


def test_reactions_follow_one_window_later(arrays, appropriate):
    windows = ReactionWindows(arrays, appropriate, num_reactions=3, window_size=W)
    assert len(windows) == 2 * PAIRS
    starts = Counter()
    for epoch in range(60):
        windows.set_epoch(epoch)
        for index in range(0, 2 * PAIRS, 5):
            item = windows[index]
            assert {name: tuple(value.shape) for name, value in item.items()} == {
                "speaker_audio": (W, 78),
                "speaker_emotion": (W, 25),
                "speaker_coefficients": (W, 58),
                "reactions": (3, W, 25),
                "past_reactions": (3, W, 25),
            }
            rows, nexts, _ = zip(*map(origin, item["reactions"]))
            assert rows[0] == index
            assert appropriate[index, list(rows)].all()
            assert len(set(rows)) == min(3, appropriate[index].sum())
            assert len(set(nexts)) == 1
            start = nexts[0] - W
            starts[start] += 1
            if start == -W:
                assert not item["speaker_audio"].any() and not item["speaker_emotion"].any()
                assert not item["past_reactions"].any()
                np.testing.assert_array_equal(item["speaker_coefficients"][-1], MEAN_FACE)
                continue
            partner = (index + PAIRS) % (2 * PAIRS)
            for stream in WIDTHS:
                assert origin(item[f"speaker_{stream}"]) == (partner, start, W)
            assert [origin(past) for past in item["past_reactions"]] == [(row, start, W) for row in rows]
    assert set(starts) <= {-W, *range(FRAMES - 2 * W + 1)}
    # Nothing seen yet: w / frames = 1/6 of 300 items; three standard deviations are 19.
    assert abs(starts[-W] - 50) < 20
    assert len(starts) > 35


def test_an_epoch_of_its_own_moves_nobody_else(arrays, appropriate):
    windows = ReactionWindows(arrays, appropriate, num_reactions=2, window_size=W)
    first = windows[3]
    fifth = windows.at_epoch(5)
    assert torch.equal(windows[3]["reactions"], first["reactions"])
    windows.set_epoch(5)
    assert not torch.equal(windows[3]["reactions"], first["reactions"])
    for name, value in windows[3].items():
        assert torch.equal(fifth[3][name], value)
    windows.set_epoch(0)
    assert torch.equal(fifth.at_epoch(0)[3]["reactions"], first["reactions"])


def test_the_unseen_speaker_shows_the_given_mean_face(arrays, appropriate):
    face = np.linspace(0, 1, 58, dtype=np.float32)
    windows = ReactionWindows(arrays, appropriate, num_reactions=1, window_size=W, mean_face=face)
    items = [windows.at_epoch(epoch)[0] for epoch in range(30)]
    unseen = [item["speaker_coefficients"] for item in items if not item["past_reactions"].any()]
    assert unseen
    for coefficients in unseen:
        np.testing.assert_array_equal(coefficients, np.broadcast_to(face, (W, 58)))


def test_few_reactions_are_repeated(arrays):
    windows = ReactionWindows(arrays, np.eye(2 * PAIRS, dtype=bool), num_reactions=10, window_size=W)
    assert {origin(reaction)[0] for reaction in windows[4]["reactions"]} == {4}


def test_history_is_another_clip_of_the_same_listener(arrays, appropriate):
    windows = ReactionWindows(arrays, appropriate, num_reactions=1, window_size=W, history_frames=40)
    for epoch in range(20):
        windows.set_epoch(epoch)
        for index in range(2 * PAIRS):
            item = windows[index]
            (reaction, _, _), (history, _, frames) = origin(item["reactions"][0]), origin(item["history"])
            assert frames == 40
            assert history != reaction and PEOPLE[history] == PEOPLE[reaction]
            others = [row for row in range(2 * PAIRS) if PEOPLE[row] == PEOPLE[reaction] and row != reaction]
            if appropriate[index, others].any():
                assert appropriate[index, history]


def test_short_histories_are_looped():
    clip = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(random_cut(clip, 7, np.random.default_rng(0)), clip[[0, 1, 2, 0, 1, 2, 0]])


def test_clips_of_different_lengths(tmp_path):
    frames = [60, 25, 40, 60, 25, 40]
    arrays = ClipArrays.from_dataset(made_up(["N/0/b"] * 3 + ["N/0/a"] * 3, frames), tmp_path)
    windows = ReactionWindows(arrays, np.ones((6, 6), dtype=bool), num_reactions=4, window_size=W)
    for epoch in range(50):
        windows.set_epoch(epoch)
        for index in range(6):
            for row, start, _ in map(origin, windows[index]["reactions"]):
                assert start + W <= frames[row]


def test_missing_streams_have_no_key(tmp_path):
    arrays = ClipArrays.from_dataset(made_up(PEOPLE, [FRAMES] * 2 * PAIRS, {"emotion": 25}), tmp_path)
    every = np.ones((2 * PAIRS, 2 * PAIRS), dtype=bool)
    assert set(EmotionWindows(arrays, W)[0]) == {"emotion"}
    assert set(ReactionWindows(arrays, every, 2, W)[0]) == {"speaker_emotion", "reactions", "past_reactions"}
    with pytest.raises(ValueError, match="need coefficients"):
        ReactionWindows(arrays, every, 1, W, history_frames=10)
    with pytest.raises(ValueError, match="need coefficients"):
        StyleClips(arrays, every)


@pytest.mark.parametrize("variant", ["within", "random"])
def test_style_batches_contrast_listeners_with_several_clips(arrays, appropriate, variant):
    batches = StyleClips(arrays, appropriate, variant, listeners=2, max_clips=3, frames=30)
    assert len(batches) == 8
    for index in range(len(batches)):
        batch = batches[index]
        rows = [origin(clip)[0] for clip in batch["coefficients"]]
        assert {origin(clip)[2] for clip in batch["coefficients"]} == {30}
        for row, label in zip(rows, batch["label"].tolist()):
            assert sorted(set(PEOPLE))[label] == PEOPLE[row]
        groups = batch["group"].tolist()
        assert set(groups) == ({0, 1, 2} if variant == "within" else {0})
        for group in set(groups):
            counts = Counter(label for label, of in zip(batch["label"].tolist(), groups) if of == group)
            assert len(counts) <= (2 if variant == "within" else 6) and len(counts) >= 2
            assert set(counts.values()) <= {2, 3}
            members = [row for row, of in zip(rows, groups) if of == group]
            assert len(set(members)) == len(members)


def test_style_batches_hold_reactions_to_one_speaker_clip(arrays):
    """Where everybody who reacts does so often enough, only appropriate reactions are taken, each speaker once."""
    appropriate = np.zeros((2 * PAIRS, 2 * PAIRS), dtype=bool)
    for row in range(2 * PAIRS):
        appropriate[row, [row % 4, 4 + row % 3, 1 + row % 3, 7, 8, 9 + row % 3]] = True
    batches = StyleClips(arrays, appropriate, frames=FRAMES)
    reactions = {frozenset(np.flatnonzero(row)) for row in appropriate}
    for index in range(len(batches)):
        batch = batches[index]
        rows = np.array([origin(clip)[0] for clip in batch["coefficients"]])
        for group in range(3):
            members = set(rows[batch["group"].numpy() == group].tolist())
            assert any(members <= allowed for allowed in reactions)


def everything(dataset, **options) -> list[np.ndarray]:
    loader = DataLoader(dataset, **options)
    seen = []
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        seen += [value.numpy().copy() for batch in loader for value in batch.values()]
    return seen


def test_workers_do_not_change_examples(arrays, appropriate):
    for dataset, size in (
        (ReactionWindows(arrays, appropriate, 2, W), 5),
        (EmotionWindows(arrays, W), 5),
        (StyleClips(arrays, appropriate, frames=30), None),
    ):
        alone = everything(dataset, batch_size=size)
        for options in ({"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}):
            for one, other in zip(alone, everything(dataset, batch_size=size, **options), strict=True):
                np.testing.assert_array_equal(one, other)
        first_epoch, second_epoch = alone[: len(alone) // 2], alone[len(alone) // 2 :]
        assert any(one.shape != other.shape or (one != other).any() for one, other in zip(first_epoch, second_epoch))


def test_seed_and_batching_fix_the_examples(arrays, appropriate):
    one, same, other = (ReactionWindows(arrays, appropriate, 2, W, seed=seed) for seed in (3, 3, 4))
    batch = one.__getitems__([9, 2, 17])
    for index, item in zip([9, 2, 17], batch):
        for name, value in same[index].items():
            assert torch.equal(item[name], value)
    assert any(not torch.equal(one[index]["reactions"], other[index]["reactions"]) for index in range(5))
    with pytest.raises(IndexError):
        one[2 * PAIRS]


def test_threads_do_not_change_examples(arrays, appropriate):
    """Two threads at one dataset, as a notebook or a server has them, each get what one alone would."""
    windows = ReactionWindows(arrays, appropriate, 2, W)
    alone = [windows[index]["reactions"] for index in range(2 * PAIRS)]
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            together = list(threads.map(lambda index: windows[index % (2 * PAIRS)]["reactions"], range(40 * PAIRS)))
    finally:
        sys.setswitchinterval(usual)
    for index, reactions in enumerate(together):
        assert torch.equal(reactions, alone[index % (2 * PAIRS)])


def test_accelerate_shards_the_same_examples(arrays, appropriate):
    dataset = ReactionWindows(arrays, appropriate, 2, W)
    whole = torch.cat([batch["reactions"] for batch in DataLoader(dataset, batch_size=4)])
    shards = [
        list(
            prepare_data_loader(
                DataLoader(dataset, batch_size=4), num_processes=2, process_index=process, put_on_device=False
            )
        )
        for process in (0, 1)
    ]
    interleaved = torch.cat([batch["reactions"] for pair in zip(*shards) for batch in pair])
    torch.testing.assert_close(interleaved[: len(whole)], whole, rtol=0, atol=0)


def test_what_does_not_fit_is_named(arrays, appropriate, tmp_path):
    with pytest.raises(ValueError, match=r"Clip 1 of N/0/b has 60 frames.*two windows of 40"):
        ReactionWindows(arrays, appropriate, window_size=40)
    with pytest.raises(ValueError, match="a window of 61"):
        EmotionWindows(arrays, window_size=61)
    with pytest.raises(ValueError, match=r"bool \(24, 24\).*float64 \(24, 24\)"):
        ReactionWindows(arrays, appropriate.astype(float), window_size=W)
    with pytest.raises(ValueError, match="1 rows have no appropriate reaction, the first is row 3"):
        lonely = appropriate.copy()
        lonely[3] = False
        ReactionWindows(arrays, lonely, window_size=W)
    with pytest.raises(ValueError, match="num_reactions must be 1"):
        ReactionWindows(arrays, appropriate, 2, W, history_frames=20)
    single = ClipArrays.from_dataset(made_up(["N/0/b", "N/0/a"], [60, 60]), tmp_path)
    with pytest.raises(ValueError, match="N/0/a has one clip only"):
        ReactionWindows(single, np.ones((2, 2), dtype=bool), 1, W, history_frames=20)
    with pytest.raises(ValueError, match=r"context_windows .* must fit into the data, which have 120 frames"):
        ReactionWindows(single, np.ones((2, 2), dtype=bool), 1, W, context_windows=120 // W + 1)
    with pytest.raises(ValueError, match="at least two listeners"):
        StyleClips(single, np.ones((2, 2), dtype=bool))
    with pytest.raises(ValueError, match='"within" or "random"'):
        StyleClips(arrays, appropriate, "between")


def test_windows_that_begin_with_shown_frames_end_with_new_ones_that_follow_the_speaker(arrays, appropriate):
    windows = ReactionWindows(
        arrays, appropriate, 2, W, context_windows=2, max_shown_frames=W - 3, whole_windows=0.3, with_movement=True
    )
    hops, firsts = Counter(), set()
    for epoch in range(60):
        windows.set_epoch(epoch)
        for index in range(0, 2 * PAIRS, 5):
            item = windows[index]
            assert item["speaker_emotion"].shape == (2 * W, 25)
            assert item["reactions"].shape == item["past_reactions"].shape == (2, W, 83)
            hop, partner = W - int(item["shown_frames"]), int(arrays.partner[index])
            # Frame numbers of the recorded reaction, told by its movement: unseen frames are zeros.
            rest = np.arange(FRAMES).mean() / 1000
            last = round((float(item["reactions"][0, -1, 25]) + rest) * 1000)
            first = last + 1 - hop
            begin = first + hop - W
            for name, start in (("reactions", begin), ("past_reactions", begin - W)):
                frames = np.arange(start, start + W)
                expected = np.where(frames < 0, 0, frames / 1000 - rest)
                np.testing.assert_allclose(item[name][0, :, 25], expected, atol=2e-6)
                np.testing.assert_allclose(
                    item[name][0, :, 0], np.where(frames < 0, 0, index + frames / 1000), atol=2e-6
                )
            frames = np.arange(first - 2 * W, first)
            unseen = np.where(frames < 0, 0, partner + frames / 1000)
            np.testing.assert_allclose(item["speaker_emotion"][:, 0], unseen, atol=2e-6)
            np.testing.assert_array_equal(
                item["speaker_coefficients"][frames < 0], np.broadcast_to(MEAN_FACE, ((frames < 0).sum(), 58))
            )
            hops[hop] += 1
            firsts.add(first)
    assert min(hops) == 3 and max(hops) == W and 0.25 < hops[W] / hops.total() < 0.55
    assert 0 in firsts and any(0 < first < W for first in firsts) and max(firsts) > FRAMES - 2 * W


def test_movement_needs_coefficients(tmp_path):
    dataset = made_up(PEOPLE[:2], [20, 20], {"emotion": 25})
    arrays = ClipArrays.from_dataset(dataset, tmp_path)
    with pytest.raises(ValueError, match="need coefficients"):
        ReactionWindows(arrays, np.ones((2, 2), dtype=bool), 1, W, with_movement=True)


@pytest.mark.parametrize("lag", [0, 4])
def test_with_a_short_lag_the_speaker_is_seen_during_the_reaction(arrays, appropriate, lag):
    windows = ReactionWindows(arrays, appropriate, 3, W, lag=lag, seed=2)
    firsts = set()
    for epoch in range(80):
        windows.set_epoch(epoch)
        for index in (0, 13):
            item = windows[index]
            row, first, length = origin(item["reactions"][0])
            assert (row, length) == (index, W)
            frames = np.arange(first - lag, first - lag + W)
            seen = np.where(frames < 0, 0, arrays.partner[index] + frames / 1000)
            np.testing.assert_allclose(item["speaker_emotion"][:, 0], seen, atol=2e-6)
            assert all(origin(other)[1] == first for other in item["reactions"])
            firsts.add(first)
    assert min(firsts) == 0 and max(firsts) == FRAMES - W


def test_a_lag_out_of_range_is_refused(arrays, appropriate):
    for lag in (-1, W + 1):
        with pytest.raises(ValueError, match=f"lag must lie between 0 and window_size \\({W}\\); given: {lag}"):
            ReactionWindows(arrays, appropriate, 1, W, lag=lag)
    with pytest.raises(ValueError, match="max_shown_frames is for systems that are online"):
        ReactionWindows(arrays, appropriate, 1, W, lag=0, max_shown_frames=2)
