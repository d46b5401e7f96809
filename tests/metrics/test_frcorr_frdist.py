"""FRCorr and FRdist: what must hold whatever the data, and what bad input is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perfrdiff_hf.metrics import frcorr, frcorr_per_clip, frdist, frdist_per_clip
from perfrdiff_hf.metrics.frcorr_frdist import most_concordant, nearest_in_time


@pytest.fixture(params=[frcorr, frdist], ids=lambda metric: metric.__name__)
def metric(request):
    return request.param


def test_order_of_reactions_does_not_matter(metric, clips):
    shuffled = metric(clips.predictions[:, [2, 0, 1]], clips.targets, clips.appropriate)
    assert shuffled == pytest.approx(metric(clips.predictions, clips.targets, clips.appropriate), rel=1e-14)


def test_more_neighbours_never_hurt(clips):
    few = np.eye(6, dtype=bool)
    for more in (clips.appropriate, np.ones((6, 6), dtype=bool)):
        for name, better in ((frcorr_per_clip, np.greater_equal), (frdist_per_clip, np.less_equal)):
            before, after = (name(clips.predictions, clips.targets, matrix) for matrix in (few, more))
            # As many rows as there are neighbours go into one matrix product, whose last bit depends on its size.
            assert (better(after, before) | np.isclose(after, before, rtol=1e-14, atol=0)).all()
            assert (after != before).any()
        few = more


def test_recorded_reactions(clips):
    recorded = np.repeat(clips.targets[:, None], 3, axis=1)
    assert frdist(recorded, clips.targets, clips.appropriate) == 0.0
    assert frcorr(recorded, clips.targets, clips.appropriate) == pytest.approx(3.0, abs=1e-4)
    constant = recorded.copy()
    constant[..., :5] = 0.5
    assert frcorr(constant, clips.targets, clips.appropriate) == pytest.approx(3 * 20 / 25, abs=1e-4)


def test_sum_over_reactions(metric, clips):
    whole = metric(clips.predictions, clips.targets, clips.appropriate)
    parts = [metric(clips.predictions[:, [k]], clips.targets, clips.appropriate) for k in range(3)]
    assert whole == pytest.approx(sum(parts), rel=1e-14)


def test_tensors_and_precisions(metric, clips):
    expected = metric(clips.predictions, clips.targets, clips.appropriate)
    for convert in (torch.from_numpy, lambda array: array.astype(np.float64) if array.dtype != bool else array * 1.0):
        assert metric(convert(clips.predictions), convert(clips.targets), convert(clips.appropriate)) == expected


def test_nearest_and_groups(clips):
    for search in (most_concordant, nearest_in_time):
        found = search(clips.predictions, clips.targets, clips.appropriate)
        rows = np.arange(6)[:, None]
        assert clips.appropriate[rows, found.target].all()
        only = np.zeros((6, 6), dtype=bool)
        only[np.arange(6), found.target[:, 0]] = True
        assert np.allclose(search(clips.predictions[:, :1], clips.targets, only).score, found.score[:, :1], rtol=1e-14)
    np.testing.assert_allclose(sum(found.groups.values()), found.score, rtol=1e-14)


def test_fewer_predicted_clips_than_targets(metric, clips):
    some = metric(clips.predictions[:2], clips.targets, clips.appropriate[:2])
    assert some == pytest.approx(
        {frcorr: frcorr_per_clip, frdist: frdist_per_clip}[metric](
            clips.predictions, clips.targets, clips.appropriate
        )[:2].mean(),
        rel=1e-14,
    )


def test_bad_input(metric, clips):
    predictions, targets, appropriate = clips.predictions, clips.targets, clips.appropriate
    with pytest.raises(ValueError, match=r"predictions must have shape \(clips, reactions, frames, channels\)"):
        metric(predictions[0], targets, appropriate)
    with pytest.raises(ValueError, match=r"targets must have the frames and channels of the predictions, \(70, 25\)"):
        metric(predictions, targets[:, :60], appropriate)
    with pytest.raises(ValueError, match=r"appropriate must have shape \(6, 6\).*it has \(5, 6\)"):
        metric(predictions, targets, appropriate[:5])
    empty = appropriate.copy()
    empty[4] = False
    with pytest.raises(ValueError, match="no appropriate reaction for 1 of 6 clips, the first is clip 4"):
        metric(predictions, targets, empty)
    with pytest.raises(ValueError, match="zeros and ones"):
        metric(predictions, targets, appropriate * 0.5)
    broken = predictions.copy()
    broken[3, 1, 5, 2] = np.nan
    with pytest.raises(ValueError, match="predictions holds NaN or infinite values, first in clip 3"):
        metric(broken, targets, appropriate)
    with pytest.raises(TypeError, match="predictions must hold numbers"):
        metric(predictions.astype(str), targets, appropriate)


def test_frdist_needs_the_emotion_channels(clips):
    with pytest.raises(ValueError, match="25 emotion channels"):
        frdist(clips.predictions[..., :20], clips.targets[..., :20], clips.appropriate)
