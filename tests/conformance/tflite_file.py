"""Writes .tflite files of one int8 operator, through flatbuffers' object interface."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

TYPES = {
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.int32): schema.TensorType.INT32,
}


@dataclass(frozen=True, slots=True)
class FileTensor:
    """A tensor of the file.

    Attributes:
        shape: As the operator wants it.
        scales: One, or one per channel along `axis`; empty when it is not quantised.
        zero_point: Of all channels.
        data: Its values when constant.
        axis: The quantised dimension of per-channel scales.
        dtype: Of its values when it is not constant.
    """

    shape: tuple[int, ...]
    scales: tuple[float, ...] = ()
    zero_point: int = 0
    data: npt.NDArray[Any] | None = None
    axis: int = 0
    dtype: type = np.int8


@dataclass(frozen=True, slots=True)
class SingleOp:
    """A model of one operator.

    Attributes:
        kind: Name of the builtin operator, such as "CONV_2D".
        inputs: Its inputs in order; those without data are inputs of the model. None is absent.
        output: Its output, the model's.
        options: Name of the options table, such as "Conv2DOptions"; empty for none.
        values: Fields of that table.
    """

    kind: str
    inputs: tuple[FileTensor | None, ...]
    output: FileTensor
    options: str = ""
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def free(self) -> tuple[FileTensor, ...]:
        """The model's inputs."""
        return tuple(t for t in self.inputs if t is not None and t.data is None)


def write(op: SingleOp) -> bytes:
    """Return the file."""
    graph = schema.SubGraphT()
    graph.tensors, graph.name = [], b"main"
    buffers = [schema.BufferT()]
    places = [_add(graph, buffers, t, i) if t else -1 for i, t in enumerate(op.inputs)]
    graph.outputs = [_add(graph, buffers, op.output, len(places))]
    pairs = zip(places, op.inputs, strict=True)
    graph.inputs = [place for place, t in pairs if t is not None and t.data is None]
    graph.operators = [_operator(op, places, graph.outputs)]
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, op.kind)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = 1
    model = schema.ModelT()
    model.version = 3
    model.operatorCodes, model.subgraphs, model.buffers = [code], [graph], buffers
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _operator(op: SingleOp, inputs: list[int], outputs: list[int]) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, inputs, outputs
    if op.options:
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, op.options)
        operator.builtinOptions = getattr(schema, f"{op.options}T")()
        for name, value in op.values.items():
            if not hasattr(operator.builtinOptions, name):
                raise AttributeError(f"{op.options} has no field {name}")
            setattr(operator.builtinOptions, name, value)
    return operator


def _add(graph: Any, buffers: list[Any], tensor: FileTensor, index: int) -> int:
    made = schema.TensorT()
    made.name = f"tensor_{index}".encode()
    made.shape = list(tensor.shape)
    made.type = TYPES[tensor.data.dtype if tensor.data is not None else np.dtype(tensor.dtype)]
    made.buffer = 0
    if tensor.data is not None:
        made.buffer = len(buffers)
        buffers.append(schema.BufferT())
        buffers[-1].data = np.frombuffer(np.ascontiguousarray(tensor.data).tobytes(), np.uint8)
    if tensor.scales:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale = np.array(tensor.scales, np.float32)
        made.quantization.zeroPoint = np.full(len(tensor.scales), tensor.zero_point, np.int64)
        made.quantization.quantizedDimension = tensor.axis
    graph.tensors.append(made)
    return len(graph.tensors) - 1
