"""From a trained model to a program for the hardtack runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hardtack_converters.convert import Converted, Options, check, convert, pack_model

__all__ = ["Converted", "Options", "check", "convert", "pack_model"]


def __getattr__(name: str) -> Any:
    """Import on first use: reading models needs onnx, which is slow to load."""
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from hardtack_converters import convert as module

    return getattr(module, name)
