"""0.0 has a code in every grid of every real model: padding, Relu and pruned weights are exact."""

from __future__ import annotations

import numpy as np
import pytest

from hardtack_converters import query
from hardtack_converters.convert import Converted, Options, convert
from tests.conformance.models.nets import lenet5, lenet300
from tests.conformance.models.test_tflite import MODELS
from tests.data import data_path

FLOATS = {
    "mlperf_tiny/kws_ref_model_float32": (49, 10, 1),
    "mlperf_tiny/pretrainedResnet": (32, 32, 3),
    "mlperf_tiny/vww_96_float": (96, 96, 3),
    "mlperf_tiny/ad01_fp32": (640,),
}


def zeros_are_exact(made: Converted) -> int:
    """Check every grid; return how many there are."""
    grids = 0
    for node in made.quantized.graph:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        scale, zero = (query.constant(query.input_at(node, i)) for i in (1, 2))
        assert scale is not None
        assert (scale > 0).all()
        codes = np.zeros(scale.shape, np.int64) if zero is None else zero
        assert codes.dtype.kind == "i"
        assert ((codes >= -128) & (codes <= 127)).all()
        code = np.clip(np.rint(np.float32(0) / scale) + codes, -128, 127)
        assert ((code - codes) * scale == 0).all()
        grids += 1
    for port in (*made.program.inputs, *made.program.outputs):
        assert -128 <= port.zero_point <= 127
    return grids


@pytest.mark.parametrize("name", [case.values[0] for case in MODELS if not case.marks])
def test_zero_is_exact_in_an_int8_model(name: object) -> None:
    assert zeros_are_exact(convert(data_path(f"{name}.tflite"))) > 3


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("method", ["min-max", "entropy"])
def test_zero_is_exact_in_a_calibrated_model(name: str, method: str) -> None:
    path = data_path(f"{name}.tflite")
    rng = np.random.default_rng(0)
    # One-sided, so that nothing but the grid's own rule puts 0 inside its range.
    samples = rng.uniform(1, 2, (8, 1, *FLOATS[name])).astype(np.float32)
    options = Options(calibration=samples, method=method)  # type: ignore[arg-type]
    assert zeros_are_exact(convert(path, options)) > 3


@pytest.mark.parametrize(("name", "build"), [("lenet300", lenet300), ("lenet5", lenet5)])
def test_zero_is_exact_in_a_lenet(name: str, build: object) -> None:
    net = build(data_path(f"lenet/{name}.pt"))  # type: ignore[operator]
    samples = np.random.default_rng(0).uniform(1, 2, (8, 1, 1, 28, 28)).astype(np.float32)
    made = convert(net.SerializeToString(), Options(calibration=samples))
    assert zeros_are_exact(made) > 3
