"""`hardtack pack` and `hardtack unpack` on real models, and on what is none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from hardtack_converters.importers.source import Source, read_source
from hardtack_converters.importers.spans import tensor_spans
from hardtack_converters.importers.tflite import constants
from hardtack_runtime.errors import ModelImportError
from hardtack_runtime.payload import pack_payload, unpack_payload
from tests.conformance.models.nets import lenet5, lenet300, model_of, node, small_cnn
from tests.data import ROOT, data_path
from tests.end_to_end.command import CommandLine

REAL = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("*/*.tflite"))


@pytest.mark.parametrize("name", REAL or ["mlperf_tiny/kws_ref_model.tflite"])
def test_every_real_tflite_is_restored(name: str) -> None:
    source = read_source(data_path(name))
    spans = tensor_spans(source)
    assert sum(span.end - span.start for span in spans) > 0.1 * len(source.data)
    packed = pack_payload(source.data, spans)
    assert unpack_payload(packed) == source.data
    assert len(packed) < 0.93 * len(source.data)


@pytest.mark.parametrize("net", [lenet5, lenet300], ids=["lenet5", "lenet300"])
def test_a_real_onnx_is_restored(net: type) -> None:
    name = net.__name__
    data = net(data_path(f"lenet/{name}.pt")).SerializeToString()
    packed = pack_payload(data, tensor_spans(Source(data, name)))
    assert unpack_payload(packed) == data
    assert len(packed) < 0.85 * len(data)


def test_tensors_are_found_wherever_onnx_keeps_them() -> None:
    rng = np.random.default_rng(0)
    raw, typed, inner = (rng.normal(size=(8, 40)).astype(np.float32) for _ in range(3))
    proto = model_of(
        [
            helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(inner, "c")),
            node("Add", "x raw", "s"), node("Add", "s typed", "t"), node("Add", "t c", "y"),
        ],
        {"raw": raw}, {"x": [8, 40]}, {"y": 2},
    )  # fmt: skip
    values = typed.reshape(-1).tolist()
    proto.graph.initializer.append(
        helper.make_tensor("typed", TensorProto.FLOAT, typed.shape, values)
    )
    data = proto.SerializeToString()
    spans = tensor_spans(Source(data, "net"))
    found = [data[span.start : span.end] for span in spans]
    assert sorted(found) == sorted(array.tobytes() for array in (raw, typed, inner))


def test_equal_tensors_are_two() -> None:
    same = np.random.default_rng(0).normal(size=(8, 40)).astype(np.float32)
    nodes = [node("Add", "x a", "s"), node("Add", "s b", "y")]
    data = model_of(
        nodes, {"a": same, "b": same}, {"x": [8, 40]}, {"y": 2}
    ).SerializeToString()  # fmt: skip
    spans = tensor_spans(Source(data, "net"))
    assert len(spans) == 2
    assert unpack_payload(pack_payload(data, spans)) == data


def test_a_damaged_tflite_is_refused() -> None:
    data = data_path("mlperf_tiny/kws_ref_model.tflite").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(data[: rng.integers(8, len(data))])
        damaged[rng.integers(8, min(len(damaged), 400)) - 1] ^= 1 << rng.integers(8)
        source = Source(bytes(damaged), "kws.tflite")
        try:
            packed = pack_payload(source.data, tensor_spans(source)[:1])
        except ModelImportError as error:
            assert error.code in ("HT203", "HT204")
        else:
            assert unpack_payload(packed) == source.data


def table_shared(subgraphs: int, buffers: int) -> bytes:
    """Return a .tflite of that many subgraphs that are one, and buffers of the same bytes."""
    import tflite

    b = flatbuffers.Builder()

    def vector(offset: int, count: int) -> int:
        b.StartVector(4, count, 4)
        for _ in range(count):
            b.PrependUOffsetTRelative(offset)
        return int(b.EndVector())

    stored = b.CreateByteVector(bytes(1000))
    tflite.BufferStart(b)
    tflite.BufferAddData(b, stored)
    many = vector(tflite.BufferEnd(b), buffers)
    tflite.TensorStart(b)
    tensors = vector(tflite.TensorEnd(b), subgraphs)
    tflite.SubGraphStart(b)
    tflite.SubGraphAddTensors(b, tensors)
    graphs = vector(tflite.SubGraphEnd(b), subgraphs)
    tflite.ModelStart(b)
    tflite.ModelAddSubgraphs(b, graphs)
    tflite.ModelAddBuffers(b, many)
    b.Finish(tflite.ModelEnd(b), b"TFL3")
    return bytes(b.Output())


def test_tables_that_are_shared_take_no_more_work_than_the_file_is_long() -> None:
    with pytest.raises(ModelImportError, match="longer than the file") as caught:
        tensor_spans(Source(table_shared(5000, 1), "net.tflite"))
    assert caught.value.code == "HT204"
    data = table_shared(3, 500)
    assert len(list(constants(Source(data, "net.tflite")))) == len(data) // 1000
    assert unpack_payload(pack_payload(data, tensor_spans(Source(data, "net.tflite")))) == data


def test_pack_then_unpack_on_the_command_line(cli: CommandLine, project: Path) -> None:
    original = (project / "digits.onnx").read_bytes()
    ran = cli.works("pack", "digits.onnx")
    assert "wrote      digits.onnx.htp" in ran.out
    packed = project / "digits.onnx.htp"
    assert packed.stat().st_size < len(original)
    cli.works("unpack", "digits.onnx.htp", "-o", "again.onnx")
    assert (project / "again.onnx").read_bytes() == original
    (project / "digits.onnx").unlink()
    document = cli.works("unpack", "digits.onnx.htp", "--json").document
    digest = hashlib.sha256(original).hexdigest()
    assert document == {"path": "digits.onnx", "sha256": digest, "bytes": len(original)}
    document = cli.works("pack", "digits.onnx", "--force", "--json").document
    assert document["bytes"] == {"before": len(original), "after": packed.stat().st_size}
    assert document["sha256"] == digest


def test_nothing_is_replaced_unasked(cli: CommandLine, project: Path) -> None:
    cli.works("pack", "digits.onnx")
    before = (project / "digits.onnx.htp").read_bytes()
    cli.run("pack", "digits.onnx").refused("HT106", 2)
    cli.run("unpack", "digits.onnx.htp").refused("HT106", 2)
    cli.works("pack", "digits.onnx", "--force")
    assert (project / "digits.onnx.htp").read_bytes() == before


def test_what_is_read_is_replaced_in_no_case(cli: CommandLine, project: Path) -> None:
    cli.works("pack", "digits.onnx")
    cli.run("pack", ".").refused("HT201", 3)
    for verb, name in (("pack", "digits.onnx"), ("unpack", "digits.onnx.htp")):
        before = (project / name).read_bytes()
        assert "-o" in cli.run(verb, name, "-o", name, "--force").refused("HT106", 2)
        assert (project / name).read_bytes() == before


def test_a_damaged_file_leaves_nothing_behind(cli: CommandLine, project: Path) -> None:
    cli.works("pack", "digits.onnx")
    packed = project / "digits.onnx.htp"
    damaged = bytearray(packed.read_bytes())
    damaged[len(damaged) // 2] ^= 16
    packed.write_bytes(damaged)
    there = sorted(project.iterdir())
    message = cli.run("unpack", "digits.onnx.htp", "-o", "again.onnx").refused("HT213", 3)
    assert "digits.onnx.htp" in message
    assert sorted(project.iterdir()) == there


@pytest.mark.parametrize(
    ("words", "code", "status"),
    [
        (("pack", "deploy.toml"), "HT203", 3),
        (("pack", "absent.onnx"), "HT201", 3),
        (("unpack", "absent.htp"), "HT213", 3),
        (("unpack", "digits.onnx"), "HT104", 2),
        (("unpack", "digits.onnx", "-o", "x"), "HT213", 3),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_no_model_is_refused(
    cli: CommandLine, project: Path, words: tuple[str, ...], code: str, status: int
) -> None:
    there = sorted(project.iterdir())
    cli.run(*words).refused(code, status)
    assert sorted(project.iterdir()) == there


def test_a_model_of_a_few_nodes_is_packed() -> None:
    data = small_cnn().SerializeToString()
    assert unpack_payload(pack_payload(data, tensor_spans(Source(data, "cnn")))) == data
