"""Whole models of the MLPerf Tiny and TFLite Micro projects: every output bit is TFLite Micro's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from hardtack_runtime.interpreter import Interpreter
from tests.conformance.oracle import Oracle
from tests.conformance.test_operators import bundle_of
from tests.data import data_path

MODELS = (
    *("mlperf_tiny/ad01_int8", "mlperf_tiny/kws_ref_model", "mlperf_tiny/pretrainedResnet_quant"),
    *("mlperf_tiny/str_ww_ref_model", "mlperf_tiny/vww_96_int8"),
    *("tflite_micro/hello_world_int8", "tflite_micro/micro_speech_quantized"),
    "tflite_micro/person_detect",
)
RUNS = 25


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with Oracle() as worker:
        yield worker


def input_shape(model: bytes) -> tuple[int, ...]:
    import tflite

    graph = tflite.Model.GetRootAsModel(model, 0).Subgraphs(0)
    return tuple(int(n) for n in graph.Tensors(graph.Inputs(0)).ShapeAsNumpy())


@pytest.mark.parametrize("name", MODELS)
def test_every_output_bit_is_tflite_micros(name: str, oracle: Oracle) -> None:
    model = data_path(f"{name}.tflite").read_bytes()
    rng = np.random.default_rng(11)
    shape = input_shape(model)
    batches = [[rng.integers(-128, 128, shape).astype(np.int8)] for _ in range(RUNS)]
    expected = oracle.run(model, batches)
    interpreter = Interpreter(bundle_of(model))
    for inputs, (wanted,) in zip(batches, expected, strict=True):
        (found,) = interpreter.run(*inputs)
        assert np.array_equal(found.ravel(), wanted.ravel())
