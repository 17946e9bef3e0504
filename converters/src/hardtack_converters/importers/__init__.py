"""Readers of model files; each imports the library of its format when called."""

from __future__ import annotations

from hardtack_converters.importers.source import Source, import_model, read_source, sniff

__all__ = ["Source", "import_model", "read_source", "sniff"]
