"""What a model whose weights lie on grids comes to, in bytes."""

from __future__ import annotations

import onnx_ir as ir

from hardtack_converters.convert import Options, convert, pack_model
from hardtack_converters.training.options import Sizer
from hardtack_runtime.signing import SigningKey


def bundle_sizer(options: Options) -> Sizer:
    """Return what counts every byte of the signed bundle that a model becomes.

    Args:
        options: Of the conversion; with calibration samples.
    """
    key = SigningKey.generate()  # any key's signature is as long

    def size(model: ir.Model) -> int:
        file = ir.to_proto(model).SerializeToString()
        return len(pack_model(convert(file, options), key, smallest=True))

    return size
