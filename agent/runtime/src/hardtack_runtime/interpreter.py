"""The interpreter: runs a bundle's program with the C kernels.

It opens what it is given: structure is checked, trust is `bundle.verify`'s business. It imports
numpy and ctypes only, so that a device is ready within milliseconds.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hardtack_runtime import _library
from hardtack_runtime.errors import DeviceError, GateError

if TYPE_CHECKING:
    import numpy.typing as npt

    Int8Array = npt.NDArray[np.int8]
    FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output: real = scale * (code - zero_point).

    Attributes:
        shape: N H W C; shorter shapes have 1 in front.
        scale: Real width of one code, > 0; 0 for tensors inside the program.
        zero_point: Code that stands for 0.0, in [-128, 127]; 0 of int16.
        dtype: Of the codes: int8, or int16 of some outputs.
    """

    shape: tuple[int, int, int, int]
    scale: float
    zero_point: int
    dtype: str = "int8"


class Interpreter:
    """A model ready to run, with its own working memory. Not for use by two threads at once.

    Args:
        bundle: A whole bundle; kept as it is when it lies at a multiple of 16, else copied.
        memory: Bytes for decoded weights. With `unpacked_size` or more, or None, they are decoded
            once; with `layer_size` or more, those of an operator each time it runs.

    Attributes:
        inputs: What `run` takes, in order.
        outputs: What it returns, in order.
        arena_size: Bytes of working memory for activations.
        unpacked_size: Bytes of memory for all decoded weights.
        layer_size: Bytes of memory for those of any one operator.
        operators: Number of operators.

    Raises:
        BundleError: HT211 not a bundle or cut short, HT212 malformed.
        GateError: HT502 of another format or kernel version, HT503 too little memory.
    """

    def __init__(self, bundle: bytes | memoryview, memory: int | None = None) -> None:
        self._c = _library.opened()
        self._bundle = _aligned(np.frombuffer(bundle, np.uint8))
        self._model = ctypes.create_string_buffer(self._c.ht_model_size())
        status = self._c.ht_model_open(self._bundle.ctypes.data, len(self._bundle), self._model)
        self._check(status)
        self.arena_size, self.unpacked_size, self.layer_size = self._numbers(
            self._c.ht_model_memory, 3
        )
        room = self._room(memory)
        self._weights = _aligned(np.empty(room, np.uint8))
        self._arena = _aligned(np.zeros(self.arena_size + 16, np.uint8))
        self._check(self._c.ht_weights_unpack(self._model, self._weights.ctypes.data, room))
        self._check(
            self._c.ht_model_set_arena(self._model, self._arena.ctypes.data, len(self._arena))
        )
        input_count, output_count, self.operators = self._numbers(self._c.ht_model_counts, 3)
        self._inputs = [self._port(self._c.ht_input, i) for i in range(input_count)]
        self._outputs = [self._port(self._c.ht_output, i) for i in range(output_count)]
        self.inputs = tuple(info for info, _ in self._inputs)
        self.outputs = tuple(info for info, _ in self._outputs)

    @property
    def input_shapes(self) -> tuple[tuple[int, int, int, int], ...]:
        """Shapes of the inputs, N H W C."""
        return tuple(info.shape for info in self.inputs)

    def run(self, *inputs: Int8Array) -> list[npt.NDArray[Any]]:
        """Run the model on int8 codes.

        Args:
            *inputs: One int8 array per input, with as many elements; any shape.

        Returns:
            One int8 or int16 array [N, H, W, C] per output.

        Raises:
            DeviceError: HT610, wrong number, type or size of inputs.
        """
        self._write(inputs)
        _library.check(self._c.ht_run(self._model), "bundle")
        return [codes.copy() for _, codes in self._outputs]

    def run_float(self, *inputs: npt.ArrayLike) -> list[FloatArray]:
        """Quantise real inputs, run, and dequantise the outputs.

        Args:
            *inputs: One array per input, with as many elements; taken as float32.

        Returns:
            One float32 array [N, H, W, C] per output.

        Raises:
            DeviceError: HT610, wrong number or size of inputs.
        """
        reals = [np.ascontiguousarray(value, np.float32) for value in inputs]
        self._require([value.size for value in reals])
        for value, (info, codes) in zip(reals, self._inputs, strict=True):
            self._c.ht_quantize_f32_s8(
                value.ctypes.data, info.scale, info.zero_point, codes.ctypes.data, codes.size
            )
        _library.check(self._c.ht_run(self._model), "bundle")
        return [self._dequantized(info, codes) for info, codes in self._outputs]

    def trace(self, *inputs: Int8Array) -> list[npt.NDArray[Any]]:
        """Run operator by operator and return the output of each, int8 or int16 [N, H, W, C].

        Raises:
            DeviceError: HT610, wrong number, type or size of inputs.
        """
        self._write(inputs)
        outputs = []
        for index in range(self.operators):
            _library.check(self._c.ht_run_op(self._model, index), "bundle")
            outputs.append(self._port(self._c.ht_op_output, index)[1].copy())
        return outputs

    def read_outputs(self) -> list[npt.NDArray[Any]]:
        """Return the outputs of the last run or trace, int8 or int16 [N, H, W, C]."""
        return [codes.copy() for _, codes in self._outputs]

    def _room(self, memory: int | None) -> int:
        """Return what is needed of the memory given."""
        if memory is None or memory >= self.unpacked_size:
            return self.unpacked_size
        least = min(self.unpacked_size, self.layer_size)
        if memory < least:
            raise GateError(
                "HT503", "memory", f"{memory} bytes do not hold the decoded weights",
                f"{least} hold those of one operator at a time, {self.unpacked_size} all of them",
            )  # fmt: skip
        return self.layer_size

    def _write(self, inputs: tuple[Int8Array, ...]) -> None:
        for value in inputs:
            if value.dtype != np.int8:
                raise DeviceError(
                    "HT610", "input", f"has type {value.dtype}",
                    "give int8 codes, or real numbers to run_float",
                )  # fmt: skip
        self._require([value.size for value in inputs])
        for value, (_, codes) in zip(inputs, self._inputs, strict=True):
            codes[...] = value.reshape(codes.shape)

    def _require(self, sizes: list[int]) -> None:
        expected = [codes.size for _, codes in self._inputs]
        if sizes != expected:
            raise DeviceError(
                "HT610", "input", f"has {sizes} elements",
                f"this model takes {expected}: shapes {list(self.input_shapes)}",
            )  # fmt: skip

    def _dequantized(self, info: TensorInfo, codes: npt.NDArray[Any]) -> FloatArray:
        real = np.empty(codes.shape, np.float32)
        if info.dtype == "int16":
            self._c.ht_dequantize_s16_f32(
                codes.ctypes.data, info.scale, real.ctypes.data, codes.size
            )
            return real
        self._c.ht_dequantize_s8_f32(
            codes.ctypes.data, info.scale, info.zero_point, real.ctypes.data, codes.size
        )
        return real

    def _check(self, status: int) -> None:
        where = "bundle"
        if status in {-13, -14}:
            where = f"PROG operator {self._c.ht_model_failed_op(self._model)}"
        _library.check(status, where)

    def _numbers(self, function: ctypes._NamedFuncPointer, count: int) -> list[int]:
        """Return what a function of the model writes to its `count` u32 pointers."""
        places = [ctypes.c_uint32() for _ in range(count)]
        function(self._model, *map(ctypes.byref, places))
        return [place.value for place in places]

    def _port(
        self, function: ctypes._NamedFuncPointer, index: int
    ) -> tuple[TensorInfo, npt.NDArray[Any]]:
        """Return a port and its codes, a view of the arena."""
        port = _library.Port()
        self._check(function(self._model, index, ctypes.byref(port)))
        n, h, w, c = port.dims
        start = port.codes - self._arena.ctypes.data
        stored = self._arena[start : start + port.elements * port.code_size]
        codes = stored.view(np.int16 if port.code_size == 2 else np.int8).reshape(n, h, w, c)
        return TensorInfo((n, h, w, c), port.scale, port.zero, codes.dtype.name), codes


