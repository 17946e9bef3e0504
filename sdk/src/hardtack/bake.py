"""From a deploy.toml to signed bundles: convert, measure, hold against the gates, write."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hardtack.config import Deployment, LabelledSamples, Target, TrainingSamples
from hardtack.files import BUNDLE_SUFFIX, write_whole
from hardtack.keystore import signing_key
from hardtack.quantities import format_size
from hardtack_converters.convert import Converted, Options, convert, pack_model
from hardtack_converters.importers import import_model, read_source
from hardtack_runtime.bundle import Header, unpack
from hardtack_runtime.errors import GateError, ModelImportError
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.memory import Needs, Way

LOCK_NAME = "deploy.lock"
MADE_FROM = "hardtack.made_from"
"""Key, in a trained model, of the SHA-256 of the file that it was trained from."""
Progress = Callable[[str, int, int], None]
"""Told (stage, done, in all)."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of right answers on the evaluation samples.

    Attributes:
        samples: How many were looked at.
        int8: Of the bundle, run by the runtime that devices run.
        floats: Of the float model; None when the model came quantised.
    """

    samples: int
    int8: float
    floats: float | None

    @property
    def drop(self) -> float:
        """Share lost against the float model; 0 when there is none to compare with."""
        return 0.0 if self.floats is None else self.floats - self.int8


@dataclass(frozen=True, slots=True)
class Baked:
    """A bundle and where it was written."""

    target: Target
    path: Path
    data: bytes
    header: Header
    needs: Needs

    @property
    def way(self) -> Way:
        """How its weights are unpacked on a device with the memory of the target."""
        ram = self.target.ram
        way = Way.MEMORY if ram is None or unpacks_all(self.target) else self.needs.way(ram)
        return way or Way.LAYERS


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `bake` did.

    Attributes:
        converted: The conversion.
        bundles: One per target.
        accuracy: None without [data] evaluate.
        source_bytes: Size of the model file.
        new_key: True when the default signing key had to be made.
    """

    converted: Converted
    bundles: tuple[Baked, ...]
    accuracy: Accuracy | None
    source_bytes: int
    new_key: bool


def bake(
    config: Deployment, base: Path, out: Path, progress: Progress = lambda *_: None
) -> Outcome:
    """Convert the model of a deployment and write a bundle per target.

    Args:
        config: The deployment.
        base: Folder that its paths are relative to.
        out: Folder for the bundles.
        progress: Told how far it is.

    Raises:
        ModelImportError, UnsupportedOpError: HT2xx, HT3xx: the model or its data.
        GateError: HT401, HT402, HT503; nothing is written then.
        TrustError: HT704, the signing key.
    """
    options = conversion_options(config, base)
    key, new_key = signing_key(config.sign.key, base)
    path = model_file(config, base)
    noted = replace(options, progress=lambda done, total: progress("calibrate", done, total))
    converted = convert(path, noted)
    packed = []
    for target in config.target:
        data = pack_model(
            converted, key, hardware=target.hardware, ram=target.ram, flash=target.flash,
            smallest=target.pack == "smallest",
        )  # fmt: skip
        content = unpack(data)
        header, needs = content.header, Needs.of(content)
        check_fit(config, target, header, needs)
        name = f"{config.project.name}-{config.project.release}-{target.name}{BUNDLE_SUFFIX}"
        packed.append(Baked(target, out / name, data, header, needs))
    accuracy = None
    if config.data.evaluate is not None:
        accuracy = evaluate(converted, packed[0].data, config.data.evaluate, base, progress)
        check_drop(config, accuracy)
        if accuracy.floats is None and config.gates.max_drop is not None:
            notice = "max_drop: the model came quantised, so there is no float accuracy to lose"
            converted = replace(converted, notices=(*converted.notices, notice))
    for baked in packed:
        write_whole(baked.path, baked.data)
    write_whole(base / LOCK_NAME, lock_text(converted, packed, accuracy).encode())
    return Outcome(converted, tuple(packed), accuracy, path.stat().st_size, new_key)


def model_file(config: Deployment, base: Path) -> Path:
    """Return the model to convert: with [train] what `hardtack train` has made of [model] path.

    Raises:
        ModelImportError: HT229, it is not there, or was made from another model.
    """
    given = base / config.model.path
    if config.train is None:
        return given
    trained = base / config.train.out
    if not trained.is_file():
        raise ModelImportError(
            "HT229", str(trained), "is not there, and [train] asks for it", "run `hardtack train`"
        )
    made_from = import_model(read_source(trained), {}).metadata_props.get(MADE_FROM)
    if made_from != read_source(given).sha256:
        raise ModelImportError(
            "HT229", str(trained), f"was not trained from {config.model.path} as it is now",
            "run `hardtack train` again",
        )  # fmt: skip
    return trained


def conversion_options(config: Deployment, base: Path) -> Options:
    """Translate the deployment into what the converters ask.

    Raises:
        ModelImportError: HT207, the labels file cannot be read.
    """
    normalize, calibrate = config.input.normalize, config.data.calibrate
    return Options(
        name=config.project.name,
        version=config.project.release,
        task=config.model.task,
        labels=read_labels(config.model.labels, base),
        strip_softmax=config.model.strip_softmax,
        input_shapes=given_shapes(config),
        mean=_values(normalize.mean) if normalize else None,
        std=_values(normalize.std) if normalize else None,
        calibration=base / calibrate.path if calibrate else None,
        calibration_key=calibrate.x if calibrate else None,
        calibration_limit=calibrate.max if calibrate else 512,
        method=config.quantize.method,
        percentile=config.quantize.percentile,
    )


