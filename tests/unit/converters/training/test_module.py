"""The torch module computes what ONNX Runtime computes, and its grids are what devices get."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest

from hardtack_converters.convert import Options, convert
from hardtack_converters.importers import import_model, read_source
from hardtack_converters.passes import prepare
from hardtack_converters.ranges import grid_step
from hardtack_runtime.errors import ModelImportError
from tests.conformance.models.nets import lenet5, model_of, node, small_cnn
from tests.conformance.models.runtimes import run_onnx
from tests.data import data_path

torch = pytest.importorskip("torch", reason="training needs torch: make .venv/torch")

from hardtack_converters.training.grid import Grid  # noqa: E402
from hardtack_converters.training.module import GraphModule  # noqa: E402

RNG = np.random.default_rng(5)


def prepared(proto: onnx.ModelProto) -> ir.Model:
    model = import_model(read_source(proto.SerializeToString()))
    prepare(model)
    return model


def exported(model: ir.Model) -> onnx.ModelProto:
    proto = ir.to_proto(model)
    proto.ir_version = 8
    return proto


def agree(proto: onnx.ModelProto, name: str, *shape: int) -> None:
    """Three samples at once give what ONNX Runtime gives for each."""
    x = RNG.normal(size=(3, *shape)).astype(np.float32)
    module = GraphModule(prepared(proto), exact=True)
    with torch.no_grad():
        ours = module(torch.from_numpy(x)).numpy()
    theirs = [run_onnx(proto, {name: one[None]})[0] for one in x]
    np.testing.assert_allclose(ours, np.concatenate(theirs), rtol=1e-4, atol=1e-4)


def draw(*shape: int) -> npt.NDArray[np.float32]:
    return RNG.normal(size=shape).astype(np.float32)


def test_a_classifier_of_images_computes_the_same() -> None:
    agree(small_cnn(), "x", 3, 12, 12)


def test_lenet_computes_the_same() -> None:
    agree(lenet5(data_path("lenet/lenet5.pt")), "image", 1, 28, 28)


ONE_BY_ONE: dict[str, tuple[list[onnx.NodeProto], dict[str, npt.NDArray[Any]], int]] = {
    "a convolution that pads as its result asks": (
        [node("Conv", "x w b", "y", auto_pad="SAME_UPPER", strides=[2, 2])],
        {"w": draw(4, 3, 3, 3), "b": draw(4)}, 4,
    ),
    "a dilated one": (
        [node("Conv", "x w", "y", dilations=[2, 1], pads=[1, 0, 2, 1])], {"w": draw(4, 3, 3, 2)}, 4,
    ),
    "pools": (
        [node("MaxPool", "x", "m", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
         node("AveragePool", "m", "y", kernel_shape=[2, 2], pads=[0, 1, 1, 0])], {}, 4,
    ),
    "an average that counts what it pads": (
        [node("AveragePool", "x", "y", kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)],
        {}, 4,
    ),
    "products by rows": ([node("MatMul", "x w", "y")], {"w": draw(7, 5)}, 4),
    "turned axes": (
        [node("Transpose", "x", "t", perm=[0, 2, 3, 1]), node("Sigmoid", "t", "s"),
         node("Flatten", "s", "f"), node("Gemm", "f w b", "g"), node("Tanh", "g", "y")],
        {"w": draw(126, 4), "b": draw(4)}, 2,
    ),
    "sums, differences, products and means": (
        [node("Add", "x c", "a"), node("Mul", "a c", "m"), node("Sub", "m x", "s"),
         node("ReduceMean", "s axes", "y", keepdims=0)],
        {"c": draw(3, 1, 1), "axes": np.array([2, 3], np.int64)}, 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ONE_BY_ONE)
def test_every_operator_computes_the_same(case: str) -> None:
    nodes, constants, rank = ONE_BY_ONE[case]
    agree(model_of(nodes, constants, {"x": ["N", 3, 6, 7]}, {"y": rank}), "x", 3, 6, 7)


def test_a_signal_of_one_dimension_computes_the_same() -> None:
    nodes = [
        node("Conv", "x w", "c", pads=[1, 1], strides=[2]),
        node("MaxPool", "c", "y", kernel_shape=[2]),
    ]
    agree(model_of(nodes, {"w": draw(4, 2, 3)}, {"x": ["N", 2, 16]}, {"y": 3}), "x", 2, 16)


def test_an_operator_without_a_counterpart_is_named() -> None:
    nodes = [node("Conv", "x w", "c"), node("HardSwish", "c", "swish")]
    proto = model_of(nodes, {"w": draw(2, 3, 1, 1)}, {"x": ["N", 3, 4, 4]}, {"swish": 4})
    with pytest.raises(ModelImportError, match=r"HardSwish 'swish'.*cannot be trained") as caught:
        GraphModule(prepared(proto))
    assert caught.value.code == "HT228"


def test_codes_reach_to_127_and_zero_stays_zero() -> None:
    weights = draw(50, 40)
    weights[::2] = 0
    grid = Grid(torch.from_numpy(weights))
    with torch.no_grad():
        grid.log_step.fill_(-20.0)
        codes = grid.codes().numpy()
        real = grid().numpy()
    assert np.abs(codes).max() == 127
    assert (codes == np.rint(codes)).all()
    assert (real[::2] == 0).all()


def test_weights_on_a_grid_keep_it() -> None:
    codes = RNG.integers(-9, 10, (20, 30))
    grid = Grid(torch.from_numpy((codes * 0.037).astype(np.float32)))
    with torch.no_grad():
        assert (grid.codes().numpy() == codes).all()


def test_a_grid_as_fine_as_int8_is_left() -> None:
    """Steps learn slowly: from 127 codes a side to a few would take all epochs."""
    fine = torch.round(torch.randn(64, 64) * 30) / 30
    grid = Grid(fine)
    assert float(grid.step.detach()) == pytest.approx(0.25)


def test_the_gradient_of_a_rounding_is_one_and_the_step_learns() -> None:
    grid = Grid(torch.from_numpy(draw(6, 5)))
    (grid().sum() + grid.rate()).backward()
    assert grid.log_step.grad is not None and float(grid.log_step.grad) != 0
    grid.zero_grad()
    grid.codes().sum().backward()
    np.testing.assert_allclose(grid.relative.grad.numpy(), 1 / grid.step.item(), rtol=1e-5)


@pytest.mark.parametrize("std", [1.0, 0.3081 * 255])
def test_convert_keeps_the_codes_bit_by_bit(std: float) -> None:
    """Also when the scaling of the input is folded into the weights."""
    module = GraphModule(prepared(small_cnn()))
    module.write_back()
    for value, name in module._names.items():
        if name in module.grids and value.const_value is not None:
            assert grid_step(np.asarray(value.const_value.numpy())) is not None
    calibration = RNG.normal(size=(8, 3, 12, 12)).astype(np.float32) * std
    file = exported(module.model).SerializeToString()
    program = convert(
        file, Options(mean=(0.25 * std,), std=(std,), calibration=calibration)
    ).program
    made = [t.data for t in program.tensors if t.data is not None and t.data.dtype == np.int8]
    wanted = list(module.weight_codes())
    assert len(wanted) == 5
    for codes in wanted:
        # A depthwise convolution has its channels last, and so one filter in place of many.
        alike = [one for one in made if one.size == codes.size]
        assert any((np.sort(one.ravel()) == np.sort(codes.ravel())).all() for one in alike)
        assert codes.shape[1] == 3 or any(
            one.shape == codes.shape and (one == codes).all() for one in alike
        )


def test_a_bias_of_zeros_stays_one() -> None:
    """A bundle stores none; a bias with anything in it is trained."""
    nodes = [
        node("Gemm", "x w b", "h", transB=1), node("Relu", "h", "r"),
        node("Gemm", "r v c", "y", transB=1),
    ]  # fmt: skip
    numbers = {"w": draw(6, 5), "b": draw(6), "v": draw(4, 6), "c": draw(4)}
    model = prepared(model_of(nodes, numbers, {"x": [1, 5]}, {"y": 2}))
    assert len(GraphModule(model).others) == 2
    for value in model.graph.initializers.values():
        if value.shape == ir.Shape([6]):
            value.const_value = ir.tensor(np.zeros(6, np.float32), name=value.name)
    assert len(GraphModule(model).others) == 1


def test_units_and_inputs_that_are_empty_cost_nothing() -> None:
    """Four equal weights cost less in one row and in one column than spread over the tensor."""
    grids = []
    for places in ([0, 1, 2, 3], [0, 4, 8, 12], [0, 5, 10, 15]):
        weights = torch.zeros(16)
        weights[places] = 1.0
        grids.append(float(Grid(weights.reshape(4, 4)).rate().detach()))
    assert grids[0] == pytest.approx(grids[1])
    assert grids[0] < grids[2]


def test_structure_is_what_units_cost_and_no_weight() -> None:
    alone = Grid(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    weights, plain, double = (float(alone.rate(share).detach()) for share in (0.0, 1.0, 2.0))
    assert double - plain == pytest.approx(plain - weights)
    assert plain > weights > 0
