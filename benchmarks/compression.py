"""LeNets on MNIST, trained under limits of bytes, beside published figures of compression methods.

Bytes are those of the whole bundle, header, manifest, program, biases and golden vectors included;
errors are the bundle's own, run in int8 by the C runtime on all 10,000 test images. The full run
trains every net from random weights, first without a limit, then under one limit after another,
each time on from what the last one left. It does so with as many seeds as `SEEDS` says, or
HARDTACK_SEEDS (a seed takes half an hour of a core for LeNet-5, a quarter of one for
LeNet-300-100), and keeps all bundles in `benchmarks/models`, and what it saw on the way in
`benchmarks/models/seeds.json`. `--quick` measures the bundles that are there: medians over seeds.

Epochs are chosen on 5,000 training images held out. Limits, numbers of epochs and learning rates
were set by hand, in about thirty trials whose errors on the test images were seen as well.

The stored bundles of LeNet-5 are of seeds 0 and 1: seed 1 had 10 and 12 epochs in its phases of
32,000 and 8,000 bytes, that of 40,000 had their own float net as the only teacher, and 2,048 bytes
has seed 0 only.

LeNet-5 has a Relu behind each convolution, as in Louizos et al., arXiv 1712.01312; that of Caffe
has none, and errs more.

Published: Deep Compression, arXiv 1510.00149 (code book and indices included); EPR, arXiv
1906.06624; MIRACLE, arXiv 1810.00440, as tabled in LilNetX, arXiv 2204.02965. Their bytes are of
the weights and of what decodes them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from benchmarks.harness import DATA, Report, run
from hardtack_converters.compress.settings import Prune
from hardtack_converters.convert import Options, convert, pack_model
from hardtack_converters.importers import import_model, read_source
from hardtack_converters.passes import prepare
from hardtack_runtime.bundle import unpack
from hardtack_runtime.interpreter import Interpreter
from tests.conformance.models.nets import model_of, node

MODELS = Path(__file__).parent / "models"
OUTCOMES = MODELS / "seeds.json"
SEEDS = {"lenet5": 2, "lenet300": 3}
MEAN, STD = float(np.float32(0.1307 * 255)), float(np.float32(0.3081 * 255))
PARAMETERS = {"lenet300": 266_610, "lenet5": 431_080}
"""Weights and biases of the nets as published; ours begin without biases of their own."""
Array = npt.NDArray[np.float32]

PUBLISHED = {
    "deep_compression": {
        "lenet300.lossless_bytes": 27_000, "lenet300.lossless_error_pct": 1.58,
        "lenet5.lossless_bytes": 44_000, "lenet5.lossless_error_pct": 0.74,
    },
    "epr": {
        "lenet300.bytes": 8_560, "lenet300.error_pct": 1.9,
        "lenet5.bytes": 2_840, "lenet5.error_pct": 1.0,
    },
    "miracle": {"lenet5.bytes": 1_520, "lenet5.error_pct": 0.96},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Phase:
    """One training; the next one goes on from its model, dead units gone.

    Attributes:
        size: Limit of the bundle, bytes; None trains without one.
        epochs: Rounds over 55,000 images.
        shift: Pixels by which images are moved.
        rate: Loss per bit at the beginning.
        ramp: Share of the epochs over which it comes into force.
        lr: First learning rate.
        structure: Codes that a unit counts for.
        growth: What the rate may grow by after an epoch.
        average: Share of itself that the average of the weights keeps at a step.
        ratio: How many times fewer weights are left, pruned by size wherever they are; None: as
            the limit of bytes has it. Nothing goes on from such a model, and the float nets of all
            seeds teach it.
        teacher: Share of the loss that follows the float net's soft answers.
    """

    size: int | None
    epochs: int
    shift: int = 0
    rate: float = 0.0
    ramp: float = 0.05
    lr: float = 0.01
    structure: float = 1.0
    growth: float | None = 1.1
    average: float = 0.99
    ratio: float | None = None
    teacher: float = 0.5


RECIPES = {
    "lenet300": (
        Phase(None, 16, shift=1, lr=0.02, average=0.998),
        Phase(30000, 20, shift=1, average=0.998, ratio=13, teacher=0.8),
        Phase(5200, 35, shift=1, rate=2e-6, ramp=0.25, lr=0.02, growth=None),
        Phase(4600, 22, shift=1, rate=2.7e-5, lr=0.02, growth=1.2),
        Phase(3600, 25, shift=1, rate=4.5e-5, lr=0.02, growth=1.3),
    ),
    "lenet5": (
        Phase(None, 14, shift=2, lr=0.02, average=0.998),
        Phase(40000, 14, shift=2, average=0.998, ratio=13),
        Phase(32000, 12, shift=2, rate=1.5e-6, ramp=0.1, growth=1.8, average=0.998),
        Phase(8000, 14, rate=4e-6, ramp=0.1, lr=0.015, growth=2.0),
        Phase(4500, 15, rate=1.2e-5),
        Phase(3072, 26, rate=3e-5, structure=3.0),
        Phase(2048, 22, rate=4e-5, structure=3.0),
    ),
}
"""The phases of each net. The first one's model teaches all others."""

