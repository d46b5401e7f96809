from __future__ import annotations

import numpy as np
import pytest

from perfrdiff_hf.metrics.seams import measure_seams


def test_a_straight_line_has_no_seams():
    ramp = np.broadcast_to(np.linspace(0, 1, 200)[:, None], (1, 2, 200, 25))
    assert measure_seams(ramp, [50, 100, 150]).velocity_ratio == pytest.approx(1, rel=1e-4)


def test_a_jump_at_the_border_is_measured_there_and_only_there():
    ramp = np.linspace(0, 1, 101)[None, None, :, None].repeat(25, axis=3)
    jump = ramp.copy()
    jump[:, :, 50:] += 0.09
    seams = measure_seams(jump, [50])
    assert seams.velocity_at_borders == pytest.approx(0.1, rel=1e-4)
    assert seams.velocity_inside == pytest.approx(0.01, rel=1e-4)
    assert seams.velocity_ratio == pytest.approx(10, rel=1e-3)
    assert seams.acceleration_at_borders == pytest.approx(0.09, rel=1e-4)
    assert seams.acceleration_inside == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("borders", [[], [1], [99]])
def test_borders_must_lie_inside(borders):
    with pytest.raises(ValueError, match="borders"):
        measure_seams(np.zeros((1, 1, 100, 25)), borders)
