"""TensorFlow Lite operators as ONNX nodes, one function each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from hardtack_converters.importers.tflite_graph import TO_NCHW, Builder
from hardtack_runtime.errors import UnsupportedOpError

PADDING_SAME = 0
NHWC_TO_NCHW_AXIS = (0, 2, 3, 1)
"""Where each NHWC axis lies in NCHW."""


class Call:
    """One operator: its tensors and options.

    Args:
        builder: The graph it belongs to.
        index: Its place in the file.
    """

    def __init__(self, builder: Builder, index: int) -> None:
        self.builder = builder
        self.operator = builder.graph.Operators(index)
        code = builder.model.OperatorCodes(self.operator.OpcodeIndex())
        self.code = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        self.kind = _names().get(self.code, f"operator {self.code}")
        inputs = self.operator.InputsAsNumpy() if self.operator.InputsLength() else []
        outputs = self.operator.OutputsAsNumpy() if self.operator.OutputsLength() else []
        self.inputs = [int(i) for i in inputs]
        self.outputs = [int(i) for i in outputs]
        last = builder.infos[self.outputs[0]].name if self.outputs else str(index)
        self.where = f"{self.kind} '{last}'"

    def has(self, index: int) -> bool:
        """Return whether an optional input is there."""
        return index < len(self.inputs) and self.inputs[index] >= 0

    def value(self, index: int) -> str:
        """Return the real value of an input, NCHW."""
        return self.builder.value(self.inputs[index], self.where)

    def shape(self, index: int) -> tuple[int, ...]:
        """Return the shape of an input as in the file."""
        return self.builder.infos[self.inputs[index]].shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of the first output as in the file."""
        return self.builder.infos[self.outputs[0]].shape

    @property
    def name(self) -> str:
        """Name of the first output."""
        return self.builder.infos[self.outputs[0]].name

    def constant(self, index: int) -> npt.NDArray[Any]:
        """Return a constant input.

        Raises:
            UnsupportedOpError: HT302, it is computed at run time.
        """
        data = self.builder.infos[self.inputs[index]].data
        if data is None:
            raise UnsupportedOpError(
                "HT302", self.where, f"its input {index} is computed at run time",
                "only constants have a kernel there",
            )  # fmt: skip
        return data

    def options(self, kind: str) -> Any:
        """Return the operator's options table of a given type."""
        import tflite

        table = self.operator.BuiltinOptions()
        options = getattr(tflite, kind)()
        if table is None:
            raise ValueError(f"{self.where} has no options")
        options.Init(table.Bytes, table.Pos)
        return options

    def refuse(self, met: str, todo: str = "") -> UnsupportedOpError:
        """Return the error for an attribute no kernel has."""
        return UnsupportedOpError("HT302", self.where, met, todo)

    def unknown(self) -> UnsupportedOpError:
        """Return the error for an operator no kernel computes."""
        return UnsupportedOpError(
            "HT301", self.where, "this operator has no int8 kernel",
            "docs/operators.md lists those that have; replace it in the model before export",
        )  # fmt: skip

    def finish(self, value: str, activation: int = 0) -> None:
        """Apply a fused activation and record the result."""
        builder = self.builder
        if activation == 1:
            value = builder.node("Relu", [value], f"{self.name}_relu")
        elif activation in (2, 3):
            low, high = (-1.0, 1.0) if activation == 2 else (0.0, 6.0)
            bounds = [
                builder.const(f"{self.name}_bound", np.asarray(b, np.float32)) for b in (low, high)
            ]
            value = builder.node("Clip", [value, *bounds], f"{self.name}_clip")
        elif activation != 0:
            raise self.refuse(f"fused activation {activation}", "use RELU or RELU6")
        builder.set_value(self.outputs[0], value)


def _names() -> dict[int, str]:
    import tflite

    operators = vars(tflite.BuiltinOperator)
    return {code: name for name, code in operators.items() if isinstance(code, int)}


def convert_operator(builder: Builder, index: int) -> None:
    """Convert one operator of the file.

    Raises:
        UnsupportedOpError: HT301 not known, HT302 in a form not known.
    """
    call = Call(builder, index)
    convert = OPERATORS.get(call.kind)
    if convert is None or not call.inputs or not call.outputs:
        raise call.unknown()
    convert(call)


