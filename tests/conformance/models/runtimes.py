"""ONNX Runtime, one thread, as tests use it."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import onnx


def open_onnx(proto: onnx.ModelProto) -> Any:
    """Open a model exactly as written: no fusions."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run_onnx(proto: onnx.ModelProto, feeds: dict[str, npt.NDArray[Any]]) -> list[Any]:
    """Run a model once."""
    results: list[Any] = open_onnx(proto).run(None, feeds)
    return results
