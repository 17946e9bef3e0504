"""AdaRound: which weights go up and which down is learnt, layer by layer (Nagel 2020).

Each weight is scale * (floor(w / scale) + h(v)) with h a sigmoid stretched beyond 0 and 1 and cut
there. v follows the gradient of what the layer's output is off, behind its activation, from that of
the float model, and of a term that drives h to 0 or 1, the more the longer it goes on. Inputs are
those that the layers before give by now: "asymmetric reconstruction". The bias is learnt with it.

Source: Nagel 2020, arXiv 2004.10568, equations 21 to 25; Adam: Kingma 2015, arXiv 1412.6980.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.compress.reconstruct import layer_inputs
from hardtack_converters.passes.linear import FloatArray, Linear
from hardtack_converters.samples import Samples

Array = npt.NDArray[np.float32]

LOW, HIGH = -0.1, 1.1
"""What the sigmoid is stretched to."""
PLACES = 16384
"""Places of all samples together that outputs are compared at, at most."""
BATCH = 128
RATE = 0.03
WARM_UP = 0.2
"""Share of the steps before h is driven to 0 or 1."""
FIRST_BETA, LAST_BETA = 20.0, 2.0
PUSH = 10.0
"""Weight of the term that drives h, in units of what rounding to the nearest code loses."""


class Learning(Protocol):
    """Settings of passes that can learn to round: `LowBit`, `Round`."""

    @property
    def samples(self) -> int:
        """Calibration samples used, at most."""

    @property
    def iterations(self) -> int:
        """Steps."""

    @property
    def largest(self) -> int:
        """Largest code."""


@dataclass(frozen=True, slots=True)
class Places:
    """What a layer is learnt on.

    Attributes:
        inputs: float32 [1 or channels, columns, places].
        wanted: Outputs behind the activation [1 or channels, outputs of each, places].
        low: Least value that the activation lets through.
        high: Largest.
    """

    inputs: Array
    wanted: Array
    low: float
    high: float


def adarounded(
    model: ir.Model,
    layer: Linear,
    source: tuple[ir.Model, Linear],
    samples: Samples,
    settings: Learning,
    scales: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return weights of a layer on grids [outputs, columns], each up or down, and its bias.

    Args:
        model: With layers before it already rounded.
        layer: Of `model`; `can_reconstruct` it.
        source: The model before any change, and its layer.
        samples: What to feed both.
        settings: Samples, steps and the largest code.
        scales: Of each output [outputs].
    """
    rows = _rows(layer)
    places = _places(model, layer, source, samples, settings.samples)
    groups = len(places.inputs)
    grouped = (rows / scales[:, None]).reshape(groups, -1, rows.shape[1]).astype(np.float32)
    by_group = scales.reshape(groups, -1, 1).astype(np.float32)
    bias = layer.bias.reshape(groups, -1, 1).astype(np.float32)
    codes, bias = learnt(grouped, by_group, bias, places, settings)
    made = np.where(rows == 0, 0, codes.reshape(rows.shape)) * scales[:, None]
    return made.astype(np.float64), bias.reshape(-1).astype(np.float64)


def _rows(layer: Linear) -> FloatArray:
    weights = np.moveaxis(layer.weights, layer.out_axis, 0)
    return weights.reshape(len(weights), -1)


