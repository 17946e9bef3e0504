"""The whole way: contract, labels, report, gates of the options."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from hardtack_converters.calibrate import entropy_range, percentile_range
from hardtack_converters.convert import Options, convert, pack_model
from hardtack_converters.lower.elementwise import ADD_LEFT_SHIFT
from hardtack_converters.ranges import Range
from hardtack_runtime.bundle import unpack
from hardtack_runtime.errors import HardtackError
from hardtack_runtime.golden import replay
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.memory import Needs, Way
from hardtack_runtime.program import Add, FullyConnected, Transpose
from tests.conformance.models.nets import model_of, node, small_cnn
from tests.conformance.models.runtimes import run_onnx
from tests.unit.converters.compress.nets import dense_net

RNG = np.random.default_rng(21)
SAMPLES = RNG.normal(size=(64, 3, 12, 12)).astype(np.float32)
NET = small_cnn().SerializeToString()


def test_manifest_is_the_contract() -> None:
    told: list[tuple[str, int, int]] = []
    options = Options(
        name="cnn", version="1.2.3", task="classify", labels=tuple("abcde"), calibration=SAMPLES,
        mean=(0.1,), std=(2.0,), progress=lambda *now: told.append(now),
    )  # fmt: skip
    converted = convert(NET, options)
    manifest = converted.manifest
    assert manifest.inputs[0].name == "x"
    assert manifest.inputs[0].shape == (1, 3, 12, 12)
    assert manifest.outputs[0].scale == 1 / 256
    assert manifest.labels == tuple("abcde")
    assert manifest.preprocessing[0]["folded"] is True
    assert manifest.provenance.calibration_samples == len(told)
    assert manifest.provenance.source_format == "onnx"
    assert len(converted.rows) == len(converted.program.ops) == len(manifest.layers)
    assert sum(row.macs for row in converted.rows) > 0


def test_bundle_holds_golden_vectors_that_replay() -> None:
    data = pack_model(convert(NET, Options(calibration=SAMPLES)), None)
    bundle = unpack(data)
    assert len(bundle.golden) == 2
    replay(Interpreter(data), bundle.golden, bundle.manifest.layers)


def test_weights_are_raw_where_flash_allows_and_else_unpacked_layer_by_layer() -> None:
    converted = convert(NET, Options(calibration=SAMPLES))
    smallest = pack_model(converted, None)
    needs = Needs.of(unpack(smallest))
    ram = needs.arena + needs.layer
    assert needs.layer < needs.unpacked
    raw = pack_model(converted, None, ram=ram, flash=10 * len(smallest))
    assert Needs.of(unpack(raw)).way(ram) is Way.MEMORY
    assert len(raw) > len(smallest)
    layered = pack_model(converted, None, ram=ram, flash=len(raw) - 4)
    assert layered == smallest
    assert Needs.of(unpack(layered)).way(ram) is Way.LAYERS
    on_linux = pack_model(converted, None, hardware="linux", ram=ram, flash=len(raw) - 4)
    assert Needs.of(unpack(on_linux)).way(ram) is Way.MEMORY
    tiny = pack_model(converted, None, ram=needs.arena + 32, flash=len(smallest))
    assert Needs.of(unpack(tiny)).least() <= needs.arena + 32


def test_conversion_is_reproducible() -> None:
    first, second = (pack_model(convert(NET, Options(calibration=SAMPLES)), None) for _ in "12")
    assert first == second


def test_stripped_softmax_is_said() -> None:
    converted = convert(NET, Options(calibration=SAMPLES, strip_softmax=True))
    assert converted.manifest.softmax_stripped
    assert isinstance(converted.program.ops[-1], FullyConnected)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        pytest.param(Options(), "HT224", id="no samples"),
        pytest.param(Options(calibration=SAMPLES, labels=("a",)), "HT207", id="labels"),
        pytest.param(Options(calibration=SAMPLES[:, :2]), "HT223", id="samples of other shape"),
        pytest.param(
            Options(calibration=SAMPLES, mean=(1, 2)), "HT104", id="two means, 3 channels"
        ),
    ],
)
def test_options_that_do_not_fit_the_model_are_refused(options: Options, code: str) -> None:
    with pytest.raises(HardtackError) as caught:
        convert(NET, options)
    assert caught.value.code == code


def test_model_with_infinite_weights_is_refused() -> None:
    weights = np.full((2, 3), np.inf, np.float32)
    net = model_of([node("MatMul", "x w", "y")], {"w": weights.T}, {"x": [1, 3]}, {"y": 2})
    with pytest.raises(HardtackError) as caught:
        convert(net.SerializeToString(), Options(calibration=np.ones((4, 3), np.float32)))
    assert caught.value.code in {"HT208", "HT222"}


def test_sum_that_could_overflow_is_refused() -> None:
    inputs = 140_000
    net = model_of(
        [node("Gemm", "x w", "y", transB=1)],
        {"w": np.ones((1, inputs), np.float32)}, {"x": [1, inputs]}, {"y": 2},
    )  # fmt: skip
    with pytest.raises(HardtackError, match="Gemm") as caught:
        convert(net.SerializeToString(), Options(calibration=np.ones((2, inputs), np.float32)))
    assert caught.value.code == "HT304"


def _constants(*names: str) -> dict[str, Any]:
    rng = np.random.default_rng(9)
    shapes = {"w": (4, 3, 3, 3), "w1": (4, 3, 1, 1), "c": (3, 1, 1), "full": (1, 3, 12, 12)}
    every: dict[str, Any] = {k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()}
    every |= {
        "three": np.float32(3), "six": np.float32(6), "zero": np.float32(0), "two": np.float32(2),
        "rows": np.array([1, 3, 144], np.int64),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
    }  # fmt: skip
    return {name: every[name] for name in names}


GRAPHS = [
    pytest.param([node("Add", "x c", "y")], ["c"], 4, id="add a constant per channel"),
    pytest.param([node("Sub", "full x", "y")], ["full"], 4, id="constant less image"),
    pytest.param([node("Mul", "x x", "y")], [], 4, id="square"),
    pytest.param([node("Div", "x two", "y")], ["two"], 4, id="divide by a number"),
    pytest.param([node("Max", "x zero", "y")], ["zero"], 4, id="maximum with a number"),
    pytest.param([node("HardSwish", "x", "y")], [], 4, id="hard swish"),
    pytest.param([node("LeakyRelu", "x", "y", alpha=0.1)], [], 4, id="leaky relu"),
    pytest.param([node("Sigmoid", "x", "s"), node("Mul", "x s", "y")], [], 4, id="swish"),
    pytest.param([node("Tanh", "x", "y")], [], 4, id="tanh"),
    pytest.param([node("Elu", "x", "y")], [], 4, id="elu"),
    pytest.param([node("Clip", "x zero six", "y")], ["zero", "six"], 4, id="clip alone"),
    pytest.param(
        [node("Conv", "x w", "a"), node("Conv", "x w1", "b", pads=[0, 0, 0, 0]),
         node("Pad", "a pads", "p"), node("Concat", "p b", "y", axis=1)],
        ["w", "w1", "pads"], 4, id="two branches joined",
    ),
    pytest.param(
        [node("GlobalAveragePool", "x", "g"), node("Sigmoid", "g", "s"), node("Mul", "x s", "y")],
        [], 4, id="squeeze and excite",
    ),
    pytest.param([node("Reshape", "x rows", "r"), node("Softmax", "r", "y")], ["rows"], 3,
                 id="softmax over rows"),
    pytest.param([node("Transpose", "x", "y", perm=[0, 2, 3, 1])], [], 4, id="transposed output"),
    pytest.param([node("AveragePool", "x", "y", kernel_shape=[3, 3], strides=[2, 2],
                       pads=[1, 1, 1, 1])], [], 4, id="padded average"),
    pytest.param([node("MaxPool", "x", "y", kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1)],
                 [], 4, id="max pool rounding up"),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "names", "rank"), GRAPHS)
def test_operator_agrees_with_the_quantised_graph_in_onnx_runtime(
    nodes: list[onnx.NodeProto], names: list[str], rank: int
) -> None:
    net = model_of(nodes, _constants(*names), {"x": ["N", 3, 12, 12]}, {"y": rank})
    converted = convert(net.SerializeToString(), Options(calibration=SAMPLES))
    interpreter = Interpreter(pack_model(converted, None))
    proto = ir.to_proto(converted.quantized)
    step = converted.manifest.outputs[0].scale
    for image in SAMPLES[:8]:
        wanted = run_onnx(proto, {"x": image[None]})[0]
        found = interpreter.run_float(image)[0].reshape(wanted.shape)
        assert np.abs(found - wanted).max() <= 1.5 * step


def test_one_channel_or_flat_nets_need_no_transposition() -> None:
    nodes = [
        node("Conv", "x w", "a"), node("MaxPool", "a", "p", kernel_shape=[2, 2]),
        node("Flatten", "p", "f"), node("Gemm", "f g", "y"),
    ]  # fmt: skip
    rng = np.random.default_rng(3)
    constants = {"w": rng.normal(size=(4, 1, 3, 3)), "g": rng.normal(size=(144, 3))}
    constants = {name: array.astype(np.float32) for name, array in constants.items()}
    net = model_of(nodes, constants, {"x": [1, 1, 9, 9]}, {"y": 2})
    options = Options(calibration=rng.normal(size=(8, 1, 9, 9)).astype(np.float32))
    program = convert(net.SerializeToString(), options).program
    assert not [op for op in program.ops if isinstance(op, Transpose)]


def test_addition_writes_over_an_input_nobody_reads_later() -> None:
    nodes = [node("Conv", "x w", "a"), node("Conv", "x w", "b"), node("Add", "a b", "y")]
    net = model_of(nodes, _constants("w"), {"x": [1, 3, 12, 12]}, {"y": 4})
    program = convert(net.SerializeToString(), Options(calibration=SAMPLES)).program
    (add,) = [op for op in program.ops if isinstance(op, Add)]
    offsets = [program.tensors[i].offset for i in (add.a, add.b, add.output)]
    assert offsets[2] in offsets[:2]
    assert add.left_shift == ADD_LEFT_SHIFT


def test_calibration_stops_when_ranges_have_settled() -> None:
    samples = np.tile(SAMPLES, (4, 1, 1, 1))
    converted = convert(NET, Options(calibration=samples))
    assert converted.manifest.provenance.calibration_samples < len(samples)
    assert any("settled" in notice for notice in converted.notices)


def test_percentile_leaves_out_the_tails() -> None:
    counts = np.ones(1000, np.int64)
    found = percentile_range(counts, Range(0.0, 1000.0), 99.0)
    assert found.low == pytest.approx(5, abs=1)
    assert found.high == pytest.approx(995, abs=1)


def test_entropy_cuts_a_lone_outlier_but_keeps_the_bulk() -> None:
    values = np.random.default_rng(0).laplace(0, 1, 200_000)
    values[0] = 100.0
    limits = Range(float(values.min()), float(values.max()))
    counts, _ = np.histogram(values, 2048, range=(limits.low, limits.high))
    found = entropy_range(counts, limits)
    assert found.high < 50
    assert ((values >= found.low) & (values <= found.high)).mean() >= 0.998


@pytest.mark.parametrize(("bits", "size"), [(24, 3), (16, 2), (8, 1)])
def test_multipliers_of_few_bits_take_fewer_bytes(bits: int, size: int) -> None:
    net = dense_net(np.random.default_rng(1), (16, 64, 48, 4)).SerializeToString()
    samples = np.random.default_rng(2).normal(size=(50, 1, 16)).astype(np.float32)
    plain, coarse = (
        convert(net, Options(calibration=samples, multiplier_bits=number)) for number in (31, bits)
    )
    saved = len(pack_model(plain, None)) - len(pack_model(coarse, None))
    assert saved >= (4 - size) * (64 + 48) - 16
    for op in coarse.program.ops:
        assert isinstance(op, FullyConnected)
        exact, rounded = (
            np.asarray(made.program.tensors[op.mult].data, np.float64)
            * 2.0 ** np.asarray(made.program.tensors[op.shift].data)
            for made in (plain, coarse)
        )
        np.testing.assert_allclose(rounded, exact, rtol=2.0**-bits)