def _window_attributes(
    call: Call, options: Any, kernel: tuple[int, int], dilation: tuple[int, int] = (1, 1)
) -> dict[str, Any]:
    stride = (options.StrideH(), options.StrideW())
    if min(*stride, *dilation, *kernel) < 1:
        raise ValueError(f"{call.where}: a stride, dilation or kernel of 0")
    before, after = [0, 0], [0, 0]
    if options.Padding() == PADDING_SAME:
        for axis in range(2):
            size, out = call.shape(0)[1 + axis], call.out_shape[1 + axis]
            span = (kernel[axis] - 1) * dilation[axis] + 1
            total = max((out - 1) * stride[axis] + span - size, 0)
            before[axis], after[axis] = total // 2, total - total // 2
    return {"kernel_shape": kernel, "strides": stride, "pads": [*before, *after]}


def _bias(call: Call, index: int) -> list[str]:
    if not call.has(index):
        return []
    return [call.builder.real_constant(call.inputs[index], call.constant(index), 0)]


def _conv(call: Call) -> None:
    options = call.options("Conv2DOptions")
    weights = call.constant(1)
    dilation = (options.DilationHFactor(), options.DilationWFactor())
    kernel = (weights.shape[1], weights.shape[2])
    _convolve(call, options, weights.transpose(TO_NCHW), kernel, dilation)


def _depthwise(call: Call) -> None:
    options = call.options("DepthwiseConv2DOptions")
    weights = call.constant(1)
    dilation = (options.DilationHFactor(), options.DilationWFactor())
    kernel = (weights.shape[1], weights.shape[2])
    _convolve(call, options, weights.transpose(3, 0, 1, 2), kernel, dilation)


def _convolve(
    call: Call,
    options: Any,
    weights: npt.NDArray[Any],
    kernel: tuple[int, int],
    dilation: tuple[int, int],
) -> None:
    attributes = _window_attributes(call, options, kernel, dilation)
    group = call.shape(0)[3] // weights.shape[1]
    filters = call.builder.real_constant(call.inputs[1], weights, 0)
    value = call.builder.node(
        "Conv", [call.value(0), filters, *_bias(call, 2)], f"{call.name}_conv",
        group=group, dilations=dilation, **attributes,
    )  # fmt: skip
    call.finish(value, options.FusedActivationFunction())


def _fully_connected(call: Call) -> None:
    options = call.options("FullyConnectedOptions")
    if options.WeightsFormat() != 0:
        raise call.refuse("shuffled weights")
    weights = call.constant(1)
    builder = call.builder
    value = builder.nhwc(call.inputs[0], call.where)
    if len(call.shape(0)) != 2 or call.shape(0)[1] != weights.shape[1]:
        rows = builder.const(f"{call.name}_rows", np.array([-1, weights.shape[1]], np.int64))
        value = builder.node("Reshape", [value, rows], f"{call.name}_rows_of")
    filters = builder.real_constant(call.inputs[1], weights, 0)
    product = builder.node("Gemm", [value, filters, *_bias(call, 2)], f"{call.name}_gemm", transB=1)
    if len(call.out_shape) != 2:
        shape = builder.const(f"{call.name}_shape", np.array(call.out_shape, np.int64))
        product = builder.node("Reshape", [product, shape], f"{call.name}_shaped")
        if len(call.out_shape) == 4:
            product = builder.node("Transpose", [product], f"{call.name}_nchw", perm=TO_NCHW)
    call.finish(product, options.FusedActivationFunction())


def _operand(call: Call, index: int) -> str:
    """Return an operand of an elementwise operator, shaped to broadcast in NCHW."""
    info = call.builder.infos[call.inputs[index]]
    rank = len(call.out_shape)
    if rank != 4 or len(info.shape) == 4:
        return call.value(index)
    if info.data is None:
        raise call.refuse("operands of different rank", "reshape them to four dimensions")
    padded = info.data.reshape((1,) * (4 - info.data.ndim) + info.data.shape)
    return call.builder.real_constant(call.inputs[index], padded.transpose(TO_NCHW), 0)


def _binary(onnx_type: str, options_type: str) -> Callable[[Call], None]:
    def convert(call: Call) -> None:
        options = call.options(options_type)
        operands = [_operand(call, 0), _operand(call, 1)]
        value = call.builder.node(onnx_type, operands, f"{call.name}_{onnx_type.lower()}")
        call.finish(value, options.FusedActivationFunction())

    return convert


def _pool(onnx_type: str) -> Callable[[Call], None]:
    def convert(call: Call) -> None:
        options = call.options("Pool2DOptions")
        kernel = (options.FilterHeight(), options.FilterWidth())
        attributes = _window_attributes(call, options, kernel)
        value = call.builder.node(onnx_type, [call.value(0)], f"{call.name}_pool", **attributes)
        call.finish(value, options.FusedActivationFunction())

    return convert


