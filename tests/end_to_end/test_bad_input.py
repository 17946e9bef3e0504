"""Bad models, samples and gates: one clear message, the documented status, nothing half-written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper

from hardtack.bake import LOCK_NAME
from hardtack.files import only_writer
from tests.conformance.models.nets import model_of, node
from tests.data import data_path
from tests.end_to_end.command import DEMO_DATA, CommandLine, change, written

MODEL = (DEMO_DATA / "digits.onnx").read_bytes()
EVALUATE = 'evaluate = { path = "test.npz", x = "x", y = "y" }'
CALIBRATE = 'calibrate = { path = "calibration.npz", max = 256 }'
LABELS = 'labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]'


def _custom() -> bytes:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Frobnicate", ["x"], ["y"], name="frob_1", domain="com.acme")], "net",
        [value("x", TensorProto.FLOAT, [1, 4])], [value("y", TensorProto.FLOAT, [1, 4])],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.acme", 1)]
    proto: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(proto.SerializeToString())


def _net(*nodes: onnx.NodeProto, rank: int, opset: int = 18, **inputs: list[Any]) -> bytes:
    proto = model_of(list(nodes), {}, inputs, {"y": rank}, opset)
    return bytes(proto.SerializeToString())


def _asymmetric() -> bytes:
    """A QDQ model whose weights have zero point 3."""
    constants = {
        "s": np.float32(0.1), "z": np.int8(0), "three": np.int8(3), "w": np.ones((4, 2), np.int8),
    }  # fmt: skip
    nodes = [
        node("QuantizeLinear", "x s z", "xq"), node("DequantizeLinear", "xq s z", "xr"),
        node("DequantizeLinear", "w s three", "wr"), node("MatMul", "xr wr", "m"),
        node("QuantizeLinear", "m s z", "mq"), node("DequantizeLinear", "mq s z", "y"),
    ]  # fmt: skip
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    return bytes(model_of(nodes, arrays, {"x": [1, 4]}, {"y": 2}).SerializeToString())


GRAM = node("Einsum", "x x", "y", equation="ij,kj->ik")
POOL = node("MaxPool", "x", "y", kernel_shape=[2, 2])
MODELS = [
    pytest.param(b"", "HT202", "empty", id="empty"),
    pytest.param(MODEL[: len(MODEL) // 2], "HT204", "truncated", id="truncated"),
    pytest.param(b"\x08" + bytes(range(256)), "HT204", "truncated or damaged", id="garbage"),
    pytest.param(b"hello world\n" * 9, "HT203", "neither ONNX nor TensorFlow Lite", id="text"),
    pytest.param(b"\x80\x04K\x01.", "HT203", "pickle", id="a pickle"),
    pytest.param(b"PK\x03\x04" + bytes(60), "HT203", "PyTorch", id="a zip"),
    pytest.param(b"HTB1" + bytes(60), "HT203", "converted already", id="a bundle"),
    pytest.param(_custom(), "HT301", "Frobnicate 'frob_1'", id="a custom operator"),
    pytest.param(_net(GRAM, rank=2, x=[1, 4]), "HT301", "Einsum 'y'", id="no kernel"),
    pytest.param(
        _net(POOL, rank=4, x=[1, 1, "height", 8]), "HT205", "[input] shape", id="open shape"
    ),
    pytest.param(_asymmetric(), "HT303", "zero point", id="asymmetric weights"),
    pytest.param(_net(POOL, rank=4, opset=99, x=[1, 1, 8, 8]), "HT206", "opset 99", id="opset"),
]


@pytest.mark.parametrize(("model", "code", "words"), MODELS)
def test_a_bad_model_is_refused(
    cli: CommandLine, project: Path, model: bytes, code: str, words: str
) -> None:
    (project / "digits.onnx").write_bytes(model)
    message = cli.run("convert").refused(code, 3)
    assert words in message
    assert written(project) == []


def test_a_missing_model_is_named(cli: CommandLine, project: Path) -> None:
    (project / "digits.onnx").unlink()
    assert str(project / "digits.onnx") in cli.run("convert").refused("HT201", 3)
    assert "No such file" in cli.run("init", "nowhere.onnx").refused("HT201", 3)


def test_a_folder_is_no_model(cli: CommandLine, project: Path) -> None:
    (project / "digits.onnx").unlink()
    (project / "digits.onnx").mkdir()
    assert "directory" in cli.run("check").refused("HT201", 3)


def test_an_lstm_is_named_by_check_and_by_convert(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path, tmp_path)
    cli.works("init", data_path("tflite_micro/trained_lstm_int8.tflite"))
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in cli.run("convert").refused("HT301", 3)
    checked = cli.run("check")
    assert checked.status == 3
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in checked.out
    assert checked.err.endswith(": 1 node cannot be converted\n")
    (problem,) = cli.run("check", "--json").document["problems"]
    assert problem["code"] == "HT301"


def test_an_open_shape_is_pinned_in_the_deployment(cli: CommandLine, project: Path) -> None:
    model = _net(node("MaxPool", "x", "y", kernel_shape=[2, 2]), rank=4, x=["N", 1, "H", "W"])
    (project / "digits.onnx").write_bytes(model)
    cli.run("check").refused("HT205", 3)
    change(project, "[input]", "[input]\nshape = [1, 1, 8, 8]")
    assert "int8 kernel" in cli.works("check").out
    change(project, "[1, 1, 8, 8]", "{ x = [1, 1, 8, 8] }")
    assert "int8 kernel" in cli.works("check").out
    change(project, "{ x =", "{ image =")
    assert "its inputs are x" in cli.run("check").refused("HT205", 3)


def test_one_shape_for_two_inputs_is_refused(cli: CommandLine, project: Path) -> None:
    (project / "digits.onnx").write_bytes(
        _net(node("Add", "a b", "y"), rank=2, a=[1, "n"], b=[1, "n"])
    )
    change(project, "[input]", "[input]\nshape = [1, 8]")
    assert "the inputs are a, b" in cli.run("check").refused("HT205", 3)
    change(project, "[1, 8]", "{ a = [1, 8], b = [1, 8] }")
    assert "int8 kernel" in cli.works("check").out


def _spoilt(value: float) -> Callable[[npt.NDArray[Any]], npt.NDArray[Any]]:
    def spoil(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        x[3, 0, 1, 1] = value
        return x

    return spoil


@pytest.mark.parametrize(
    ("change_samples", "code", "words"),
    [
        pytest.param(_spoilt(np.nan), "HT222", "sample 3", id="NaN"),
        pytest.param(_spoilt(-np.inf), "HT222", "in 1 of 256 samples", id="infinity"),
        pytest.param(lambda x: x[:, :, :7], "HT223", "[256, 1, 7, 8]", id="wrong shape"),
        pytest.param(lambda x: x[:0], "HT221", "empty", id="no samples"),
        pytest.param(lambda x: np.array(["a"]), "HT221", "numbers", id="text"),
        pytest.param(lambda x: x.astype(object), "HT221", "Python objects", id="pickled"),
    ],
)
def test_bad_calibration_samples_are_refused(
    cli: CommandLine,
    project: Path,
    change_samples: Callable[[npt.NDArray[Any]], npt.NDArray[Any]],
    code: str,
    words: str,
) -> None:
    with np.load(project / "calibration.npz") as arrays:
        x = arrays["x"]
    np.savez(project / "calibration.npz", x=change_samples(x))
    message = cli.run("convert").refused(code, 3)
    assert words in message
    assert "calibration.npz" in message
    assert written(project) == []


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 cut"])
def test_a_damaged_samples_file_is_refused(cli: CommandLine, project: Path, content: bytes) -> None:
    (project / "calibration.npz").write_bytes(content)
    message = cli.run("convert").refused("HT221", 3)
    assert "allow_pickle" not in message


def test_samples_of_more_than_the_memory_are_refused(cli: CommandLine, project: Path) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**13, 1, 8, 8)}
    with (project / "calibration.npz").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    assert "memory" in cli.run("convert").refused("HT221", 3)


def test_a_file_newer_than_onnx_runtime_is_calibrated(cli: CommandLine, project: Path) -> None:
    proto = onnx.load_from_string(MODEL)
    proto.ir_version = onnx.IR_VERSION  # what onnx.helper.make_model writes by itself
    (project / "digits.onnx").write_bytes(proto.SerializeToString())
    assert cli.works("convert", "--json").document["accuracy"]["int8"] > 0.95


def test_init_keeps_the_old_deployment_when_a_name_cannot_be_written(
    cli: CommandLine, project: Path
) -> None:
    before = (project / "deploy.toml").read_bytes()
    odd = os.fsdecode(b"odd\xff.onnx")
    (project / odd).write_bytes(MODEL)
    cli.run("init", "--force", odd).refused("HT107", 2)
    assert (project / "deploy.toml").read_bytes() == before
    (project / "odd\x7f.onnx").write_bytes(MODEL)
    cli.works("init", "--force", "odd\x7f.onnx")
    assert "int8 kernel" in cli.works("check").out


@pytest.mark.parametrize(
    ("classes", "code", "words"),
    [
        pytest.param(np.zeros(5, np.int64), "HT223", "[5] for 600 samples", id="too few"),
        pytest.param(np.full(600, 10), "HT221", "class numbers 0 to 9", id="too large"),
        pytest.param(np.full(600, np.nan), "HT221", "class numbers", id="NaN"),
        pytest.param(np.eye(600, 10), "HT223", "one class number per sample", id="one-hot"),
        pytest.param(None, "HT221", "no array 'y'", id="absent"),
    ],
)
def test_bad_classes_are_refused(
    cli: CommandLine, project: Path, classes: npt.NDArray[Any] | None, code: str, words: str
) -> None:
    with np.load(project / "test.npz") as arrays:
        found = {"x": arrays["x"]}
    np.savez(project / "test.npz", **found if classes is None else found | {"y": classes})
    assert words in cli.run("convert").refused(code, 3)
    assert written(project) == []


@pytest.mark.parametrize(
    ("old", "new", "code", "status", "words"),
    [
        pytest.param(CALIBRATE, "", "HT224", 3, "[data] calibrate", id="no calibration"),
        pytest.param("calibration.npz", "c.npz", "HT221", 3, "No such file", id="no such samples"),
        pytest.param(
            '"calibration.npz"', '"calibration.npz", x = "img"', "HT221", 3, "it has: x",
            id="no such array",
        ),
        pytest.param('"8", "9"]', '"8"]', "HT207", 3, "9 labels for 10 outputs", id="9 labels"),
        pytest.param(LABELS, 'labels = "l.txt"', "HT207", 3, "l.txt", id="no labels file"),
        pytest.param(
            LABELS, 'labels = "test.npz"', "HT207", 3, "not UTF-8", id="labels are binary"
        ),
        pytest.param('"default"', '"nobody"', "HT704", 6, "nobody.key", id="no such key"),
        pytest.param('"default"', '"./test.npz"', "HT704", 6, "no private key", id="not a key"),
        pytest.param("std = 6.017", "std = [1.0, 2.0]", "HT104", 2, "2 values", id="two channels"),
        pytest.param('"16 KiB"', '"1 KiB"', "HT402", 4, "gate is 1.0 KiB (1,024 B)", id="gate"),
        pytest.param(
            'max_drop = "1.0 %"',
            'max_drop = "0 %"\n[quantize]\nmethod = "percentile"\npercentile = 50.5',
            "HT401", 4, "points, the gate is 0.00", id="gate: accuracy",
        ),
        pytest.param(
            '"linux"', '"linux"\nflash = "2 KiB"', "HT503", 4, "flash 2.0 KiB", id="flash"
        ),
        pytest.param('"linux"', '"linux"\nram = "1 KiB"', "HT503", 4, "RAM has 1.0", id="RAM"),
    ],
)  # fmt: skip
def test_what_the_deployment_asks_and_cannot_have_is_refused(
    cli: CommandLine, project: Path, old: str, new: str, code: str, status: int, words: str
) -> None:
    change(project, old, new)
    assert words in cli.run("convert").refused(code, status)
    assert written(project) == []


def test_an_error_is_one_json_document_on_request(cli: CommandLine, project: Path) -> None:
    (project / "digits.onnx").write_bytes(b"")
    for words, status in ((("convert",), 3), (("konvert",), 2), (("convert", "--cfg"), 2)):
        ran = cli.run(*words, "--json")
        document = json.loads(ran.err)
        assert (ran.status, document["exit_status"], ran.out) == (status, status, "")
        assert document["error"]["code"].startswith("HT")


def test_a_full_disk_leaves_no_half_bundle(cli: CommandLine, project: Path) -> None:
    cli.works("convert")
    before = {name: (project / name).read_bytes() for name in written(project)}
    change(project, '"1.0.0"', '"1.1.0"')
    ran = cli.run("convert", limits=("prlimit", "--fsize=4096"))
    assert "too large" in ran.refused("HT603", 5)
    assert {name: (project / name).read_bytes() for name in written(project)} == before


def test_two_conversions_do_not_write_the_same_bundles(cli: CommandLine, project: Path) -> None:
    with only_writer(project / LOCK_NAME):
        assert "by another process" in cli.run("convert").refused("HT107", 2)
    cli.works("convert")


def test_a_file_in_the_way_of_the_folder_is_named(cli: CommandLine, project: Path) -> None:
    (project / "dist").write_text("mine")
    assert "dist" in cli.run("convert").refused("HT107", 2)
    assert written(project) == ["dist"]
    assert not cli.home.exists()  # it was seen before anything was done, a key made say
    cli.home.mkdir()
    (cli.home / "config").write_text("mine")
    assert "config" in cli.run("keys", "new").refused("HT107", 2)
