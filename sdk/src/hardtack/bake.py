"""From a deploy.toml to signed bundles: convert, measure, hold against the gates, write."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import onnx_ir as ir

from hardtack.config import Deployment, Target, Train
from hardtack.evaluation import Accuracy, Progress, evaluate, judge_of
from hardtack.files import BUNDLE_SUFFIX, only_writer, require_writable, write_whole
from hardtack.keystore import signing_key
from hardtack.quantities import format_size
from hardtack_converters.convert import Converted, Options, convert, open_bench, pack_model
from hardtack_converters.importers import import_model, read_source
from hardtack_converters.report import PassRow
from hardtack_runtime.bundle import Header, unpack
from hardtack_runtime.errors import GateError, ModelImportError
from hardtack_runtime.memory import Needs, Way
from hardtack_runtime.signing import SigningKey

LOCK_NAME = "deploy.lock"
SMALLER = "make its float model smaller ([[compress]], [train] size), or allow more"
MADE_FROM = "hardtack.made_from"
"""Key, in a trained model, of the SHA-256 of the file that it was trained from."""
TRAINED_BY = "hardtack.trained_by"
"""Key, in a trained model, of the digest of [train] as it was."""
HARM = 0.02
"""Accuracy that passes may cost before people are told that no gate limits it."""


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
        source_bytes: Size of the file [model] path.
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
        ConfigError: HT107, bundles cannot be written, or another process is at it.
    """
    require_writable(out)
    with only_writer(base / LOCK_NAME):
        return _bake(config, base, out, progress)


def _bake(config: Deployment, base: Path, out: Path, progress: Progress) -> Outcome:
    options = conversion_options(config, base)
    key, new_key = signing_key(config.sign.key, base)
    path = model_file(config, base)
    data = config.data.evaluate
    judge = None if data is None else judge_of(data, base)
    converted = convert(path, replace(options, judge=judge, progress=progress))
    notices = (*converted.notices, *_notices(config, converted))
    converted = replace(converted, notices=notices)
    packed = []
    for target in config.target:
        bundle = pack_model(
            converted, key, hardware=target.hardware, ram=target.ram,
            flash=size_limit(config, target),
            smallest=target.pack == "smallest", in_place=target.in_place,
        )  # fmt: skip
        content = unpack(bundle)
        header, needs = content.header, Needs.of(content)
        check_fit(config, target, header, needs)
        name = f"{config.project.name}-{config.project.release}-{target.name}{BUNDLE_SUFFIX}"
        packed.append(Baked(target, out / name, bundle, header, needs))
    converted = _told_of_size(config, converted, packed)
    accuracy = None
    if data is not None:
        untrained = _untrained(config, base, options)
        accuracy = evaluate(converted, packed[0].data, data, base, progress, untrained)
        check_drop(config, accuracy, converted.compressed)
        if accuracy.floats is None and config.gates.max_drop is not None:
            notice = "max_drop: the model came quantised, so there is no float accuracy to lose"
            converted = replace(converted, notices=(*converted.notices, notice))
    for baked in packed:
        write_whole(baked.path, baked.data)
    write_whole(base / LOCK_NAME, lock_text(converted, packed, accuracy).encode())
    source_bytes = (base / config.model.path).stat().st_size
    return Outcome(converted, tuple(packed), accuracy, source_bytes, new_key)


def _told_of_size(config: Deployment, converted: Converted, packed: list[Baked]) -> Converted:
    """Say where a bundle is larger than its model was trained to be."""
    size = config.train.size if config.train is not None else None
    largest = max(len(baked.data) for baked in packed)
    if size is None or largest <= size:
        return converted
    notice = (
        f"the largest bundle has {largest:,} bytes, [train] size asks for {size:,}: "
        "passes or targets are others than in training"
    )
    return replace(converted, notices=(*converted.notices, notice))


def _untrained(config: Deployment, base: Path, options: Options) -> ir.Model | None:
    """Return [model] path as it is evaluated in float, where another model is converted."""
    if config.train is None:
        return None
    return open_bench(base / config.model.path, replace(options, compress=()))[0]


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
        met = "is no file" if trained.exists() else "is not there"
        raise ModelImportError(
            "HT229", str(trained), f"{met}, and [train] asks for it", "run `hardtack train`"
        )
    try:
        properties = import_model(read_source(trained), {}).metadata_props
    except ModelImportError as error:
        todo = "run `hardtack train` again"
        raise ModelImportError(error.code, error.where, error.met, todo) from error
    if properties.get(MADE_FROM) != read_source(given).sha256:
        raise ModelImportError(
            "HT229", str(trained), f"was not trained from {config.model.path} as it is now",
            "run `hardtack train` again",
        )  # fmt: skip
    if properties.get(TRAINED_BY) != training_digest(config.train):
        raise ModelImportError(
            "HT229", str(trained), "was not trained as [train] says now",
            "run `hardtack train`, or put [train] back",
        )  # fmt: skip
    return trained


