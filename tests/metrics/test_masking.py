"""Metrics over the known channels: what stands in the others changes nothing, and the rest is scored as ever."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from perfrdiff_hf.behaviour import ACTION_UNITS, COEFFICIENT_NAMES, EMOTION_NAMES, EXPRESSIONS, MEAN_FACE
from perfrdiff_hf.data.masks import WHOLE, ChannelMask
from perfrdiff_hf.evaluation import compare
from perfrdiff_hf.metrics import frcorr_per_clip, frsyn_per_clip, frvar_per_clip
from perfrdiff_hf.metrics.masking import ScoredChannels
from perfrdiff_hf.metrics.reaction_metrics import ReactionMetrics, Scores
from perfrdiff_hf.metrics.search.warping import Warp


MASK = ChannelMask(derived=("jawOpen",), unavailable=("AU23", "AU24", "Contempt", "tongueOut", "translation_x"))
KNOWN = MASK.available("emotion")


def faces(clips: SimpleNamespace) -> tuple[np.ndarray, np.ndarray]:
    """Recorded and predicted coefficients that go with the clips."""
    rng = np.random.default_rng(1)
    recorded = MEAN_FACE + 0.1 * rng.standard_normal((6, 70, 58)).cumsum(axis=1)
    return recorded.astype(np.float32), (recorded[:, None] + 0.2 * rng.standard_normal((6, 3, 70, 58))).astype(
        np.float32
    )


def scored(clips: SimpleNamespace, mask: ChannelMask, noise: float = 0.0) -> Scores:
    """All metrics; with `noise`, something else stands in the channels that nobody knows."""
    rng = np.random.default_rng(2)
    recorded, predicted = faces(clips)
    values = [clips.targets, clips.speaker, clips.predictions, recorded, predicted]
    for place, one in enumerate(values):
        unknown = ~MASK.available("emotion" if one.shape[-1] == 25 else "coefficients")
        values[place] = one + np.float32(noise) * (rng.random(one.shape) * unknown).astype(np.float32)
    targets, speaker, predictions, recorded, predicted = values
    metrics = ReactionMetrics(targets, speaker, clips.appropriate, recorded, hop=25, mask=mask)
    metrics.update(predictions, np.arange(6), predicted)
    return metrics.compute()


def test_unknown_channels_are_in_no_figure(clips: SimpleNamespace) -> None:
    plain, noisy = scored(clips, MASK), scored(clips, MASK, noise=5.0)
    assert plain.mask is MASK and plain.values.keys() == noisy.values.keys()
    for name, values in plain.values.items():
        np.testing.assert_array_equal(values, noisy.values[name], err_msg=name)
    assert plain.overall == noisy.overall and plain.groups == noisy.groups
    different = scored(clips, WHOLE, noise=5.0)
    assert not np.allclose(different.values["FRCorr"], plain.values["FRCorr"])


def test_figures_are_those_over_the_known_channels(clips: SimpleNamespace) -> None:
    found = scored(clips, MASK).values
    predictions, targets, speaker = (np.ascontiguousarray(v[..., KNOWN]) for v in (
        clips.predictions, clips.targets, clips.speaker))  # fmt: skip
    np.testing.assert_allclose(found["FRCorr"], frcorr_per_clip(predictions, targets, clips.appropriate), rtol=1e-5)
    np.testing.assert_allclose(found["FRVar"], frvar_per_clip(predictions), rtol=1e-5)
    np.testing.assert_array_equal(found["FRSyn"], frsyn_per_clip(predictions, speaker))
    # FRdist: groups of 13 and 7 channels, divided by as many.
    distances = np.zeros((6, 3, 6))
    for part, weight in ((ACTION_UNITS, 1 / 13), (slice(15, 17), 1.0), (EXPRESSIONS, 1 / 7)):
        chosen = np.flatnonzero(KNOWN[part]) + part.start
        for clip in range(6):
            pairs = np.array([(reaction, target) for reaction in range(3) for target in range(6)])
            costs = Warp(
                np.ascontiguousarray(clips.predictions[clip][..., chosen]),
                np.ascontiguousarray(clips.targets[..., chosen]),
            ).costs(pairs)
            distances[clip] += weight * np.sqrt(costs).reshape(3, 6)
    expected = np.where(clips.appropriate[:, None], distances, np.inf).min(axis=2).sum(axis=1)
    np.testing.assert_allclose(found["FRdist"], expected, rtol=1e-4)


def test_a_whole_mask_changes_no_bit(clips: SimpleNamespace) -> None:
    whole = ScoredChannels(WHOLE)
    assert whole.keep(clips.targets) is whole.weigh(clips.targets) is whole.select(clips.targets) is clips.targets
    assert whole.share == 1.0 and set(whole.group_shares.values()) == {1.0}


def test_heads_without_rotation_have_no_figures(clips: SimpleNamespace) -> None:
    recorded, predicted = faces(clips)
    mask = ChannelMask(unavailable=("rotation_pitch",))
    metrics = ReactionMetrics(clips.targets, clips.speaker, clips.appropriate, recorded, mask=mask)
    metrics.update(clips.predictions, np.arange(6), predicted)
    found = metrics.compute().values
    assert "FRCorr coefficients" in found and "head speed" not in found and "nods" not in found


def test_two_channels_are_enough(clips: SimpleNamespace) -> None:
    mask = ChannelMask.of_measured(["AU6", "AU12"])
    report = compare({"walk": clips.predictions}, clips.targets, clips.speaker, clips.appropriate, mask=mask)
    found = report.to_dict()["systems"]["walk"]["metrics"]
    two = [EMOTION_NAMES.index("AU6"), EMOTION_NAMES.index("AU12")]
    expected = frcorr_per_clip(
        np.ascontiguousarray(clips.predictions[..., two]),
        np.ascontiguousarray(clips.targets[..., two]),
        clips.appropriate,
    )
    assert found["FRCorr"]["value"] == pytest.approx(expected.mean(), rel=1e-5)
    assert found["FRCorr"]["groups"]["expressions"] is None and found["FRdist"]["groups"]["expressions"] == 0
    assert "Scored are 2 of 25 channels" in report.to_markdown()


def test_a_mask_of_nothing_is_refused(clips: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="no channel of emotion is known"):
        ReactionMetrics(
            clips.targets, clips.speaker, clips.appropriate, mask=ChannelMask(unavailable=tuple(EMOTION_NAMES))
        )


def test_the_report_names_the_channels_that_it_scored(clips: SimpleNamespace) -> None:
    recorded, predicted = faces(clips)
    from perfrdiff_hf.baselines import Predictions

    systems = {"walk": Predictions(clips.predictions, predicted)}
    report = compare(systems, clips.targets, clips.speaker, clips.appropriate, target_coefficients=recorded, mask=MASK)
    said = report.to_markdown()
    assert "Scored are 78 of 83 channels" in said
    assert "do not have AU23, AU24, Contempt, translation_x" in said.replace("tongueOut, ", "")
    assert "Derived from other channels by a rule, and scored like measured ones: jawOpen" in said
    kinds = report.to_dict()["channels"]
    assert set(kinds["unavailable"]) == set(MASK.unavailable) and kinds["derived"] == ["jawOpen"]
    assert len(kinds["measured"]) == len(EMOTION_NAMES) + len(COEFFICIENT_NAMES) - 6
    alone = compare({"walk": clips.predictions}, clips.targets, clips.speaker, clips.appropriate, mask=MASK)
    assert "Scored are 22 of 25 channels" in alone.to_markdown()
    whole = compare({"walk": clips.predictions}, clips.targets, clips.speaker, clips.appropriate)
    assert "Scored are" not in whole.to_markdown() and not whole.to_dict()["channels"]["unavailable"]
