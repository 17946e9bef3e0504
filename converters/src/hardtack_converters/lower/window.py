"""The geometry of a sliding window, from ONNX's attributes to the program's fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.query import label
from hardtack_runtime.errors import UnsupportedOpError


@dataclass(frozen=True, slots=True)
class Window:
    """A window over an image; one-dimensional ones have height 1.

    Sizes and strides in elements; `pad_bottom` and `pad_right` may be more than the windows reach.
    """

    height: int
    width: int
    out_height: int
    out_width: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    pad_top: int
    pad_left: int
    pad_bottom: int
    pad_right: int

    @property
    def padded(self) -> bool:
        """True if any side is padded."""
        return any((self.pad_top, self.pad_left, self.pad_bottom, self.pad_right))


def window_of(node: ir.Node, shape: tuple[int, ...], kernel: Sequence[int]) -> Window:
    """Return the window of a Conv or pool over an [N, C, (H,) W] image.

    Raises:
        UnsupportedOpError: HT302, the rank, the batch or a size fits no kernel.
    """
    axes = len(shape) - 2
    if axes not in (1, 2) or shape[0] != 1 or len(kernel) != axes:
        raise UnsupportedOpError(
            "HT302", label(node), f"input of shape {list(shape)}",
            "one image of one or two dimensions at a time has a kernel",
        )  # fmt: skip
    out = query.shape_of(node.outputs[0])[2:]
    strides = query.ints_attribute(node, "strides", (1,) * axes)
    dilations = query.ints_attribute(node, "dilations", (1,) * axes)
    before, after = _pads(node, shape[2:], out, (tuple(kernel), strides, dilations))
    sizes = [shape[2:], out, kernel, strides, dilations, before, after]
    neutral = (1, 1, 1, 1, 1, 0, 0)
    if axes == 1:
        sizes = [(lead, *size) for lead, size in zip(neutral, sizes, strict=True)]
    window = Window(*(int(v) for size in sizes[:6] for v in size), *(int(v) for v in sizes[6]))
    if max(*strides, *dilations, *before) > 65535 or min(*strides, *dilations, *before) < 0:
        raise UnsupportedOpError("HT302", label(node), "a stride, dilation or pad out of range")
    if not _every_window_meets_the_image(window):
        raise UnsupportedOpError(
            "HT302", label(node), "some of its windows lie wholly in the padding",
            "pad by less than the kernel's reach",
        )  # fmt: skip
    return window


def _every_window_meets_the_image(window: Window) -> bool:
    rows = (window.kernel_h - 1) * window.dilation_h >= window.pad_top
    columns = (window.kernel_w - 1) * window.dilation_w >= window.pad_left
    last_row = (window.out_height - 1) * window.stride_h - window.pad_top
    last_column = (window.out_width - 1) * window.stride_w - window.pad_left
    return rows and columns and last_row < window.height and last_column < window.width


def _pads(
    node: ir.Node,
    image: Sequence[int],
    out: Sequence[int],
    steps: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return pads before and after each axis, `auto_pad` resolved."""
    axes = len(image)
    auto = query.string_attribute(node, "auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        kernel, strides, dilations = steps
        before, after = [], []
        for axis in range(axes):
            span = (kernel[axis] - 1) * dilations[axis] + 1
            total = max((out[axis] - 1) * strides[axis] + span - image[axis], 0)
            small, large = total // 2, total - total // 2
            before.append(small if auto == "SAME_UPPER" else large)
            after.append(large if auto == "SAME_UPPER" else small)
        return tuple(before), tuple(after)
    pads = (0,) * (2 * axes)
    if auto == "NOTSET":
        pads = query.ints_attribute(node, "pads", pads)
    return pads[:axes], pads[axes:]
