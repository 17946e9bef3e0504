"""Biases that make up for rounding: each layer's mean output stays what it was in float.

Rounding weights to int8 moves the mean of a layer's outputs, channel by channel, and the next
layers take the shift for signal. Both models run on calibration samples; the difference of means
goes into the bias. Layers are corrected in order, each with those before it already corrected
(Nagel 2019, arXiv 1906.04721, section 4.2, "empirical").
"""

from __future__ import annotations

import onnx_ir as ir

from hardtack_converters.compress.activations import channel_means
from hardtack_converters.compress.bench import Bench, Changed, needed
from hardtack_converters.compress.layers import chosen_layers, count_of
from hardtack_converters.compress.settings import BiasCorrection
from hardtack_converters.passes.linear import FloatArray, Linear, linear_of, set_linear

LARGEST_RELATIVE = 1e-6
"""Shifts below this share of the outputs are float32's own rounding."""


def bias_correction(
    model: ir.Model, settings: BiasCorrection, bench: Bench | None = None
) -> Changed:
    """Correct the biases of layers, in order.

    Args:
        model: Prepared float model, changed in place; its int8 form is then nearer to what the
            float model was.
        settings: Which layers, and how many samples.
        bench: Samples, and the way to int8.

    Raises:
        ConfigError: HT110, a name in `layers` matches nothing; HT104, no bench.
    """
    bench = needed(bench, "bias_correction")
    nodes = [layer.node for layer in chosen_layers(model, settings.layers)]
    names = [str(node.outputs[0].name) for node in nodes]
    wanted = channel_means(model, names, bench.samples, settings.samples)
    changed, largest = 0, 0.0
    for index, (node, name) in enumerate(zip(nodes, names, strict=True)):
        layer = linear_of(node)
        assert layer is not None
        found = _int8_mean(model, layer, bench, settings.samples)
        shift = wanted[name] - found
        set_linear(model.graph, layer, layer.weights, layer.bias + shift)
        size = float(abs(shift).max() / max(float(abs(wanted[name]).max()), 1e-30))
        changed, largest = changed + (size > LARGEST_RELATIVE), max(largest, size)
        bench.progress(index + 1, len(nodes))
    return Changed(changed, f"{count_of(changed)}, means off by up to {100 * largest:.1f} %")


def _int8_mean(model: ir.Model, layer: Linear, bench: Bench, samples: int) -> FloatArray:
    quantized = bench.quantize(model)
    name = str(layer.node.outputs[0].name)
    # Quantising a graph output renames what makes it.
    known = {str(value.name) for node in quantized.graph for value in node.outputs}
    made = f"{name}_float" if f"{name}_float" in known else name
    return channel_means(quantized, [made], bench.samples, samples)[made]
