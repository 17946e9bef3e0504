"""Layers by name: which ones a pass is asked to change."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.passes.linear import Linear, linear_of
from hardtack_runtime.errors import ConfigError


def layer_name(node: ir.Node) -> str:
    """Return how people name a layer: its node's name, or that of its result."""
    return str(node.name or node.outputs[0].name)


def weighted_layers(model: ir.Model) -> list[Linear]:
    """Return every Conv and Gemm with constant weights, in order."""
    return [layer for node in model.graph if (layer := linear_of(node)) is not None]


def is_depthwise(layer: Linear) -> bool:
    """Return whether every output reads one input channel: few weights, and none to spare."""
    return query.int_attribute(layer.node, "group", 1) > 1 and layer.weights.shape[1] == 1


def chosen_layers(
    model: ir.Model,
    patterns: Sequence[str],
    suits: Callable[[Linear], bool] = lambda _: True,
    place: str = "layers",
) -> list[Linear]:
    """Return the layers that the patterns name; without any, all that suit.

    Args:
        model: Prepared float model.
        patterns: Names or patterns with `*`, `?` and `[abc]`.
        suits: Which layers a pass takes when nobody has named them.
        place: Where the patterns come from, for an error.

    Raises:
        ConfigError: HT110, a pattern matches no layer.
    """
    layers = weighted_layers(model)
    if not patterns:
        return [layer for layer in layers if suits(layer)]
    names = [layer_name(layer.node) for layer in layers]
    for pattern in patterns:
        if not any(matches(name, pattern) for name in names):
            raise no_match(pattern, names, place)
    return [
        layer for layer, name in zip(layers, names, strict=True)
        if any(matches(name, pattern) for pattern in patterns)
    ]  # fmt: skip


def count_of(layers: int) -> str:
    """Return "1 layer" or "3 layers"."""
    return f"{layers} layer{'' if layers == 1 else 's'}"


def matches(name: str, pattern: str) -> bool:
    """Say whether a pattern names it."""
    return name == pattern or fnmatchcase(name, pattern)


def no_match(pattern: str, names: list[str], place: str = "layers") -> ConfigError:
    """Return the error that a pattern names none of them."""
    close = difflib.get_close_matches(pattern.strip("*?"), names, 3, 0.4)
    near = f"near: {', '.join(close)}" if close else f"layers: {', '.join(names[:8])}"
    return ConfigError("HT110", place, f"{pattern!r} matches no layer", near)
