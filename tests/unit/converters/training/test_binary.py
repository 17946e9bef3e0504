"""Layers trained with binary weights and inputs: signs with gradients, counted on devices."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from hardtack_converters.calibrate import open_session
from hardtack_converters.compress.layers import layer_name, weighted_layers
from hardtack_converters.convert import convert, pack_model
from hardtack_converters.importers import import_model, read_source
from hardtack_converters.passes import prepare
from hardtack_converters.placing import weights_in_place
from hardtack_converters.query import constant
from hardtack_runtime.bundle import pack, unpack
from hardtack_runtime.errors import ConfigError
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.packing import Coding
from hardtack_runtime.program import Lookup
from hardtack_runtime.usage import binary_sums
from tests.conformance.models.nets import model_of, node
from tests.unit.converters.training import digits

torch = pytest.importorskip("torch", reason="training needs torch: make .venv/torch")

from hardtack_converters.training.assistants import Assistant, train_assistants  # noqa: E402
from hardtack_converters.training.binary import Binary, insert_signs, is_binary, sign  # noqa: E402
from hardtack_converters.training.module import GraphModule  # noqa: E402
from hardtack_converters.training.options import TrainOptions  # noqa: E402
from hardtack_converters.training.train import train  # noqa: E402

SECOND, LAST = "/3/Conv", "/9/Gemm"
FEW = TrainOptions(epochs=14, batch=32, shift=1, binary=(SECOND,))


def graph_of(
    nodes: list[onnx.NodeProto], constants: dict[str, tuple[int, ...]], rank: int = 4
) -> ir.Model:
    """Return a net from x [1, 4, 6, 6] to y, of weights drawn at random."""
    rng = np.random.default_rng(0)
    drawn = {name: rng.normal(size=s).astype(np.float32) for name, s in constants.items()}
    made = model_of(nodes, drawn, {"x": [1, 4, 6, 6]}, {"y": rank})
    model = import_model(read_source(made.SerializeToString()))
    prepare(model)
    return model


def kinds(model: ir.Model) -> list[str]:
    return [one.op_type for one in model.graph]


def test_the_sign_of_an_input_has_a_gradient_near_zero() -> None:
    x = torch.tensor([-3.0, -1.0, -0.2, 0.0, 0.7, 1.5], requires_grad=True)
    made = sign(x)
    assert made.tolist() == [-1, -1, -1, 0, 1, 1]
    (made * torch.arange(1.0, 7.0)).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 2, 3, 4, 5, 0]


def test_binary_weights_are_signs_times_the_mean_magnitude_of_their_output() -> None:
    weights = torch.tensor([[1.0, -2.0, 3.0, 0.0], [-0.5, -0.5, -1.0, 2.0]])
    by_rows = Binary(weights, 0)()
    assert torch.allclose(by_rows, torch.tensor([[1.5, -1.5, 1.5, 1.5], [-1.0, -1.0, -1.0, 1.0]]))
    assert torch.allclose(Binary(weights.t(), 1)(), by_rows.t())
    module = Binary(weights, 0)
    module().sum().backward()
    assert module.relative.grad is not None
    assert (module.relative.grad != 0).any()
    assert is_binary(by_rows.detach().numpy(), 0)
    assert not is_binary(by_rows.detach().numpy(), 1)


def test_a_relu_makes_way_for_the_sign_behind_what_keeps_the_order() -> None:
    nodes = [
        node("Conv", "x w", "first"), node("Relu", "first", "r"),
        node("MaxPool", "r", "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "pool v", "y"),
    ]  # fmt: skip
    model = graph_of(nodes, {"w": (8, 4, 3, 3), "v": (5, 8, 2, 2)})
    assert insert_signs(model, ["y"]) == {"y"}
    assert kinds(model) == ["Conv", "MaxPool", "Sign", "Conv"]
    assert insert_signs(model, ["y"]) == {"y"}  # one is enough
    assert kinds(model) == ["Conv", "MaxPool", "Sign", "Conv"]


def test_a_relu_that_others_read_stays() -> None:
    nodes = [
        node("Conv", "x w", "first"), node("Relu", "first", "r"),
        node("Conv", "r v", "second"), node("Add", "r second", "y"),
    ]  # fmt: skip
    model = graph_of(nodes, {"w": (8, 4, 3, 3), "v": (8, 8, 1, 1)})
    insert_signs(model, ["second"])
    assert kinds(model) == ["Conv", "Relu", "Sign", "Conv", "Add"]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [("nothing*", "matches no layer"), ("y", "is depthwise"), ("first", "the model's input")],
)
def test_what_cannot_be_binary_is_refused(pattern: str, said: str) -> None:
    nodes = [node("Conv", "x w", "first"), node("Conv", "first v", "y", group=4)]
    model = graph_of(nodes, {"w": (4, 4, 3, 3), "v": (4, 1, 3, 3)})
    with pytest.raises(ConfigError, match=said) as caught:
        insert_signs(model, [pattern])
    assert caught.value.code == "HT110"


def test_weights_that_are_binary_stay_so() -> None:
    model = digits.model()
    module = GraphModule(model, binary={SECOND})
    module.write_back()
    again = GraphModule(model)
    found = {name: type(grid).__name__ for name, grid in again.grids.items()}
    assert sorted(found.values()) == ["Binary", "Grid", "Grid"]
    before = [codes.copy() for codes in module.weight_codes()]
    assert all(map(np.array_equal, before, again.weight_codes()))


def test_a_binary_layer_learns_and_its_products_are_counted() -> None:
    """400 pictures, their classes, and a bundle whose answers are those of the float model."""
    x, y = digits.samples()
    trained = train(digits.model(), x[:500], y[:500], FEW, digits.codes_bytes)
    assert kinds(trained.model) == ["Conv", "Sign", "Conv", "Relu", "MaxPool", "Reshape", "Gemm",
                                    "Softmax"]  # fmt: skip
    file = ir.to_proto(trained.model).SerializeToString()
    converted = convert(file, digits.OPTIONS)
    program = converted.program
    (table,) = (op.table for op in program.ops if isinstance(op, Lookup))
    codes = program.tensors[table].data
    assert codes is not None
    assert np.unique(codes).tolist() == [-127, 0, 127]
    (counted,) = binary_sums(program)
    placed = weights_in_place(program, "cortex-m4", "auto")
    assert placed[counted] == Coding.PACKED
    write = partial(pack, program, unpack(pack_model(converted, None)).manifest, key=None)
    bundles = [Interpreter(write(codings=placed)), Interpreter(pack_model(converted, None))]
    raw = x[500:] * np.float32(digits.STD) + np.float32(digits.MEAN)
    given = [one[None] for one in raw]
    outputs = [[device.run_float(one)[0].copy() for one in given] for device in bundles]
    assert np.array_equal(outputs[0], outputs[1])
    answers = np.argmax(outputs[0], axis=-1).ravel()
    session = open_session(trained.model)
    name = session.get_inputs()[0].name
    float_answers = [np.argmax(session.run(None, {name: one[None]})[0]) for one in x[500:]]
    assert np.mean(answers == float_answers) >= 0.95
    assert np.mean(answers == y[500:]) >= 0.88
    weights = next(n.inputs[1] for n in trained.model.graph if n.name == SECOND)
    assert weights is not None
    numbers = constant(weights)
    assert numbers is not None
    assert is_binary(numbers, 0)


def test_assistants_are_not_binary(tmp_path: Path) -> None:
    one = Assistant(digits.model(), tmp_path / "assistant.onnx")
    (taught,) = train_assistants(
        [one], *digits.samples(), replace(FEW, epochs=1, teacher=0.5), teachers=[digits.model()],
        read=ir.load,
    )  # fmt: skip
    assert "Sign" not in kinds(taught.model)


def test_a_deep_binary_net_does_not_seem_to_mix_its_batch() -> None:
    """In float32 sums of a batch and of one sample differ, and so do signs of what is nearly 0."""
    nodes = [node("Conv", "x w0", "c0")]
    constants: dict[str, tuple[int, ...]] = {"w0": (64, 4, 1, 1)}
    for at in range(1, 5):
        nodes.append(node("Conv", f"c{at - 1} w{at}", f"c{at}", pads=[1, 1, 1, 1]))
        constants[f"w{at}"] = (64, 64, 3, 3)
    nodes += [node("GlobalAveragePool", "c4", "g"), node("Flatten", "g", "y")]
    model = graph_of(nodes, constants, rank=2)
    names = tuple(layer_name(layer.node) for layer in weighted_layers(model))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 4, 6, 6)).astype(np.float32)
    wanted = replace(FEW, epochs=1, binary=names[1:])
    trained = train(model, x, rng.integers(0, 64, 40), wanted, digits.codes_bytes)
    assert kinds(trained.model).count("Sign") == 4
