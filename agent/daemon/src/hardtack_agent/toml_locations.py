"""Where in a TOML file each key stands: the standard parser keeps no positions."""

from __future__ import annotations

import re
from dataclasses import dataclass

KeyPath = tuple[str | int, ...]
_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*[A-Za-z0-9_"'-]+)*)\s*=""")
_INLINE = re.compile(r"""[{,]\s*([A-Za-z0-9_-]+)\s*=""")


@dataclass(frozen=True, slots=True)
class Location:
    """Line and column, from 1."""

    line: int
    column: int


def locate_keys(text: str) -> dict[KeyPath, Location]:
    """Return the place of every key and table of a TOML text.

    Keys inside inline tables are found; keys inside multi-line strings or arrays of
    tables written inline are not, and then their parent's place serves.
    """
    places: dict[KeyPath, Location] = {}
    counts: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.match(line)
        if header:
            table = _split(header[2])
            if header[1] == "[[":
                index = counts.get(table, -1) + 1
                counts[table] = index
                table = (*table, index)
            places[table] = Location(number, line.index("[") + 1)
            continue
        key = _KEY.match(line)
        if key is None:
            continue
        path = (*table, *_split(key[1]))
        places[path] = Location(number, key.start(1) + 1)
        for inner in _INLINE.finditer(line, key.end()):
            places[(*path, inner[1])] = Location(number, inner.start(1) + 1)
    return places


def _split(dotted: str) -> KeyPath:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def nearest(places: dict[KeyPath, Location], path: KeyPath) -> Location:
    """Return the place of the key, or of its closest known parent."""
    if path not in places and (*path, 0) in places:
        path = (*path, 0)  # an array of tables begins at its first
    while path and path not in places:
        path = path[:-1]
    return places.get(path, Location(1, 1))
