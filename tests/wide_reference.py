"""What SPEC section 2 says of operators of int16 codes, in numpy's wide integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hardtack_converters.fixed_point import multiply_by_quantized_multiplier
from hardtack_runtime import operators as w
from hardtack_runtime import program as p

Numbers = npt.NDArray[np.int64]


def read(program: p.Program, index: int, arena: npt.NDArray[np.uint8]) -> Numbers:
    """Return the numbers of a tensor, of its dims, constant or in the arena."""
    tensor = program.tensors[index]
    if tensor.data is not None:
        return np.asarray(tensor.data, np.int64)
    stored = arena[tensor.offset : tensor.offset + tensor.nbytes]
    return stored.view(np.int16 if tensor.wide else np.int8).reshape(tensor.dims).astype(np.int64)


def expected(program: p.Program, op: p.Op, arena: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """Return the output of an operator: int16, or int8 where its tensor is."""
    out = program.tensors[op.output]  # type: ignore[attr-defined]
    codes = _codes(program, op, arena, out.dims)
    low, high = (-32767, 32767) if out.wide else (-128, 127)
    low, high = max(low, getattr(op, "act_min", low)), min(high, getattr(op, "act_max", high))
    codes = np.clip(codes, low, high).reshape(out.dims)
    return codes.astype(np.int16 if out.wide else np.int8)


def _codes(program: p.Program, op: p.Op, arena: npt.NDArray[np.uint8], dims: p.Dims) -> Numbers:
    def of(index: int) -> Numbers:
        return read(program, index, arena)

    if isinstance(op, p.MaxPool2D):
        return _pooled(op, of(op.input)[0], dims)
    if isinstance(op, p.Concat | p.Pad | p.Transpose):
        return _moved(op, of, dims)
    return _scaled(op, of, dims)


def _scaled(op: p.Op, of: Any, dims: p.Dims) -> Numbers:
    """Return what operators give that sum and multiply."""
    if isinstance(op, p.Conv2D | p.FullyConnected):
        acc = _sums(op, of, dims) + of(op.bias).ravel()
        mult, shift = (np.broadcast_to(of(i).ravel(), acc.shape[-1:]) for i in (op.mult, op.shift))
        return multiply_by_quantized_multiplier(acc, mult, shift) + op.out_zero
    if isinstance(op, w.Rescale):
        moved = of(op.input) - op.in_zero
        return multiply_by_quantized_multiplier(moved, op.mult, op.shift) + op.out_zero
    if isinstance(op, p.Add):
        a = multiply_by_quantized_multiplier(of(op.a) << op.left_shift, op.a_mult, op.a_shift)
        b = multiply_by_quantized_multiplier(of(op.b) << op.left_shift, op.b_mult, op.b_shift)
        return multiply_by_quantized_multiplier(a + op.sign * b, op.out_mult, op.out_shift)
    if isinstance(op, p.Mul):
        return multiply_by_quantized_multiplier(of(op.a) * of(op.b), op.mult, op.shift)
    assert isinstance(op, p.Mean)
    sums = of(op.input).reshape(op.outer, op.count, op.inner).sum(axis=1)
    return multiply_by_quantized_multiplier(sums, op.mult, op.shift)


def _moved(op: p.Op, of: Any, dims: p.Dims) -> Numbers:
    """Return what operators give that only move codes."""
    if isinstance(op, p.Concat):
        parts = [of(index).reshape(op.outer, -1) for index in op.inputs]
        return np.concatenate(parts, axis=1)
    if isinstance(op, p.Pad):
        whole = np.full(dims, op.value, np.int64)
        source = of(op.input)
        before = (op.before_n, op.before_h, op.before_w, op.before_c)
        ends = zip(before, source.shape, strict=True)
        whole[tuple(slice(at, at + size) for at, size in ends)] = source
        return whole
    assert isinstance(op, p.Transpose)
    return np.asarray(of(op.input).transpose(op.perm_0, op.perm_1, op.perm_2, op.perm_3))


def _sums(op: p.Conv2D | p.FullyConnected, of: Any, dims: p.Dims) -> Numbers:
    weights, x = of(op.weights), of(op.input)
    if isinstance(op, p.FullyConnected):
        return np.asarray(x.reshape(-1, weights.shape[3]) @ weights[0, 0].T)
    _, kernel_h, kernel_w, last = weights.shape
    image = np.pad(x[0], ((op.pad_top, 99), (op.pad_left, 99), (0, 0)), constant_values=op.in_zero)
    acc = np.zeros(dims[1:], np.int64)
    for y, z in np.ndindex(dims[1], dims[2]):
        top, left = y * op.stride_h, z * op.stride_w
        window = image[
            top : top + kernel_h * op.dilation_h : op.dilation_h,
            left : left + kernel_w * op.dilation_w : op.dilation_w,
        ]
        if isinstance(op, p.DepthwiseConv2D):
            seen = np.repeat(window, last // window.shape[2], axis=2)
            acc[y, z] = (seen * weights[0]).sum(axis=(0, 1))
            continue
        per_group = dims[3] // (window.shape[2] // last)
        for o in range(dims[3]):
            first = o // per_group * last
            acc[y, z, o] = (window[:, :, first : first + last] * weights[o]).sum()
    return acc


def _pooled(op: p.MaxPool2D, image: Numbers, dims: p.Dims) -> Numbers:
    out = np.zeros(dims[1:], np.int64)
    for y, z in np.ndindex(dims[1], dims[2]):
        top, left = y * op.stride_h - op.pad_top, z * op.stride_w - op.pad_left
        window = image[max(top, 0) : top + op.kernel_h, max(left, 0) : left + op.kernel_w]
        if not isinstance(op, p.AveragePool2D):
            out[y, z] = window.max(axis=(0, 1))
            continue
        count, sums = window.shape[0] * window.shape[1], window.sum(axis=(0, 1))
        out[y, z] = np.sign(sums) * ((np.abs(sums) + count // 2) // count)
    return out
