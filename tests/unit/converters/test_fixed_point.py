"""Fixed-point arithmetic against exact rationals and real functions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardtack_converters import fixed_point as fp

INT32 = st.integers(fp.INT32_MIN, fp.INT32_MAX)


def _half_away(value: Fraction) -> int:
    size = abs(value)
    whole = int(size) + (size - int(size) >= Fraction(1, 2))
    return whole if value >= 0 else -whole


@given(st.floats(min_value=2.0**-31, max_value=2.0**29))
def test_multiplier_is_the_nearest_of_its_shift(real: float) -> None:
    mult, shift = fp.quantize_multiplier(real)
    assert 1 << 30 <= mult < 1 << 31
    error = abs(Fraction(mult) * Fraction(2) ** (shift - 31) - Fraction(real))
    assert error <= Fraction(2) ** (shift - 32)


@pytest.mark.parametrize(
    ("bits", "largest"), [(8, 3.9e-3), (15, 3.1e-5), (16, 1.6e-5), (31, 4.7e-10)]
)
@given(real=st.floats(min_value=2.0**-31, max_value=2.0**29))
def test_normalised_multipliers_have_one_relative_error(
    bits: int, largest: float, real: float
) -> None:
    mult, shift = fp.quantize_multiplier(real, bits)
    assert 1 << 30 <= mult < 1 << 31
    assert mult % (1 << 31 - bits) == 0
    error = abs(Fraction(mult) * Fraction(2) ** (shift - 31) / Fraction(real) - 1)
    assert error <= Fraction(1, (1 << bits) + 1) < largest


def test_the_worst_multipliers_are_half_a_step_above_a_power_of_two() -> None:
    """Between P = 2^(n-1) and the next the error is largest: 2^-n of P / 2^n = 1/2, just below."""
    mult, shift = fp.quantize_multiplier(0.5 + 2.0**-9 - 2.0**-40, 8)
    assert (mult, shift) == (1 << 30, 0)
    assert pytest.approx(3.9e-3, rel=0.01) == 1 - 0.5 / (0.5 + 2.0**-9)


def test_multiplier_of_zero_and_of_nearly_zero_is_zero() -> None:
    assert fp.quantize_multiplier(0.0) == (0, 0)
    assert fp.quantize_multiplier(2.0**-40) == (0, 0)


def test_significand_that_rounds_up_to_one_moves_to_the_shift() -> None:
    assert fp.quantize_multiplier(1 - 2.0**-40) == (1 << 30, 1)


@pytest.mark.parametrize("real", [-1.0, float("nan"), float("inf"), 2.0**30])
def test_multiplier_out_of_range_is_refused(real: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        fp.quantize_multiplier(real)


def test_largest_number_below_a_half_rounds_to_zero() -> None:
    assert fp.round_half_away(0.49999999999999994) == 0
    assert fp.round_half_away(-0.5) == -1


@given(INT32, INT32)
def test_doubling_high_mul_rounds_the_exact_product(a: int, b: int) -> None:
    found = int(fp.doubling_high_mul(a, b))
    if a == b == fp.INT32_MIN:
        assert found == fp.INT32_MAX
        return
    # gemmlowp nudges towards plus infinity on negative ties: -x.5 becomes -x.
    exact = Fraction(a * b, 1 << 31)
    ties_up = exact < 0 and (exact * 2).denominator == 1 and exact.denominator == 2
    assert found == (_half_away(exact) + 1 if ties_up else _half_away(exact))


@given(INT32, st.integers(0, 31))
def test_rounding_shift_rounds_halves_away_from_zero(value: int, exponent: int) -> None:
    exact = _half_away(Fraction(value, 1 << exponent))
    assert int(fp.rounding_shift_right(value, exponent)) == exact


def test_logistic_and_tanh_are_within_a_ten_millionth() -> None:
    raw = np.arange(-(1 << 31) + 1, 1 << 31, 40_000_003, dtype=np.int64)
    real = raw / 2.0**27
    assert np.abs(fp.logistic(raw) / 2.0**31 - 1 / (1 + np.exp(-real))).max() < 1e-7
    assert np.abs(fp.tanh(raw) / 2.0**31 - np.tanh(real)).max() < 1e-7


@given(st.integers(-(1 << 31) + 1, (1 << 31) - 1))
def test_logistic_is_symmetric(raw: int) -> None:
    up, down = (int(fp.logistic(np.array([v]))[0]) for v in (raw, -raw))
    assert abs(up + down - fp.INT32_MAX) <= 1
