"""Building ONNX from a TensorFlow Lite graph: tensors, grids and layouts.

The operators themselves are in `tflite_ops`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hardtack_converters.importers.source import Shapes, Source, named_shapes
from hardtack_runtime.errors import ModelImportError, UnsupportedOpError

if TYPE_CHECKING:
    import onnx

DTYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype(np.float32),
    2: np.dtype(np.int32),
    3: np.dtype(np.uint8),
    4: np.dtype(np.int64),
    7: np.dtype(np.int16),
    9: np.dtype(np.int8),
}
TO_NCHW, TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor of the file.

    Attributes:
        name: Unique in the graph.
        shape: As in the file, NHWC.
        dtype: Of its codes.
        scale: float32 [1] or [channels]; empty when not quantised.
        zero_point: int64, as many.
        axis: That the scales run along.
        data: The constant, or None.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.int64]
    axis: int
    data: npt.NDArray[Any] | None

    @property
    def quantized(self) -> bool:
        """True if its codes stand for real numbers."""
        return self.scale.size > 0


class Builder:
    """Turns one subgraph into an ONNX graph.

    Args:
        model: A `tflite.Model`.
        source: Its file, for messages.
        input_shapes: Must agree with the file's.
    """

    def __init__(self, model: Any, source: Source, input_shapes: Shapes) -> None:
        self.model = model
        self.graph = model.Subgraphs(0)
        self.source = source
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.values: dict[int, str] = {}
        self.codes: dict[int, str] = {}
        self.names: set[str] = set()
        self.infos = [self._read_tensor(i) for i in range(self.graph.TensorsLength())]
        names = [self.infos[int(i)].name for i in self.graph.InputsAsNumpy()]
        self.input_shapes = named_shapes(input_shapes, names)

    def build(self) -> onnx.ModelProto:
        """Convert all operators and return the model."""
        from onnx import helper

        from hardtack_converters.importers.tflite_ops import convert_operator

        inputs = [self._add_input(int(i)) for i in self.graph.InputsAsNumpy()]
        for index in range(self.graph.OperatorsLength()):
            convert_operator(self, index)
        outputs = [self._add_output(int(i)) for i in self.graph.OutputsAsNumpy()]
        graph = helper.make_graph(self.nodes, "tflite", inputs, outputs, self.initializers)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", 18)],
            ir_version=8,
            producer_name="hardtack",
        )

    def unique(self, name: str) -> str:
        """Return the name, or one like it that is not taken yet."""
        candidate, count = name, 1
        while candidate in self.names:
            candidate, count = f"{name}_{count}", count + 1
        self.names.add(candidate)
        return candidate

    def _read_tensor(self, index: int) -> TensorInfo:
        tensor = self.graph.Tensors(index)
        name = self.unique((tensor.Name() or b"").decode("utf-8", "replace") or f"tensor_{index}")
        raw_shape = tensor.ShapeAsNumpy()
        shape = tuple(int(v) for v in np.atleast_1d(raw_shape)) if tensor.ShapeLength() else ()
        dtype = DTYPES.get(tensor.Type())
        if dtype is None:
            dtype = np.dtype(object)
        scale, zero, axis = _quantization(tensor)
        data = self._constant(tensor.Buffer(), shape, dtype, name)
        return TensorInfo(name, shape, dtype, scale, zero, axis, data)

    def _constant(
        self, buffer: int, shape: tuple[int, ...], dtype: np.dtype[Any], name: str
    ) -> npt.NDArray[Any] | None:
        if buffer == 0 or self.model.Buffers(buffer).DataLength() == 0:
            return None
        if dtype == np.dtype(object):
            return None
        raw = np.asarray(self.model.Buffers(buffer).DataAsNumpy(), np.uint8).tobytes()
        if len(raw) != dtype.itemsize * int(np.prod(shape, dtype=np.int64)):
            raise ValueError(f"constant {name} has {len(raw)} bytes for shape {list(shape)}")
        return np.frombuffer(raw, dtype.newbyteorder("<")).reshape(shape)

    def node(self, op_type: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Append a node with one output; return the output's name."""
        from onnx import helper

        output = self.unique(name)
        self.nodes.append(helper.make_node(op_type, inputs, [output], name=output, **attributes))
        return output

    def const(self, name: str, array: npt.NDArray[Any]) -> str:
        """Add an initializer; return its name."""
        from onnx import numpy_helper

        unique = self.unique(name)
        self.initializers.append(numpy_helper.from_array(np.asarray(array, order="C"), unique))
        return unique

    def dequantized(self, name: str, codes: npt.NDArray[Any], info: TensorInfo, axis: int) -> str:
        """Add a quantised constant behind a DequantizeLinear; scales run along `axis`."""
        per_axis = info.scale.size > 1
        scale = info.scale if per_axis else info.scale.reshape(())
        zero = info.zero_point if per_axis else info.zero_point.reshape(())
        inputs = [self.const(f"{name}_codes", codes), self.const(f"{name}_scale", scale)]
        if codes.dtype != np.int32:
            inputs.append(self.const(f"{name}_zero", zero.astype(codes.dtype)))
        return self.node("DequantizeLinear", inputs, f"{name}_real", axis=axis)

    def real_constant(self, index: int, array: npt.NDArray[Any], axis: int) -> str:
        """Add a constant of the file, rearranged to `array`, as a real value."""
        info = self.infos[index]
        if info.quantized and info.dtype != np.float32:
            return self.dequantized(info.name, array, info, axis)
        return self.const(info.name, array.astype(np.float32))

    def value(self, index: int, operator: str) -> str:
        """Return the name of an activation's real value, NCHW if it has four dimensions.

        Raises:
            UnsupportedOpError: HT302, the tensor was never computed or has no real value.
        """
        if index in self.values:
            return self.values[index]
        info = self.infos[index]
        if info.data is not None and info.dtype.kind in "fiu":
            array = info.data.transpose(TO_NCHW) if len(info.shape) == 4 else info.data
            return self.real_constant(index, array, 0)
        raise UnsupportedOpError(
            "HT302", operator, f"its input {info.name} is not computed before it",
            "stateful models have no kernel",
        )  # fmt: skip

    def nhwc(self, index: int, operator: str) -> str:
        """Return the name of an activation's real value in the file's own layout."""
        value = self.value(index, operator)
        if len(self.infos[index].shape) != 4:
            return value
        return self.node("Transpose", [value], f"{value}_nhwc", perm=TO_NHWC)

    def set_nhwc(self, index: int, value: str) -> None:
        """Record an operator's result that is in the file's own layout."""
        if len(self.infos[index].shape) == 4:
            value = self.node("Transpose", [value], f"{value}_nchw", perm=TO_NCHW)
        self.set_value(index, value)

    def set_value(self, index: int, value: str) -> None:
        """Record an operator's result, NCHW, and put it on its grid."""
        info = self.infos[index]
        if not info.quantized:
            self.values[index] = value
            return
        scale, zero = self._grid(index)
        codes = self.node("QuantizeLinear", [value, scale, zero], f"{info.name}_quantized")
        self.codes[index] = codes
        self.values[index] = self.node(
            "DequantizeLinear", [codes, scale, zero], f"{info.name}_dequantized"
        )

    def _grid(self, index: int) -> tuple[str, str]:
        info = self.infos[index]
        if info.scale.size != 1 or info.dtype not in (np.dtype(np.int8), np.dtype(np.uint8)):
            raise UnsupportedOpError(
                "HT303", f"tensor {info.name}",
                f"an activation of type {info.dtype} with {info.scale.size} scales",
                "quantise activations to int8, per tensor",
            )  # fmt: skip
        zero = info.zero_point.reshape(()).astype(info.dtype)
        return (
            self.const(f"{info.name}_scale", info.scale.reshape(())),
            self.const(f"{info.name}_zero", zero),
        )

    def _add_input(self, index: int) -> onnx.ValueInfoProto:
        from onnx import helper

        info = self.infos[index]
        given = self.input_shapes.get(info.name)
        if given is not None and tuple(given) != info.shape:
            raise ModelImportError(
                "HT205", f"input {info.name}",
                f"the shape given is {list(given)}, the file fixes {list(info.shape)}",
                "export the model with that shape",
            )  # fmt: skip
        if any(size < 1 for size in info.shape):
            raise ModelImportError(
                "HT205", f"input {info.name}", f"shape {list(info.shape)} is not fixed",
                "export the model with a fixed input shape",
            )  # fmt: skip
        if info.dtype not in (np.dtype(np.float32), np.dtype(np.int8), np.dtype(np.uint8)):
            raise ModelImportError(
                "HT208", f"input {info.name}", f"values of type {info.dtype}",
                "inputs are float32, int8 or uint8",
            )  # fmt: skip
        value = info.name
        if len(info.shape) == 4:
            value = self.node("Transpose", [value], f"{info.name}_nchw", perm=TO_NCHW)
        if info.quantized and info.dtype != np.float32:
            scale, zero = self._grid(index)
            self.codes[index] = value
            value = self.node("DequantizeLinear", [value, scale, zero], f"{info.name}_real")
        self.values[index] = value
        return helper.make_tensor_value_info(
            info.name, helper.np_dtype_to_tensor_dtype(info.dtype), info.shape
        )

    def _add_output(self, index: int) -> onnx.ValueInfoProto:
        from onnx import helper

        info = self.infos[index]
        value = self.codes.get(index) or self.value(index, f"output {info.name}")
        kind = "Transpose" if len(info.shape) == 4 else "Identity"
        attributes: dict[str, Any] = {"perm": TO_NHWC} if kind == "Transpose" else {}
        self.nodes.append(
            helper.make_node(kind, [value], [info.name], name=f"{info.name}_output", **attributes)
        )
        return helper.make_tensor_value_info(
            info.name, helper.np_dtype_to_tensor_dtype(info.dtype), info.shape
        )


def _quantization(
    tensor: Any,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], int]:
    """Return scales, zero points and their axis; empty scales when not quantised."""
    parameters = tensor.Quantization()
    if parameters is None or parameters.ScaleLength() == 0:
        return np.zeros(0, np.float32), np.zeros(0, np.int64), 0
    scale = np.asarray(parameters.ScaleAsNumpy(), np.float32)
    zero = np.zeros(scale.size, np.int64)
    if parameters.ZeroPointLength() == scale.size:
        zero = np.asarray(parameters.ZeroPointAsNumpy(), np.int64)
    return scale, zero, int(parameters.QuantizedDimension())
