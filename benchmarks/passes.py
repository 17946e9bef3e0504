"""What each compression pass does to a trained model, without any training after it.

Bytes are those of the whole unsigned bundle with `pack = "smallest"`; accuracies are the bundle's
own, run in int8 by the C runtime: keyword spotting on 4,401 clips that calibration has not seen,
the LeNets on the 10,000 test images of MNIST. `--quick` looks at one model and fewer samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from benchmarks.harness import DATA, Report, run
from hardtack_converters.compress.settings import (
    BiasCorrection,
    Equalise,
    Factorise,
    LowBit,
    MixedPrecision,
    Outliers,
    Pass,
    Prune,
    Round,
    Share,
)
from hardtack_converters.convert import Converted, Options, convert, pack_model
from hardtack_converters.report import PassRow
from hardtack_runtime.interpreter import Interpreter
from tests.conformance.models.nets import lenet5, lenet300

Array = npt.NDArray[Any]

RECIPES: dict[str, tuple[Pass, ...]] = {
    "prune_50": (Prune(sparsity=0.5),),
    "prune_50_plain": (Prune(sparsity=0.5, reconstruct=False),),
    "prune_50_sensitivity": (Prune(sparsity=0.5, sensitivity=True),),
    "prune_80_global": (Prune(sparsity=0.8, scope="global"),),
    "prune_2:4": (Prune(pattern="2:4"),),
    "prune_vector_50": (Prune(sparsity=0.5, pattern="vector"),),
    "prune_channel_10": (Prune(sparsity=0.1, pattern="channel"),),
    "share_5": (Share(bits=5),),
    "share_4": (Share(bits=4),),
    "low_bit_4": (LowBit(bits=4),),
    "low_bit_4_nearest": (LowBit(bits=4, method="nearest"),),
    "low_bit_4_adaround": (LowBit(bits=4, method="adaround"),),
    "low_bit_3": (LowBit(bits=3),),
    "low_bit_ternary": (LowBit(bits="ternary"),),
    "low_bit_binary": (LowBit(bits="binary"),),
    "prune_80_low_bit_4": (Prune(sparsity=0.8, scope="global"), LowBit(bits=4)),
    "prune_80_share_4": (Prune(sparsity=0.8, scope="global"), Share(bits=4)),
    "factorise_dense_50": (Factorise(budget=0.5),),
    "bottleneck_80": (Factorise(kind="bottleneck", budget=0.8),),
    "equalise": (Equalise(),),
    "bias_correction": (BiasCorrection(),),
    "round": (Round(),),
    "round_adaround": (Round(method="adaround"),),
    "outliers_0.5": (Outliers(share=0.005),),
    "outliers_2": (Outliers(share=0.02),),
}
"""Passes by the name of their row."""
MIXED = 0.6
"""Share of the bytes that mixed precision is asked to come to."""
QUICK = ("prune_50", "share_5", "bias_correction")


@dataclass(frozen=True, slots=True)
class Subject:
    """A model with its samples.

    Attributes:
        model: Float ONNX or .tflite.
        options: Calibration and normalisation.
        samples: Raw, [count, *shape].
        classes: One per sample.
    """

    model: bytes
    options: dict[str, Any]
    samples: Array
    classes: Array


def measure(report: Report, quick: bool) -> None:
    for name, subject in _subjects(quick):
        before: float | None = None
        for recipe, passes in RECIPES.items():
            if quick and recipe not in QUICK:
                continue
            rows = _converted(subject, passes).compressed
            if before is None:
                report.add(f"{name}.bytes", rows[0].bytes_before)
                before = rows[0].accuracy_before
                report.add(f"{name}.accuracy_pct", 100 * (before or 0))
            _add(report, f"{name}.{recipe}", rows[-1])
        if not quick:
            size = round(MIXED * report.metrics[f"{name}.bytes"])
            (row,) = _converted(subject, (MixedPrecision(size=size),)).compressed
            _add(report, f"{name}.mixed_precision_{100 * MIXED:g}", row)
            multipliers(report, name, subject)


def multipliers(report: Report, name: str, subject: Subject) -> None:
    """Report multipliers of fewer bits: no pass, but they cost and save like one."""
    for bits in (16, 8):
        options = Options(**subject.options, task="classify", multiplier_bits=bits)
        made = convert(subject.model, options)
        bundle = pack_model(made, None, smallest=True)
        report.add(f"{name}.multipliers_{bits}_bytes", len(bundle))
        accuracy = _judge(subject, made, bundle, None)
        report.add(f"{name}.multipliers_{bits}_accuracy_pct", 100 * accuracy)


def _add(report: Report, name: str, row: PassRow) -> None:
    report.add(f"{name}_bytes", row.bytes_after)
    report.add(f"{name}_accuracy_pct", 100 * (row.accuracy_after or 0))


def _converted(subject: Subject, passes: tuple[Pass, ...]) -> Converted:
    options = Options(
        **subject.options, task="classify", compress=passes, judge=partial(_judge, subject),
        pack=lambda converted: pack_model(converted, None, smallest=True),
    )  # fmt: skip
    return convert(subject.model, options)


def _judge(subject: Subject, _: Converted, bundle: bytes, limit: int | None) -> float:
    device = Interpreter(bundle)
    samples = subject.samples[:limit]
    answers = [int(np.argmax(device.run_float(sample)[0])) for sample in samples]
    return float(np.mean(np.array(answers) == subject.classes[: len(answers)]))


def _subjects(quick: bool) -> Iterator[tuple[str, Subject]]:
    limit = 500 if quick else None
    yield "kws", _kws(limit)
    if quick:
        return
    yield "lenet300", _lenet(lenet300(DATA / "lenet/lenet300.pt"), limit)
    yield "lenet5", _lenet(lenet5(DATA / "lenet/lenet5.pt"), limit)


def _kws(limit: int | None) -> Subject:
    with np.load(DATA / "speech_commands/mfcc10_int8.npz") as data:
        real = (data["x"].astype(np.float32) - data["zero_point"]) * data["scale"]
        samples = real.astype(np.float32).reshape(-1, 1, 49, 10, 1)
        classes = data["y"].astype(int)
    seen = np.arange(len(samples)) % 10 == 0
    model = (DATA / "mlperf_tiny/kws_ref_model_float32.tflite").read_bytes()
    options = {"calibration": samples[seen]}
    return Subject(model, options, samples[~seen][:limit], classes[~seen][:limit])


def _lenet(model: onnx.ModelProto, limit: int | None) -> Subject:
    with np.load(DATA / "mnist/mnist.npz") as data:
        images, tests = (data[f"x_{split}"].astype(np.float32) for split in ("train", "test"))
        classes = data["y_test"].astype(int)
    options = {
        "calibration": images[:512, None, None], "mean": (0.1307 * 255,), "std": (0.3081 * 255,),
    }  # fmt: skip
    return Subject(model.SerializeToString(), options, tests[:limit, None, None], classes[:limit])


if __name__ == "__main__":
    run("passes", measure)
