"""Float ONNX models for tests, built node by node."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

FloatArray = npt.NDArray[np.float32]


def model_of(
    nodes: list[onnx.NodeProto],
    constants: dict[str, npt.NDArray[Any]],
    inputs: dict[str, list[Any]],
    outputs: dict[str, int],
    opset: int = 18,
) -> onnx.ModelProto:
    """Return a float model; of an output only the number of dimensions is said."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, [None] * rank)
            for n, rank in outputs.items()
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(op: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    """Return a node; inputs are separated by blanks, its name is its output's."""
    return helper.make_node(op, inputs.split(), [output], name=output, **attributes)


def small_cnn(seed: int = 0) -> onnx.ModelProto:
    """Return a net with most of what image classifiers have: 3 x 12 x 12 -> 5 classes."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> FloatArray:
        fan_in = max(int(np.prod(shape[1:])), 1)
        return np.asarray(rng.normal(size=shape) / np.sqrt(fan_in), np.float32)

    constants: dict[str, npt.NDArray[Any]] = {
        "w1": draw(8, 3, 3, 3), "b1": draw(8),
        "gamma": np.abs(draw(8)) + 0.5, "beta": draw(8), "mean": draw(8),
        "var": np.abs(draw(8)) + 1,
        "w2": draw(8, 1, 3, 3), "w3": draw(16, 8, 1, 1), "b3": draw(16),
        "w4": draw(16, 16, 3, 3), "b4": draw(16), "w5": draw(16, 5), "b5": draw(5),
        "six": np.array(6, np.float32), "zero": np.array(0, np.float32),
    }  # fmt: skip
    nodes = [
        node("Conv", "x w1 b1", "c1", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c1 gamma beta mean var", "n1"),
        node("Relu", "n1", "r1"),
        node("Conv", "r1 w2", "c2", group=8, pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Clip", "c2 zero six", "r2"),
        node("Conv", "r2 w3 b3", "c3"),
        node("Conv", "c3 w4 b4", "c4", pads=[1, 1, 1, 1]),
        node("Add", "c3 c4", "a1"),
        node("Relu", "a1", "r4"),
        node("GlobalAveragePool", "r4", "g"),
        node("Flatten", "g", "f"),
        node("MatMul", "f w5", "m"),
        node("Add", "m b5", "logits"),
        node("Softmax", "logits", "y"),
    ]
    return model_of(nodes, constants, {"x": ["N", 3, 12, 12]}, {"y": 2})


class _Weights(pickle.Unpickler):
    """Reads a state dict's arrays and nothing else: no class of the file is looked up."""

    def __init__(self, file: io.BytesIO, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        known = {
            "OrderedDict": OrderedDict,
            "_rebuild_tensor_v2": _rebuild,
            "FloatStorage": np.float32,
        }
        if name not in known:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a state dict")
        return known[name]

    def persistent_load(self, pid: Any) -> FloatArray:
        return np.frombuffer(self._archive.read(f"{self._folder}/data/{pid[2]}"), "<f4")


def _rebuild(storage: FloatArray, offset: int, size: tuple[int, ...], *_: object) -> FloatArray:
    return storage[offset : offset + int(np.prod(size))].reshape(size)


def read_state(path: Path) -> dict[str, FloatArray]:
    """Read a torch state dict of contiguous float32 tensors without torch."""
    with zipfile.ZipFile(path) as archive:
        (pickled,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
        folder = pickled.rsplit("/", 1)[0]
        state = _Weights(io.BytesIO(archive.read(pickled)), archive, folder).load()
    return {str(name): array.copy() for name, array in state.items()}


def lenet5(path: Path) -> onnx.ModelProto:
    """Return LeNet-5 (Caffe's) with trained weights: 1 x 28 x 28 -> 10 logits.

    It wants (image / 255 - 0.1307) / 0.3081.
    """
    state = read_state(path)
    weights, biases = list(state.values())[::2], list(state.values())[1::2]
    constants = {f"w{i}": w for i, w in enumerate(weights)}
    constants |= {f"b{i}": b for i, b in enumerate(biases)}
    nodes = [
        node("Conv", "image w0 b0", "conv1"),
        node("MaxPool", "conv1", "pool1", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "pool1 w1 b1", "conv2"),
        node("MaxPool", "conv2", "pool2", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", "pool2", "flat"),
        node("Gemm", "flat w2 b2", "fc1", transB=1),
        node("Relu", "fc1", "relu3"),
        node("Gemm", "relu3 w3 b3", "logits", transB=1),
    ]
    return model_of(nodes, constants, {"image": ["batch", 1, 28, 28]}, {"logits": 2})


def lenet300(path: Path) -> onnx.ModelProto:
    """Return LeNet-300-100 with trained weights: 1 x 28 x 28 -> 10 logits.

    It wants (image / 255 - 0.1307) / 0.3081.
    """
    state = list(read_state(path).values())
    constants = {f"{'wb'[i % 2]}{i // 2}": tensor for i, tensor in enumerate(state)}
    nodes = [
        node("Flatten", "image", "flat"),
        node("Gemm", "flat w0 b0", "fc0", transB=1),
        node("Relu", "fc0", "relu0"),
        node("Gemm", "relu0 w1 b1", "fc1", transB=1),
        node("Relu", "fc1", "relu1"),
        node("Gemm", "relu1 w2 b2", "logits", transB=1),
    ]
    return model_of(nodes, constants, {"image": ["batch", 1, 28, 28]}, {"logits": 2})
