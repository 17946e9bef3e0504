"""QDQ ONNX made by ONNX Runtime's own quantiser lowers, and agrees with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from hardtack_converters.convert import Options, convert, pack_model
from hardtack_runtime.interpreter import Interpreter
from tests.conformance.models.nets import small_cnn
from tests.conformance.models.runtimes import open_onnx


def _quantized_by_onnx_runtime(folder: Path, activation: str, *, per_channel: bool) -> Path:
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            rng = np.random.default_rng(5)
            samples = rng.normal(size=(32, 1, 3, 12, 12)).astype(np.float32)
            self.feeds = iter([{"x": sample} for sample in samples])

        def get_next(self) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] | None:
            return next(self.feeds, None)

    floats, ready, quantized = (folder / f"{n}.onnx" for n in ("float", "ready", "qdq"))
    onnx.save(small_cnn(), floats)
    quant_pre_process(str(floats), str(ready), skip_symbolic_shape=True)
    quantize_static(
        str(ready), str(quantized), Reader(), per_channel=per_channel,
        activation_type=getattr(QuantType, activation), weight_type=QuantType.QInt8,
        extra_options={"WeightSymmetric": True},
    )  # fmt: skip
    return quantized


@pytest.mark.parametrize("per_channel", [True, False], ids=["per channel", "per tensor"])
@pytest.mark.parametrize("activation", ["QInt8", "QUInt8"])
def test_model_of_onnx_runtimes_quantizer_agrees_within_a_step(
    tmp_path: Path, activation: str, per_channel: bool
) -> None:
    path = _quantized_by_onnx_runtime(tmp_path, activation, per_channel=per_channel)
    converted = convert(path)
    _agree(
        path.read_bytes(),
        Interpreter(pack_model(converted, None)),
        converted.manifest.outputs[0].scale,
    )


def test_own_quantizer_agrees_with_onnx_runtime_within_a_step() -> None:
    import onnx_ir as ir

    rng = np.random.default_rng(5)
    samples = rng.normal(size=(64, 3, 12, 12)).astype(np.float32)
    converted = convert(small_cnn().SerializeToString(), Options(calibration=samples))
    proto = ir.to_proto(converted.quantized)
    onnx.checker.check_model(proto, full_check=True)
    interpreter = Interpreter(pack_model(converted, None))
    _agree(proto.SerializeToString(), interpreter, converted.manifest.outputs[0].scale)


def _agree(model: bytes, interpreter: Interpreter, step: float) -> None:
    session = open_onnx(onnx.load_model_from_string(model))
    rng = np.random.default_rng(6)
    for _ in range(50):
        image = rng.normal(size=(1, 3, 12, 12)).astype(np.float32)
        wanted = session.run(None, {"x": image})[0].ravel()
        found = interpreter.run_float(image)[0].ravel()
        assert np.abs(found - wanted).max() <= step * 1.5
