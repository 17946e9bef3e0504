"""Grids."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hardtack_converters.ranges import (
    FloatArray,
    Range,
    affine_grid,
    channel_steps,
    lies_on_grid,
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


@given(
    hnp.arrays(np.int8, (3, 6), elements=st.integers(-7, 7)),
    hnp.arrays(np.float32, (3, 1), elements=st.floats(0.125, 8, width=32)),
)
def test_outputs_on_grids_of_their_own_keep_their_codes(
    codes: npt.NDArray[np.int8], steps: FloatArray
) -> None:
    weights = codes * steps
    found = channel_steps(weights, 0)
    if not codes.any():
        assert found is None
        return
    assert found is not None
    again = weight_codes(weights, found, 0)
    assert np.abs(again).max() <= 7
    np.testing.assert_allclose(again * found[:, None], weights, rtol=1e-5)
    across = channel_steps(np.ascontiguousarray(weights.T), 1)
    assert across is not None
    assert across.tolist() == found.tolist()


def test_weights_on_no_grid_have_no_steps() -> None:
    weights = np.random.default_rng(0).normal(size=(4, 20)).astype(np.float32)
    assert channel_steps(weights, 0) is None
    assert not lies_on_grid(weights, 0)
    weights[1:] = np.sign(weights[1:])
    assert channel_steps(weights, 0) is None
    weights[0] = 2 * np.sign(weights[0])
    assert lies_on_grid(weights, 0)


def test_few_weights_tell_no_grid() -> None:
    assert channel_steps(np.array([[0.3], [0.7]], np.float32), 0) is None
