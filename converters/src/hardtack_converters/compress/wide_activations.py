"""Activations of 16 bits, weights of 8: int16x8, for models whose activations need more than 8.

    real = scale * code    code in -32767..32767, so 0 is a code exactly

Each chosen layer's result is kept in int16, on a grid of its own; layers between have kernels that
read int8 or int16 and write either. Sums stay within 32 bits, and the arithmetic is that of int8,
so a layer takes about as long; on a Cortex-M55 up to twice. Each sum is bounded by its own weights,
sum |w| * 2^15 + |bias| < 2^31; where a channel would break that, its weights get a coarser grid,
and `convert` says so.

It costs memory, two bytes for each element of the arena, and a few bytes of the bundle. Inputs of
the model stay int8, and so do outputs unless `outputs` says otherwise, what a table computes
(Sigmoid, Tanh and the like) and what only tables and Softmax read. Layers that read or write int16
have their weights unpacked: those used where they lie, and the second plane of `outliers`, have no
kernel for it.

It pays where errors add up: many layers in a row, sums such as those of residual networks, means,
and outputs that are numbers. It does not repair coarse weights; `round` and `outliers` do.

This is not the 16x8 of TensorFlow Lite, whose sums have 64 bits.

Source: Jacob 2018, arXiv 1712.05877, section 2 (the arithmetic).
"""

from __future__ import annotations

import onnx_ir as ir

from hardtack_converters.activation_groups import (
    WIDE,
    WITH_OUTPUTS,
    can_widen,
    groups_of,
    quantized_values,
)
from hardtack_converters.compress.bench import Bench, Changed
from hardtack_converters.compress.layers import layer_name, no_match
from hardtack_converters.compress.layers import matches as named
from hardtack_converters.compress.settings import WideActivations
from hardtack_runtime.errors import ConfigError


def wide_activations(
    model: ir.Model, settings: WideActivations, bench: Bench | None = None
) -> Changed:
    """Let quantising give results int16; the float model stays as it is.

    Args:
        model: Prepared float model, changed in place.
        settings: The results of which layers.
        bench: Not needed.

    Raises:
        ConfigError: HT110, a name in `layers` matches nothing; HT104, a result must be int8.
    """
    values = quantized_values(model)
    groups, known = groups_of(values), set(values)
    makers = {node: group for group in groups for value in group for node in _makers(value, known)}
    wide = {id(group) for group in groups if can_widen(group, outputs=settings.outputs)}
    chosen = _chosen(makers, settings.layers)
    for node in chosen:
        if settings.layers and id(makers[node]) not in wide:
            raise ConfigError(
                "HT104", layer_name(node), "its result must be int8: the model gives or reads it "
                "so, a table makes it, or nothing but tables reads it", "leave it out of `layers`",
            )  # fmt: skip
    changed = [node for node in chosen if id(makers[node]) in wide]
    for node in changed:
        node.metadata_props[WIDE] = WITH_OUTPUTS if settings.outputs else "inside"
    results = {id(makers[node]) for node in changed}
    return Changed(len(results), f"{len(results)} of {len(groups)} activations in int16")


def _makers(value: ir.Value, known: set[ir.Value]) -> list[ir.Node]:
    """Return the node that gives a value, and the one before it whose kernel takes it in."""
    node = value.producer()
    if node is None:
        return []
    source = node.inputs[0] if node.op_type in ("Relu", "Clip") else None
    before = source.producer() if source is not None and source not in known else None
    return [node] if before is None else [node, before]


def _chosen(makers: dict[ir.Node, list[ir.Value]], patterns: tuple[str, ...]) -> list[ir.Node]:
    names = [layer_name(node) for node in makers]
    for pattern in patterns:
        if not any(named(name, pattern) for name in names):
            raise no_match(pattern, names)
    return [
        node for node, name in zip(makers, names, strict=True)
        if not patterns or any(named(name, pattern) for pattern in patterns)
    ]  # fmt: skip
