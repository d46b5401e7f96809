"""The official metric code's figures, to the last digit that is its own."""

from __future__ import annotations

import numpy as np
import pytest

from perfrdiff_hf.metrics import (
    frcorr,
    frcorr_per_clip,
    frdist,
    frdist_per_clip,
    frdiv,
    frdvs,
    frsyn,
    frvar,
)
from perfrdiff_hf.metrics.synchrony import best_offsets


def test_frcorr(case):
    found = frcorr(case.predictions, case.targets, case.appropriate)
    assert isinstance(found, float)
    assert found == pytest.approx(case.figures["compute_FRC_mp"], rel=1e-12)
    np.testing.assert_allclose(
        frcorr_per_clip(case.predictions, case.targets, case.appropriate),
        case.per_clip["FRC_sum_over_K"],
        rtol=1e-12,
    )


def test_frdist_is_bit_identical(case):
    found = frdist_per_clip(case.predictions, case.targets, case.appropriate)
    np.testing.assert_allclose(found, case.per_clip["FRD_sum_over_K"], rtol=2e-16)
    assert frdist(case.predictions, case.targets, case.appropriate) == pytest.approx(
        case.figures["compute_FRD_mp"], rel=1e-15
    )


@pytest.mark.parametrize(("metric", "official"), [(frdiv, "compute_s_mse"), (frdvs, "compute_FRDvs")])
def test_diversity(case, metric, official):
    assert metric(case.predictions) == pytest.approx(case.figures[official], rel=2e-7)


def test_frvar(case):
    assert frvar(case.predictions) == pytest.approx(case.figures["compute_FRVar"], rel=1e-7)
    assert frvar(case.predictions[:1]) == pytest.approx(case.figures["FRVar_3d_input(first clip)"], rel=1e-7)


def test_frsyn(case):
    # The official figures are float32 means of whole numbers.
    for variant, official in (("published", "compute_TLCC_mp"), ("all", "compute_TLCC")):
        assert frsyn(case.predictions, case.speaker, variant) == pytest.approx(case.figures[official], rel=1e-7)
    offsets = best_offsets(case.predictions, case.speaker)
    # The official sign is positive where the reaction runs ahead.
    np.testing.assert_array_equal(-offsets.official, case.per_clip["TLCC_offset_signed_[n][k]"])