def training_digest(wanted: Train) -> str:
    """Return a digest of all that [train] asks for, but for the name of the file, in hex."""
    return hashlib.sha256(wanted.model_dump_json(exclude={"out"}).encode()).hexdigest()


def _notices(config: Deployment, converted: Converted) -> list[str]:
    """Return what people may want to know of the model that was converted."""
    told = []
    if config.train is not None:
        told.append(f"converted {config.train.out}, trained from {config.model.path}")
        if config.data.evaluate is not None and config.data.evaluate.path == config.train.data.path:
            told.append("[data] evaluate is what was trained on: its accuracy flatters")
    if config.compress and config.data.evaluate is None:
        told.append("nobody has looked what the passes cost: [data] evaluate is missing")
    used = [row for row in converted.compressed if not row.skipped]
    first = converted.compressed[0].accuracy_before if converted.compressed else None
    last = used[-1].accuracy_after if used else None
    if config.gates.max_drop is None and first is not None and last is not None:
        drop = first - last
        if drop > HARM:
            told.append(
                f"the passes cost {100 * drop:.2f} points: [gates] max_drop sets a limit to that"
            )
    return told


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
        multiplier_bits=config.quantize.multiplier_bits,
        compress=config.compress,
        max_drop=config.gates.max_drop,
        pack=lambda converted: largest_bundle(config, converted),
    )


def largest_bundle(config: Deployment, converted: Converted) -> bytes:
    """Return the largest of the targets' bundles, signed by nobody known."""
    key = SigningKey.generate()  # all signatures are as long
    bundles: list[bytes] = [
        pack_model(
            converted, key, hardware=target.hardware, ram=target.ram,
            flash=size_limit(config, target),
            smallest=target.pack == "smallest", in_place=target.in_place,
        )
        for target in config.target
    ]  # fmt: skip
    return max(bundles, key=len)


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


def size_limit(config: Deployment, target: Target) -> int | None:
    """Return how large its bundle may be."""
    limits = [size for size in (config.gates.size, target.flash) if size is not None]
    return min(limits, default=None)


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
            f"the bundle has {_size(size)}, the gate is {_size(config.gates.size)}", SMALLER,
        )  # fmt: skip
    if target.flash is not None and size > target.flash:
        raise GateError(
            "HT503", f"target {target.name}",
            f"the bundle has {_size(size)}, its flash {_size(target.flash)}", SMALLER,
        )  # fmt: skip
    if target.ram is not None and ram > target.ram:
        raise GateError(
            "HT503", f"target {target.name}",
            f"arena and weights take {_size(ram)}, its RAM has {_size(target.ram)}",
        )  # fmt: skip


def _size(size: int) -> str:
    """Return "47.5 KiB (48,640 B)": what misses a limit by little is told by the bytes."""
    short = format_size(size)
    return short if short == f"{size} B" else f"{short} ({size:,} B)"


def check_drop(config: Deployment, accuracy: Accuracy, passes: Sequence[PassRow] = ()) -> None:
    """Hold the accuracy against its gate; what passes have cost is for the advice.

    Raises:
        GateError: HT401, more is lost than allowed.
    """
    limit = config.gates.max_drop
    if limit is None or accuracy.drop <= limit:
        return
    lost = f"the bundle loses {100 * accuracy.drop:.2f} points, the gate is {100 * limit:.2f}"
    raise GateError(
        "HT401", "[gates] max_drop", f"{lost} ({accuracy.told()})", _advice(accuracy, passes)
    )


def _advice(accuracy: Accuracy, passes: Sequence[PassRow]) -> str:
    """Say what to do about lost accuracy: where most of it went, or else at the quantisation."""
    costly = [row for row in passes if not row.skipped and row.cost > 0]
    by_passes, by_training = sum(row.cost for row in costly), 0.0
    if accuracy.untrained is not None and accuracy.floats is not None:
        by_training = accuracy.untrained - accuracy.floats
    if max(by_passes, by_training) <= 0.5 * accuracy.drop:
        return 'try [quantize] method = "percentile", or more calibration samples'
    if by_training > by_passes:
        return "most of it in training: ask for less there, or train for more epochs"
    each = ", ".join(f"{row.name} {100 * row.cost:.2f}" for row in costly)
    return f"most of it in [[compress]] ({each} points): ask for less, or set `max_drop` there"


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
