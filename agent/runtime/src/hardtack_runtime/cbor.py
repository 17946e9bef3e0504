"""Reading CBOR that anybody may have written (RFC 8949)."""

from __future__ import annotations

import io
from typing import Any

import cbor2


def read_cbor(data: bytes) -> Any:
    """Return the one item that `data` holds.

    Raises:
        ValueError: not CBOR, or not exactly one item.
    """
    stream = io.BytesIO(data)
    try:
        item = cbor2.load(stream)
    except Exception as error:
        # Tags stand for dates, fractions and patterns: what a wrong one raises has no common root.
        detail = str(error).split("\n")[0] or type(error).__name__
        raise ValueError(f"no CBOR: {detail}") from error
    if stream.tell() != len(data):
        raise ValueError(f"{len(data) - stream.tell()} bytes after the CBOR item")
    return item
