"""Share of right answers on [data] evaluate: of bundles, run by the C runtime, and float models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack.config import LabelledSamples, TrainingSamples
from hardtack_converters.convert import Converted
from hardtack_runtime.errors import ModelImportError
from hardtack_runtime.interpreter import Interpreter

Labelled = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
Progress = Callable[[str, int, int], None]
"""Told (stage, done, in all)."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of right answers on the evaluation samples.

    Attributes:
        samples: How many were looked at.
        int8: Of the bundle, run by the runtime that devices run.
        floats: Of the float model; None when the model came quantised.
        untrained: Of the float model before `hardtack train`; None without [train].
    """

    samples: int
    int8: float
    floats: float | None
    untrained: float | None = None

    @property
    def drop(self) -> float:
        """Share lost against the float model as it came; 0 when there is none to compare with."""
        came = self.floats if self.untrained is None else self.untrained
        return 0.0 if came is None else came - self.int8

    def told(self) -> str:
        """Return "98.50 -> 98.17 -> 98.00 % of 600 samples (untrained -> float -> int8)"."""
        known = {"untrained": self.untrained, "float": self.floats, "int8": self.int8}
        shares = {name: 100 * share for name, share in known.items() if share is not None}
        numbers = " -> ".join(f"{share:.2f}" for share in shares.values())
        names = f" ({' -> '.join(shares)})" if len(shares) > 1 else ""
        return f"{numbers} % of {self.samples} samples{names}"


def judge_of(data: LabelledSamples, base: Path) -> Callable[[Converted, bytes, int | None], float]:
    """Return what runs a bundle on [data] evaluate."""
    loaded: list[Labelled] = []

    def judge(converted: Converted, bundle: bytes, limit: int | None) -> float:
        if not loaded:
            loaded.append(_evaluation(converted, data, base))
        samples, classes = loaded[0]
        return _int8_accuracy(bundle, samples[:limit], classes[:limit])

    return judge


def evaluate(
    converted: Converted,
    bundle: bytes,
    data: LabelledSamples,
    base: Path,
    progress: Progress,
    untrained: ir.Model | None = None,
) -> Accuracy:
    """Run bundle and float models on labelled samples.

    Args:
        converted: What the bundle was made from.
        bundle: What devices run.
        data: The samples.
        base: Folder that their path is relative to.
        progress: Told how far it is.
        untrained: Prepared float model before training, if there was one.

    Raises:
        ModelImportError: HT221, HT222, HT223: the samples.
    """
    samples, classes = _evaluation(converted, data, base)
    right = _int8_accuracy(bundle, samples, classes, progress)
    floats, before = (
        None if model is None else _float_accuracy(model, samples, classes)
        for model in (converted.prepared, untrained)
    )  # fmt: skip
    return Accuracy(len(samples), right, floats, before)


def _evaluation(converted: Converted, data: LabelledSamples, base: Path) -> Labelled:
    inside, outside = converted.manifest.inputs[0], converted.manifest.outputs[0]
    return load_labelled({inside.name: inside.shape}, outside.shape[-1], data, base / data.path)


def _int8_accuracy(
    bundle: bytes,
    samples: npt.NDArray[np.float32],
    classes: npt.NDArray[np.int64],
    progress: Progress = lambda *_: None,
) -> float:
    interpreter = Interpreter(bundle)
    right = 0
    for index, (sample, truth) in enumerate(zip(samples, classes, strict=True)):
        right += int(np.argmax(interpreter.run_float(sample)[0])) == truth
        if index % 64 == 0:
            progress("evaluate", index, len(samples))
    progress("evaluate", len(samples), len(samples))
    return float(right / len(samples))


def load_labelled(
    shapes: dict[str, tuple[int, ...]],
    outputs: int,
    data: LabelledSamples | TrainingSamples,
    path: Path,
) -> Labelled:
    """Return samples [count, *input shape] and their classes.

    Args:
        shapes: Of the only input, by its name.
        outputs: Number of classes.
        data: What to take.
        path: Where it is.

    Raises:
        ModelImportError: HT221, HT222, HT223: unreadable, not numbers, of the wrong shape.
    """
    from hardtack_converters.samples import load_samples

    loaded = load_samples(path, shapes, key=data.x, limit=data.max)
    (name,) = shapes
    try:
        with np.load(path) as arrays:
            truth = np.asarray(arrays[data.y])
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ModelImportError(
            "HT221", str(path), f"has no array {data.y!r} of class numbers",
            "name it: { path = ..., y = ... }",
        ) from error  # fmt: skip
    return loaded.arrays[name], _classes(f"{path}: {data.y}", truth, loaded.count, outputs)


def _classes(
    where: str, truth: npt.NDArray[Any], count: int, outputs: int
) -> npt.NDArray[np.int64]:
    flat = np.squeeze(truth).reshape(-1) if truth.size == max(truth.shape, default=0) else truth
    if flat.ndim != 1 or len(flat) < count:
        raise ModelImportError(
            "HT223", where, f"shape {list(truth.shape)} for {count} samples",
            "give one class number per sample",
        )  # fmt: skip
    flat = flat[:count]
    if flat.dtype.kind not in "fiub" or not np.isin(flat, np.arange(outputs)).all():
        raise ModelImportError(
            "HT221", where, f"holds something other than class numbers 0 to {outputs - 1}",
            "number the classes as the model's outputs are",
        )  # fmt: skip
    return flat.astype(np.int64)


def _float_accuracy(
    model: ir.Model, samples: npt.NDArray[np.float32], classes: npt.NDArray[np.int64]
) -> float:
    from hardtack_converters.calibrate import open_session

    session = open_session(model)
    name = session.get_inputs()[0].name
    right = [
        int(np.argmax(session.run(None, {name: sample})[0])) == truth
        for sample, truth in zip(samples, classes, strict=True)
    ]
    return float(np.mean(right))