def _aligned(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the array, or a copy, beginning at a multiple of 16."""
    if data.ctypes.data % 16 == 0:
        return data
    room = np.empty(len(data) + 16, np.uint8)
    start = -room.ctypes.data % 16
    copy = room[start : start + len(data)]
    copy[:] = data
    return copy


def huffman_decode_dense(stored: bytes, count: int, table: bytes) -> Int8Array:
    """Decode dense-huff in C (SPEC section 1.7).

    Args:
        stored: The tensor's bytes in DATA.
        count: Elements.
        table: Code table of the values, as in HUFF.

    Raises:
        BundleError: HT212, not what an encoder writes.
    """
    c = _library.opened()
    out = np.empty(count, np.int8)
    values = ctypes.create_string_buffer(c.ht_decoder_size())
    _library.check(c.ht_huffman_build(table, len(table), values), "HUFF")
    _library.check(
        c.ht_huffman_decode_dense(values, stored, len(stored), out.ctypes.data, count), "DATA"
    )
    return out


def huffman_decode_gap(stored: bytes, count: int, gap_table: bytes, table: bytes) -> Int8Array:
    """Decode gap-huff in C (SPEC section 1.7); `gap_table` codes the gaps, `table` the values.

    Raises:
        BundleError: HT212, not what an encoder writes.
    """
    c = _library.opened()
    out = np.empty(count, np.int8)
    decoders = ctypes.create_string_buffer(c.ht_gap_decoders_size())
    tables = table, len(table), gap_table, len(gap_table)
    _library.check(c.ht_huffman_build_gap(*tables, decoders), "HUFF")
    _library.check(
        c.ht_huffman_decode_gap(decoders, stored, len(stored), out.ctypes.data, count), "DATA"
    )
    return out