def _unary(onnx_type: str) -> Callable[[Call], None]:
    def convert(call: Call) -> None:
        call.finish(call.builder.node(onnx_type, [call.value(0)], f"{call.name}_{onnx_type}"))

    return convert


def _clip(activation: int) -> Callable[[Call], None]:
    def convert(call: Call) -> None:
        call.finish(call.value(0), activation)

    return convert


def _leaky_relu(call: Call) -> None:
    alpha = float(call.options("LeakyReluOptions").Alpha())
    value = call.builder.node("LeakyRelu", [call.value(0)], f"{call.name}_leaky", alpha=alpha)
    call.finish(value)


def _softmax(call: Call) -> None:
    if call.options("SoftmaxOptions").Beta() != 1.0:
        raise call.refuse("beta other than 1", "scale the logits instead")
    axis = 1 if len(call.shape(0)) == 4 else -1
    call.finish(call.builder.node("Softmax", [call.value(0)], f"{call.name}_softmax", axis=axis))


def _reshape(call: Call) -> None:
    builder = call.builder
    value = builder.nhwc(call.inputs[0], call.where)
    shape = builder.const(f"{call.name}_shape", np.array(call.out_shape, np.int64))
    builder.set_nhwc(
        call.outputs[0], builder.node("Reshape", [value, shape], f"{call.name}_reshape")
    )


def _transpose(call: Call) -> None:
    perm = [int(v) for v in call.constant(1).ravel()]
    value = call.builder.nhwc(call.inputs[0], call.where)
    turned = call.builder.node("Transpose", [value], f"{call.name}_transpose", perm=perm)
    call.builder.set_nhwc(call.outputs[0], turned)


def _axis(call: Call, axis: int) -> int:
    rank = len(call.shape(0))
    return NHWC_TO_NCHW_AXIS[axis % rank] if rank == 4 else axis % rank


def _concatenation(call: Call) -> None:
    options = call.options("ConcatenationOptions")
    values = [call.value(index) for index in range(len(call.inputs))]
    axis = _axis(call, options.Axis())
    value = call.builder.node("Concat", values, f"{call.name}_concat", axis=axis)
    call.finish(value, options.FusedActivationFunction())


def _pad(call: Call) -> None:
    pads = call.constant(1).astype(np.int64)
    if len(call.shape(0)) == 4:
        pads = pads[list(TO_NCHW)]
    amounts = call.builder.const(f"{call.name}_pads", pads.T.ravel())
    inputs = [call.value(0), amounts]
    if call.has(2):
        inputs.append(call.builder.real_constant(call.inputs[2], call.constant(2).reshape(()), 0))
    call.finish(call.builder.node("Pad", inputs, f"{call.name}_pad"))


def _mean(call: Call) -> None:
    keep = bool(call.options("ReducerOptions").KeepDims())
    builder, rank = call.builder, len(call.shape(0))
    axes = sorted(int(a) % rank for a in call.constant(1).ravel())
    if rank == 4 and (keep or axes == [1, 2]):
        value, axes = call.value(0), sorted(NHWC_TO_NCHW_AXIS[a] for a in axes)
    else:
        value = builder.nhwc(call.inputs[0], call.where)
    over = builder.const(f"{call.name}_axes", np.array(axes, np.int64))
    mean = builder.node("ReduceMean", [value, over], f"{call.name}_mean", keepdims=int(keep))
    call.finish(mean)


OPERATORS: dict[str, Callable[[Call], None]] = {
    "ADD": _binary("Add", "AddOptions"),
    "AVERAGE_POOL_2D": _pool("AveragePool"),
    "CONCATENATION": _concatenation,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEQUANTIZE": _clip(0),
    "EXPAND_DIMS": _reshape,
    "FULLY_CONNECTED": _fully_connected,
    "HARD_SWISH": _unary("HardSwish"),
    "LEAKY_RELU": _leaky_relu,
    "LOGISTIC": _unary("Sigmoid"),
    "MAX_POOL_2D": _pool("MaxPool"),
    "MEAN": _mean,
    "MUL": _binary("Mul", "MulOptions"),
    "PAD": _pad,
    "PADV2": _pad,
    "QUANTIZE": _clip(0),
    "RELU": _clip(1),
    "RELU6": _clip(3),
    "RELU_N1_TO_1": _clip(2),
    "RESHAPE": _reshape,
    "SOFTMAX": _softmax,
    "SQUEEZE": _reshape,
    "SUB": _binary("Sub", "SubOptions"),
    "TANH": _unary("Tanh"),
    "TRANSPOSE": _transpose,
}
