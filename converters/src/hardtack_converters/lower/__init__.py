"""From a graph in QDQ form to a program: integers only, NHWC, SPEC section 2."""

from __future__ import annotations

from hardtack_converters.lower.program import LOWERINGS, Lowered, lower

__all__ = ["LOWERINGS", "Lowered", "lower"]
