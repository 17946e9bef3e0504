"""The whole way: a model file becomes a program, its contract and the rows of a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from pathlib import Path

import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.activation_groups import quantized_values
from hardtack_converters.calibrate import Calibration, Method, calibrate
from hardtack_converters.compress.bench import Bench, Measured
from hardtack_converters.compress.run import compress
from hardtack_converters.compress.settings import Pass
from hardtack_converters.fixed_point import MANTISSA_BITS
from hardtack_converters.importers import Source, import_model, read_source, sniff
from hardtack_converters.lower import Lowered, lower
from hardtack_converters.passes import is_quantized, prepare
from hardtack_converters.passes.fold_normalisation import (
    fold_into_port,
    fold_normalisation,
)
from hardtack_converters.passes.strip_softmax import strip_softmax
from hardtack_converters.placing import InPlace, place_weights
from hardtack_converters.quantize import coarser_layers, quantize
from hardtack_converters.ranges import Range
from hardtack_converters.report import LayerRow, PassRow, layer_rows
from hardtack_converters.samples import Data, Samples, load_samples
from hardtack_runtime.errors import HardtackError, ModelImportError
from hardtack_runtime.manifest import Manifest, Provenance
from hardtack_runtime.program import Program
from hardtack_runtime.signing import SigningKey

GOLDEN_SEEDS = (1, 2)
"""Inputs whose bits every device must reproduce."""

Progress = Callable[[str, int, int], None]
"""Told (stage, done, in all); stages are `compress` and `calibrate`."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked of a conversion.

    Attributes:
        name: Of the bundle, `[a-z0-9][a-z0-9-]*`, at most 31 characters.
        version: SemVer release.
        task: What the outputs mean: classify, regress, anomaly or none.
        labels: One per class, or empty.
        strip_softmax: Leave out a last softmax.
        input_shapes: Shapes of inputs that the file leaves open, by name; "" means the only one.
        mean: Raw inputs x enter as (x - mean) / std; one value or one per channel; None for 0.
        std: Likewise; None for 1.
        calibration: Samples of raw inputs; needed for float models only.
        calibration_key: Array of an .npz to take.
        calibration_limit: Most samples used.
        method: How ranges follow from what samples show.
        percentile: Share of values kept by `percentile`.
        per_channel: One weight scale per output channel.
        multiplier_bits: Of the multipliers of weights; 8, 16 and 24 save bytes, 31 are TFLite's.
        compress: Passes that make a float model smaller, in order.
        max_drop: Share of right answers that those passes together may cost; None: any.
        pack: Makes the bundle that they are measured by; None: `pack_model`, unsigned.
        judge: Share of right answers of a conversion's bundle, on that many samples at most.
        progress: Told how far it is.
    """

    name: str = "model"
    version: str = "1.0.0"
    task: str = "none"
    labels: tuple[str, ...] = ()
    strip_softmax: bool = False
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    calibration: Data | None = None
    calibration_key: str | None = None
    calibration_limit: int = 512
    method: Method = "min-max"
    percentile: float = 99.99
    per_channel: bool = True
    multiplier_bits: int = MANTISSA_BITS
    compress: tuple[Pass, ...] = ()
    max_drop: float | None = None
    pack: Callable[[Converted], bytes] | None = None
    judge: Callable[[Converted, bytes, int | None], float] | None = None
    progress: Progress = lambda *_: None


@dataclass(frozen=True, slots=True)
class Converted:
    """A converted model.

    Attributes:
        program: What devices run.
        manifest: Its contract; `pack_model` fills in the model id.
        rows: One row per operator, for reports.
        quantized: The same model as standard QDQ ONNX, for other runtimes.
        prepared: The float model before compression, raw inputs; None if it came quantised.
        passes: How many places each pass changed.
        compressed: What each compression pass did.
        notices: What was done that the user may want to know.
    """

    program: Program
    manifest: Manifest
    rows: tuple[LayerRow, ...]
    quantized: ir.Model
    prepared: ir.Model | None
    passes: dict[str, int]
    compressed: tuple[PassRow, ...]
    notices: tuple[str, ...]


def convert(model: Path | bytes, options: Options | None = None) -> Converted:
    """Convert a model file.

    Args:
        model: Path of an ONNX or TensorFlow Lite file, or its bytes.
        options: What is asked.

    Raises:
        ModelImportError: HT201..HT208 the file, HT221..HT224 the calibration samples.
        UnsupportedOpError: HT301..HT304, naming the node.
        ConfigError: HT104 a value that does not fit the model, HT105 a package is missing.
    """
    job, graph = _begin(model, options or Options())
    if is_quantized(graph):
        if job.wanted.compress:
            raise _too_late(job.source)
        lowered = lower(graph, multiplier_bits=job.wanted.multiplier_bits)
        return _converted(job, _normalized_port(lowered, job.wanted), graph)
    bench = _float_bench(job, graph)
    compressed, rows = compress(graph, job.wanted.compress, bench, job.wanted.max_drop)
    calibration = _calibrated(compressed, bench.samples, job.wanted)
    if calibration.settled:
        job.notices.append(f"calibration: ranges settled after {calibration.samples} samples")
    done = _quantized(job, compressed, calibration, bench.samples)
    return replace(done, prepared=graph, compressed=rows)


def open_bench(model: Path | bytes, options: Options) -> tuple[ir.Model, Bench]:
    """Return the float graph that compression passes are given, and what measures it.

    Raises:
        As `convert`.
    """
    job, graph = _begin(model, options)
    if is_quantized(graph):
        raise _too_late(job.source)
    return graph, _float_bench(job, graph)


@dataclass(frozen=True, slots=True)
class _Job:
    """A conversion under way: what is asked, of which file, and what was done so far."""

    wanted: Options
    source: Source
    passes: dict[str, int]
    notices: list[str]


def _begin(model: Path | bytes, wanted: Options) -> tuple[_Job, ir.Model]:
    """Import and prepare a model."""
    source = read_source(model)
    graph = import_model(source, wanted.input_shapes)
    job = _Job(wanted, source, prepare(graph), [])
    if wanted.strip_softmax:
        job.passes["strip_softmax"] = strip_softmax(graph)
        if not job.passes["strip_softmax"]:
            job.notices.append("strip_softmax: no output is a softmax, so nothing was left out")
    return job, graph


def _float_bench(job: _Job, graph: ir.Model) -> Bench:
    """Let a float graph take raw inputs, and return what measures it and what comes of it."""
    _fold_preprocessing(graph, job)
    _refuse_unsupported(graph)
    samples = _samples(graph, job)
    wanted = replace(job.wanted, progress=lambda *_: None)

    def built(model: ir.Model) -> Converted:
        return _quantized(job, model, _calibrated(model, samples, wanted), samples)

    def measure(model: ir.Model, limit: int | None) -> Measured:
        found = built(model)
        bundle = wanted.pack(found) if wanted.pack else pack_model(found, None)
        right = wanted.judge and wanted.judge(found, bundle, limit)
        return Measured(len(bundle), right, found.program.arena_size)

    def accuracy(model: ir.Model, limit: int) -> float | None:
        found = built(model)
        return wanted.judge and wanted.judge(found, pack_model(found, None), limit)

    return Bench(
        samples, lambda model: built(model).quantized, measure, accuracy,
        partial(job.wanted.progress, "compress"),
    )  # fmt: skip


def _quantized(job: _Job, model: ir.Model, calibration: Calibration, samples: Samples) -> Converted:
    made = quantize(model, calibration.ranges, per_channel=job.wanted.per_channel)
    lowered = lower(made, multiplier_bits=job.wanted.multiplier_bits)
    done = _converted(job, lowered, made, calibration, samples)
    return replace(done, notices=(*done.notices, *coarser_layers(made)))


def _converted(
    job: _Job,
    lowered: Lowered,
    graph: ir.Model,
    calibration: Calibration | None = None,
    samples: Samples | None = None,
) -> Converted:
    manifest, rows = _manifest(job, lowered, (calibration, samples)), layer_rows(lowered.program)
    notices = tuple(job.notices)
    return Converted(lowered.program, manifest, rows, graph, None, job.passes, (), notices)


def pack_model(
    converted: Converted,
    key: SigningKey | None,
    *,
    hardware: str = "any",
    ram: int | None = None,
    flash: int | None = None,
    smallest: bool = False,
    in_place: InPlace = "auto",
) -> bytes:
    """Write the signed bundle of a converted model, golden vectors recorded here.

    Args:
        converted: From `convert`.
        key: Who vouches for it; None leaves it unsigned.
        hardware: Class of device it may run on, or `any`.
        ram: Bytes the device has for arena and unpacked constants. Constants for which there is no
            room stay raw and are used from flash; where the bundle is then above `flash`, all are
            coded that a device can unpack layer by layer. None: as much as it takes.
        flash: Bytes the device has for the bundle; None: as much as it takes. A Linux device
            always unpacks at start, so for it there is no choice.
        smallest: Code weights by ctx where that is smaller, which is slow to unpack; write one
            golden vector, and half of each digest.
        in_place: Which weights are sparse and used where they lie; by `auto` where that is faster
            on the hardware, and not `smallest`, or else the bundle would be above `flash`.
    """
    from hardtack_runtime.bundle import pack
    from hardtack_runtime.golden import record
    from hardtack_runtime.interpreter import Interpreter

    program, manifest = converted.program, converted.manifest
    limit = None if ram is None else max(0, ram - program.arena_size)
    draft = pack(program, manifest, key=None, hardware=hardware)
    golden = record(Interpreter(draft), seeds=GOLDEN_SEEDS[:1] if smallest else GOLDEN_SEEDS)
    write = partial(
        pack, program, manifest, key=key, hardware=hardware, golden=golden, smallest=smallest
    )
    chosen: InPlace = "never" if smallest and in_place == "auto" else in_place
    return place_weights(program, write, hardware, limit, flash, chosen)


def check(
    model: Path | bytes, input_shapes: Mapping[str, tuple[int, ...]] | None = None
) -> tuple[HardtackError, ...]:
    """Return every node that has no kernel, with the reason; empty if the model converts.

    A float model needs no samples for this: ranges are pretended.

    Raises:
        ModelImportError: HT201..HT208, the file itself cannot be read.
    """
    source = read_source(model)
    unknown = _unknown_operators(source)
    if unknown:
        return unknown
    graph = import_model(source, input_shapes or {})
    prepare(graph)
    if not is_quantized(graph):
        graph = _with_pretended_ranges(graph)
    return lower(graph, collect_problems=True).problems


def _with_pretended_ranges(graph: ir.Model) -> ir.Model:
    pretended = {str(value.name): Range(-1.0, 1.0) for value in quantized_values(graph)}
    return quantize(graph, pretended)


def _refuse_unsupported(graph: ir.Model) -> None:
    """Name an operator without a kernel before any sample is asked for."""
    for problem in lower(_with_pretended_ranges(graph), collect_problems=True).problems:
        if problem.code in ("HT301", "HT302"):  # the others may come of the pretended ranges
            raise problem


def _unknown_operators(source: Source) -> tuple[HardtackError, ...]:
    from hardtack_converters.importers import onnx, tflite

    if sniff(source) == "tflite":
        return tflite.unknown_operators(source)
    return onnx.unknown_operators(onnx.parse_onnx(source))


def _fold_preprocessing(graph: ir.Model, job: _Job) -> None:
    wanted = job.wanted
    if wanted.mean is None and wanted.std is None:
        return
    how = fold_normalisation(graph, wanted.mean or (0.0,), wanted.std or (1.0,))
    job.passes["fold_normalisation"] = 1
    if how != "folded":
        job.notices.append(f"normalize: the first layer pads, so it became: {how}")


def _normalized_port(lowered: Lowered, wanted: Options) -> Lowered:
    if wanted.mean is None and wanted.std is None:
        return lowered
    port = fold_into_port(lowered.program.inputs[0], wanted.mean or (0.0,), wanted.std or (1.0,))
    return lowered.with_first_input(port)


def _too_late(source: Source) -> ModelImportError:
    return ModelImportError(
        "HT230", source.name, "cannot be compressed: it came quantised",
        "give the float model, or remove [[compress]]",
    )  # fmt: skip


def _samples(graph: ir.Model, job: _Job) -> Samples:
    wanted = job.wanted
    if wanted.calibration is None:
        raise ModelImportError(
            "HT224", job.source.name, "it is a float model: its ranges must be observed on samples",
            'give some in deploy.toml, [data] calibrate = { path = "samples.npz" }',
        )  # fmt: skip
    shapes = {str(value.name): query.shape_of(value) for value in graph.graph.inputs}
    samples = load_samples(
        wanted.calibration, shapes, key=wanted.calibration_key, limit=wanted.calibration_limit
    )
    job.notices.extend(samples.notices)
    return samples


def _calibrated(graph: ir.Model, samples: Samples, wanted: Options) -> Calibration:
    return calibrate(
        graph, samples, method=wanted.method, percentile=wanted.percentile,
        progress=partial(wanted.progress, "calibrate"),
    )  # fmt: skip


def _manifest(
    job: _Job, lowered: Lowered, observed: tuple[Calibration | None, Samples | None]
) -> Manifest:
    wanted, program = job.wanted, lowered.program
    width = lowered.output_shapes[0][-1] if lowered.output_shapes[0] else 1
    if wanted.labels and len(wanted.labels) != width:
        raise ModelImportError(
            "HT207", "labels", f"{len(wanted.labels)} labels for {width} outputs",
            "give one label per output, in the model's order",
        )  # fmt: skip
    calibration, samples = observed
    steps = []
    if wanted.mean is not None or wanted.std is not None:
        mean, std = list(wanted.mean or (0.0,)), list(wanted.std or (1.0,))
        steps.append({"step": "normalize", "mean": mean, "std": std, "folded": True})
    return Manifest.model_validate(
        {
            "name": wanted.name,
            "version": wanted.version,
            "inputs": lowered.input_specs,
            "outputs": lowered.output_specs,
            "labels": wanted.labels,
            "task": wanted.task,
            "preprocessing": tuple(steps),
            "softmax_stripped": bool(job.passes.get("strip_softmax")),
            "layers": program.layers,
            "provenance": Provenance(
                source_sha256=job.source.sha256,
                source_format=sniff(job.source),
                tool_version=_tool_version(),
                calibration_samples=calibration.samples if calibration else 0,
                calibration_sha256=samples.sha256 if samples else "",
            ),
        }
    )


def _tool_version() -> str:
    try:
        return metadata.version("hardtack-converters")
    except metadata.PackageNotFoundError:
        return ""
