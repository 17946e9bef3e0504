"""Nets and benches for the tests of compression."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from hardtack_converters.convert import Converted, Options
from hardtack_converters.importers import import_model, read_source
from hardtack_converters.passes import prepare
from hardtack_runtime.interpreter import Interpreter
from tests.conformance.models.nets import model_of, node
from tests.conformance.models.runtimes import run_onnx

FloatArray = npt.NDArray[np.float32]


def prepared(proto: onnx.ModelProto) -> ir.Model:
    """Return the graph that compression passes are given."""
    model = import_model(read_source(proto.SerializeToString()))
    prepare(model)
    return model


def answers(model: ir.Model, x: FloatArray) -> FloatArray:
    """Return what a graph gives for one input, run by ONNX Runtime."""
    made = ir.to_proto(model)
    made.ir_version = 8
    onnx.checker.check_model(made)
    name = str(model.graph.inputs[0].name)
    return np.asarray(run_onnx(made, {name: x})[0])


def dense_net(rng: np.random.Generator, widths: tuple[int, ...] = (16, 64, 48, 4)) -> Any:
    """Return Gemm and Relu in turn."""
    nodes, constants = [], {}
    last = "x"
    for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        draw = rng.normal(size=(outputs, inputs)) / np.sqrt(inputs)
        # Rows that sum to zero, or the mean of what Relu leaves would always choose one class.
        constants[f"w{index}"] = (draw - draw.mean(axis=1, keepdims=True)).astype(np.float32)
        constants[f"b{index}"] = (0.01 * rng.normal(size=outputs)).astype(np.float32)
        nodes.append(node("Gemm", f"{last} w{index} b{index}", f"fc{index}", transB=1))
        last = f"fc{index}"
        if index + 3 <= len(widths):
            nodes.append(node("Relu", last, f"r{index}"))
            last = f"r{index}"
    return model_of(nodes, constants, {"x": ["N", widths[0]]}, {last: 2})


def judged(proto: onnx.ModelProto, samples: FloatArray) -> Options:
    """Return options whose judge asks for the float model's own answers."""
    name = proto.graph.input[0].name
    truth = [int(np.argmax(run_onnx(proto, {name: x})[0])) for x in samples]

    def judge(_: Converted, bundle: bytes, limit: int | None) -> float:
        device = Interpreter(bundle)
        pairs = list(zip(samples, truth, strict=True))[:limit]
        return float(np.mean([int(np.argmax(device.run_float(x)[0])) == y for x, y in pairs]))

    return Options(calibration=samples, judge=judge)
