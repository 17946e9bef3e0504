"""Grids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hardtack_converters.ranges import (
    FloatArray,
    Range,
    affine_grid,
    weight_codes,
    weight_scale,
    widened_for_bias,
)

REAL = st.floats(-1e6, 1e6, width=32)


@pytest.mark.parametrize(("real", "code"), [(-10, -128), (30, 127), (10, 0)])
def test_tflites_example_moved_by_128(real: float, code: int) -> None:
    scale, zero = affine_grid(Range(-10, 30))
    assert round(real / scale) + zero == pytest.approx(code, abs=0.51)


@given(REAL, REAL)
def test_every_value_of_the_range_is_within_a_step_of_a_code(a: float, b: float) -> None:
    low, high = min(a, b, 0.0), max(a, b, 0.0)
    scale, zero = affine_grid(Range(low, high))
    assert -128 <= zero <= 127
    for real in (low, 0.0, high):
        code = np.clip(np.rint(real / scale) + zero, -128, 127)
        assert abs((code - zero) * scale - real) <= scale * 1.001


@given(hnp.arrays(np.float32, (3, 4), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_weights_come_back_within_half_a_step(weights: FloatArray) -> None:
    scale = weight_scale(weights, 0)
    codes = weight_codes(weights, scale, 0)
    error = np.abs(codes * scale.astype(np.float64)[:, None] - weights)
    assert (scale > 0).all()
    # Channels of subnormals become zeros: their error is below the smallest normal number.
    assert (error <= np.maximum(scale[:, None] * 0.5001, 1e-33)).all()


def test_scale_grows_until_a_large_bias_fits() -> None:
    scale = widened_for_bias(np.array([1e-9], np.float32), np.array([1000.0]), 1e-3)
    assert 1000.0 / (float(scale[0]) * 1e-3) <= 2**30 * 1.001
