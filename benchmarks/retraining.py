"""What training gives back of what passes cost: LeNet-300-100 and LeNet-5 on MNIST.

Each way of making the trained LeNet-300-100 small is tried by itself, and with some epochs of
training after it or on the way, with the net as it was as teacher. Then both nets are pruned in
training to a twelfth of their parameters, with three seeds each. Bytes are those of the whole
bundle, errors its own, run in int8 by the C runtime on all 10,000 test images. `--quick` tries one
way, for one epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx_ir as ir

from benchmarks.compression import (
    MEAN,
    STD,
    error_percent,
    mnist,
    normalised,
    parameters_of,
    prepared,
)
from benchmarks.harness import DATA, Report, run
from hardtack_converters.compress.factorise import factorise
from hardtack_converters.compress.prune import prune
from hardtack_converters.compress.settings import Factorise, Pass, Prune, Share
from hardtack_converters.convert import Options, convert, pack_model
from hardtack_converters.training.options import TrainOptions
from hardtack_converters.training.train import train
from tests.conformance.models.nets import lenet5, lenet300

WANTED = TrainOptions(
    epochs=6, rate=0.0, lr=0.01, shift=1, average=0.99, half=True, teacher=0.5, held_out=2000
)


@dataclass(frozen=True, slots=True)
class Way:
    """How a net is made small.

    Attributes:
        settings: The pass.
        reshapes: It runs before the training, and not on the way.
    """

    settings: Pass
    reshapes: bool = False

    def options(self) -> TrainOptions:
        """Return how the net is trained."""
        if isinstance(self.settings, Share):
            return replace(WANTED, share=self.settings)
        if isinstance(self.settings, Prune) and not self.reshapes:
            return replace(WANTED, prune=self.settings)
        return WANTED

    def model(self, file: bytes) -> ir.Model:
        """Return what is trained."""
        model = prepared(file)
        if isinstance(self.settings, Factorise):
            factorise(model, self.settings)
        elif isinstance(self.settings, Prune) and self.reshapes:
            prune(model, self.settings)
        return model


WAYS = {
    "share_2": Way(Share(bits=2)),
    "share_1": Way(Share(bits=1)),
    "prune_95": Way(Prune(sparsity=0.95, scope="global")),
    "prune_1:4": Way(Prune(pattern="1:4")),
    "prune_channel_50": Way(Prune(sparsity=0.5, pattern="channel"), reshapes=True),
    "factorise_10": Way(Factorise(budget=0.1), reshapes=True),
}


TWELFTH = Way(Prune(ratio=13, scope="global"))
"""With biases, a twelfth of the parameters are left, and fewer."""
TWELFTH_EPOCHS = {"lenet300": 16, "lenet5": 8}
SEEDS = range(3)


def measure(report: Report, quick: bool) -> None:
    """Report every way without training, and with it; then both nets with a twelfth left."""
    file = net_of("lenet300")
    images, labels = mnist("train")
    count = 10_000 if quick else len(images)
    x, y = normalised(images[:count]), labels[:count]
    options = options_of("lenet300")
    add(report, "plain", [file], options)
    for name, way in WAYS.items():
        if quick and name != "share_2":
            continue
        add(report, name, [file], replace(options, compress=(way.settings,)))
        how = replace(way.options(), epochs=1) if quick else way.options()
        done = train(way.model(file), x, y, how, lambda _: 0, teachers=[prepared(file)])
        trained = ir.to_proto(done.model).SerializeToString()
        add(report, f"{name}_trained", [trained], options)

    if not quick:
        for net in TWELFTH_EPOCHS:
            measure_twelfth(report, net)


def measure_twelfth(report: Report, net: str) -> None:
    """Report a net as it is, and with a twelfth of its parameters."""
    file, options = net_of(net), options_of(net)
    images, labels = mnist("train")
    x = normalised(images)
    how = replace(TWELFTH.options(), epochs=TWELFTH_EPOCHS[net], average=0.998)
    pruned = []
    for seed in SEEDS:
        seeded = replace(how, seed=seed)
        done = train(prepared(file), x, labels, seeded, lambda _: 0, teachers=[prepared(file)])
        pruned.append(ir.to_proto(done.model).SerializeToString())
    add(report, net, [file], options)
    add(report, f"{net}_pruned", pruned, options)


def net_of(name: str) -> bytes:
    """Return a trained LeNet as an ONNX file."""
    model = {"lenet300": lenet300, "lenet5": lenet5}[name](DATA / f"lenet/{name}.pt")
    return bytes(model.SerializeToString())


def options_of(net: str) -> Options:
    """Return how a LeNet is converted."""
    images, _ = mnist("train")
    return Options(name=net, task="classify", mean=(MEAN,), std=(STD,), calibration=images[:512])


def add(report: Report, name: str, files: list[bytes], options: Options) -> None:
    """Report the smallest bundles of a model, one for each seed."""
    bundles = [pack_model(convert(file, options), None, smallest=True) for file in files]
    report.add(f"{name}.bytes", [float(len(bundle)) for bundle in bundles])
    report.add(f"{name}.error_pct", [error_percent(bundle) for bundle in bundles])
    report.add(f"{name}.parameters", [float(parameters_of(bundle)) for bundle in bundles])


if __name__ == "__main__":
    run("retraining", measure)
