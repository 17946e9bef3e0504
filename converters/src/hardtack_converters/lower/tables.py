"""Functions of one int8 value as tables of 256 codes, bit for bit as TFLite Micro computes them.

Functions TFLite Micro has no int8 kernel for are computed in float64 and rounded to nearest,
halves to even, as ONNX's QuantizeLinear does.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack_converters import fixed_point as fp
from hardtack_converters import query

Int8Array = npt.NDArray[np.int8]
FloatArray = npt.NDArray[np.float64]

CODES = np.arange(-128, 128, dtype=np.int64)

UNIT_GRID = (1 / 256, -128)
"""Scale and zero point of probabilities: Softmax and Sigmoid."""
TANH_GRID = (1 / 128, 0)
SIGN_GRID = (float(np.float32(1 / 127)), 0)
"""Codes -127, 0 and 127: a fine grid for the bias of the layer behind."""

FIXED = {
    "Sigmoid": UNIT_GRID,
    "Sign": SIGN_GRID,
    "Softmax": UNIT_GRID,
    "Tanh": TANH_GRID,
}
"""Grids that a function's range gives, as TFLite fixes them but for Sign."""


def fixed_grid(node: ir.Node) -> tuple[float, int] | None:
    """Return scale and zero point of a result that has them by what computes it, else None.

    A step between -a and a, as some exporters write a sign, has the codes of one.
    """
    step = query.step_of(node)
    if step is not None and step.chosen == -step.otherwise != 0:
        return float(np.float32(abs(step.chosen) / 127)), 0
    return FIXED.get(node.op_type)


def _int8(codes: npt.NDArray[np.int64]) -> Int8Array:
    return np.clip(codes, -128, 127).astype(np.int8)


def function_table(
    function: Callable[[FloatArray], FloatArray],
    in_scale: float,
    in_zero: int,
    out_scale: float,
    out_zero: int,
) -> Int8Array:
    """Return the table of any real function; results that are no numbers become 0.0.

    Args:
        function: Of float64 [256], vectorised.
        in_scale: Real width of an input code, > 0.
        in_zero: Input code of 0.0.
        out_scale: Real width of an output code, > 0.
        out_zero: Output code of 0.0.
    """
    with np.errstate(all="ignore"):
        real = function(((CODES - in_zero) * float(in_scale)).astype(np.float64))
        real = real / float(out_scale)
    real = np.nan_to_num(real, nan=0.0, posinf=1e6, neginf=-1e6)
    return _int8(np.rint(np.clip(real, -1e6, 1e6)).astype(np.int64) + out_zero)


def requantize_table(in_scale: float, in_zero: int, out_scale: float, out_zero: int) -> Int8Array:
    """Return the table of QUANTIZE from int8 to int8."""
    mult, shift = fp.quantize_multiplier(float(in_scale) / float(out_scale))
    return _int8(fp.multiply_by_quantized_multiplier(CODES - in_zero, mult, shift) + out_zero)


def clip_table(
    in_scale: float, in_zero: int, out_scale: float, out_zero: int, low: int, high: int
) -> Int8Array:
    """Return the table of RELU, RELU6 and the like, not fused into the operator before.

    Args:
        in_scale: Real width of an input code; in_zero, out_scale, out_zero likewise.
        in_zero: Input code of 0.0.
        out_scale: Real width of an output code.
        out_zero: Output code of 0.0.
        low: Smallest output code.
        high: Largest output code.
    """
    ratio = float(np.float32(in_scale) / np.float32(out_scale))
    mult, shift = fp.quantize_multiplier(ratio)
    codes = fp.multiply_by_quantized_multiplier(CODES - in_zero, mult, shift) + out_zero
    return _int8(np.clip(codes, low, high))


