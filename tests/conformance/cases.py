"""Generated single-operator models: shapes, strides, paddings, activations, quantisation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from tests.conformance.tflite_file import FileTensor, SingleOp

Rng = np.random.Generator
Activation = schema.ActivationFunctionType
NONE, RELU, RELU6, RELU_N1_TO_1 = (
    *(Activation.NONE, Activation.RELU, Activation.RELU6, Activation.RELU_N1_TO_1),
)


@dataclass(frozen=True, slots=True)
class Case:
    """A model and a name that tells it from others."""

    name: str
    op: SingleOp


def activation(rng: Rng, shape: tuple[int, ...]) -> FileTensor:
    """Return an activation with some scale and zero point."""
    return FileTensor(shape, (_scale(rng, 0.01, 0.2),), int(rng.integers(-128, 128)))


def like(tensor: FileTensor, shape: tuple[int, ...]) -> FileTensor:
    """Return an activation of the same scale and zero point."""
    return FileTensor(shape, tensor.scales, tensor.zero_point)


def _scale(rng: Rng, low: float, high: float) -> float:
    return float(np.float32(np.exp(rng.uniform(np.log(low), np.log(high)))))


def _filters(
    rng: Rng, shape: tuple[int, ...], channels: int, axis: int
) -> tuple[FileTensor, FileTensor]:
    """Return weights, per-channel when channels > 1, and room for their bias's scales."""
    values = np.clip(np.rint(rng.laplace(0, 30, shape)), -127, 127).astype(np.int8)
    scales = tuple(_scale(rng, 0.002, 0.03) for _ in range(channels))
    return FileTensor(shape, scales, 0, values, axis), FileTensor((channels,), scales)


def _bias(rng: Rng, source: FileTensor, weights: FileTensor, n_out: int) -> FileTensor:
    values = rng.integers(-3000, 3000, n_out).astype(np.int32)
    scales = tuple(float(np.float32(source.scales[0] * s)) for s in weights.scales)
    return FileTensor((n_out,), scales, 0, values)


