"""Files of predictions: what is kept of reactions, and which files count as made."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from perfrdiff_hf.evaluation.predictions import missing_clips, prediction_rows, read_reactions, write_reactions
from perfrdiff_hf.metrics import head_speed_per_clip, nods_per_clip


CLIPS = ["site/1/P1/1", "site/1/P1/2", "site/1/P2/1"]
TASK = SimpleNamespace(paths=CLIPS, num_frames=100)


def made_up(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Emotion and coefficients of two reactions of 110 frames: a head that sways slowly around a pitch of pi."""
    rng = np.random.default_rng(seed)
    emotion, coefficients = (rng.random((2, 110, width), dtype=np.float32) for width in (25, 58))
    coefficients[..., 52] = 3.19 + 0.02 * np.sin(np.arange(110) / 4)
    return emotion, coefficients


def test_what_is_written_is_read(tmp_path: Path) -> None:
    for clip in CLIPS:
        write_reactions(tmp_path, clip, *made_up(len(clip)))
    found = prediction_rows(tmp_path, TASK)(np.array([2, 0]))
    emotion, coefficients = made_up(len(CLIPS[2]))
    assert found.emotion.shape == (2, 2, 100, 25) and found.coefficients.shape == (2, 2, 100, 58)
    assert found.emotion.dtype == found.coefficients.dtype == np.float32
    np.testing.assert_array_equal(found.emotion[0], emotion[:, :100])
    np.testing.assert_allclose(found.coefficients[0], coefficients[:, :100], rtol=1e-3, atol=1e-3)
    # Kept in half precision, which must not show in how a head moves.
    for measure in (head_speed_per_clip, nods_per_clip):
        np.testing.assert_allclose(measure(found.coefficients[:1]), measure(coefficients[None, :, :100]), rtol=5e-3)


def test_folders_without_coefficients(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for clip in CLIPS:
        write_reactions(tmp_path, clip, made_up()[0])
    assert missing_clips(tmp_path, [*CLIPS, "site/9/P1/1"]) == [0, 1, 2, 3]  # are to be made again
    with caplog.at_level(logging.WARNING):
        found = prediction_rows(tmp_path, TASK)(np.array([0]))
    assert found.coefficients is None and not caplog.records
    write_reactions(tmp_path, CLIPS[1], *made_up())
    assert missing_clips(tmp_path, CLIPS) == [0, 2]
    with caplog.at_level(logging.WARNING):
        found = prediction_rows(tmp_path, TASK)(np.array([1]))
    assert found.coefficients is None and "1.npz has no coefficients, one of 2" in caplog.text


def test_bad_files(tmp_path: Path) -> None:
    emotion, coefficients = made_up()
    with pytest.raises(
        ValueError, match=r"coefficients must have the reactions .*\(2, 110, 58\); it has \(1, 110, 58\)"
    ):
        write_reactions(tmp_path, CLIPS[0], emotion, coefficients[:1])
    path = tmp_path / f"{CLIPS[0]}.npz"
    path.parent.mkdir(parents=True)
    np.savez(path, reactions=emotion, coefficients=coefficients[:, :50])
    row = prediction_rows(tmp_path, SimpleNamespace(paths=CLIPS[:1], num_frames=100))
    with pytest.raises(
        ValueError, match=r"must hold coefficients of shape \(reactions, at least 100 frames, 58\); it"
    ):
        row(np.array([0]))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert missing_clips(tmp_path, CLIPS[:1]) == [0]
    with pytest.raises(ValueError, match="is not a complete file of reactions"):
        read_reactions(path, 100)
