"""Windows of speakers and reactions, from which generators learn."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from perfrdiff_hf.behaviour import MEAN_FACE, STREAM_WIDTHS
from perfrdiff_hf.data.arrays import ClipArrays
from perfrdiff_hf.data.examples import random_cut
from perfrdiff_hf.data.style_clips import StyleClips
from perfrdiff_hf.data.windows import EmotionWindows, ReactionWindows
from tests.data.windows.conftest import FRAMES, PAIRS, PEOPLE, W, made_up, origin


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
            for stream in STREAM_WIDTHS:
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
