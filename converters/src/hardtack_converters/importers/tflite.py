"""Reading TensorFlow Lite: an int8 model becomes standard QDQ ONNX, a float one float ONNX.

Four-dimensional activations are NHWC there and NCHW in ONNX: they are transposed where they
enter, leave or are reshaped, and lowering makes those transposes vanish again.
"""

from __future__ import annotations

import contextlib
import importlib.util
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hardtack_converters.importers.source import Shapes, Source
from hardtack_runtime.errors import ConfigError, HardtackError, ModelImportError

if TYPE_CHECKING:
    import onnx

_BYTES: np.dtype[Any] = np.dtype(np.uint8)
_MOST_DIMS = 8


def tflite_to_onnx(source: Source, input_shapes: Shapes) -> onnx.ModelProto:
    """Convert a .tflite file.

    Args:
        source: The file, known to carry the TFL3 mark.
        input_shapes: Refused unless they agree: TensorFlow Lite shapes are fixed in the file.

    Raises:
        ModelImportError: HT204 damaged, HT208 several subgraphs.
        UnsupportedOpError: HT301 or HT302, naming the operator.
        ConfigError: HT105, the package that reads the format is not installed.
    """
    _require_reader(source)
    from hardtack_converters.importers.tflite_graph import Builder

    with _contained(source):
        return Builder(_open(source), source, input_shapes).build()


def unknown_operators(source: Source) -> tuple[HardtackError, ...]:
    """Return one error per operator of a type that is not known.

    Raises:
        ModelImportError: HT204 damaged, HT208 several subgraphs.
        ConfigError: HT105, the package that reads the format is not installed.
    """
    _require_reader(source)
    from hardtack_converters.importers.tflite_graph import Builder
    from hardtack_converters.importers.tflite_ops import OPERATORS, Call

    with _contained(source):
        builder = Builder(_open(source), source, {})
        calls = [Call(builder, index) for index in range(builder.graph.OperatorsLength())]
        return tuple(call.unknown() for call in calls if call.kind not in OPERATORS)


def _require_reader(source: Source) -> None:
    if importlib.util.find_spec("tflite") is None:
        raise ConfigError(
            "HT105", source.name, "reading .tflite needs the package tflite",
            "pip install 'hardtack-converters[tflite]'",
        )  # fmt: skip


@contextlib.contextmanager
def _contained(source: Source) -> Iterator[None]:
    """Turn whatever reading raises into HT204: any field of a damaged file may raise anything."""
    try:
        yield
    except HardtackError:
        raise
    except Exception as error:
        detail = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        if isinstance(error, struct.error):
            detail = "it refers to bytes beyond its end"
        raise ModelImportError(
            "HT204", source.name, f"truncated or damaged: {detail}", "copy the file again"
        ) from error


def _open(source: Source) -> Any:
    import tflite

    _check_root(source.data)
    model = tflite.Model.GetRootAs(source.data, 0)
    _check_counts(model, source)
    return model


def _check_root(data: bytes) -> None:
    if len(data) < 16 or struct.unpack_from("<I", data, 0)[0] >= len(data) - 4:
        raise ValueError("the root table lies outside the file")


def _check_counts(model: Any, source: Source) -> None:
    """Refuse tables whose lengths the file could not hold: loops over them would not end."""
    room = len(source.data) // 4
    if model.SubgraphsLength() != 1:
        raise ModelImportError(
            "HT208", source.name, f"{model.SubgraphsLength()} subgraphs; one is read",
            "export the model without control flow",
        )  # fmt: skip
    graph = model.Subgraphs(0)
    lengths = (
        *(graph.OperatorsLength(), graph.TensorsLength(), graph.InputsLength()),
        *(graph.OutputsLength(), model.BuffersLength(), model.OperatorCodesLength()),
    )
    if max(lengths) > room or not graph.InputsLength() or not graph.OutputsLength():
        raise ValueError("a table is longer than the file, or there are no inputs or outputs")


def constants(source: Source) -> Iterator[npt.NDArray[Any]]:
    """Give the constants of every subgraph, as they are stored, whatever the operators.

    Raises:
        ModelImportError: HT204 damaged.
        ConfigError: HT105, the package that reads the format is not installed.
    """
    _require_reader(source)
    import tflite

    from hardtack_converters.importers.tflite_graph import DTYPES

    with _contained(source):
        _check_root(source.data)
        model = tflite.Model.GetRootAs(source.data, 0)
        dtypes: dict[int, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        room = len(source.data) // 4
        tensors = 0
        for index in range(_counted(model.SubgraphsLength(), room)):
            graph = model.Subgraphs(index)
            tensors += graph.TensorsLength()  # of all: subgraphs may name one table of them
            _counted(tensors, room)
            for number in range(graph.TensorsLength()):
                tensor = graph.Tensors(number)
                dtypes[tensor.Buffer()] = DTYPES.get(tensor.Type(), _BYTES), _shape(tensor)
        left = len(source.data)
        for index in range(_counted(model.BuffersLength(), room)):
            stored = model.Buffers(index).DataAsNumpy()
            if isinstance(stored, np.ndarray) and stored.size <= left:
                left -= stored.size  # buffers may share bytes; each is searched for
                yield _as_typed(stored, *dtypes.get(index, (_BYTES, ())))


def _counted(length: int, room: int) -> int:
    if length > room:
        raise ValueError("a table is longer than the file")
    return length


def _shape(tensor: Any) -> tuple[int, ...]:
    if tensor.ShapeLength() > _MOST_DIMS:  # any number of tensors may name one long vector
        return ()
    shape = tensor.ShapeAsNumpy()
    return tuple(map(int, shape)) if isinstance(shape, np.ndarray) else ()


def _as_typed(
    stored: npt.NDArray[np.uint8], dtype: np.dtype[Any], shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    """Return numbers of the tensor's type and shape, or the bytes where these do not fit."""
    fits = stored.size == int(np.prod(shape)) * dtype.itemsize
    return stored.copy().view(dtype).reshape(shape) if fits else stored