def given_shapes(config: Deployment) -> dict[str, tuple[int, ...]]:
    """Return the shapes of [input] shape by input name; "" for the only input."""
    shape = config.input.shape
    if shape is None:
        return {}
    return shape if isinstance(shape, dict) else {"": shape}


def _values(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


def read_labels(labels: str | tuple[str, ...], base: Path) -> tuple[str, ...]:
    """Return the labels themselves, or those of a text file with one a line.

    Raises:
        ModelImportError: HT207, the file cannot be read.
    """
    if not isinstance(labels, str):
        return labels
    try:
        lines = (base / labels).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ModelImportError(
            "HT207", str(base / labels), f"cannot be read: {reason}",
            "correct `[model] labels`: a text file with one label a line, or the list itself",
        ) from error  # fmt: skip
    return tuple(line.strip() for line in lines if line.strip())


def unpacks_all(target: Target) -> bool:
    """Say whether its devices have one way to unpack: Linux, at start, all of it."""
    return target.hardware == "linux"


def check_fit(config: Deployment, target: Target, header: Header, needs: Needs) -> None:
    """Hold a bundle against its target.

    Raises:
        GateError: HT402 above [gates] size, HT503 above the target's flash or RAM.
    """
    size = header.total_size
    ram = needs.arena + needs.unpacked if unpacks_all(target) else needs.least()
    if config.gates.size is not None and size > config.gates.size:
        raise GateError(
            "HT402", f"target {target.name}",
            f"the bundle has {format_size(size)}, the gate is {format_size(config.gates.size)}",
        )  # fmt: skip
    if target.flash is not None and size > target.flash:
        raise GateError(
            "HT503", f"target {target.name}",
            f"the bundle has {format_size(size)}, its flash {format_size(target.flash)}",
        )  # fmt: skip
    if target.ram is not None and ram > target.ram:
        raise GateError(
            "HT503", f"target {target.name}",
            f"arena and weights take {format_size(ram)}, its RAM has {format_size(target.ram)}",
        )  # fmt: skip


def check_drop(config: Deployment, accuracy: Accuracy) -> None:
    """Hold the accuracy against its gate.

    Raises:
        GateError: HT401, more is lost than allowed.
    """
    limit = config.gates.max_drop
    if limit is not None and accuracy.drop > limit:
        raise GateError(
            "HT401", "[gates] max_drop",
            f"int8 loses {100 * accuracy.drop:.2f} points, the gate is {100 * limit:.2f} "
            f"({100 * (accuracy.floats or 0):.2f} -> {100 * accuracy.int8:.2f} % of "
            f"{accuracy.samples} samples)",
            'try [quantize] method = "percentile", or more calibration samples',
        )  # fmt: skip


def evaluate(
    converted: Converted, bundle: bytes, data: LabelledSamples, base: Path, progress: Progress
) -> Accuracy:
    """Run bundle and float model on labelled samples.

    Raises:
        ModelImportError: HT221, HT222, HT223: the samples.
    """
    inside, outside = converted.manifest.inputs[0], converted.manifest.outputs[0]
    samples, classes = load_labelled(
        {inside.name: inside.shape}, outside.shape[-1], data, base / data.path
    )
    interpreter = Interpreter(bundle)
    right = 0
    for index, (sample, truth) in enumerate(zip(samples, classes, strict=True)):
        right += int(np.argmax(interpreter.run_float(sample)[0])) == truth
        if index % 64 == 0:
            progress("evaluate", index, len(samples))
    progress("evaluate", len(samples), len(samples))
    floats = None
    if converted.prepared is not None:
        floats = _float_accuracy(converted, samples, classes)
    return Accuracy(len(samples), float(right / len(samples)), floats)


def load_labelled(
    shapes: dict[str, tuple[int, ...]],
    outputs: int,
    data: LabelledSamples | TrainingSamples,
    path: Path,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
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
    converted: Converted, samples: npt.NDArray[np.float32], classes: npt.NDArray[np.int64]
) -> float:
    from hardtack_converters.calibrate import open_session

    assert converted.prepared is not None
    session = open_session(converted.prepared)
    name = session.get_inputs()[0].name
    right = [
        int(np.argmax(session.run(None, {name: sample})[0])) == truth
        for sample, truth in zip(samples, classes, strict=True)
    ]
    return float(np.mean(right))


def lock_text(converted: Converted, bundles: list[Baked], accuracy: Accuracy | None) -> str:
    """Return deploy.lock: what the bundles were made from, so that they can be made again."""
    provenance = converted.manifest.provenance
    rows: list[tuple[str, Any]] = [
        ("hardtack", metadata.version("hardtack")),
        ("model_sha256", provenance.source_sha256),
        ("calibration_sha256", provenance.calibration_sha256),
        ("calibration_samples", provenance.calibration_samples),
    ]
    if accuracy is not None:
        rows.append(("accuracy_int8", round(accuracy.int8, 6)))
    lines = ["# Written by `hardtack convert`: what the bundles were made from."]
    lines += [f"{key} = {_toml(value)}" for key, value in rows]
    for baked in bundles:
        lines += ["", "[[bundle]]", f"target = {_toml(baked.target.name)}"]
        lines += [f"file = {_toml(baked.path.name)}", f"bytes = {len(baked.data)}"]
        lines += [f"sha256 = {_toml(hashlib.sha256(baked.data).hexdigest())}"]
        lines += [f"model_id = {_toml(baked.header.model_id.hex())}"]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
