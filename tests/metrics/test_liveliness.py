"""Closed forms of what makes reactions look alive."""

from __future__ import annotations

import numpy as np
import pytest

from perfrdiff_hf.metrics.liveliness import (
    head_range_per_clip,
    head_speed_per_clip,
    nod_share_per_clip,
    nods_per_clip,
    switches_per_clip,
)


FRAMES = 250
TIME = np.arange(FRAMES) / 25


def head(pitch, yaw=0.0, roll=0.0):
    coefficients = np.zeros((1, 1, FRAMES, 58), dtype=np.float32)
    for place, angle in enumerate((pitch, yaw, roll)):
        coefficients[0, 0, :, 52 + place] = angle
    return coefficients


def test_switches_are_counted_where_they_happen():
    emotion = np.zeros((2, 2, 100, 25), dtype=np.float32)
    emotion[0, 0, 50:, :3] = 1  # three units begin at the border, in one of two reactions
    emotion[1, :, 70:80, 4] = 0.6  # one unit comes and goes inside a window, in both
    emotion[1, :, 50:, 20] = 1  # an expression is no action unit
    found = switches_per_clip(emotion, [50])
    np.testing.assert_allclose(found["borders"], [1.5, 0])
    np.testing.assert_allclose(found["inside"], [0, 2 / 98])


@pytest.mark.parametrize("borders", [[], [0], [100], [50, 200]])
def test_borders_outside_are_refused(borders):
    with pytest.raises(ValueError, match="borders must"):
        switches_per_clip(np.zeros((1, 1, 100, 25)), borders)


def test_a_steady_turn_has_its_speed():
    ramp = head(pitch=3.0, yaw=0.5 * TIME, roll=-0.25 * TIME)
    np.testing.assert_allclose(head_speed_per_clip(ramp), [0.75 / 3], rtol=1e-4)
    spread = 0.75 / 3 * np.std(TIME)
    np.testing.assert_allclose(head_range_per_clip(ramp), [spread], rtol=1e-4)


def test_a_nod_is_found_in_its_band():
    nodding = head(pitch=3.19 + 0.2 * np.sin(2 * np.pi * 2 * TIME))
    np.testing.assert_allclose(nods_per_clip(nodding), [0.2 / np.sqrt(2)], rtol=1e-4)
    np.testing.assert_allclose(nod_share_per_clip(nodding), [1], atol=1e-4)
    swaying = head(pitch=3.19 + 0.2 * np.sin(2 * np.pi * 0.2 * TIME))
    np.testing.assert_allclose(nods_per_clip(swaying), [0], atol=1e-4)
    np.testing.assert_allclose(nod_share_per_clip(swaying), [0], atol=1e-4)
    both = head(pitch=0.3 * np.sin(2 * np.pi * 2 * TIME) + 0.4 * np.sin(2 * np.pi * 0.2 * TIME))
    np.testing.assert_allclose(nod_share_per_clip(both), [0.09 / 0.25], rtol=1e-3)


def test_a_head_at_rest_has_no_share():
    still = head(pitch=3.0)
    assert nod_share_per_clip(still) == 0
    assert head_speed_per_clip(still) == head_range_per_clip(still) == nods_per_clip(still) == 0


def test_bad_input():
    with pytest.raises(ValueError, match="one second"):
        nods_per_clip(np.zeros((1, 1, 20, 58)))
    with pytest.raises(ValueError, match="58 coefficients"):
        head_speed_per_clip(np.zeros((1, 1, 50, 25)))
