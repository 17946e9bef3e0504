"""A model file becomes a graph: what it is, is told by its bytes, never by its name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from hardtack_runtime.errors import ModelImportError

Shapes = Mapping[str, tuple[int, ...]]

KNOWN_BUT_NOT_READ: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89HDF\r\n\x1a\n", "a Keras HDF5 model", "export it to ONNX or to an int8 .tflite"),
    (b"PK\x03\x04", "a zip archive (PyTorch or Keras 3)", "export it with torch.onnx.export"),
    (b"\x80\x02", "a pickle", "pickles run code when read: export the model to ONNX"),
    (b"\x80\x03", "a pickle", "pickles run code when read: export the model to ONNX"),
    (b"\x80\x04", "a pickle", "pickles run code when read: export the model to ONNX"),
    (b"\x80\x05", "a pickle", "pickles run code when read: export the model to ONNX"),
    (b"HTB1", "a hardtack bundle", "it is converted already: push or flash it"),
)


@dataclass(frozen=True, slots=True)
class Source:
    """The bytes of a model and where they came from.

    Attributes:
        data: The whole file.
        name: File name for messages.
        folder: Where external data would lie; None when the model came as bytes.
    """

    data: bytes
    name: str
    folder: Path | None = None

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, in hex."""
        return hashlib.sha256(self.data).hexdigest()


def read_source(model: Path | bytes) -> Source:
    """Read a model file.

    Raises:
        ModelImportError: HT201 there is no such file, HT202 it is empty.
    """
    if isinstance(model, bytes):
        source = Source(model, "model")
    elif model.is_fifo():  # reading would wait for a writer
        raise ModelImportError("HT201", str(model), "is a pipe", "give the path of a file")
    else:
        try:
            source = Source(model.read_bytes(), str(model), model.parent)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ModelImportError(
                "HT201", str(model), f"cannot be read: {reason}", "check the path"
            ) from error
    if not source.data.strip(b"\0"):
        raise ModelImportError(
            "HT202", source.name, "the file is empty, or all zeros", "export the model again"
        )
    return source


def sniff(source: Source) -> str:
    """Return `onnx` or `tflite`.

    Raises:
        ModelImportError: HT203, the bytes are of neither.
    """
    if source.data[4:8] == b"TFL3":
        return "tflite"
    for magic, what, todo in KNOWN_BUT_NOT_READ:
        if source.data.startswith(magic):
            raise ModelImportError("HT203", source.name, f"this is {what}", todo)
    # ONNX has no magic; a ModelProto begins with ir_version (field 1) or, rarely, another field.
    first = source.data[0]
    if first in (0x08, 0x12, 0x1A, 0x22, 0x2A, 0x32, 0x3A, 0x42, 0x72):
        return "onnx"
    raise ModelImportError(
        "HT203", source.name, "neither ONNX nor TensorFlow Lite",
        "export the model to .onnx or .tflite",
    )  # fmt: skip


def named_shapes(given: Shapes, names: list[str]) -> dict[str, tuple[int, ...]]:
    """Return given shapes by input name; the name "" means the model's only input.

    Args:
        given: As the user wrote them.
        names: Inputs of the model.

    Raises:
        ModelImportError: HT205, a name that no input has, or "" where there are several.
    """
    if "" in given and len(names) != 1:
        raise ModelImportError(
            "HT205", "[input] shape", f"one shape for a model with {len(names)} inputs",
            f"give a table, shape = {{ {names[0] if names else 'x'} = [1, 64] }}; "
            f"the inputs are {', '.join(names)}",
        )  # fmt: skip
    shapes = {name or names[0]: tuple(shape) for name, shape in given.items()}
    for name in shapes:
        if name not in names:
            raise ModelImportError(
                "HT205", f"[input] shape: {name}", "the model has no such input",
                f"its inputs are {', '.join(names)}",
            )  # fmt: skip
    return shapes


def import_model(source: Source, input_shapes: Shapes | None = None) -> ir.Model:
    """Read a model of any known format into a graph with static shapes.

    Args:
        source: The file.
        input_shapes: Shapes for inputs whose own are not fixed, as `named_shapes` takes them.

    Raises:
        ModelImportError: HT203..HT208.
        UnsupportedOpError: HT301, HT302, the format has something ONNX cannot say.
    """
    if sniff(source) == "tflite":
        from hardtack_converters.importers.tflite import tflite_to_onnx

        proto = tflite_to_onnx(source, input_shapes or {})
    else:
        from hardtack_converters.importers.onnx import parse_onnx

        proto = parse_onnx(source)
    from hardtack_converters.importers.onnx import finish_onnx

    return finish_onnx(proto, source, input_shapes or {})
