"""Sizes and times as people write them: "48 KiB", "20 ms", "1 %"."""

from __future__ import annotations

import re

_SIZES = {"B": 1, "KB": 1000, "KIB": 1024, "MB": 1000**2, "MIB": 1024**2, "GIB": 1024**3}
_TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}


def _split(text: str) -> tuple[float, str]:
    if is_negative(text):
        raise ValueError(f"{text!r} must not be negative")
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z%]*)\s*", text)
    if match is None:
        raise ValueError(f"{text!r} is no number, 0 or more, with a unit")
    return float(match[1]), match[2]


def is_negative(text: str) -> bool:
    """Say whether text is a number below 0, with or without a unit."""
    return re.fullmatch(r"\s*-\s*\d+(?:\.\d+)?\s*[A-Za-z%]*\s*", text) is not None


def parse_size(text: str) -> int:
    """Return the bytes of "48 KiB".

    Raises:
        ValueError: not a number with B, KB, KiB, MB, MiB or GiB.
    """
    number, unit = _split(text)
    if unit.upper() not in _SIZES:
        raise ValueError(f"{text!r}: the unit must be B, KB, KiB, MB, MiB or GiB")
    return round(number * _SIZES[unit.upper()])


def parse_time(text: str) -> float:
    """Return the seconds of "20 ms".

    Raises:
        ValueError: not a number with us, ms, s, min or h.
    """
    number, unit = _split(text)
    if unit not in _TIMES:
        raise ValueError(f"{text!r}: the unit must be us, ms, s, min or h")
    return number * _TIMES[unit]


def parse_share(text: str) -> float:
    """Return 0.015 for "1.5 %".

    Raises:
        ValueError: not a number with %.
    """
    number, unit = _split(text)
    if unit != "%":
        raise ValueError(f"{text!r}: the unit must be %")
    return number / 100


def format_size(size: float) -> str:
    """Return "47.5 KiB"."""
    if size < 1024:
        return f"{size:.0f} B"
    return f"{size / 1024:.1f} KiB" if size < 1024**2 else f"{size / 1024**2:.1f} MiB"
