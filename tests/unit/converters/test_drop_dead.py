"""Units that do nothing go, whatever lies between the layers, and the answers stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest

from hardtack_converters import query
from hardtack_converters.convert import Options, convert
from hardtack_converters.importers import import_model, read_source
from hardtack_converters.passes import prepare
from hardtack_converters.passes.drop_dead import drop_dead
from tests.conformance.models.nets import model_of, node
from tests.conformance.models.runtimes import run_onnx

RNG = np.random.default_rng(3)
Constants = dict[str, npt.NDArray[Any]]


def draw(*shape: int) -> npt.NDArray[np.float32]:
    return RNG.normal(size=shape).astype(np.float32)


def graph_of(nodes: list[onnx.NodeProto], constants: Constants, rank: int = 2) -> onnx.ModelProto:
    return model_of(nodes, constants, {"x": ["N", 2, 8, 8]}, {"y": rank})


def shrunk(proto: onnx.ModelProto, rank: int = 2) -> tuple[ir.Model, int]:
    """Drop, check that the model still gives the same, and that its shapes hold."""
    model = import_model(read_source(proto.SerializeToString()))
    count = drop_dead(model)
    made = ir.to_proto(model)
    made.ir_version = 8
    onnx.checker.check_model(made)
    x = draw(1, 2, 8, 8)
    before, after = run_onnx(proto, {"x": x})[0], run_onnx(made, {"x": x})[0]
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
    said = [query.shape_of(n.outputs[0]) for n in model.graph]
    found = onnx.shape_inference.infer_shapes(made, strict_mode=True, data_prop=True)
    real = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim)
            for v in found.graph.value_info}  # fmt: skip
    for n, shape in zip(model.graph, said, strict=True):
        name = str(n.outputs[0].name)
        assert real.get(name, shape) == shape
    assert len(said[-1]) == rank
    return model, count


def weights(model: ir.Model, index: int) -> npt.NDArray[Any]:
    layers = [n for n in model.graph if n.op_type in ("Conv", "Gemm")]
    found = query.constant(layers[index].inputs[1])
    assert found is not None
    return found


def dense(between: list[onnx.NodeProto], last: str, **dead: list[int]) -> onnx.ModelProto:
    first, second = draw(9, 128), draw(4, 9)
    first[dead.get("silent", [])] = 0
    second[:, dead.get("unread", [])] = 0
    nodes = [node("Flatten", "x", "f"), node("Gemm", "f w1 b1", "h", transB=1), *between,
             node("Gemm", f"{last} w2 b2", "y", transB=1)]  # fmt: skip
    return graph_of(nodes, {"w1": first, "b1": draw(9), "w2": second, "b2": draw(4)})


FUNCTIONS = [
    [],
    [node("Relu", "h", "a")],
    [node("Sigmoid", "h", "a")],
    [node("Tanh", "h", "a")],
    [node("Relu", "h", "r"), node("Sigmoid", "r", "a")],
]


@pytest.mark.parametrize("between", FUNCTIONS, ids=lambda b: "-".join(n.op_type for n in b))
def test_unread_and_silent_units_go(between: list[onnx.NodeProto]) -> None:
    proto = dense(between, "a" if between else "h", silent=[0, 3], unread=[3, 8])
    model, count = shrunk(proto)
    assert count == 3
    assert weights(model, 0).shape == (6, 128)
    assert weights(model, 1).shape == (4, 6)


def test_nothing_goes_where_nothing_is_dead() -> None:
    model, count = shrunk(dense([], "h"))
    assert count == 0
    assert weights(model, 0).shape == (9, 128)


def test_one_unit_stays_where_all_are_dead() -> None:
    model, _ = shrunk(dense([node("Relu", "h", "a")], "a", silent=list(range(9))))
    assert weights(model, 0).shape[0] == 1


def pictures(between: list[onnx.NodeProto], last: str, columns: int, **dead: list[int]) -> Any:
    first, second = draw(6, 2, 3, 3), draw(4, 6, columns)
    first[dead.get("silent", [])] = 0
    second[:, dead.get("unread", [])] = 0
    constants: Constants = {
        "w1": first, "b1": draw(6), "w2": second.reshape(4, -1), "b2": draw(4),
        "flat": np.array([1, 6 * columns], np.int64),
    }  # fmt: skip
    used = {name for n in between for name in n.input}
    constants = {k: v for k, v in constants.items() if k != "flat" or k in used}
    first_node = node("Conv", "x w1 b1", "h", pads=[1, 1, 1, 1])
    return graph_of([first_node, *between, node("Gemm", f"{last} w2 b2", "y", transB=1)], constants)


@pytest.mark.parametrize("view", [node("Flatten", "p", "f"), node("Reshape", "p flat", "f")])
def test_channels_go_with_all_the_columns_that_read_them(view: onnx.NodeProto) -> None:
    pool = node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2])
    proto = pictures([node("Relu", "h", "r"), pool, view], "f", 16, silent=[1], unread=[4, 5])
    model, count = shrunk(proto)
    assert count == 3
    assert weights(model, 0).shape == (3, 2, 3, 3)
    assert weights(model, 1).shape == (4, 48)


def test_channels_go_through_a_mean() -> None:
    nodes = [node("GlobalAveragePool", "h", "g"), node("Flatten", "g", "f")]
    assert shrunk(pictures(nodes, "f", 1, silent=[0], unread=[2]))[1] == 2


def convolutions(silent_bias: float, **attributes: Any) -> onnx.ModelProto:
    w1, w2, b1 = draw(5, 2, 3, 3), draw(3, 5, 3, 3), draw(5)
    w1[2], b1[2] = 0, silent_bias
    w2[:, 4] = 0
    nodes = [node("Conv", "x w1 b1", "h"), node("Relu", "h", "r"),
             node("Conv", "r w2", "y", **attributes)]  # fmt: skip
    return graph_of(nodes, {"w1": w1, "b1": b1, "w2": w2}, rank=4)


def test_a_constant_is_not_folded_where_the_next_layer_pads() -> None:
    padded = {"pads": [1, 1, 1, 1]}
    assert shrunk(convolutions(0.7, **padded), 4)[1] == 1
    assert shrunk(convolutions(-0.7, **padded), 4)[1] == 2
    assert shrunk(convolutions(0.7), 4)[1] == 2


def test_units_with_a_second_reader_stay() -> None:
    nodes = [node("Flatten", "x", "f"), node("Gemm", "f w1", "h", transB=1),
             node("Gemm", "h w2", "a", transB=1), node("Add", "a h", "y")]  # fmt: skip
    constants: Constants = {"w1": draw(4, 128), "w2": np.zeros((4, 4), np.float32)}
    assert shrunk(graph_of(nodes, constants))[1] == 0


def test_what_empties_a_layer_in_front_goes_in_the_end() -> None:
    w2, w3 = draw(5, 6), draw(3, 5)
    w3[:, 4] = 0
    w2[:4, 0] = 0  # read by the dead unit of the second layer only
    nodes = [node("Flatten", "x", "f"), node("Gemm", "f w1", "h1", transB=1),
             node("Relu", "h1", "r1"), node("Gemm", "r1 w2", "h2", transB=1),
             node("Relu", "h2", "r2"), node("Gemm", "r2 w3", "y", transB=1)]  # fmt: skip
    model, count = shrunk(graph_of(nodes, {"w1": draw(6, 128), "w2": w2, "w3": w3}))
    assert count == 2
    assert [weights(model, i).shape for i in range(3)] == [(5, 128), (4, 5), (3, 4)]


def test_a_bundle_has_the_smaller_layers() -> None:
    proto = dense([node("Relu", "h", "a")], "a", unread=[1, 2, 3])
    program = convert(proto.SerializeToString(), Options(calibration=draw(4, 1, 2, 8, 8))).program
    assert (1, 1, 6, 128) in [t.data.shape for t in program.tensors if t.data is not None]
    model = import_model(read_source(proto.SerializeToString()))
    assert prepare(model)["drop_dead"] == 3
