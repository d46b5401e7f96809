"""Clips from which a style encoder learns who is who."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from perfrdiff_hf.data.style_clips import StyleClips
from tests.data.windows.conftest import FRAMES, PAIRS, PEOPLE, origin


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
