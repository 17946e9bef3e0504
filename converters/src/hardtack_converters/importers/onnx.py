"""Reading ONNX: opset window, external data, pinned shapes, checked and inferred."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from hardtack_converters.importers.source import Shapes, Source, named_shapes
from hardtack_runtime.errors import HardtackError, ModelImportError, UnsupportedOpError

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx
    import onnx_ir as ir

OLDEST_OPSET = 7
WORKING_OPSET = 18
"""What the passes and lowerings are written for; older models are brought up to it."""
NEWEST_OPSET = 24
"""The newest whose operators were compared with those of the working opset."""

STANDARD_DOMAINS = ("", "ai.onnx")
_PIN = "give the whole shape in deploy.toml, [input] shape = [1, ...] (input_shapes in Python)"
NO_KERNEL = frozenset({"LSTM", "GRU", "RNN", "If", "Loop", "Scan", "SequenceMap"})


def parse_onnx(source: Source) -> onnx.ModelProto:
    """Parse a file into a ModelProto, external data included.

    Raises:
        ModelImportError: HT204 not a whole ONNX file or external data missing, HT206 opset.
    """
    proto = _parse(source)
    _load_external(proto, source)
    return proto


def _parse(source: Source) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(source.data)
    except (DecodeError, RecursionError, ValueError) as error:
        raise _garbage(source, "it does not parse as ONNX") from error
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        raise _garbage(source, "it holds no graph")
    return proto


def _garbage(source: Source, met: str) -> ModelImportError:
    return ModelImportError(
        "HT204", source.name, f"truncated or damaged: {met}", "export or copy the file again"
    )


def _load_external(proto: onnx.ModelProto, source: Source) -> None:
    """Read tensors kept in files beside the model, and only beside it."""
    from onnx import TensorProto, external_data_helper

    for tensor in proto.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        inside = PurePosixPath(location)
        if source.folder is None or inside.is_absolute() or ".." in inside.parts or not location:
            raise _garbage(source, f"tensor {tensor.name} refers to '{location}' outside the model")
        path = source.folder / location
        if not path.is_file() or path.is_symlink():
            raise ModelImportError(
                "HT204", source.name, f"its external data file {location} is missing",
                "keep it beside the model, or save the model as one file",
            )  # fmt: skip
        try:
            external_data_helper.load_external_data_for_tensor(tensor, str(Path(source.folder)))
        except Exception as error:
            raise _garbage(source, f"external data of {tensor.name}: {error}") from error
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def finish_onnx(proto: onnx.ModelProto, source: Source, input_shapes: Shapes) -> ir.Model:
    """Check a ModelProto, pin and infer its shapes, and return it as a graph.

    Raises:
        ModelImportError: HT204 not valid ONNX, HT205 a shape is open, HT206 opset.
        UnsupportedOpError: HT301, recurrent or control-flow operators.
    """
    import onnx
    import onnx_ir

    try:
        _check(proto, source)
        proto = _to_working_opset(proto, source)
        _pin_inputs(proto, source, input_shapes)
        inferred = onnx.shape_inference.infer_shapes(
            proto, check_type=True, strict_mode=False, data_prop=True
        )
        model = onnx_ir.from_proto(inferred)
        for node in model.graph:
            # Messages, reports and golden vectors name layers: none may be nameless.
            node.name = node.name or node.outputs[0].name
            names = (node.name, *(value.name for value in node.outputs))
            if not all(isinstance(name, str) for name in names):
                raise _garbage(source, f"one of the names {names} is not UTF-8")
    except HardtackError:
        raise
    except Exception as error:
        # The C++ checker and inference raise half a dozen unrelated classes on damaged files.
        raise _garbage(source, _first_line(error)) from error
    return model


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


def unknown_operators(proto: onnx.ModelProto) -> tuple[HardtackError, ...]:
    """Return one error per node that no graph of ours can hold: custom, recurrent, control flow."""
    return tuple(
        _unknown(node)
        for node in proto.graph.node
        if not _is_known(node) or (node.op_type in NO_KERNEL and node.domain in STANDARD_DOMAINS)
    )


def _is_known(node: onnx.NodeProto) -> bool:
    import onnx

    if node.domain in STANDARD_DOMAINS:
        return bool(onnx.defs.has(node.op_type))
    return node.domain == "com.microsoft"  # whose Q and DQ are those of ONNX


def _unknown(node: onnx.NodeProto) -> UnsupportedOpError:
    where = f"{node.op_type} '{node.name or ', '.join(node.output)}'"
    if not _is_known(node):
        domain = f"of domain {node.domain}" if node.domain else "that ONNX does not have"
        return UnsupportedOpError(
            "HT301", where, f"a custom operator {domain} has no int8 kernel",
            "replace it in the model by operators of ONNX before export",
        )  # fmt: skip
    return UnsupportedOpError(
        "HT301", where, "recurrent and control-flow operators have no int8 kernel",
        "use convolutions over time, or unroll the model before export",
    )  # fmt: skip


def _check(proto: onnx.ModelProto, source: Source) -> None:
    import onnx

    opset = _opset(proto)
    newest = min(NEWEST_OPSET, onnx.defs.onnx_opset_version())
    if not OLDEST_OPSET <= opset <= newest:
        raise ModelImportError(
            "HT206", source.name, f"opset {opset}; {OLDEST_OPSET} to {newest} are read",
            f"export with opset_version={WORKING_OPSET}",
        )  # fmt: skip
    for problem in unknown_operators(proto):
        raise problem
    try:
        onnx.checker.check_model(proto)
    except Exception as error:
        text = str(error)
        if "cycl" in text.lower() or "topologically sorted" in text:
            raise _garbage(source, "its nodes form a cycle or are out of order") from error
        raise _garbage(source, _first_line(error)) from error


def _opset(proto: onnx.ModelProto) -> int:
    versions = [entry.version for entry in proto.opset_import if entry.domain in STANDARD_DOMAINS]
    return int(versions[0]) if versions else 1


def _to_working_opset(proto: onnx.ModelProto, source: Source) -> onnx.ModelProto:
    """Convert an older model; newer ones keep their opset, whose operators read the same."""
    import onnx

    if _opset(proto) >= WORKING_OPSET:
        return proto
    try:
        return onnx.version_converter.convert_version(proto, WORKING_OPSET)
    except Exception as error:
        raise ModelImportError(
            "HT206", source.name,
            f"opset {_opset(proto)} could not be brought to {WORKING_OPSET}: {_first_line(error)}",
            f"export with opset_version={WORKING_OPSET}",
        ) from error  # fmt: skip


def _pin_inputs(proto: onnx.ModelProto, source: Source, input_shapes: Shapes) -> None:
    """Fix the shape of every input.

    An unknown leading dimension is the batch: one sample at a time. Any other must be given.
    """
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in constants]
    shapes = named_shapes(input_shapes, [value.name for value in inputs])
    for value in inputs:
        if not value.type.HasField("tensor_type"):
            raise ModelImportError("HT208", f"input {value.name}", "it is not a tensor")
        _pin(value, shapes.get(value.name))
    del proto.graph.value_info[:]
    for output in proto.graph.output:
        output.type.tensor_type.ClearField("shape")


def _pin(value: onnx.ValueInfoProto, given: tuple[int, ...] | None) -> None:
    shape = value.type.tensor_type.shape
    if given is not None:
        if value.type.tensor_type.HasField("shape") and len(shape.dim) != len(given):
            raise ModelImportError(
                "HT205", f"input {value.name}",
                f"the shape given has {len(given)} dimensions, the model's {len(shape.dim)}",
            )  # fmt: skip
        del shape.dim[:]
        for size in given:
            shape.dim.add().dim_value = size
    if not value.type.tensor_type.HasField("shape"):
        raise ModelImportError(
            "HT205", f"input {value.name}", "it has no shape",
            _PIN,
        )  # fmt: skip
    for axis, dim in enumerate(shape.dim):
        if dim.HasField("dim_value") and dim.dim_value > 0:
            continue
        if axis == 0 and len(shape.dim) > 1:
            dim.dim_value = 1
            continue
        raise ModelImportError(
            "HT205", f"input {value.name}", f"dimension {axis} ('{dim.dim_param}') is not fixed",
            _PIN,
        )  # fmt: skip


def constants(source: Source) -> Iterator[npt.NDArray[Any]]:
    """Give the constants of a model, subgraphs and attributes included, in the file itself.

    Raises:
        ModelImportError: HT204, not a whole ONNX file.
    """
    import onnx

    proto = _parse(source)
    for tensor in _tensors(proto.graph):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            with contextlib.suppress(Exception):  # of a type or a size that numpy cannot say
                yield onnx.numpy_helper.to_array(tensor)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors(inner)
