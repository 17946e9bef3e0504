"""gemmlowp fixed-point arithmetic, as TensorFlow Lite Micro uses it, in numpy.

Tables and multipliers must hold the very bits that the reference computes, so nothing here is
approximated in floating point except where the reference does so too.

Source: gemmlowp `fixedpoint.h`; TFLite `quantization_util.cc`, `logistic.h`, `tanh.h`.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1


def round_half_away(value: float) -> int:
    """Round to nearest, halves away from zero, as C's `round` does."""
    whole = math.floor(abs(value))
    # Not floor(x + 0.5): for the largest number below one half, that sum is 1.
    size = whole + (abs(value) - whole >= 0.5)
    return size if value >= 0 else -size


MANTISSA_BITS = 31


def quantize_multiplier(real: float, bits: int = MANTISSA_BITS) -> tuple[int, int]:
    """Return `(mult, shift)` with real ~= mult * 2**(shift - 31), mult in [2**30, 2**31).

    That is P / 2**bits * 2**shift with P = mult >> 31 - bits: normalised, so the relative error is
    at most 2**-bits / (1 + 2**-bits) whatever the multiplier, 3.9e-3 at 8 bits, 4.6e-10 at 31.
    A multiplier too small to matter (shift below -31) becomes (0, 0), as in the reference.

    Args:
        real: A finite multiplier, >= 0, below 2**30.
        bits: Of P; the lower ones of `mult` are 0.

    Raises:
        ValueError: the multiplier is negative, NaN, infinite or too large.
    """
    if not 0 <= real < 2.0**30:
        raise ValueError(f"multiplier {real} is outside [0, 2**30)")
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    mult = round_half_away(fraction * (1 << bits)) << MANTISSA_BITS - bits
    if mult == 1 << 31:
        mult, shift = mult // 2, shift + 1
    return (0, 0) if shift < -31 else (mult, shift)


def saturate(value: IntArray) -> IntArray:
    """Clamp to the range of int32."""
    return np.clip(value, INT32_MIN, INT32_MAX)


def doubling_high_mul(a: npt.ArrayLike, b: npt.ArrayLike) -> IntArray:
    """Return round(a * b / 2**31), halves away from zero, saturated (SQRDMULH of ARM NEON).

    Args:
        a: int32 values in an int64 array.
        b: likewise; broadcast against `a`.
    """
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    # C divides towards zero; >> rounds down.
    quotient = np.where(nudged >= 0, nudged >> 31, -((-nudged) >> 31))
    return saturate(quotient)


def rounding_shift_right(value: npt.ArrayLike, exponent: npt.ArrayLike) -> IntArray:
    """Return round(value / 2**exponent), halves away from zero; exponent in [0, 31]."""
    x, by = np.asarray(value, np.int64), np.asarray(exponent, np.int64)
    mask = (np.int64(1) << by) - 1
    threshold = (mask >> 1) + (x < 0)
    return (x >> by) + ((x & mask) > threshold)


def multiply_by_quantized_multiplier(
    value: npt.ArrayLike, mult: npt.ArrayLike, shift: npt.ArrayLike
) -> IntArray:
    """Return M(value, mult, shift) of SPEC section 2: gemmlowp's double rounding."""
    by = np.asarray(shift, np.int64)
    shifted = np.asarray(value, np.int64) << np.maximum(by, 0)
    return rounding_shift_right(doubling_high_mul(shifted, mult), np.maximum(-by, 0))


def saturating_shift_left(value: IntArray, exponent: int) -> IntArray:
    """Return value * 2**exponent, saturated to int32; exponent >= 0."""
    return saturate(value * (1 << exponent))


def input_radius(integer_bits: int, left_shift: int) -> int:
    """Return the largest |input| that does not saturate Q(integer_bits) after `left_shift`."""
    top = ((1 << integer_bits) - 1) * (1 << (31 - integer_bits))
    return math.floor(top / 2.0**left_shift)


def _exp_on_quarter_to_zero(a: IntArray) -> IntArray:
    """Exp of Q0.31 values in [-1/4, 0): a Taylor polynomial around -1/8."""
    constant_term, one_third = 1895147668, 715827883
    x = a + (1 << 28)
    x2 = doubling_high_mul(x, x)
    x3 = doubling_high_mul(x2, x)
    x4 = doubling_high_mul(x2, x2)
    x4_over_4 = rounding_shift_right(x4, 2)
    tail = rounding_shift_right(doubling_high_mul(x4_over_4 + x3, one_third) + x2, 1)
    return saturate(constant_term + doubling_high_mul(constant_term, x + tail))


def exp_on_negative_values(a: IntArray, integer_bits: int) -> IntArray:
    """Return exp(a) as Q0.31.

    Args:
        a: int64 array holding Q(integer_bits) raw int32 values, all <= 0.
        integer_bits: 0 to 5.
    """
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    remainder_quarter = (a & (quarter - 1)) - quarter
    result = _exp_on_quarter_to_zero(remainder_quarter << integer_bits)
    remainder = remainder_quarter - a
    factors = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
    for step, factor in enumerate(factors):
        exponent = step - 2
        if integer_bits > exponent:
            bit = 1 << (fraction_bits + exponent)
            result = np.where(remainder & bit, doubling_high_mul(result, factor), result)
    if integer_bits > 5:
        result = np.where(a < -(1 << (fraction_bits + 5)), 0, result)
    return np.where(a == 0, INT32_MAX, result)


def _half_denominator_newton(a: IntArray) -> IntArray:
    """Three Newton steps towards 1 / ((1 + a) / 2), in Q2; a is Q0.31 in [0, 1]."""
    total = a + INT32_MAX
    half = np.where(total >= 0, total + 1, total - 1) // 2
    x = 1515870810 + doubling_high_mul(half, -1010580540)
    for _ in range(3):
        error = (1 << 29) - doubling_high_mul(half, x)
        x = saturate(x + saturating_shift_left(doubling_high_mul(x, error), 2))
    return x


def logistic(a: IntArray, integer_bits: int = 4) -> IntArray:
    """Return 1 / (1 + exp(-a)) as Q0.31, for Q(integer_bits) raw values."""
    exp_negative = exp_on_negative_values(-np.abs(a), integer_bits)
    reciprocal = saturating_shift_left(_half_denominator_newton(exp_negative), 1)
    # one_over_one_plus_x halves the Q2 result: a rescale by one bit to Q0.
    positive = np.where(a == 0, 1 << 30, reciprocal)
    return np.where(a < 0, INT32_MAX - positive, positive)


def tanh(a: IntArray, integer_bits: int = 4) -> IntArray:
    """Return the hyperbolic tangent as Q0.31, for Q(integer_bits) raw values."""
    # exp(-2|a|): the same raw value read with one integer bit more.
    exp_negative = exp_on_negative_values(-np.abs(a), integer_bits + 1)
    x = _half_denominator_newton(exp_negative)
    positive = saturating_shift_left(x - (1 << 29), 2)
    return np.where(a == 0, 0, np.where(a < 0, -positive, positive))
