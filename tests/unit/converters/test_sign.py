"""Signs, however an exporter writes them, have codes of one magnitude, so that binary layers behind
them are found."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from hardtack_converters.convert import Options, convert, pack_model
from hardtack_runtime.errors import UnsupportedOpError
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.program import Lookup
from hardtack_runtime.usage import binary_sums
from tests.conformance.models.nets import model_of, node

CONSTANTS = {
    "zero": np.zeros((), np.float32),
    "half": np.full((), 0.5, np.float32),
    "plus": np.ones((), np.float32),
    "minus": -np.ones(1, np.float32),
    "many": np.ones(8, np.float32),
}
SIGN = [node("Sign", "x", "s")]
STEP = [node("GreaterOrEqual", "x zero", "c"), node("Where", "c plus minus", "s")]
TURNED = [node("Less", "x zero", "c"), node("Where", "c minus plus", "s")]


def net(nodes: list[onnx.NodeProto]) -> bytes:
    """Return signs of eight inputs and a binary layer behind them, of 6 outputs."""
    rng = np.random.default_rng(1)
    weights = np.where(rng.random((6, 8)) < 0.5, -0.3, 0.3).astype(np.float32)
    nodes = [*nodes, node("Gemm", "s w", "y", transB=1)]
    model = model_of(nodes, {**CONSTANTS, "w": weights}, {"x": [1, 8]}, {"y": 2})
    return bytes(model.SerializeToString())


def options() -> Options:
    samples = np.linspace(-2, 2, 64 * 8, dtype=np.float32).reshape(64, 8)
    return Options(calibration=np.random.default_rng(0).permuted(samples))


@pytest.mark.parametrize(
    ("nodes", "at_zero"), [(SIGN, 0), (STEP, 127), (TURNED, 127)], ids=["sign", "step", "turned"]
)
def test_signs_are_codes_of_one_magnitude_behind_which_products_are_counted(
    nodes: list[onnx.NodeProto], at_zero: int
) -> None:
    converted = convert(net(nodes), options())
    program = converted.program
    (lookup,) = (op for op in program.ops if isinstance(op, Lookup))
    table = program.tensors[lookup.table].data
    assert table is not None
    zero = program.inputs[0].zero_point
    assert table.flat[zero + 128] == at_zero
    assert set(np.delete(table, zero + 128).tolist()) == {-127, 127}
    assert len(binary_sums(program)) == 1
    device = Interpreter(pack_model(converted, None))
    x = np.array([[-1.9, -1, -0.5, -0.1, 0.1, 0.5, 1, 1.9]], np.float32)
    weights = np.where(np.random.default_rng(1).random((6, 8)) < 0.5, -0.3, 0.3)
    assert np.allclose(device.run_float(x)[0], np.sign(x) @ weights.T, atol=0.02)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Greater", "x half", "c"), node("Where", "c plus zero", "s")],
        [node("LessOrEqual", "x half", "c"), node("Where", "c zero plus", "s")],
    ],
)
def test_a_step_between_any_two_numbers_is_a_table(nodes: list[onnx.NodeProto]) -> None:
    converted = convert(net(nodes), options())
    x = np.array([[-1.9, -1, 0.1, 0.45, 0.55, 0.8, 1, 1.9]], np.float32)
    weights = np.where(np.random.default_rng(1).random((6, 8)) < 0.5, -0.3, 0.3)
    found = Interpreter(pack_model(converted, None)).run_float(x)[0]
    assert np.allclose(found, (x > 0.5) @ weights.T, atol=0.02)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Greater", "x zero", "c"), node("Where", "c x minus", "s")],
        [node("Greater", "x many", "c"), node("Where", "c plus minus", "s")],
        [node("Greater", "zero x", "c"), node("Where", "c plus minus", "s")],
    ],
    ids=["a value is chosen", "compared with several", "a number is compared"],
)
def test_other_choices_are_refused(nodes: list[onnx.NodeProto]) -> None:
    with pytest.raises(UnsupportedOpError) as caught:
        convert(net(nodes), options())
    assert caught.value.code == "HT302"
