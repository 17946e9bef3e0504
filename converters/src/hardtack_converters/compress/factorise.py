"""A layer as two of lower rank: fewer weights and fewer multiplications.

The best factors of a given rank are those of the singular value decomposition: of the weights, or,
with calibration samples, of the weights times the root of the second moment of what they weigh, so
that it is the outputs which stay (Zhang 2015, arXiv 1505.06798). `separable` looks at weights only.

- `dense`: y = W x is U (V x), for Gemm layers (Denton 2014, arXiv 1404.0736).
- `separable`: an N x N Conv is an N x 1 and a 1 x N one (Jaderberg 2014, arXiv 1405.3866).
- `bottleneck`: a Conv is one with fewer outputs, and a 1 x 1 one (Zhang 2015, arXiv 1505.06798).

The rank is said by `energy`, the share of the squared outputs that is kept, or by `budget`, the
share of the weights that is left. A layer that would not get smaller stays as it is; one that
`layers` names and the kind does not take is an error (HT104). Every factor
has an activation of its own that is rounded to int8, so name few large layers in
`layers`: the last one of a classifier has few outputs, and none to spare.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.compress.activations import SAMPLES
from hardtack_converters.compress.bench import Bench, Changed
from hardtack_converters.compress.layers import chosen_layers, count_of, layer_name, weighted_layers
from hardtack_converters.compress.reconstruct import damped, input_moments
from hardtack_converters.compress.settings import Factorise
from hardtack_converters.passes.linear import FloatArray, Linear, set_linear
from hardtack_runtime.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Factors:
    """What a layer becomes.

    Attributes:
        first: Weights [rank, inputs, ...] of the layer in front, which has no bias.
        second: Weights [outputs, rank, ...] of the layer that keeps name and bias.
    """

    first: FloatArray
    second: FloatArray

    @property
    def size(self) -> int:
        """Weights of both."""
        return self.first.size + self.second.size


def factorise(model: ir.Model, settings: Factorise, bench: Bench | None = None) -> Changed:
    """Replace layers by two of lower rank, where that has fewer weights.

    Args:
        model: Prepared float model, changed in place.
        settings: Kind and rank.
        bench: Samples; without any, weights are approximated and not outputs.

    Raises:
        ConfigError: HT110, a name in `layers` matches nothing; HT104, it matches only what
            the kind does not take.
    """
    changed, before, after, refused = 0, 0, 0, 0
    source = model.clone()
    originals = {layer_name(layer.node): layer for layer in weighted_layers(source)}
    _refuse_unsuited(model, settings)
    layers = [
        layer for layer in chosen_layers(model, settings.layers) if _suits(layer, settings.kind)
    ]
    for layer in layers:
        moment = None
        if bench is not None and settings.kind != "separable":
            original = originals[layer_name(layer.node)]
            (moment,) = input_moments(source, original, bench.samples, SAMPLES)
        factors = factors_of(layer, settings, moment)
        if factors is None:
            refused += 1
            continue
        changed, before = changed + 1, before + layer.weights.size
        after += factors.size
        _replace(model.graph, layer, factors, settings.kind)
    if not layers:
        return Changed(0, f"there is no {_SUITABLE[settings.kind]}")
    summary = f"{before:,} -> {after:,} weights in {count_of(changed)}"
    return Changed(changed, summary + (f"; {refused} would grow" if refused else ""))


_SUITABLE = {
    "dense": "dense layer",
    "separable": "convolution of one group with a window of 2 x 2 or more and pads that are said",
    "bottleneck": "convolution of one group",
}
"""What layer each kind takes."""


def _refuse_unsuited(model: ir.Model, settings: Factorise) -> None:
    """See that each of `layers` names a layer which the kind takes.

    Raises:
        ConfigError: HT104, one does not.
    """
    for pattern in settings.layers:
        named = chosen_layers(model, (pattern,))
        if any(_suits(layer, settings.kind) for layer in named):
            continue
        kinds = [kind for kind in _SUITABLE if any(_suits(layer, kind) for layer in named)]
        choice = " or ".join(f'kind = "{kind}"' for kind in kinds)
        raise ConfigError(
            "HT104", "layers", f"{pattern!r} is no {_SUITABLE[settings.kind]}",
            f"say {choice}, or name another layer" if kinds else "leave it out: no kind takes it",
        )  # fmt: skip


def _suits(layer: Linear, kind: str) -> bool:
    node, shape = layer.node, layer.weights.shape
    if kind == "dense":
        return node.op_type == "Gemm"
    if node.op_type != "Conv" or query.int_attribute(node, "group", 1) != 1:
        return False
    if kind == "bottleneck":
        return True
    plain = query.string_attribute(node, "auto_pad", "NOTSET") in ("NOTSET", "VALID")
    return plain and len(shape) == 4 and min(shape[2:]) > 1


def factors_of(
    layer: Linear, settings: Factorise, moment: FloatArray | None = None
) -> Factors | None:
    """Return the factors that settings ask for; None where they would have no fewer weights.

    Args:
        layer: Gemm, or Conv of one group.
        settings: Kind and rank.
        moment: Of what the weights of an output multiply [columns, columns]; None: like noise.
    """
    weights = np.moveaxis(layer.weights, layer.out_axis, 0)
    outputs, inputs, *window = weights.shape
    separable = settings.kind == "separable"
    matrix = weights.reshape(outputs, -1)
    if separable:  # rows are (output, column), columns are (input, row)
        matrix = weights.transpose(0, 3, 1, 2).reshape(outputs * window[1], inputs * window[0])
    root_moment = None if moment is None else np.linalg.cholesky(damped(moment))
    seen = matrix if root_moment is None else matrix @ root_moment
    left, sizes, right = np.linalg.svd(seen, full_matrices=False)
    if root_moment is not None:
        right = np.linalg.solve(root_moment.T, right.T).T
    rank = _rank(sizes, sum(matrix.shape), weights.size, settings)
    if rank < 1 or rank * sum(matrix.shape) >= weights.size:
        return None
    root = np.sqrt(sizes[:rank])
    first, second = root[:, None] * right[:rank], left[:, :rank] * root
    if separable:
        second = second.reshape(outputs, window[1], rank).transpose(0, 2, 1)[:, :, None, :]
        return Factors(first.reshape(rank, inputs, window[0], 1), second)
    return Factors(
        first.reshape(rank, inputs, *window), second.reshape(outputs, rank, *[1] * len(window))
    )


def _rank(sizes: FloatArray, each: int, weights: int, settings: Factorise) -> int:
    """Return the rank: of `each` weights per unit of it, for singular values `sizes`."""
    if settings.budget is not None:
        return min(int(settings.budget * weights) // each, len(sizes))
    kept = np.cumsum(sizes**2)
    assert settings.energy is not None
    return int(np.searchsorted(kept, settings.energy * kept[-1])) + 1


def _replace(graph: ir.Graph, layer: Linear, factors: Factors, kind: str) -> None:
    """Put the first factor in front of a layer, which becomes the second."""
    node, name = layer.node, layer_name(layer.node)
    source = node.inputs[0]
    assert source is not None
    one, other = _attributes(node, kind)
    weights = query.set_constant(graph, f"{name}_low_weights", factors.first.astype(np.float32))
    low = ir.node(node.op_type, [source, weights], one, name=f"{name}_low")
    shape = list(query.shape_of(source))
    shape[1] = len(factors.first)
    if node.op_type == "Conv":
        result = query.shape_of(node.outputs[0])
        # N x 1 has the height of the result and the width of its source.
        shape[2:] = [result[2], shape[3]] if kind == "separable" else result[2:]
    low.outputs[0].name = f"{name}_low"
    query.describe_like(low.outputs[0], shape, source)
    graph.insert_before(node, low)
    node.replace_input_with(0, low.outputs[0])
    for key in tuple(node.attributes):
        del node.attributes[key]
    for attribute in ir.convenience.convert_attributes(other):
        node.attributes[attribute.name] = attribute
    set_linear(graph, Linear(node, factors.second, layer.bias, 0), factors.second, layer.bias)


def _attributes(node: ir.Node, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the attributes of both factors."""
    if node.op_type == "Gemm":
        return {"transB": 1}, {"transB": 1}
    if kind == "bottleneck":
        return {key: attribute.value for key, attribute in node.attributes.items()}, {}
    pads = query.ints_attribute(node, "pads", (0, 0, 0, 0))
    one: dict[str, Any] = {"pads": [pads[0], 0, pads[2], 0]}
    other: dict[str, Any] = {"pads": [0, pads[1], 0, pads[3]]}
    for key in ("strides", "dilations"):
        rows, columns = query.ints_attribute(node, key, (1, 1))
        one[key], other[key] = [rows, 1], [1, columns]
    return one, other
