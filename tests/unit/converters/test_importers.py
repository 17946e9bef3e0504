"""Every kind of bad model file gives one error that names it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hardtack_converters.convert import check, convert
from hardtack_converters.importers import import_model, read_source
from hardtack_runtime.errors import HardtackError
from tests.conformance.models.nets import model_of, node, small_cnn
from tests.data import data_path


def _error(model: Path | bytes, **options: Any) -> HardtackError:
    with pytest.raises(HardtackError) as caught:
        import_model(read_source(model), **options)
    return caught.value


def _relu(shape: list[Any], opset: int = 18) -> onnx.ModelProto:
    return model_of([node("Relu", "x", "y")], {}, {"x": shape}, {"y": len(shape)}, opset)


def test_missing_file_is_named() -> None:
    error = _error(Path("/nowhere/net.onnx"))
    assert error.code == "HT201"
    assert "/nowhere/net.onnx" in str(error)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(b"", "HT202", id="empty"),
        pytest.param(bytes(64), "HT202", id="zeros"),
        pytest.param(b"hello, world: this is text", "HT203", id="text"),
        pytest.param(b"\x89HDF\r\n\x1a\n" + bytes(50), "HT203", id="HDF5"),
        pytest.param(b"PK\x03\x04" + bytes(50), "HT203", id="zip"),
        pytest.param(b"\x80\x04K\x01.", "HT203", id="pickle"),
        pytest.param(b"HTB1" + bytes(300), "HT203", id="bundle"),
        pytest.param(b"\x08\x08\xff\xff\xff", "HT204", id="no protobuf"),
        pytest.param(b"\x08\x08", "HT204", id="no graph"),
        pytest.param(b"\x1c\0\0\0TFL3" + b"\xff" * 40, "HT204", id="garbage behind TFL3"),
        pytest.param(b"\0\0\0\0TFL3", "HT204", id="TFL3 and nothing else"),
    ],
)
def test_file_that_is_no_model_is_refused(content: bytes, code: str) -> None:
    assert _error(content).code == code


def test_a_name_that_is_no_text_is_refused() -> None:
    model = small_cnn()
    model.graph.node[0].name = "the first layer"
    damaged = model.SerializeToString().replace(b"the first layer", b"the f\xdbrst layer")
    error = _error(damaged)
    assert error.code == "HT204"
    assert "UTF-8" in str(error)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_onnx_is_refused(share: float) -> None:
    whole = small_cnn().SerializeToString()
    assert _error(whole[: int(len(whole) * share)]).code == "HT204"


@pytest.mark.parametrize("name", ["tflite_micro/hello_world_int8", "mlperf_tiny/kws_ref_model"])
def test_damaged_tflite_never_escapes_as_another_error(name: str) -> None:
    whole = data_path(f"{name}.tflite").read_bytes()
    rng = random.Random(4)
    for _ in range(60):
        damaged = bytearray(whole[: rng.randrange(16, len(whole))])
        for _ in range(rng.randrange(0, 20)):
            damaged[rng.randrange(8, len(damaged))] = rng.randrange(256)
        try:
            convert(bytes(damaged))
        except HardtackError as error:
            assert error.code.startswith(("HT2", "HT3"))


def test_damaged_onnx_never_escapes_as_another_error() -> None:
    whole = small_cnn().SerializeToString()
    rng = random.Random(5)
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(rng.randrange(1, 8)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            check(bytes(damaged))
        except HardtackError as error:
            assert error.code.startswith(("HT2", "HT3"))


def test_symbolic_batch_is_pinned_to_one() -> None:
    model = import_model(read_source(_relu(["N", 3]).SerializeToString()))
    assert tuple(model.graph.inputs[0].shape or ()) == (1, 3)


def test_other_dynamic_dimension_is_named_with_the_way_to_pin_it() -> None:
    error = _error(_relu(["N", 3, "height"]).SerializeToString())
    assert error.code == "HT205"
    for word in ("input x", "dimension 2", "height", "input_shapes"):
        assert word in str(error)


def test_dynamic_dimension_can_be_pinned() -> None:
    source = read_source(_relu(["N", 3, "height"]).SerializeToString())
    model = import_model(source, {"x": (1, 3, 7)})
    assert tuple(model.graph.outputs[0].shape or ()) == (1, 3, 7)


@pytest.mark.parametrize("shapes", [{"x": (1, 3)}, {"z": (1, 3, 7)}])
def test_shape_that_fits_no_input_is_refused(shapes: dict[str, tuple[int, ...]]) -> None:
    proto = _relu(["N", 3, "height"])
    assert _error(proto.SerializeToString(), input_shapes=shapes).code == "HT205"


@pytest.mark.parametrize("opset", [6, 99])
def test_opset_outside_the_window_is_refused(opset: int) -> None:
    error = _error(_relu([1, 3], opset).SerializeToString())
    assert error.code == "HT206"
    assert str(opset) in str(error)


def test_old_opset_is_brought_up() -> None:
    clip = node("Clip", "x", "y", min=0.0, max=6.0)
    proto = model_of([clip], {}, {"x": [1, 4]}, {"y": 2}, opset=9)
    model = import_model(read_source(proto.SerializeToString()))
    assert model.graph.opset_imports[""] >= 18


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    proto = small_cnn()
    onnx.save_model(
        proto, tmp_path / "net.onnx", save_as_external_data=True, location="net.bin",
        size_threshold=0,
    )  # fmt: skip
    assert import_model(read_source(tmp_path / "net.onnx")) is not None
    (tmp_path / "net.bin").unlink()
    error = _error(tmp_path / "net.onnx")
    assert error.code == "HT204"
    assert "net.bin" in str(error)


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", ""])
def test_external_data_outside_the_folder_is_refused(location: str, tmp_path: Path) -> None:
    proto = small_cnn()
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    assert _error(tmp_path / "net.onnx").code == "HT204"


def test_cyclic_graph_is_refused() -> None:
    nodes = [node("Add", "x b", "a"), node("Relu", "a", "b")]
    proto = model_of(nodes, {}, {"x": [1, 3]}, {"b": 2})
    error = _error(proto.SerializeToString())
    assert error.code == "HT204"
    assert "cycle" in str(error)


def test_deeply_nested_protobuf_is_contained() -> None:
    nested = b""
    for _ in range(5000):
        nested = b"\x0a" + _varint(len(nested)) + nested
    graph = b"\x3a" + _varint(len(nested)) + nested
    assert _error(b"\x08\x08" + graph).code in {"HT204", "HT206"}


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def test_lstm_is_refused_by_name() -> None:
    weights = {n: np.zeros(s, np.float32) for n, s in {"w": (1, 8, 3), "r": (1, 8, 2)}.items()}
    lstm = helper.make_node("LSTM", ["x", "w", "r"], ["y"], name="memory", hidden_size=2)
    proto = model_of([lstm], weights, {"x": [5, 1, 3]}, {"y": 4})
    error = _error(proto.SerializeToString())
    assert error.code == "HT301"
    assert "LSTM 'memory'" in str(error)


def test_check_names_every_node_without_a_kernel() -> None:
    nodes = [
        node("ArgMax", "x", "first", axis=1),
        node("Cast", "first", "second", to=TensorProto.FLOAT),
        node("Relu", "x", "r"),
        node("CumSum", "r axis", "y"),
    ]
    proto = model_of(nodes, {"axis": np.array(1, np.int64)}, {"x": [1, 3]}, {"y": 2, "second": 2})
    found = [problem.where for problem in check(proto.SerializeToString())]
    assert found == ["ArgMax 'first'", "Cast 'second'", "CumSum 'y'"]


def test_check_of_a_good_model_finds_nothing() -> None:
    assert check(small_cnn().SerializeToString()) == ()


def test_input_that_is_no_number_is_refused() -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "text",
        [helper.make_tensor_value_info("x", TensorProto.STRING, [1])],
        [helper.make_tensor_value_info("y", TensorProto.STRING, [1])],
        [numpy_helper.from_array(np.zeros(1, np.float32), "unused")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    with pytest.raises(HardtackError) as caught:
        convert(proto.SerializeToString())
    assert caught.value.code in {"HT208", "HT224"}
