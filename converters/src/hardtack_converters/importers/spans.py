"""Where the tensors of a model file lie in it, for packing (SPEC section 9)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from hardtack_converters.importers.source import Source, sniff
from hardtack_runtime.payload import Span

SMALLEST = 64
"""Bytes of a tensor below which cutting it out takes more than it saves."""
_WIDTHS = (1, 2, 4, 8)

Tensor = npt.NDArray[Any]


def tensor_spans(source: Source) -> list[Span]:
    """Return the tensors of a model, in the order in which they lie in its file.

    A tensor that is stored otherwise than number after number is left out: packing is lossless
    whatever is found.

    Raises:
        ModelImportError: HT203 not a model, HT204 damaged.
        ConfigError: HT105, the package that reads the format is not installed.
    """
    if sniff(source) == "tflite":
        from hardtack_converters.importers.tflite import constants
    else:
        from hardtack_converters.importers.onnx import constants
    found: list[Span] = []
    at = 0
    for tensor in constants(source):
        if tensor.nbytes < SMALLEST or tensor.dtype.itemsize not in _WIDTHS:
            continue
        stored = tensor.tobytes()
        start = source.data.find(stored, at)
        start = source.data.find(stored) if start < 0 else start
        if start >= 0:
            n, h, w, c = (1, 1, 1, 1, *tensor.shape)[-4:] if tensor.ndim <= 4 else _folded(tensor)
            is_float = tensor.dtype.kind == "f"
            found.append(Span(start, tensor.dtype.itemsize, is_float, (n, h, w, c)))
            at = found[-1].end
    return list(_apart(sorted(found, key=lambda span: span.start)))


def _folded(tensor: Tensor) -> tuple[int, int, int, int]:
    return tensor.shape[0], int(np.prod(tensor.shape[1:-2])), *tensor.shape[-2:]


def _apart(spans: list[Span]) -> Iterator[Span]:
    """Leave out what begins inside another tensor."""
    end = 0
    for span in spans:
        if span.start >= end:
            end = span.end
            yield span