def leaky_relu_table(
    in_scale: float, in_zero: int, out_scale: float, out_zero: int, alpha: float
) -> Int8Array:
    """Return the table of LEAKY_RELU: two multipliers, one per sign. `alpha` >= 0."""
    s_in, s_out = np.float32(in_scale), np.float32(out_scale)
    steep = fp.quantize_multiplier(float(s_in / s_out))
    gentle = fp.quantize_multiplier(float(s_in * np.float32(alpha) / s_out))
    value = CODES - in_zero
    positive = fp.multiply_by_quantized_multiplier(value, *steep)
    negative = fp.multiply_by_quantized_multiplier(value, *gentle)
    return _int8(np.where(value >= 0, positive, negative) + out_zero)


def _squashing_table(
    function: Callable[[fp.IntArray], fp.IntArray],
    in_scale: float,
    in_zero: int,
    out_bits: int,
    out_zero: int,
) -> Int8Array:
    """Evaluate a Q4 -> Q0 function and round its result to `out_bits` fraction bits."""
    integer_bits = 4
    real = float(in_scale) * (1 << (31 - integer_bits))
    fraction, shift = math.frexp(real)
    mult = fp.round_half_away(fraction * (1 << 31))
    radius = fp.input_radius(integer_bits, shift)
    value = CODES - in_zero
    inside = np.clip(value, 1 - radius, radius - 1)
    scaled = fp.multiply_by_quantized_multiplier(inside, mult, shift)
    codes = fp.rounding_shift_right(function(scaled), 31 - out_bits) + out_zero
    codes = np.where(value <= -radius, -128, np.where(value >= radius, 127, codes))
    return _int8(codes)


def logistic_table(in_scale: float, in_zero: int) -> Int8Array:
    """Return the table of LOGISTIC; output scale 1/256, zero point -128."""
    return _squashing_table(fp.logistic, in_scale, in_zero, 8, -128)


def tanh_table(in_scale: float, in_zero: int) -> Int8Array:
    """Return the table of TANH; output scale 1/128, zero point 0."""
    return _squashing_table(fp.tanh, in_scale, in_zero, 7, 0)


def _mul16(a: npt.NDArray[np.int64], b: int | npt.NDArray[np.int64], nudge: int) -> fp.IntArray:
    """(a * b + nudge) / 2**15 towards zero, saturated to int16."""
    product = a * b
    nudged = product + np.where(product >= 0, nudge, nudge and 1 - nudge)
    return np.clip(
        np.where(nudged >= 0, nudged >> 15, -((-nudged) >> 15)), -(1 << 15), (1 << 15) - 1
    )


def _multiplier16(real: float) -> tuple[int, int]:
    """QuantizeMultiplier, its significand rounded to 16 bits."""
    mult, shift = fp.quantize_multiplier(real)
    top = fp.INT32_MAX - (1 << 15)
    return (fp.INT32_MAX >> 16) if mult >= top else (mult + (1 << 15)) >> 16, shift


def hard_swish_table(in_scale: float, in_zero: int, out_scale: float, out_zero: int) -> Int8Array:
    """Return the table of HARD_SWISH: x * relu6(x + 3) / 6 in 16-bit fixed point."""
    hires = np.float32(np.float32(1 / 128) * np.float32(in_scale))
    out_mult, out_shift = _multiplier16(float(hires / np.float32(out_scale)))
    relu_mult, relu_shift = _multiplier16(float(hires / np.float32(3 / 32768)))
    value = (CODES - in_zero) << 7
    on_output = _mul16(value, out_mult, 1 << 14)
    relu = value
    if relu_shift > 0:
        relu = np.clip(relu << (relu_shift - 1), -(1 << 15), (1 << 15) - 1)
    relu = _mul16(relu, relu_mult, 1 << 14)
    if relu_shift > 0:
        relu = np.clip(relu << 1, -(1 << 15), (1 << 15) - 1)
    if relu_shift < 0:
        relu = fp.rounding_shift_right(relu, -relu_shift)
    relu = (relu + (1 << 15)) >> 1
    product = _mul16(relu, on_output, 0)
    codes = fp.rounding_shift_right(product, max(-out_shift, 0)) << max(out_shift, 0)
    return _int8(codes + out_zero)
