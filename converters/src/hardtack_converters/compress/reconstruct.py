"""Change weights so that a layer's output stays, when some weights must take other values.

A layer's outputs are linear in its weights, so what they lose is a quadratic form of the change:
(W - W') H (W - W')^T, where H is the second moment of the layer's inputs.

Source: Hassibi 1993 (optimal brain surgeon); Frantar 2022, arXiv 2208.11580 and 2210.17323.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx_ir as ir
from numpy.lib.stride_tricks import sliding_window_view

from hardtack_converters import query
from hardtack_converters.compress.activations import SAMPLES, sample_values
from hardtack_converters.compress.layers import is_depthwise
from hardtack_converters.compress.masks import Mask
from hardtack_converters.lower.window import window_of
from hardtack_converters.passes.linear import FloatArray, Linear, set_linear
from hardtack_converters.samples import Samples

DAMPING = 0.01
"""Of the mean of H's diagonal, added to it: few samples tell little of small directions."""

Settle = Callable[[int, FloatArray], FloatArray]
"""Given a column and the weights that would be best there [outputs], returns what they become."""


def input_moments(model: ir.Model, layer: Linear, samples: Samples, limit: int) -> FloatArray:
    """Return the second moments of what each output of a layer weighs.

    Args:
        model: Float model with that layer.
        layer: Conv or Gemm; a Conv has one group, or is depthwise.
        samples: What to feed the model.
        limit: Samples used, at most.

    Returns:
        float64 [1, columns, columns], or [channels, columns, columns] of a depthwise Conv.
    """
    total: FloatArray = np.zeros(())
    for columns in layer_inputs(model, layer, samples, limit):
        total = total + columns @ columns.transpose(0, 2, 1)
    return total


def layer_inputs(
    model: ir.Model, layer: Linear, samples: Samples, limit: int
) -> Iterator[FloatArray]:
    """Yield what the weights of a layer are multiplied by: [1 or channels, columns, places]."""
    source = layer.node.inputs[0]
    assert source is not None
    name = str(source.name)
    for values in sample_values(model, [name], samples, limit):
        yield _columns(layer, values[name])


def refit(
    model: ir.Model, layer: Linear, kept: Mask, source: tuple[ir.Model, Linear], samples: Samples
) -> None:
    """Give a layer the weights and bias that keep its outputs best, zero where a mask says so.

    The outputs are those of the source model; the inputs are what the layer gets by now, with the
    layers before it already changed.

    Args:
        model: Changed in place.
        layer: Of `model`.
        kept: True where a weight may be other than zero, [outputs, inputs, ...].
        source: The model before any change, and its layer.
        samples: What to feed both.
    """
    moments, cross = joint_moments(model, layer, source, samples, SAMPLES)
    weights = np.moveaxis(layer.weights, layer.out_axis, 0)
    rows = np.column_stack([weights.reshape(len(weights), -1), layer.bias])
    alive = np.column_stack([kept.reshape(len(kept), -1), np.ones(len(kept), bool)])
    made = refitted(rows, alive, moments, cross)
    fitted = np.moveaxis(made[:, :-1].reshape(weights.shape), 0, layer.out_axis)
    set_linear(model.graph, layer, fitted, made[:, -1])


def joint_moments(
    model: ir.Model, layer: Linear, source: tuple[ir.Model, Linear], samples: Samples, limit: int
) -> tuple[FloatArray, FloatArray]:
    """Return second moments of a layer's inputs now, and of those with what they were.

    Args:
        model: With layers before it already changed.
        layer: Of `model`.
        source: The model before any change, and its layer.
        samples: What to feed both.
        limit: Samples used, at most.

    Returns:
        H = sum of y y^T and C = sum of x y^T, y inputs now and x before, both with a last 1 that
        the bias is multiplied by: float64 [1 or channels, columns + 1, columns + 1].
    """
    moments: FloatArray = np.zeros(())
    cross: FloatArray = np.zeros(())
    pairs = zip(
        layer_inputs(model, layer, samples, limit), layer_inputs(*source, samples, limit),
        strict=True,
    )  # fmt: skip
    for now, before in pairs:
        seen, wanted = _with_ones(now), _with_ones(before)
        moments = moments + seen @ seen.transpose(0, 2, 1)
        cross = cross + wanted @ seen.transpose(0, 2, 1)
    return moments, cross


def _with_ones(columns: FloatArray) -> FloatArray:
    """Return columns and one more, that the bias is multiplied by."""
    return np.concatenate([columns, np.ones((len(columns), 1, columns.shape[2]))], axis=1)


