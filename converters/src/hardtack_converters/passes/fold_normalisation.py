"""Fold the scaling of the raw input into the first layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.passes.linear import FloatArray, Linear, linear_of, set_linear
from hardtack_runtime.errors import ConfigError
from hardtack_runtime.program import Port

ZERO_POINT_SLACK = 1e-3
"""Share of a code by which a moved zero point may miss a whole number."""

VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"})


def fold_normalisation(model: ir.Model, mean: Sequence[float], std: Sequence[float]) -> str:
    """Let the model take raw values x instead of x' = (x - mean) / std.

    W x' + b  =  (W / std) x + (b - W (mean / std))

    A padded convolution pads x' with 0, that is x with `mean`. So with padding:
    mean 0 everywhere - folded, 0 stands for 0; one mean for all channels - folded, and a Pad with
    that mean takes over the padding; a mean per channel - the scaling stays a layer of its own, a
    1 x 1 depthwise Conv (elsewhere a Sub and a Mul). All forms are exact.

    Args:
        model: Float model with one input, changed in place.
        mean: One value, or one per channel (axis 1; the last axis of two-dimensional inputs).
        std: Likewise, none 0.

    Returns:
        How it was done: `folded`, `folded with a pad` or `layer`.

    Raises:
        ConfigError: HT104, a wrong number of values or a zero in `std`.
    """
    graph = model.graph
    source = graph.inputs[0]
    shape = query.shape_of(source)
    shift, scale = _vector(mean, shape, "mean"), _vector(std, shape, "std")
    if (scale == 0).any() or not np.isfinite([*shift, *scale]).all():
        raise ConfigError("HT104", "input.normalize.std", "a value is 0 or not a number")
    found = _first_layer(source, scalar=_is_scalar(shift) and _is_scalar(scale))
    linear = linear_of(found)
    padded = found is not None and _pads(found)
    if linear is None or (padded and not _is_scalar(shift)):
        _insert_layer(graph, source, shift, scale)
        return "layer"
    _fold(graph, linear, shift, scale)
    if padded and shift.any():
        _pad_with(graph, linear.node, float(shift[0]))
        return "folded with a pad"
    return "folded"


def _is_scalar(vector: FloatArray) -> bool:
    return bool((vector == vector[0]).all())


def _vector(values: Sequence[float], shape: tuple[int, ...], name: str) -> FloatArray:
    channels = shape[1] if len(shape) > 1 else 1
    if len(values) not in (1, channels):
        raise ConfigError(
            "HT104", f"input.normalize.{name}", f"{len(values)} values for {channels} channels",
            "give one value, or one per channel",
        )  # fmt: skip
    return np.broadcast_to(np.asarray(values, np.float64), (channels,)).copy()


def _first_layer(source: ir.Value, *, scalar: bool) -> ir.Node | None:
    """Return the only reader of the input; views are looked through if channels are alike."""
    node = query.only_reader(source)
    while scalar and node is not None and node.op_type in VIEWS:
        node = query.only_reader(node.outputs[0])
    return node


def _pads(node: ir.Node) -> bool:
    auto = query.string_attribute(node, "auto_pad", "NOTSET")
    return any(query.ints_attribute(node, "pads", ())) or auto.startswith("SAME")


def _fold(graph: ir.Graph, linear: Linear, shift: FloatArray, scale: FloatArray) -> None:
    if _is_scalar(shift) and _is_scalar(scale):
        shift, scale = shift[:1], scale[:1]
    rows = np.moveaxis(linear.weights, linear.out_axis, 0)
    inputs = rows.shape[1]
    # Grouped convolutions: weights [O, I / groups, ...]; output o reads channels of its group.
    groups = query.int_attribute(linear.node, "group", 1)
    per_group = rows.shape[0] // groups
    first = np.repeat(np.arange(groups) * inputs, per_group)
    channel = (first[:, None] + np.arange(inputs)) if shift.size > 1 else np.zeros((1, 1), int)
    spread = (*channel.shape, *(1,) * (rows.ndim - 2))
    scaled = rows / scale[channel].reshape(spread)
    moved = (scaled * shift[channel].reshape(spread)).reshape(rows.shape[0], -1).sum(axis=1)
    set_linear(graph, linear, np.moveaxis(scaled, 0, linear.out_axis), linear.bias - moved)


def _pad_with(graph: ir.Graph, node: ir.Node, value: float) -> None:
    """Move the padding of a Conv into a Pad with another value."""
    source = node.inputs[0]
    if source is None:
        return
    shape, out = query.shape_of(source), query.shape_of(node.outputs[0])
    from hardtack_converters.lower.window import window_of

    kernel = query.shape_of(node.inputs[1])[2:] if node.inputs[1] is not None else ()
    window = window_of(node, shape, kernel)
    before = (window.pad_top, window.pad_left)[-(len(out) - 2) :]
    after = (window.pad_bottom, window.pad_right)[-(len(out) - 2) :]
    pads = np.array([0, 0, *before, 0, 0, *after], np.int64)
    inputs = [
        source,
        query.set_constant(graph, f"{node.name}_pads", pads),
        query.set_constant(graph, f"{node.name}_pad_value", np.asarray(np.float32(value))),
    ]
    pad = ir.node("Pad", inputs, name=f"{node.name}_pad")
    larger = [b + size + a for b, size, a in zip(before, shape[2:], after, strict=True)]
    query.describe_like(pad.outputs[0], [*shape[:2], *larger], source)
    graph.insert_before(node, pad)
    node.replace_input_with(0, pad.outputs[0])
    node.attributes.pop("auto_pad", None)
    node.attributes["pads"] = ir.AttrInt64s("pads", [0] * (2 * (len(out) - 2)))


def _insert_layer(graph: ir.Graph, source: ir.Value, shift: FloatArray, scale: FloatArray) -> None:
    """Compute (x - mean) / std by nodes of their own, directly behind the input."""
    shape = query.shape_of(source)
    readers = [(use.node, use.idx) for use in source.uses()]
    made: list[ir.Node] = []
    if len(shape) in (3, 4):
        weights = (1 / scale).astype(np.float32).reshape(-1, 1, *(1,) * (len(shape) - 2))
        constants = {"weights": np.broadcast_to(weights, (shape[1], *weights.shape[1:]))}
        constants["bias"] = np.broadcast_to(-shift / scale, (shape[1],)).astype(np.float32)
        inputs = [query.set_constant(graph, f"normalize_{k}", v) for k, v in constants.items()]
        ones = [1] * (len(shape) - 2)
        attributes: dict[str, int | list[int]] = {"group": shape[1], "kernel_shape": ones}
        made.append(ir.node("Conv", [source, *inputs], attributes, name="normalize"))
    else:
        mean = query.set_constant(graph, "normalize_mean", shift.astype(np.float32))
        inverse = query.set_constant(graph, "normalize_scale", (1 / scale).astype(np.float32))
        made.append(ir.node("Sub", [source, mean], name="normalize_mean"))
        made.append(ir.node("Mul", [made[0].outputs[0], inverse], name="normalize_scale"))
    for node in made:
        query.describe_like(node.outputs[0], shape, source)
        node.outputs[0].name = f"{node.name}_output"
    first = next(iter(graph))
    graph.insert_before(first, made)
    for reader, index in readers:
        reader.replace_input_with(index, made[-1].outputs[0])


def fold_into_port(port: Port, mean: Sequence[float], std: Sequence[float]) -> Port:
    """Let the input of a model that came quantised take raw values.

    code = ((x - mean) / std) / scale + zero  =  x / (scale * std) + (zero - mean / (scale * std))

    Weights are codes already, so only the grid of the input can take the scaling in, and only
    with one mean, one std, and a zero point that stays a whole number.

    Raises:
        ConfigError: HT104, the grid cannot say it.
    """
    scale = port.scale * float(std[0])
    moved = port.zero_point - float(mean[0]) / scale if scale else math.inf
    alike = len(set(mean)) == 1 and len(set(std)) == 1 and scale > 0
    if not alike or abs(moved - round(moved)) > ZERO_POINT_SLACK or not -128 <= moved <= 127:
        raise ConfigError(
            "HT104", "input.normalize", "the grid of this quantised model's input cannot hold it",
            "convert the float model, or feed normalised values",
        )  # fmt: skip
    return Port(port.tensor, scale, round(moved))