def _places(
    model: ir.Model, layer: Linear, source: tuple[ir.Model, Linear], samples: Samples, limit: int
) -> Places:
    """Return inputs of a layer as they are now, and what it gave before any change."""
    low, high = _bounds(layer.node)
    each = max(1, PLACES // min(limit, samples.count))
    rows, bias = _rows(source[1]), source[1].bias
    inputs, wanted = [], []
    pairs = zip(
        layer_inputs(model, layer, samples, limit), layer_inputs(*source, samples, limit),
        strict=True,
    )  # fmt: skip
    for now, before in pairs:
        picked = np.unique(np.linspace(0, now.shape[2] - 1, each).astype(int))
        groups = len(before)
        outputs = rows.reshape(groups, -1, rows.shape[1]) @ before[:, :, picked]
        outputs += bias.reshape(groups, -1, 1)
        inputs.append(now[:, :, picked].astype(np.float32))
        wanted.append(np.clip(outputs, low, high).astype(np.float32))
    return Places(np.concatenate(inputs, axis=2), np.concatenate(wanted, axis=2), low, high)


def _bounds(node: ir.Node) -> tuple[float, float]:
    reader = query.only_reader(node.outputs[0])
    bounds = None if reader is None else query.clip_bounds(reader)
    return (-np.inf, np.inf) if bounds is None else bounds


def learnt(
    real: Array, scales: Array, bias: Array, places: Places, settings: Learning
) -> tuple[Array, Array]:
    """Return codes [groups, outputs, columns] and biases [groups, outputs, 1].

    Args:
        real: Weights over scales, float32 [groups, outputs, columns].
        scales: [groups, outputs, 1].
        bias: [groups, outputs, 1].
        places: What to compare on.
        settings: Steps and the largest code.
    """
    real = np.clip(real, -settings.largest, settings.largest)
    floor = np.minimum(np.floor(real), settings.largest - 1)
    part = np.clip((real - floor - LOW) / (HIGH - LOW), 1e-3, 1 - 1e-3)
    v = np.log(part / (1 - part))
    everywhere = np.arange(places.inputs.shape[2])
    off = _off(np.rint(real) * scales, bias, places, everywhere)
    unit = max(float((off**2).sum(axis=(0, 1)).mean()), 1e-20)
    width = np.sqrt(unit / bias.size)  # of a step of the bias
    rng, adam, adam_bias = np.random.default_rng(0), Adam(v.shape), Adam(bias.shape)
    for step in range(settings.iterations):
        sigmoid = 1 / (1 + np.exp(-v))
        h = np.clip(sigmoid * (HIGH - LOW) + LOW, 0, 1)
        slope = sigmoid * (1 - sigmoid) * (HIGH - LOW) * ((h > 0) & (h < 1))
        picked = rng.integers(0, len(everywhere), BATCH)
        off = _off((floor + h) * scales, bias, places, picked) * (2 / BATCH)
        gradient = (off @ places.inputs[:, :, picked].transpose(0, 2, 1)) * scales
        gradient = gradient * (real.size / unit) + _push(h, step / settings.iterations)
        v = v + adam.step(gradient * slope)
        bias = bias + width * adam_bias.step(off.sum(axis=2, keepdims=True))
    return floor + (v >= 0), bias


def _off(weights: Array, bias: Array, places: Places, picked: npt.NDArray[np.int64]) -> Array:
    """Return how far outputs are off at some places, 0 where the activation hides it."""
    outputs = weights @ places.inputs[:, :, picked] + bias
    inside = (outputs > places.low) & (outputs < places.high)
    clipped = np.clip(outputs, places.low, places.high) - places.wanted[:, :, picked]
    return np.asarray(clipped * inside, np.float32)


def _push(h: Array, done: float) -> Array | float:
    """Return the derivative of PUSH * sum(1 - |2h - 1|^beta) by h; 0 while warming up."""
    if done < WARM_UP:
        return 0.0
    rest = (1 - done) / (1 - WARM_UP)
    beta = LAST_BETA + (FIRST_BETA - LAST_BETA) * 0.5 * (1 - np.cos(np.pi * rest))
    away = 2 * h - 1
    return np.asarray(-PUSH * 2 * beta * np.sign(away) * np.abs(away) ** (beta - 1))


class Adam:
    """Steps along a gradient, each in units of what the gradient has been there."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.mean = np.zeros(shape, np.float32)
        self.square = np.zeros(shape, np.float32)
        self.steps = 0

    def step(self, gradient: Array) -> Array:
        """Return what to add."""
        self.steps += 1
        self.mean += 0.1 * (gradient - self.mean)
        self.square += 0.001 * (gradient * gradient - self.square)
        mean = self.mean / (1 - 0.9**self.steps)
        square = self.square / (1 - 0.999**self.steps)
        return np.asarray(-RATE * mean / (np.sqrt(square) + 1e-8))
