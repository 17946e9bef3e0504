"""Rewrites of the float graph, one file each, and the order they run in.

Every pass changes the model in place and returns how many places it changed.
"""

from __future__ import annotations

from hardtack_converters.passes.pipeline import is_quantized, prepare

__all__ = ["is_quantized", "prepare"]