def _columns(layer: Linear, value: FloatArray) -> FloatArray:
    """Return what the weights of an output are multiplied by: [1 or channels, columns, places]."""
    if layer.node.op_type == "Gemm":
        return value.T[None]
    patches = _patches(layer.node, value, layer.weights.shape[2:])
    if is_depthwise(layer):
        return patches
    return patches.reshape(1, -1, patches.shape[-1])


def _patches(node: ir.Node, image: FloatArray, kernel: tuple[int, ...]) -> FloatArray:
    """Return the windows of an image [1, C, (H,) W] as [C, window, places]."""
    window = window_of(node, image.shape, kernel)
    channels = image.shape[1]
    plane = image.reshape(channels, window.height, window.width)
    below = (window.out_height - 1) * window.stride_h + (window.kernel_h - 1) * window.dilation_h
    right = (window.out_width - 1) * window.stride_w + (window.kernel_w - 1) * window.dilation_w
    rows = (window.pad_top, max(0, below + 1 - window.height - window.pad_top))
    columns = (window.pad_left, max(0, right + 1 - window.width - window.pad_left))
    padded = np.pad(plane, ((0, 0), rows, columns))
    reach = (
        (window.kernel_h - 1) * window.dilation_h + 1, (window.kernel_w - 1) * window.dilation_w + 1
    )  # fmt: skip
    views = sliding_window_view(padded, reach, axis=(1, 2))
    views = views[:, :: window.stride_h, :: window.stride_w]
    views = views[:, : window.out_height, : window.out_width]
    views = views[..., :: window.dilation_h, :: window.dilation_w]
    flat = views.reshape(channels, window.out_height * window.out_width, -1)
    return np.ascontiguousarray(flat.transpose(0, 2, 1))


def damped(moment: FloatArray) -> FloatArray:
    """Return a moment that has an inverse."""
    spread = np.diag(moment).mean() or 1.0
    return np.asarray(moment + DAMPING * spread * np.eye(len(moment)))


def refitted(rows: FloatArray, kept: Mask, moments: FloatArray, cross: FloatArray) -> FloatArray:
    """Return weights that are zero by a mask, the others fitted to keep the outputs.

    Row by row the exact least squares solution of w' y = w x: w' H_kk = w C_k.

    Args:
        rows: [outputs, columns].
        kept: True where a weight may be other than zero; shaped as `rows`.
        moments: H = sum of y y^T, [1 or outputs, columns, columns]: each for as many rows.
        cross: C = sum of x y^T, likewise.
    """
    made = np.zeros_like(rows)
    each = len(rows) // len(moments)
    damping = [damped(moment) - moment for moment in moments]
    for index, (row, alive) in enumerate(zip(rows, kept, strict=True)):
        group = index // each
        # Damped towards the weights as they are, not towards zero.
        wanted = (row @ (cross[group] + damping[group]))[alive]
        whole = (moments[group] + damping[group])[np.ix_(alive, alive)]
        made[index, alive] = np.linalg.solve(whole, wanted)
    return made


def loss_of_rows(change: FloatArray, moments: FloatArray) -> FloatArray:
    """Return what each output loses by a change of its weights [outputs, columns]."""
    grouped = change.reshape(len(moments), -1, change.shape[1])
    return np.asarray(np.einsum("goi,gij,goj->go", grouped, moments, grouped).ravel())


def compensated(weights: FloatArray, moment: FloatArray, settle: Settle) -> FloatArray:
    """Settle weights column by column, those that follow making up for each.

    Args:
        weights: [outputs, columns].
        moment: Second moment of the inputs [columns, columns].
        settle: Says what a column becomes.

    Returns:
        Weights of the same shape, every column as `settle` has returned it.
    """
    inverse = np.linalg.inv(damped(moment))
    upper = np.linalg.cholesky((inverse + inverse.T) / 2).T
    left, made = weights.copy(), np.empty_like(weights)
    for column in range(weights.shape[1]):
        made[:, column] = settle(column, left[:, column])
        error = (left[:, column] - made[:, column]) / upper[column, column]
        left[:, column:] -= np.outer(error, upper[column, column:])
    return made


def can_reconstruct(layer: Linear) -> bool:
    """Return whether the inputs of a layer can be told: no groups but depthwise ones."""
    return is_depthwise(layer) or query.int_attribute(layer.node, "group", 1) == 1