LIMITS = {
    "lenet300.lossless_": 1.58, "lenet300.": 1.9, "lenet5.lossless_": 0.74, "lenet5.": 1.0,
}  # fmt: skip
"""Published errors, in percent; the figures are of the smallest limit whose median errs no more."""


def measure(report: Report, quick: bool) -> None:
    """Train unless quick; then measure every stored bundle."""
    if not quick:
        train_all()
    seeds = [Outcome(**one) for one in json.loads(OUTCOMES.read_text())]
    for net in RECIPES:
        dense = [one.error for one in seeds if one.of(net, None)]
        if dense:
            report.add(f"{net}.dense_error_pct", dense)
        add_points(report, net, [measured(report, net, size) for size in stored(net)])
    for peer, figures in PUBLISHED.items():
        for key, value in figures.items():
            report.add(key, value, peer)


@dataclass(frozen=True, slots=True)
class Found:
    """Medians over the stored bundles of a limit: bytes, error in percent, non-zero parameters."""

    bytes: float
    error: float
    parameters: float


def measured(report: Report, net: str, size: int) -> Found:
    """Measure the bundles of a limit, one for each seed."""
    bundles = [path.read_bytes() for path in bundles_of(net, size)]
    counts = [float(len(bundle)) for bundle in bundles]
    errors = [error_percent(bundle) for bundle in bundles]
    parameters = [float(parameters_of(bundle)) for bundle in bundles]
    report.add(f"{net}_{size}.bytes", counts)
    report.add(f"{net}_{size}.error_pct", errors)
    report.add(f"{net}_{size}.parameters", parameters)
    return Found(median(counts), median(errors), median(parameters))


def add_points(report: Report, net: str, found: list[Found]) -> None:
    """Report the smallest limit at each published error, and at that of the net before."""
    for point, limit in LIMITS.items():
        kept = [one for one in found if point.startswith(f"{net}.") and one.error <= limit]
        if kept:
            best = min(kept, key=lambda one: one.bytes)
            report.add(f"{point}bytes", best.bytes)
            report.add(f"{point}error_pct", best.error)
    dense = report.metrics.get(f"{net}.dense_error_pct", 0.0)
    pruned = [one for one in found if one.error <= dense]
    if pruned:
        least = min(pruned, key=lambda one: one.parameters)
        report.add(f"{net}.pruned_ratio", PARAMETERS[net] / least.parameters)
        report.add(f"{net}.pruned_error_pct", least.error)


def parameters_of(bundle: bytes) -> int:
    """Return the weights that are not zero, and all biases."""
    constants = [t.data for t in unpack(bundle).program.tensors if t.data is not None]
    weights = sum(int(np.count_nonzero(c)) for c in constants if c.dtype == np.int8 and c.size > 1)
    return weights + sum(c.size for c in constants if c.dtype == np.int32 and c.size > 1)


