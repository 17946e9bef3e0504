"""Soft answers on MNIST: a small net alone, with one teacher, with two, and with an assistant.

The student has 12 hidden units and sees 6,000 images; the teachers are the trained LeNets, the
assistant has 100 hidden units. Errors are those of the float nets on the test images.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from benchmarks.compression import float_error_percent, mnist, normalised, prepared
from benchmarks.harness import DATA, Report, run
from hardtack_converters.training.assistants import Assistant, train_assistants
from hardtack_converters.training.options import TrainOptions
from hardtack_converters.training.train import train
from tests.conformance.models.nets import lenet5, lenet300, model_of, node

IMAGES, EPOCHS, SEEDS = 6000, 12, 10
STUDENT, ASSISTANT = 12, 100
WANTED = TrainOptions(epochs=EPOCHS, rate=0.0, batch=64, temperature=4.0, held_out=1000)
SHARE = 0.7


def measure(report: Report, quick: bool) -> None:
    """Train the student every way, with several seeds."""
    images, labels = mnist("train")
    chosen = np.random.default_rng(0).permutation(len(images))[:IMAGES]
    x, y = normalised(images[chosen]), labels[chosen]
    large, larger = (
        prepared(make(DATA / "lenet" / f"{make.__name__}.pt").SerializeToString())
        for make in (lenet300, lenet5)
    )
    report.add("lenet300.error_pct", float_error_percent(large))
    report.add("lenet5.error_pct", float_error_percent(larger))
    errors: dict[str, list[float]] = {}
    for seed in range(1 if quick else SEEDS):
        alone = replace(WANTED, seed=seed)
        taught = replace(alone, teacher=SHARE)
        ways = {"alone": (alone, []), "one_teacher": (taught, [large])}
        ways["two_teachers"] = taught, [large, larger]
        ways["assistant"] = taught, [assistant(seed, x, y, taught, [large, larger])]
        for name, (options, teachers) in ways.items():
            trained = train(net(STUDENT, seed), x, y, options, lambda _: 0, teachers=teachers)
            errors.setdefault(name, []).append(float_error_percent(trained.model))
    for name, found in errors.items():
        report.add(f"student_{name}.error_pct", found)


def assistant(
    seed: int, x: np.ndarray, y: np.ndarray, options: TrainOptions, teachers: list[ir.Model]
) -> ir.Model:
    """Return a trained assistant."""
    with tempfile.TemporaryDirectory() as folder:
        one = Assistant(net(ASSISTANT, seed), Path(folder) / "assistant.onnx")
        (taught,) = train_assistants(
            [one], x, y, options, teachers=teachers, read=lambda file: prepared(file.read_bytes())
        )
    return taught.model


def net(hidden: int, seed: int) -> ir.Model:
    """Return an untrained net of one hidden layer."""
    rng = np.random.default_rng(seed)
    shapes = {"w0": (hidden, 784), "w1": (10, hidden)}
    constants = {
        name: rng.normal(0, np.sqrt(2 / shape[1]), shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    constants |= {"b0": np.full(hidden, 0.01, np.float32), "b1": np.full(10, 0.01, np.float32)}
    nodes = [
        node("Flatten", "image", "flat"), node("Gemm", "flat w0 b0", "h", transB=1),
        node("Relu", "h", "r"), node("Gemm", "r w1 b1", "logits", transB=1),
    ]  # fmt: skip
    return prepared(
        model_of(nodes, constants, {"image": [1, 1, 28, 28]}, {"logits": 2}).SerializeToString()
    )


if __name__ == "__main__":
    run("teachers", measure)
