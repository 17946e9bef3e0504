"""Tables of fields as bodies of the serial protocol: a class of fields is its own codec."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self, dataclass_transform, get_args, get_type_hints

from hardtack_agent.serial_link import LinkError

REST = "*"
U8 = Annotated[int, "B"]
U8x1 = Annotated[int, "Bx"]
"""One byte and one that is zero."""
U8x2 = Annotated[int, "B2x"]
U8x3 = Annotated[int, "B3x"]
U16 = Annotated[int, "H"]
U16x2 = Annotated[int, "H2x"]
U32 = Annotated[int, "I"]
U64 = Annotated[int, "Q"]
Flag = Annotated[bool, "B"]
Bytes8 = Annotated[bytes, "8s"]
Bytes16 = Annotated[bytes, "16s"]
Bytes32 = Annotated[bytes, "32s"]
Text16 = Annotated[str, "16s"]
Text32 = Annotated[str, "32s"]
Rest = Annotated[bytes, REST]
"""All bytes that are left."""
RestText = Annotated[str, REST]
Triple = Annotated[tuple[int, int, int], "3I"]
TwoBytes8 = Annotated[tuple[bytes, bytes], "8s8s"]

Table = list[tuple[str, Any, str]]


@dataclass_transform(frozen_default=True)
class Message:
    """A body: its fields in order, each with the format of `struct` in its annotation.

    Fields without one come last; a class that has some reads them itself.
    """

    _table: ClassVar[Table]

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)
        hints = get_type_hints(cls, include_extras=True)
        named = [(name, get_args(hints[name])) for name in cls.__annotations__]
        cls._table = [
            (name, found[0], found[1])
            for name, found in named
            if len(found) == 2 and isinstance(found[1], str)
        ]

    def encode(self) -> bytes:
        """Return the body."""
        parts = []
        for name, _, word in self._table:
            value = getattr(self, name)
            value = value.encode() if isinstance(value, str) else value
            values = value if isinstance(value, tuple) else (value,)
            parts.append(value if word == REST else struct.pack("<" + word, *values))
        return b"".join(parts)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Read a body.

        Raises:
            LinkError: it has another length.
        """
        values, rest = cls.read(body)
        if rest:
            raise cls.wrong_length(body)
        return cls(**values)

    @classmethod
    def read(cls, body: bytes) -> tuple[dict[str, Any], bytes]:
        """Return the fields of the table, and the bytes behind them; raises as `decode`."""
        values: dict[str, Any] = {}
        at = 0
        for name, kind, word in cls._table:
            size = len(body) - at if word == REST else struct.calcsize("<" + word)
            if len(body) < at + size:
                raise cls.wrong_length(body)
            found = (body[at:],) if word == REST else struct.unpack_from("<" + word, body, at)
            values[name] = _value(kind, found)
            at += size
        return values, body[at:]

    @classmethod
    def wrong_length(cls, body: bytes) -> LinkError:
        """Return the error of a body that is too short or too long."""
        size = sum(struct.calcsize("<" + word) for _, _, word in cls._table if word != REST)
        return LinkError(f"{cls.__name__}: {len(body)} bytes, expected {size} or more; ask again")


def _value(kind: Any, found: tuple[Any, ...]) -> Any:
    if kind is str:
        return found[0].rstrip(b"\0").decode("utf-8", "replace")
    if kind is bool:
        return bool(found[0])
    return found if kind not in (int, bytes) else found[0]


def read_words(body: bytes) -> tuple[int, ...]:
    """Read a list of u32: checksums, ticks."""
    return struct.unpack(f"<{len(body) // 4}I", body[: len(body) // 4 * 4])