def _out_size(size: int, kernel: int, stride: int, dilation: int, *, same: bool) -> int:
    span = (kernel - 1) * dilation + 1
    return -(-size // stride) if same else -(-(size - span + 1) // stride)


def _wide(rng: Rng, shape: tuple[int, ...], terms: float) -> FileTensor:
    """Return an output whose scale suits a sum of so many products."""
    return FileTensor(shape, (_scale(rng, 0.02, 0.1) * terms**0.5,), int(rng.integers(-128, 128)))


CONVOLUTIONS: tuple[tuple[Any, ...], ...] = (
    # height width in out kernel stride dilation same activation per_channel
    (5, 5, 3, 4, (1, 1), (1, 1), (1, 1), False, NONE, True),
    (8, 7, 3, 8, (3, 3), (1, 1), (1, 1), True, RELU, True),
    (9, 9, 1, 5, (3, 3), (2, 2), (1, 1), True, RELU6, True),
    (10, 6, 16, 6, (1, 1), (2, 1), (1, 1), False, NONE, True),
    (12, 11, 4, 7, (5, 3), (2, 3), (1, 1), True, RELU_N1_TO_1, True),
    (11, 12, 5, 3, (3, 3), (1, 1), (2, 3), True, NONE, True),
    (13, 13, 2, 9, (3, 2), (1, 2), (3, 1), False, RELU, True),
    (6, 6, 32, 4, (3, 3), (1, 1), (1, 1), True, NONE, True),
    (49, 10, 1, 16, (10, 4), (2, 2), (1, 1), True, RELU, True),
    (4, 4, 64, 64, (1, 1), (1, 1), (1, 1), True, RELU, True),
    (1, 20, 6, 5, (1, 5), (1, 1), (1, 1), True, NONE, True),
    (7, 7, 3, 1, (7, 7), (1, 1), (1, 1), False, NONE, True),
    (8, 8, 8, 8, (3, 3), (1, 1), (1, 1), True, NONE, False),
    (3, 3, 2, 6, (5, 5), (1, 1), (1, 1), True, NONE, True),
    (4, 5, 256, 6, (3, 3), (1, 1), (1, 1), True, RELU, True),  # longer than a window's buffer
    (6, 6, 256, 5, (3, 3), (1, 2), (2, 2), True, NONE, True),
    (4, 4, 6, 71, (2, 2), (1, 1), (1, 1), False, NONE, True),
)


def convolutions(rng: Rng) -> Iterator[Case]:
    """Yield CONV_2D."""
    for h, w, c, o, (kh, kw), (sh, sw), (dh, dw), same, act, per_channel in CONVOLUTIONS:
        source = activation(rng, (1, h, w, c))
        weights, _ = _filters(rng, (o, kh, kw, c), o if per_channel else 1, 0)
        out = _wide(
            rng,
            (1, _out_size(h, kh, sh, dh, same=same), _out_size(w, kw, sw, dw, same=same), o),
            kh * kw * c,
        )
        values = {
            "padding": schema.Padding.SAME if same else schema.Padding.VALID,
            "strideH": sh, "strideW": sw, "dilationHFactor": dh, "dilationWFactor": dw,
            "fusedActivationFunction": act,
        }  # fmt: skip
        inputs = (source, weights, _bias(rng, source, weights, o))
        name = f"conv-{h}x{w}x{c}-{kh}x{kw}x{o}-s{sh}{sw}-d{dh}{dw}-{'same' if same else 'valid'}"
        yield Case(f"{name}-a{act}", SingleOp("CONV_2D", inputs, out, "Conv2DOptions", values))


def grouped_convolutions(rng: Rng) -> Iterator[Case]:
    """Yield CONV_2D with fewer input channels in the filter than in the image."""
    for groups, c, o in ((2, 4, 6), (4, 8, 4), (3, 9, 12)):
        source = activation(rng, (1, 6, 5, c))
        weights, _ = _filters(rng, (o, 3, 3, c // groups), o, 0)
        values = {"padding": schema.Padding.SAME, "strideH": 1, "strideW": 1,
                  "dilationHFactor": 1, "dilationWFactor": 1}  # fmt: skip
        inputs = (source, weights, _bias(rng, source, weights, o))
        out = _wide(rng, (1, 6, 5, o), 9 * c / groups)
        name = f"conv-groups{groups}-{c}-{o}"
        yield Case(name, SingleOp("CONV_2D", inputs, out, "Conv2DOptions", values))


DEPTHWISE: tuple[tuple[Any, ...], ...] = (
    # height width in multiplier kernel stride dilation same activation
    (8, 8, 8, 1, (3, 3), (1, 1), (1, 1), True, RELU),
    (9, 7, 5, 1, (3, 3), (2, 2), (1, 1), True, NONE),
    (25, 5, 64, 1, (3, 3), (1, 1), (1, 1), True, RELU),
    (10, 10, 3, 2, (3, 3), (1, 1), (1, 1), False, RELU6),
    (6, 6, 1, 8, (5, 3), (2, 1), (1, 1), True, NONE),
    (12, 12, 4, 1, (3, 3), (1, 1), (2, 2), True, NONE),
    (9, 11, 33, 1, (2, 4), (1, 3), (1, 1), False, RELU_N1_TO_1),
    (7, 7, 16, 3, (1, 1), (1, 1), (1, 1), True, NONE),
    (20, 1, 40, 1, (5, 1), (1, 1), (3, 1), False, RELU),
)


def depthwise(rng: Rng) -> Iterator[Case]:
    """Yield DEPTHWISE_CONV_2D."""
    for h, w, c, m, (kh, kw), (sh, sw), (dh, dw), same, act in DEPTHWISE:
        source = activation(rng, (1, h, w, c))
        weights, _ = _filters(rng, (1, kh, kw, c * m), c * m, 3)
        out = _wide(
            rng,
            (1, _out_size(h, kh, sh, dh, same=same), _out_size(w, kw, sw, dw, same=same), c * m),
            kh * kw,
        )
        values = {
            "padding": schema.Padding.SAME if same else schema.Padding.VALID,
            "strideH": sh, "strideW": sw, "dilationHFactor": dh, "dilationWFactor": dw,
            "depthMultiplier": m, "fusedActivationFunction": act,
        }  # fmt: skip
        inputs = (source, weights, _bias(rng, source, weights, c * m))
        name = f"depthwise-{h}x{w}x{c}x{m}-{kh}x{kw}-s{sh}{sw}-d{dh}{dw}-a{act}"
        op = SingleOp("DEPTHWISE_CONV_2D", inputs, out, "DepthwiseConv2DOptions", values)
        yield Case(name, op)


def fully_connected(rng: Rng) -> Iterator[Case]:
    """Yield FULLY_CONNECTED, with and without bias, one scale or many, several rows."""
    table = (
        (1, 10, 7, NONE, False, True),
        (1, 640, 128, RELU, False, True),
        (2, 2500, 39, NONE, True, True),
        (3, 33, 4, RELU6, False, True),
        (5, 16, 10, NONE, True, True),
        (1, 64, 12, NONE, True, False),
        (2, 1, 5, RELU_N1_TO_1, False, False),
    )
    for rows, n_in, n_out, act, per_channel, biased in table:
        source = activation(rng, (rows, n_in))
        weights, _ = _filters(rng, (n_out, n_in), n_out if per_channel else 1, 0)
        bias = _bias(rng, source, weights, n_out) if biased else None
        op = SingleOp(
            "FULLY_CONNECTED", (source, weights, bias), _wide(rng, (rows, n_out), n_in),
            "FullyConnectedOptions", {"fusedActivationFunction": act},
        )  # fmt: skip
        yield Case(f"fully-connected-{rows}x{n_in}-{n_out}-a{act}-pc{int(per_channel)}", op)


BROADCASTS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((1, 5, 6, 7), (1, 5, 6, 7)),
    ((1, 4, 4, 8), (1, 1, 1, 8)),
    ((1, 1, 1, 3), (1, 6, 5, 3)),
    ((1, 5, 4, 3), (1, 5, 4, 1)),
    ((1, 4, 1, 6), (1, 1, 3, 6)),
    ((2, 9), (2, 9)),
)


def elementwise(rng: Rng) -> Iterator[Case]:
    """Yield ADD, SUB and MUL, broadcasting, with constants, with every activation."""
    kinds = (("ADD", "AddOptions"), ("SUB", "SubOptions"), ("MUL", "MulOptions"))
    for kind, options in kinds:
        for index, (a_shape, b_shape) in enumerate(BROADCASTS):
            act = (NONE, RELU, RELU6, RELU_N1_TO_1)[index % 4]
            shape = tuple(int(v) for v in np.broadcast_shapes(a_shape, b_shape))
            a, b = activation(rng, a_shape), activation(rng, b_shape)
            if index == 1:
                codes = rng.integers(-128, 128, b_shape).astype(np.int8)
                b = FileTensor(b_shape, b.scales, b.zero_point, codes)
            out = activation(rng, shape)
            op = SingleOp(kind, (a, b), out, options, {"fusedActivationFunction": act})
            yield Case(f"{kind.lower()}-{'x'.join(map(str, a_shape))}-{index}-a{act}", op)


def pools(rng: Rng) -> Iterator[Case]:
    """Yield MAX_POOL_2D and AVERAGE_POOL_2D."""
    table = (
        (8, 8, 4, (2, 2), (2, 2), False, NONE),
        (9, 7, 5, (3, 2), (2, 2), True, RELU),
        (7, 7, 40, (7, 7), (1, 1), False, NONE),
        (6, 10, 3, (3, 3), (1, 1), True, RELU6),
        (5, 5, 1, (4, 1), (3, 2), True, RELU_N1_TO_1),
        (25, 5, 64, (25, 5), (25, 5), False, NONE),
    )
    for kind in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
        for h, w, c, (kh, kw), (sh, sw), same, act in table:
            source = activation(rng, (1, h, w, c))
            oh, ow = _out_size(h, kh, sh, 1, same=same), _out_size(w, kw, sw, 1, same=same)
            values = {
                "padding": schema.Padding.SAME if same else schema.Padding.VALID,
                "strideH": sh, "strideW": sw, "filterHeight": kh, "filterWidth": kw,
                "fusedActivationFunction": act,
            }  # fmt: skip
            op = SingleOp(kind, (source,), like(source, (1, oh, ow, c)), "Pool2DOptions", values)
            yield Case(f"{kind.lower()}-{h}x{w}x{c}-{kh}x{kw}-s{sh}{sw}-a{act}", op)


def means(rng: Rng) -> Iterator[Case]:
    """Yield MEAN over several axes, same scale and another."""
    table = (
        ((1, 7, 7, 20), (1, 2), True),
        ((1, 5, 3, 8), (1, 2), False),
        ((1, 6, 4, 10), (2,), True),
        ((1, 6, 4, 10), (3,), True),
        ((1, 6, 4, 10), (2, 3), True),
        ((4, 30), (1,), False),
        ((1, 25, 5, 64), (1, 2), True),
    )
    for shape, axes, keep in table:
        for same_grid in (True, False):
            source = activation(rng, shape)
            sizes = [1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes]
            grid = source if same_grid else activation(rng, shape)
            places = FileTensor((len(axes),), data=np.array(axes, np.int32))
            op = SingleOp(
                "MEAN", (source, places), like(grid, tuple(sizes)), "ReducerOptions",
                {"keepDims": keep},
            )  # fmt: skip
            name = "x".join(map(str, shape))
            yield Case(f"mean-{name}-{axes}-keep{int(keep)}-same{int(same_grid)}", op)


def layouts(rng: Rng) -> Iterator[Case]:
    """Yield CONCATENATION, PAD, PADV2, TRANSPOSE and RESHAPE: they move codes."""
    for axis in (1, 2, 3):
        first = activation(rng, (1, 3, 4, 5))
        shapes = [tuple(n + k * (i == axis) for i, n in enumerate((1, 3, 4, 5))) for k in (1, 2)]
        parts = (first, *(like(first, s) for s in shapes))
        whole = tuple(sum(p.shape[i] for p in parts) if i == axis else n
                      for i, n in enumerate((1, 3, 4, 5)))  # fmt: skip
        yield Case(
            f"concat-axis{axis}",
            SingleOp("CONCATENATION", parts, like(first, whole), "ConcatenationOptions",
                     {"axis": axis}),
        )  # fmt: skip
    for amounts in (((0, 0), (1, 2), (3, 0), (0, 0)), ((0, 0), (2, 2), (2, 2), (1, 3))):
        source = activation(rng, (1, 4, 5, 3))
        pads = FileTensor((4, 2), data=np.array(amounts, np.int32))
        shape = tuple(n + a + b for n, (a, b) in zip(source.shape, amounts, strict=True))
        op = SingleOp("PAD", (source, pads), like(source, shape), "PadOptions")
        yield Case(f"pad-{amounts[3][1]}", op)
    for perm in ((0, 2, 1, 3), (0, 3, 1, 2), (0, 2, 3, 1), (0, 3, 2, 1)):
        source = activation(rng, (1, 4, 5, 6))
        order = FileTensor((4,), data=np.array(perm, np.int32))
        out = like(source, tuple(source.shape[p] for p in perm))
        op = SingleOp("TRANSPOSE", (source, order), out, "TransposeOptions")
        yield Case(f"transpose-{''.join(map(str, perm))}", op)
    source = activation(rng, (1, 4, 5, 6))
    target = FileTensor((2,), data=np.array((4, 30), np.int32))
    op = SingleOp("RESHAPE", (source, target), like(source, (4, 30)), "ReshapeOptions",
                  {"newShape": [4, 30]})  # fmt: skip
    yield Case("reshape", op)


def softmaxes(rng: Rng) -> Iterator[Case]:
    """Yield SOFTMAX over few and many classes, flat and steep.

    TFLite Micro aborts on sums of 512 and more, so flat rows are kept shorter.
    """
    for rows, depth, scale in (
        *((1, 2, 0.1), (1, 10, 0.05), (1, 12, 0.35), (4, 7, 0.8), (1, 500, 0.02)),
        *((2, 33, 0.004), (1, 5, 3.0), (1, 511, 0.3)),
    ):
        source = FileTensor((rows, depth), (scale,), int(rng.integers(-128, 128)))
        out = FileTensor((rows, depth), (1 / 256,), -128)
        op = SingleOp("SOFTMAX", (source,), out, "SoftmaxOptions", {"beta": 1.0})
        yield Case(f"softmax-{rows}x{depth}-{scale}", op)


def functions(rng: Rng) -> Iterator[Case]:
    """Yield functions of one value: LOGISTIC, TANH, the RELU family, QUANTIZE to another scale."""
    shape = (1, 4, 8, 8)
    fixed = {"LOGISTIC": FileTensor(shape, (1 / 256,), -128),
             "TANH": FileTensor(shape, (1 / 128,), 0)}  # fmt: skip
    for round_ in range(3):
        for kind in ("LOGISTIC", "TANH", "RELU", "RELU6", "LEAKY_RELU", "QUANTIZE", "HARD_SWISH"):
            source = activation(rng, shape)
            # TFLite Micro's RELU6 only clamps: it takes the output's grid to be the input's.
            other = like(source, shape) if kind == "RELU6" else activation(rng, shape)
            out = fixed.get(kind, other)
            options, values = "", dict[str, Any]()
            if kind == "LEAKY_RELU":
                options, values = "LeakyReluOptions", {"alpha": float(np.float32(0.1 + round_))}
            yield Case(f"{kind.lower()}-{round_}", SingleOp(kind, (source,), out, options, values))


GENERATORS = (
    *(convolutions, grouped_convolutions, depthwise, fully_connected, elementwise, pools, means),
    *(layouts, softmaxes, functions),
)


def all_cases(seed: int = 1) -> list[Case]:
    """Return every case, the same ones for the same seed."""
    return [case for make in GENERATORS for case in make(np.random.default_rng(seed))]


def random_inputs(op: SingleOp, runs: int, seed: int) -> list[list[npt.NDArray[np.int8]]]:
    """Return int8 codes for each run: mostly uniform, some flat, some at the extremes."""
    rng = np.random.default_rng(seed)
    batches = []
    for index in range(runs):
        low, high = ((-128, 128), (-128, 128), (-20, 20), (120, 128), (-128, -120))[index % 5]
        batches.append([rng.integers(low, high, t.shape).astype(np.int8) for t in op.free])
    return batches
