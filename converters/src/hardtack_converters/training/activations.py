"""Activations on the grids that devices have for them, while a net is trained.

The gradient of the rounding is taken as 1 within the range (Jacob 2018, arXiv 1712.05877).
"""

from __future__ import annotations

import onnx_ir as ir
import torch
from torch import Tensor, nn

from hardtack_converters.activation_groups import SAME_GRID, quantized_values
from hardtack_converters.lower.tables import fixed_grid
from hardtack_converters.ranges import Range, affine_grid

Grid = tuple[float, int]

KEPT = 0.99
"""What a range keeps of itself at each step."""


class Activation(nn.Module):
    """A value rounded to 256 codes between the limits that it has had of late, 0 among them.

    Args:
        fixed: Scale and zero point that do not depend on what is seen, or None.
    """

    def __init__(self, fixed: Grid | None = None) -> None:
        super().__init__()
        self.fixed = fixed
        self.register_buffer("limits", torch.zeros(2))
        self.limits: Tensor

    def forward(self, x: Tensor, *, rounds: bool) -> Tensor:
        """Learn the limits while training; return what devices would have of the value.

        Args:
            x: Float values.
            rounds: Or return them as they are.
        """
        if self.training and self.fixed is None:
            self._see(x.detach().to(self.limits.dtype))
        return self._rounded(x) if rounds else x

    def _see(self, x: Tensor) -> None:
        seen = torch.stack([x.min().clamp_max(0), x.max().clamp_min(0)])
        is_first = not bool(self.limits.any())
        self.limits.copy_(seen if is_first else self.limits.lerp(seen, 1 - KEPT))

    def _rounded(self, x: Tensor) -> Tensor:
        scale, zero = self.fixed or affine_grid(Range(*self.limits.tolist()))
        inside = torch.clamp(x.float(), (-128 - zero) * scale, (127 - zero) * scale)
        codes = torch.round(inside.detach() / scale)
        return inside + (codes * scale - inside).detach()


def coded_values(model: ir.Model) -> dict[ir.Value, tuple[str, Grid | None]]:
    """Return a name, and a fixed grid, for each value that is rounded on a device.

    Those that only move or compare codes round nothing.
    """
    found = dict[ir.Value, tuple[str, Grid | None]]()
    for value in quantized_values(model):
        producer = value.producer()
        if producer is None or producer.op_type not in SAME_GRID:
            fixed = None if producer is None else fixed_grid(producer)
            found[value] = f"a{len(found)}", fixed
    return found
