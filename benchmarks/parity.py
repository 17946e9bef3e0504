"""The same bits as TensorFlow Lite Micro; accuracy through agent and broker; int8 against float."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.fleet import fleet
from benchmarks.harness import DATA, MODELS, Report, run
from hardtack_converters.convert import Options, convert, pack_model
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.signing import SigningKey
from tests.conformance.models.nets import lenet5
from tests.conformance.models.runtimes import open_onnx
from tests.conformance.oracle import Oracle

Int8Array = npt.NDArray[np.int8]


def measure(report: Report, quick: bool) -> None:
    """Run everything; --quick takes fewer inputs."""
    with Oracle() as oracle:
        for name in MODELS:
            report.add(f"{name}.differing_bytes", differing(name, 20 if quick else 200, oracle))
        speech_commands(report, oracle, 500 if quick else 4890)
    mnist(report, 1000 if quick else 10000)


def differing(name: str, runs: int, oracle: Oracle) -> int:
    """Count the output bytes that differ from TensorFlow Lite Micro's on random inputs."""
    path = DATA / MODELS[name]
    converted = convert(path)
    interpreter = Interpreter(pack_model(converted, None))
    rng = np.random.default_rng(2)
    shape = converted.manifest.inputs[0].shape
    batches = [[rng.integers(-128, 128, shape).astype(np.int8)] for _ in range(runs)]
    pairs = zip(batches, oracle.run(path.read_bytes(), batches), strict=True)
    return sum(
        int(np.count_nonzero(interpreter.run(codes)[0].ravel() != wanted.ravel()))
        for (codes,), (wanted,) in pairs
    )


def speech_commands(report: Report, oracle: Oracle, count: int) -> None:
    """Send Speech Commands clips through an agent and read its accuracy from the controller."""
    with np.load(DATA / "speech_commands" / "mfcc10_int8.npz", allow_pickle=False) as data:
        order = np.random.default_rng(0).permutation(len(data["y"]))[:count]
        codes, labels = data["x"][order].reshape(-1, 1, 49, 10, 1), data["y"][order].astype(int)
    path = DATA / MODELS["kws"]
    key = SigningKey.generate()
    converted = convert(path, Options(name="kws", task="classify"))
    port = converted.manifest.inputs[0]
    real = (codes.astype(np.float32) - port.zero_point) * np.float32(port.scale)
    with fleet(key) as devices:
        devices.push(pack_model(converted, key, hardware="linux"))
        outputs = devices.predict(devices.devices[0], "kws", real, labels)
        window = devices.reported(count)[devices.devices[0]]
    reference = [out[0].ravel() for out in oracle.run(path.read_bytes(), [[c] for c in codes])]
    scale, zero = converted.manifest.outputs[0].scale, converted.manifest.outputs[0].zero_point
    found = [np.rint(o / scale).astype(int) + zero for o in outputs]
    report.add("kws_clips.samples", window.samples)
    report.add("kws_clips.accuracy_percent", 100 * window.correct / window.labelled)
    report.add("kws_clips.differing_bytes", _count_differences(found, reference))
    right = [int(np.argmax(r)) == y for r, y in zip(reference, labels, strict=True)]
    report.add("kws_clips.accuracy_percent", 100 * float(np.mean(right)), "tflite_micro")
    litert = [int(np.argmax(o)) == y for o, y in zip(_litert(path, codes), labels, strict=True)]
    report.add("kws_clips.accuracy_percent", 100 * float(np.mean(litert)), "litert")


def _count_differences(found: list[Any], wanted: list[Any]) -> int:
    return sum(int(np.count_nonzero(f != w)) for f, w in zip(found, wanted, strict=True))


def _litert(path: Any, codes: Int8Array) -> list[Int8Array]:
    from ai_edge_litert.interpreter import Interpreter as LiteRt

    interpreter = LiteRt(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]
    outputs = []
    for one in codes:
        interpreter.set_tensor(source, one)
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(result)[0])
    return outputs


def mnist(report: Report, count: int) -> None:
    """Quantise a float LeNet-5 and hold it against itself on MNIST's test images."""
    proto = lenet5(DATA / "lenet" / "lenet5.pt")
    with np.load(DATA / "mnist" / "mnist.npz") as data:
        train, images, labels = data["x_train"], data["x_test"][:count], data["y_test"][:count]
    mean, std = 0.1307 * 255, 0.3081 * 255
    options = Options(
        task="classify", mean=(mean,), std=(std,), calibration=train[:512, None].astype(np.float32)
    )
    interpreter = Interpreter(pack_model(convert(proto.SerializeToString(), options), None))
    session = open_onnx(proto)
    scaled = ((images - np.float32(mean)) / np.float32(std)).astype(np.float32)
    floats = [int(np.argmax(session.run(None, {"image": x[None, None]})[0])) for x in scaled]
    ours = [int(np.argmax(interpreter.run_float(x.astype(np.float32))[0])) for x in images]
    report.add("lenet5.error_percent", 100 * float(np.mean(np.array(ours) != labels)))
    wrong = 100 * float(np.mean(np.array(floats) != labels))
    report.add("lenet5.error_percent", wrong, "onnxruntime_float")


if __name__ == "__main__":
    run("parity", measure)
