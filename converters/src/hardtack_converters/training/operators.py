"""Torch counterparts of the operators that a float graph may be trained with.

A graph has a batch of 1; here the first axis of every activation may be longer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor
from torch.nn import functional

from hardtack_converters import query
from hardtack_converters.lower.window import Window, window_of
from hardtack_converters.training.binary import sign

Operation = Callable[[ir.Node, Sequence[Any]], Tensor]
"""Runs a node on its operands: activations [batch, ...] and constants; None where one is absent."""


def _window(node: ir.Node, kernel: Sequence[int]) -> Window:
    source = node.inputs[0]
    assert source is not None
    return window_of(node, query.shape_of(source), kernel)


def _as_image(node: ir.Node, x: Tensor) -> Tensor:
    """Return [batch, C, H, W] also of what has no height."""
    return x if x.dim() == 4 else x.unsqueeze(2)


def _as_given(x: Tensor, like: Tensor) -> Tensor:
    return x if like.dim() == 4 else x.squeeze(2)


def _padded(x: Tensor, window: Window, value: float) -> Tensor:
    pads = (window.pad_left, window.pad_right, window.pad_top, window.pad_bottom)
    return functional.pad(x, pads, value=value) if window.padded else x


def _conv(node: ir.Node, given: Sequence[Any]) -> Tensor:
    x, weights, *bias = given
    window = _window(node, weights.shape[2:])
    made = functional.conv2d(
        _padded(_as_image(node, x), window, 0.0), _as_image(node, weights),
        bias[0] if bias else None,
        stride=(window.stride_h, window.stride_w),
        dilation=(window.dilation_h, window.dilation_w),
        groups=query.int_attribute(node, "group", 1),
    )  # fmt: skip
    return _as_given(made, x)


def _gemm(node: ir.Node, given: Sequence[Any]) -> Tensor:
    x, weights, *bias = given
    transposed = query.int_attribute(node, "transB", 0) == 1
    product = x @ (weights.t() if transposed else weights)
    return product + bias[0] if bias and bias[0] is not None else product


def _pool(node: ir.Node, x: Tensor, fill: float, reduce: Callable[..., Tensor]) -> Tensor:
    window = _window(node, query.ints_attribute(node, "kernel_shape", (1, 1)))
    made = reduce(
        _padded(_as_image(node, x), window, fill),
        (window.kernel_h, window.kernel_w), (window.stride_h, window.stride_w),
    )  # fmt: skip
    # `auto_pad` may pad by more than the windows reach.
    return _as_given(made[:, :, : window.out_height, : window.out_width], x)


def _max_pool(node: ir.Node, given: Sequence[Any]) -> Tensor:
    return _pool(node, given[0], -float("inf"), functional.max_pool2d)


def _average_pool(node: ir.Node, given: Sequence[Any]) -> Tensor:
    sums = _pool(node, given[0], 0.0, functional.avg_pool2d)
    if query.int_attribute(node, "count_include_pad", 0) == 1:
        return sums
    return sums / _pool(node, torch.ones_like(given[0][:1]), 0.0, functional.avg_pool2d)


def _reshape(node: ir.Node, given: Sequence[Any]) -> Tensor:
    return given[0].reshape(-1, *query.shape_of(node.outputs[0])[1:])


def _clip(node: ir.Node, given: Sequence[Any]) -> Tensor:
    low, high = query.clip_bounds(node) or (None, None)
    return torch.clamp(given[0], low, high)


def _mean(node: ir.Node, given: Sequence[Any]) -> Tensor:
    axes = query.axes_of(node, given[0].dim())
    return given[0].mean(dim=axes, keepdim=query.int_attribute(node, "keepdims", 1) == 1)


def _permute(node: ir.Node, given: Sequence[Any]) -> Tensor:
    backwards = tuple(reversed(range(given[0].dim())))
    return given[0].permute(query.ints_attribute(node, "perm", backwards))


OPERATIONS: dict[str, Operation] = {
    "Add": lambda _, given: given[0] + given[1],
    "AveragePool": _average_pool,
    "Clip": _clip,
    "Conv": _conv,
    "Flatten": _reshape,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda _, given: given[0].mean(
        dim=tuple(range(2, given[0].dim())), keepdim=True
    ),
    "Identity": lambda _, given: given[0],
    "MatMul": lambda _, given: given[0] @ given[1],
    "MaxPool": _max_pool,
    "Mul": lambda _, given: given[0] * given[1],
    "ReduceMean": _mean,
    "Relu": lambda _, given: functional.relu(given[0]),
    "Reshape": _reshape,
    "Sigmoid": lambda _, given: torch.sigmoid(given[0]),
    "Sign": lambda _, given: sign(given[0]),
    "Softmax": lambda node, given: torch.softmax(given[0], query.int_attribute(node, "axis", -1)),
    "Squeeze": _reshape,
    "Sub": lambda _, given: given[0] - given[1],
    "Tanh": lambda _, given: torch.tanh(given[0]),
    "Transpose": _permute,
    "Unsqueeze": _reshape,
}
"""By operator."""