def error_percent(bundle: bytes) -> float:
    """Return the wrong answers of a bundle on the 10,000 test images."""
    images, labels = mnist("test")
    device = Interpreter(bundle)
    answers = [int(np.argmax(device.run_float(image[None])[0])) for image in images]
    return 100 * float(np.mean(np.array(answers) != labels))


def mnist(split: str) -> tuple[Array, npt.NDArray[np.int64]]:
    """Return raw images [count, 1, 28, 28] and their classes."""
    with np.load(DATA / "mnist" / "mnist.npz") as data:
        images = data[f"x_{split}"].astype(np.float32)[:, None]
        return images, data[f"y_{split}"].astype(np.int64)


def stored(net: str) -> list[int]:
    """Return the limits of the bundles of a net that are there, the largest first."""
    names = (path.stem for path in MODELS.glob(f"{net}-*.htb"))
    return sorted({int(name.split("-")[1]) for name in names}, reverse=True)


def bundles_of(net: str, size: int) -> list[Path]:
    """Return the bundles of a limit, a seed each."""
    return sorted(MODELS.glob(f"{net}-{size}-*.htb"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a phase came to.

    Attributes:
        net: lenet300 or lenet5.
        seed: Of everything random.
        size: The limit; None for the float net.
        bytes: Of the bundle; of the float parameters where there is no limit.
        validation_error: On the images held out, in percent.
        error: On the test images, in percent: of the bundle, or of the float net.
    """

    net: str
    seed: int
    size: int | None
    bytes: int
    validation_error: float
    error: float

    def of(self, net: str, size: int | None) -> bool:
        """Tell whether it is of that net and limit."""
        return (self.net, self.size) == (net, size)


def train_all() -> None:
    """Train every net with every seed; keep all bundles and figures."""
    MODELS.mkdir(exist_ok=True)
    done: list[Outcome] = []
    for net, usual in SEEDS.items():
        for made in train_net(net, range(int(os.environ.get("HARDTACK_SEEDS", usual)))):
            outcome = made.outcome
            if outcome.size:
                name = f"{net}-{outcome.size}-{outcome.seed}.htb"
                (MODELS / name).write_bytes(made.bundle)
            done.append(outcome)
            OUTCOMES.write_text(json.dumps([asdict(one) for one in done], indent=1) + "\n")


@dataclass(frozen=True, slots=True)
class Made:
    """A phase's result: the float model's file and, under a limit, the bundle."""

    outcome: Outcome
    file: bytes
    bundle: bytes


def train_net(net: str, seeds: Sequence[int]) -> Iterator[Made]:
    """Train a net phase by phase: the float nets of all seeds first, for some phases need all."""
    first, *phases = RECIPES[net]
    floats = []
    for seed in seeds:
        floats.append(train_phase(net, seed, first, random_net(net, seed).SerializeToString(), ()))
        yield floats[-1]
    for seed, own in zip(seeds, floats, strict=True):
        model = own.file
        for phase in phases:
            teachers = floats if phase.ratio else [own]
            made = train_phase(net, seed, phase, model, [one.file for one in teachers])
            yield made
            if phase.ratio is None:
                model = made.file


def train_phase(net: str, seed: int, phase: Phase, file: bytes, teachers: Sequence[bytes]) -> Made:
    """Train a model on, as a phase says."""
    from hardtack_converters.training.options import Epoch, TrainOptions
    from hardtack_converters.training.size import bundle_sizer
    from hardtack_converters.training.train import train

    images, labels = mnist("train")
    options = Options(name=net, task="classify", mean=(MEAN,), std=(STD,))
    options = replace(options, calibration=images[:512])
    wanted = TrainOptions(
        epochs=phase.epochs, size=phase.size, rate=phase.rate, ramp=phase.ramp, lr=phase.lr,
        structure=phase.structure, shift=phase.shift, seed=seed, growth=phase.growth,
        average=phase.average, half=True,
        prune=Prune(ratio=phase.ratio, scope="global") if phase.ratio else None,
        teacher=phase.teacher if teachers else 0.0,
    )  # fmt: skip
    sizer = bundle_sizer(options) if phase.size else lambda _: 4 * PARAMETERS[net]

    def told(epoch: Epoch, _: int) -> None:
        print(net, seed, phase.size, epoch, flush=True)

    done = train(
        prepared(file), normalised(images), labels, wanted, sizer,
        teachers=tuple(prepared(teacher) for teacher in teachers), progress=told,
    )  # fmt: skip
    trained, bundle = ir.to_proto(done.model).SerializeToString(), b""
    if phase.size:
        bundle = pack_model(convert(trained, options), None, smallest=True)
    error = error_percent(bundle) if bundle else float_error_percent(done.model)
    outcome = Outcome(net, seed, phase.size, done.best.bytes, 100 * done.best.error, error)
    print(outcome, flush=True)
    return Made(outcome, trained, bundle)


def prepared(file: bytes) -> ir.Model:
    """Return a model as training takes it, dead units gone."""
    model = import_model(read_source(file))
    prepare(model)
    return model


def normalised(images: Array) -> Array:
    """Return images as the nets are fed in float."""
    return ((images - np.float32(MEAN)) / np.float32(STD)).astype(np.float32)


def float_error_percent(model: ir.Model) -> float:
    """Return the wrong answers of a float net on the test images."""
    import torch

    from hardtack_converters.training.module import GraphModule

    images, labels = mnist("test")
    with torch.no_grad():
        answers = GraphModule(model, exact=True)(torch.from_numpy(normalised(images))).argmax(-1)
    return 100 * float(np.mean(answers.numpy() != labels))


def drawn(shapes: Sequence[tuple[int, ...]], seed: int) -> dict[str, Array]:
    """Return weights w0, w1... drawn as He et al., arXiv 1502.01852, do, and biases of zeros.

    Each of `shapes` is [outputs, ...].
    """
    rng = np.random.default_rng(seed)
    constants = dict[str, Array]()
    for index, shape in enumerate(shapes):
        spread = np.sqrt(2 / np.prod(shape[1:]))
        constants[f"w{index}"] = (rng.normal(size=shape) * spread).astype(np.float32)
        constants[f"b{index}"] = np.zeros(shape[0], np.float32)
    return constants


def random_net(net: str, seed: int) -> onnx.ModelProto:
    """Return a LeNet before any training."""
    relu = [node("Relu", "h0", "r0"), node("Relu", "h1", "r1")]
    if net == "lenet300":
        shapes: list[tuple[int, ...]] = [(300, 784), (100, 300), (10, 100)]
        nodes = [
            node("Flatten", "image", "flat"), node("Gemm", "flat w0 b0", "h0", transB=1), relu[0],
            node("Gemm", "r0 w1 b1", "h1", transB=1), relu[1],
            node("Gemm", "r1 w2 b2", "logits", transB=1),
        ]  # fmt: skip
    else:
        shapes = [(20, 1, 5, 5), (50, 20, 5, 5), (500, 800), (10, 500)]
        pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
        nodes = [
            node("Conv", "image w0 b0", "h0"), relu[0], node("MaxPool", "r0", "p0", **pool),
            node("Conv", "p0 w1 b1", "h1"), relu[1], node("MaxPool", "r1", "p1", **pool),
            node("Flatten", "p1", "flat"), node("Gemm", "flat w2 b2", "h2", transB=1),
            node("Relu", "h2", "r2"), node("Gemm", "r2 w3 b3", "logits", transB=1),
        ]  # fmt: skip
    return model_of(nodes, drawn(shapes, seed), {"image": ["batch", 1, 28, 28]}, {"logits": 2})


if __name__ == "__main__":
    run("compression", measure)
