"""The QDQ ONNX that .tflite files become is standard: it checks, and ONNX Runtime agrees."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from hardtack_converters.convert import convert
from hardtack_converters.importers import import_model, read_source
from tests.conformance.models.runtimes import run_onnx
from tests.conformance.oracle import Oracle
from tests.data import data_path


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        # One step before a steep softmax is many behind it.
        ("mlperf_tiny/kws_ref_model", 16),
        ("mlperf_tiny/vww_96_int8", 2),
        ("mlperf_tiny/ad01_int8", 4),
        ("mlperf_tiny/str_ww_ref_model", 2),
        ("tflite_micro/micro_speech_quantized", 2),
    ],
)
def test_tflite_becomes_onnx_that_onnx_runtime_runs_alike(name: str, steps: int) -> None:
    source = read_source(data_path(f"{name}.tflite"))
    proto = ir.to_proto(import_model(source))
    onnx.checker.check_model(proto, full_check=True)
    rng = np.random.default_rng(2)
    (value,) = proto.graph.input
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    batches = [[rng.integers(-128, 128, shape).astype(np.int8)] for _ in range(10)]
    with Oracle() as oracle:
        expected = oracle.run(source.data, batches)
    for (codes,), (wanted,) in zip(batches, expected, strict=True):
        found = run_onnx(proto, {value.name: codes})[0]
        assert np.abs(found.astype(int).ravel() - wanted.astype(int).ravel()).max() <= steps


@pytest.mark.parametrize(
    "name",
    ["mlperf_tiny/ad01_fp32", "mlperf_tiny/pretrainedResnet", "mlperf_tiny/kws_ref_model_float32"],
)
def test_float_tflite_becomes_float_onnx(name: str) -> None:
    from ai_edge_litert.interpreter import Interpreter as LiteRT

    source = read_source(data_path(f"{name}.tflite"))
    proto = ir.to_proto(import_model(source))
    onnx.checker.check_model(proto, full_check=True)
    reference = LiteRT(model_content=source.data)
    reference.allocate_tensors()
    (about,) = reference.get_input_details()
    rng = np.random.default_rng(3)
    values = rng.uniform(0, 1, about["shape"]).astype(np.float32)
    reference.set_tensor(about["index"], values)
    reference.invoke()
    wanted = reference.get_tensor(reference.get_output_details()[0]["index"])
    found = run_onnx(proto, {proto.graph.input[0].name: values})[0]
    # Weights of int8 with float activations are rounded per run by LiteRT: "dynamic range".
    tolerance = 0.05 if "kws" in name else 1e-3
    assert np.abs(found - wanted).max() <= tolerance * max(1.0, float(np.abs(wanted).max()))


@pytest.mark.parametrize(
    "name",
    ["kws_ref_model", "pretrainedResnet_quant", "vww_96_int8", "ad01_int8", "str_ww_ref_model"],
)
def test_onnx_runtime_takes_the_graph_with_all_its_fusions(name: str) -> None:
    """Fused integer operators demand scalar scales: one of shape [1] is refused there."""
    import onnxruntime

    converted = convert(data_path(f"mlperf_tiny/{name}.tflite"))
    model = ir.to_proto(converted.quantized).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    (found,) = session.run(None, {source.name: np.zeros(source.shape, np.int8)})
    assert found.size == converted.program.tensors[converted.program.outputs[0].tensor].elements
