"""What a model whose weights lie on grids comes to, in bytes."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from hardtack_converters.convert import Converted, Options, convert, pack_model
from hardtack_converters.training.options import Sizer
from hardtack_runtime.signing import SigningKey


def smallest_bundle(converted: Converted) -> bytes:
    """Return a signed bundle with weights coded by context."""
    return pack_model(converted, SigningKey.generate(), smallest=True)  # all signatures are as long


def bundle_sizer(options: Options, pack: Callable[[Converted], bytes] = smallest_bundle) -> Sizer:
    """Return what counts every byte of the bundle that a model becomes.

    Args:
        options: Of the conversion; with calibration samples.
        pack: Makes the bundle.
    """

    def size(model: ir.Model) -> int:
        return len(pack(convert(ir.to_proto(model).SerializeToString(), options)))

    return size
