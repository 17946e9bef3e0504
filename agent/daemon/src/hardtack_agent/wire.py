"""The frames of the prediction socket: u32 length (little-endian), then one CBOR map.

Source: SPEC section 4.4.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

import cbor2
import numpy as np
import numpy.typing as npt

from hardtack_runtime.cbor import read_cbor
from hardtack_runtime.errors import DeviceError

MAX_FRAME = 16 << 20
_LENGTH = struct.Struct("<I")
_DTYPES = ("float32", "float64", "int8", "uint8", "int16", "int32", "int64")


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send one map.

    Raises:
        DeviceError: HT609, it holds something that CBOR cannot say.
    """
    try:
        body = cbor2.dumps(message)
    except (cbor2.CBOREncodeError, ValueError, TypeError) as error:
        raise DeviceError("HT609", "socket", f"a message is no CBOR: {error}") from error
    connection.sendall(_LENGTH.pack(len(body)) + body)


def receive(connection: socket.socket) -> dict[str, Any] | None:
    """Receive one map; None when the other side has closed between frames.

    Raises:
        DeviceError: HT609, cut short, too long, or no CBOR map.
    """
    head = _exactly(connection, _LENGTH.size)
    if not head:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > MAX_FRAME:
        raise DeviceError("HT609", "socket", f"a frame of {length} bytes; {MAX_FRAME} is the most")
    body = _exactly(connection, length)
    try:
        message = read_cbor(body)
    except ValueError as error:
        raise DeviceError("HT609", "socket", f"a frame holds {error}") from error
    if not isinstance(message, dict):
        raise DeviceError("HT609", "socket", "a frame holds no map")
    return message


def pack_array(array: npt.NDArray[Any]) -> dict[str, Any]:
    """Return an array as {dtype, shape, data}: C order, little-endian."""
    plain = np.ascontiguousarray(array)
    data = plain.astype(plain.dtype.newbyteorder("<"), copy=False).tobytes()
    return {"dtype": plain.dtype.name, "shape": list(array.shape), "data": data}


def unpack_array(value: Any) -> npt.ArrayLike:
    """Read {dtype, shape, data}; nested lists of numbers pass through.

    Raises:
        DeviceError: HT610, the three do not agree.
    """
    if not isinstance(value, dict):
        if isinstance(value, list | int | float):
            return value
        raise DeviceError("HT610", "input", f"is a {type(value).__name__}, not an array")
    dtype, shape, data = value.get("dtype"), value.get("shape"), value.get("data")
    if not isinstance(data, bytes) or not isinstance(shape, list) or dtype not in _DTYPES:
        raise DeviceError("HT610", "input", f"needs shape, data and dtype: {', '.join(_DTYPES)}")
    if not all(type(n) is int and 0 <= n < 2**31 for n in shape):
        raise DeviceError("HT610", "input", "its shape holds something else than lengths")
    try:
        return np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(shape)
    except ValueError as error:
        raise DeviceError("HT610", "input", f"{len(data)} bytes, not {dtype} {shape}") from error


def _exactly(connection: socket.socket, count: int) -> bytes:
    chunks = bytearray()
    while len(chunks) < count:
        chunk = connection.recv(min(count - len(chunks), 1 << 20))
        if not chunk:
            if not chunks and count == _LENGTH.size:
                return b""
            raise DeviceError("HT609", "socket", f"closed after {len(chunks)} of {count} bytes")
        chunks += chunk
    return bytes(chunks)
