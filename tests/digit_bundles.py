"""Small signed bundles for tests of the agent and the fleet; the weights are pseudo-random.

The model takes 64 numbers and has 4 classes: class k is the k-th group of 16 inputs with the
largest sum. Ballast makes the file as large as a test wants, in a layer that does run.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np

from hardtack_runtime.bundle import pack, unpack
from hardtack_runtime.golden import record
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.manifest import Manifest, PortSpec
from hardtack_runtime.program import FullyConnected, Op, Port, Program, Tensor
from hardtack_runtime.signing import SigningKey

KEY = SigningKey.from_seed(bytes(range(32)))
STRANGER = SigningKey.from_seed(bytes(range(1, 33)))
INPUTS, CLASSES = 64, 4
_Q30 = 1 << 30


class _Layers:
    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.ops: list[Op] = []
        self.arena = 0

    def place(self, channels: int) -> int:
        self.tensors.append(Tensor("", (1, 1, 1, channels), None, self.arena))
        self.arena += -(-channels // 16) * 16
        return len(self.tensors) - 1

    def constant(self, data: np.ndarray) -> int:
        n, h, w, c = (1,) * (4 - data.ndim) + data.shape
        self.tensors.append(Tensor("", (n, h, w, c), data.reshape(n, h, w, c)))
        return len(self.tensors) - 1

    def dense(self, source: int, weights: np.ndarray, shift: int) -> int:
        rows = weights.shape[0]
        bias = self.constant(np.zeros(rows, np.int32))
        mult = self.constant(np.full(rows, _Q30, np.int32))
        shifts = self.constant(np.full(rows, shift, np.int8))
        out = self.place(rows)
        kernel = self.constant(weights.astype(np.int8))
        self.ops.append(FullyConnected(source, kernel, bias, mult, shifts, out, 0, -128, 127))
        return out


def _program(seed: int, ballast: int) -> tuple[Program, Manifest]:
    layers = _Layers()
    source = layers.place(INPUTS)
    groups = np.kron(np.eye(CLASSES), np.ones((1, INPUTS // CLASSES))) * 64
    scores = layers.dense(source, groups, -6)
    if ballast:
        noise = np.random.default_rng(seed).integers(-127, 128, (ballast, INPUTS))
        layers.dense(source, noise, -9)
    program = Program(
        tuple(layers.tensors), tuple(layers.ops), (Port(source, 1.0, 0),), (Port(scores, 1.0, 0),),
        layers.arena, tuple(f"dense_{i}" for i in range(len(layers.ops))),
    )  # fmt: skip
    manifest = Manifest(
        name="digits", version="1.0.0", task="classify", labels=("zero", "one", "two", "three"),
        inputs=(PortSpec(name="pixels", shape=(1, INPUTS), scale=1.0, zero_point=0),),
        outputs=(PortSpec(name="scores", shape=(1, CLASSES), scale=1.0, zero_point=0),),
    )  # fmt: skip
    return program, manifest


@functools.cache
def make_bundle(
    version: str = "1.0.0", *, key: SigningKey = KEY, hardware: str = "any", ballast: int = 0,
    broken: bool = False, name: str = "digits",
) -> bytes:  # fmt: skip
    """Return a signed bundle.

    Args:
        version: SemVer; also seeds the ballast, so that versions differ.
        key: Who signs.
        hardware: Class of device.
        ballast: Rows of a layer of noise, 64 bytes each.
        broken: Golden vectors that no device can reproduce.
        name: Of the model.
    """
    program, manifest = _program(sum(map(ord, version)), ballast)
    manifest = manifest.model_copy(update={"version": version, "name": name})
    bare = pack(program, manifest, key=key, hardware=hardware)
    golden = record(Interpreter(bare), seeds=(1, 2))
    if broken:
        golden = tuple(replace(one, crcs=(one.crcs[0] ^ 1, *one.crcs[1:])) for one in golden)
    return pack(program, manifest, key=key, hardware=hardware, golden=golden)


def lenet() -> bytes:
    """Return a real LeNet-300-100 with nearly all weights zero, coded by gap-huff."""
    path = Path(__file__).parents[1] / "benchmarks" / "models" / "lenet300-4600-0.htb"
    content = unpack(path.read_bytes())
    return pack(content.program, content.manifest, key=KEY, golden=content.golden)


def sample(label: int) -> np.ndarray:
    """Return an input of this class, float32 [1, 64]."""
    pixels = np.zeros((1, INPUTS), np.float32)
    width = INPUTS // CLASSES
    pixels[0, label * width : (label + 1) * width] = 9
    return pixels
