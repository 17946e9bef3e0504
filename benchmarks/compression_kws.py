"""MLPerf Tiny's keyword spotter, trained on under limits of bytes, beside the same net in int8.

The data folder holds no training set, only the test set of Speech Commands: 4,890 clips of 12
classes. So its speakers are split: three fifths of the clips, whole speakers in an order drawn
once, are trained on (the last fifth of those chooses the epoch), and accuracies are those of the C
runtime on the others, for both nets. The float net has seen none of either; the trained one has
heard 3,000 clips and the float net's answers to them (arXiv 1503.02531). Clips of silence have no
speaker: each counts as one, though some may be cut from the same recording of noise.

`kws.trained_*` is the smallest bundle within a point of the plain one. `--quick` measures the
bundles that are there. ResNet-8 is not here: the folder holds none of its pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from benchmarks.harness import DATA, MODELS, Report, run
from hardtack_converters.convert import Converted, Options, convert, pack_model
from hardtack_converters.importers import import_model, read_source
from hardtack_converters.passes import prepare
from hardtack_runtime.interpreter import Interpreter

STORED = Path(__file__).parent / "models"
FLOAT = "mlperf_tiny/kws_ref_model_float32.tflite"
SIZES = (16_000, 12_000)
EPOCHS = 14
POINTS = 1.0
"""Of accuracy that may be lost."""
Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Clips:
    """Features [clips, 49, 10, 1], real, and classes."""

    x: Array
    y: npt.NDArray[np.int64]


def measure(report: Report, quick: bool) -> None:
    """Train unless quick; then measure plain and trained bundles on speakers never trained on."""
    heard, unheard = clips()
    plain = pack(convert(DATA / MODELS["kws"], Options(name="kws", task="classify")))
    dense = accuracy_percent(plain, unheard)
    report.add("kws.clips", len(unheard.y))
    report.add("kws.dense_bytes", len(plain))
    report.add("kws.dense_accuracy_pct", dense)
    if not quick:
        train_all(heard)
    found = []
    for size in SIZES:
        bundle = path_of(size).read_bytes()
        found.append((len(bundle), accuracy_percent(bundle, unheard)))
        report.add(f"kws_{size}.bytes", found[-1][0])
        report.add(f"kws_{size}.accuracy_pct", found[-1][1])
    kept = [(size, accuracy) for size, accuracy in found if accuracy >= dense - POINTS]
    if kept:
        report.add("kws.trained_bytes", min(kept)[0])
        report.add("kws.trained_accuracy_pct", min(kept)[1])


def path_of(size: int) -> Path:
    """Return where the bundle of a limit is."""
    return STORED / f"kws-{size}.htb"


def pack(converted: Converted) -> bytes:
    """Return the smallest bundle."""
    return pack_model(converted, None, smallest=True)


def clips() -> tuple[Clips, Clips]:
    """Return the clips trained on, speaker by speaker, and those of the other speakers."""
    with np.load(DATA / "speech_commands" / "mfcc10_int8.npz", allow_pickle=False) as data:
        codes = data["x"].astype(np.float32)[..., None]
        x = np.float32(data["scale"]) * (codes - np.float32(data["zero_point"]))
        y = data["y"].astype(np.int64)
        speakers = np.where(data["speaker"] == "", data["files"], data["speaker"])
    names, places = np.unique(speakers, return_inverse=True)
    order = np.argsort(np.random.default_rng(0).permutation(len(names))[places], kind="stable")
    ranked = speakers[order]
    cut = int(0.6 * len(order))
    while ranked[cut] == ranked[cut - 1]:
        cut += 1
    first, second = order[:cut], order[cut:]
    return Clips(x[first], y[first]), Clips(x[second], y[second])


def accuracy_percent(bundle: bytes, of: Clips) -> float:
    """Return the right answers of a bundle."""
    device = Interpreter(bundle)
    answers = [int(np.argmax(device.run_float(clip[None])[0])) for clip in of.x]
    return 100 * float(np.mean(np.array(answers) == of.y))


def train_all(heard: Clips) -> None:
    """Train under one limit after another, each time on from the last, and store the bundles."""
    from hardtack_converters.training.options import TrainOptions
    from hardtack_converters.training.size import bundle_sizer
    from hardtack_converters.training.train import train

    options = Options(name="kws", task="classify", calibration=heard.x[:512])
    float_net = prepared((DATA / FLOAT).read_bytes())
    model, rate = float_net, 1e-5
    for size in SIZES:
        wanted = TrainOptions(
            epochs=EPOCHS, size=size, rate=rate, ramp=0.1, lr=0.01, batch=64, teacher=0.7
        )
        done = train(
            model, heard.x, heard.y, wanted, bundle_sizer(options), teacher=float_net,
            progress=lambda epoch, _: print(epoch, flush=True),
        )  # fmt: skip
        file = ir.to_proto(done.model).SerializeToString()
        path_of(size).write_bytes(pack(convert(file, options)))
        model, rate = prepared(file), done.best.rate


def prepared(file: bytes) -> ir.Model:
    """Return a model as training takes it, dead units gone."""
    model = import_model(read_source(file))
    prepare(model)
    return model


if __name__ == "__main__":
    run("compression_kws", measure)
