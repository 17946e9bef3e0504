"""`hardtack train` without its command line: from a deploy.toml to a trained model file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack.bake import (
    MADE_FROM,
    TRAINED_BY,
    conversion_options,
    given_shapes,
    largest_bundle,
    training_digest,
)
from hardtack.config import Deployment, Train
from hardtack.evaluation import load_labelled
from hardtack.files import only_writer, write_whole
from hardtack_converters import query
from hardtack_converters.compress.factorise import factorise
from hardtack_converters.compress.prune import prune
from hardtack_converters.compress.settings import Factorise, Prune
from hardtack_converters.convert import Options
from hardtack_converters.importers import import_model, read_source
from hardtack_converters.passes import is_quantized, prepare
from hardtack_converters.passes.pipeline import drop_unused
from hardtack_runtime.errors import ConfigError, ModelImportError

if TYPE_CHECKING:
    from hardtack_converters.training.assistants import Assistant
    from hardtack_converters.training.options import Epoch, Progress, Trained, TrainOptions

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Training:
    """What `train_model` did.

    Attributes:
        path: The trained model.
        trained: How it went.
        resumed: It went on from where an interrupted run had stopped.
        assistants: The best epoch of each; None for one that was there already.
    """

    path: Path
    trained: Trained
    resumed: bool
    assistants: tuple[Epoch | None, ...]


def train_model(
    config: Deployment, base: Path, progress: Progress, *, restart: bool = False
) -> Training:
    """Train the model of a deployment and write it beside its deploy.toml.

    An interrupted training goes on where it stopped.

    Args:
        config: The deployment.
        base: Folder that its paths are relative to.
        progress: Told after every epoch, those of an earlier run included.
        restart: Begin anew in any case.

    Raises:
        ConfigError: HT104 [train] is missing or cannot be used; HT105 torch is missing.
        ModelImportError: HT2xx, the model, the samples or the training.
    """
    wanted = config.train
    if wanted is None:
        raise ConfigError(
            "HT104", "deploy.toml", "the table [train] is missing",
            'add [train] with data = { path = "train.npz" } and size = "8 KiB"',
        )  # fmt: skip
    path = base / wanted.out
    _check_out(path, config, wanted, base)
    path.parent.mkdir(parents=True, exist_ok=True)
    with only_writer(path):
        return _train(config, wanted, base, path, progress, restart)


def _train(
    config: Deployment, wanted: Train, base: Path, path: Path, progress: Progress, restart: bool
) -> Training:
    from hardtack_converters.training.assistants import train_assistants
    from hardtack_converters.training.size import bundle_sizer
    from hardtack_converters.training.train import train

    options = replace(conversion_options(config, base), compress=())
    model, source = _prepared(base / config.model.path, config)
    teachers = [_prepared(base / name, config)[0] for name in wanted.teachers] or [model.clone()]
    reshaped = _reshape(model, wanted.compress)
    samples, classes = _samples(model, wanted, options, base)
    checkpoint = path.with_name(path.name + ".checkpoint")
    assistants = _assistants(config, wanted, base)
    under_way = (checkpoint, *(assistant.checkpoint for assistant in assistants))
    for file in (*under_way, *(one.file for one in assistants)) if restart else ():
        file.unlink(missing_ok=True)
    resumed = any(file.exists() for file in under_way)
    how = _options(wanted)
    taught = train_assistants(
        assistants, samples, classes, how, teachers=teachers,
        read=lambda file: _prepared(file, config)[0], progress=progress,
    )  # fmt: skip
    if taught:
        teachers, how = [taught[-1].model], replace(how, teacher_weights=())
    trained = train(
        model, samples, classes, how,
        bundle_sizer(options, lambda converted: largest_bundle(config, converted)),
        teachers=teachers, checkpoint=checkpoint, progress=progress,
    )  # fmt: skip
    trained.model.metadata_props[MADE_FROM] = source
    trained.model.metadata_props[TRAINED_BY] = training_digest(wanted)
    drop_unused(trained.model)
    write_whole(path, ir.to_proto(trained.model).SerializeToString())
    checkpoint.unlink(missing_ok=True)
    notices = [f"assistant {at}: {n}" for at, each in enumerate(taught, 1) for n in each.notices]
    trained = replace(trained, notices=(*reshaped, *notices, *trained.notices))
    return Training(path, trained, resumed, tuple(each.best for each in taught))


def _check_out(path: Path, config: Deployment, wanted: Train, base: Path) -> None:
    """Refuse to write over what a training or a conversion reads.

    Raises:
        ConfigError: HT104.
    """
    samples = (wanted.data, config.data.calibrate, config.data.evaluate)
    read = [config.model.path, *wanted.teachers, *wanted.assistants]
    read += [one.path for one in samples if one is not None]
    if path.suffix != ".onnx" or path.resolve() in {(base / name).resolve() for name in read}:
        raise ConfigError(
            "HT104", "train.out", f"{wanted.out!r} is no new .onnx file",
            'name a file of its own, such as "trained.onnx"',
        )  # fmt: skip


def _reshape(model: ir.Model, passes: Sequence[Prune | Factorise]) -> list[str]:
    """Run passes on a prepared model, by its weights alone; return what each came to."""
    told = []
    for number, settings in enumerate(passes, 1):
        try:
            if isinstance(settings, Factorise):
                changed = factorise(model, settings)
            else:
                changed = prune(model, settings)
        except ConfigError as error:
            place = f"[train] compress, pass {number} ({settings.pass_}), {error.where}"
            raise ConfigError(error.code, place, error.met, error.todo) from error
        told.append(f"{settings.pass_}: {changed.summary}")
    return told


def _options(wanted: Train) -> TrainOptions:
    from hardtack_converters.training.options import TrainOptions

    return TrainOptions(
        epochs=wanted.epochs, size=wanted.size, lr=wanted.lr, batch=wanted.batch,
        average=wanted.average, teacher=wanted.teacher,
        teacher_weights=tuple(wanted.teacher_weights), temperature=wanted.temperature,
        shift=wanted.shift, mixup=wanted.mixup, seed=wanted.seed, prune=wanted.prune,
        share=wanted.share,
        binary=tuple(wanted.binary), activations=wanted.activations,
    )  # fmt: skip


def _assistants(config: Deployment, wanted: Train, base: Path) -> list[Assistant]:
    """Return the assistants, and the files that the trained ones are kept in."""
    from hardtack_converters.training.assistants import Assistant

    path = base / wanted.out
    return [
        Assistant(
            _prepared(base / name, config)[0], path.with_name(f"{path.stem}.assistant-{at}.onnx")
        )
        for at, name in enumerate(wanted.assistants, 1)
    ]


def _prepared(path: Path, config: Deployment) -> tuple[ir.Model, str]:
    """Return a float model and the SHA-256 of its file."""
    source = read_source(path)
    model = import_model(source, given_shapes(config))
    if is_quantized(model):
        raise ModelImportError(
            "HT228", source.name, "cannot be trained: it came quantised", "give the float model"
        )
    prepare(model)
    return model, source.sha256


def _samples(
    model: ir.Model, wanted: Train, options: Options, base: Path
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Return samples as the model is fed, [count, *shape without batch], and their classes."""
    inputs, outputs = model.graph.inputs, model.graph.outputs
    shapes = {str(value.name): query.shape_of(value) for value in inputs}
    if len(shapes) != 1 or len(outputs) != 1:
        raise ModelImportError(
            "HT228", "model", "cannot be trained: it has several inputs or outputs"
        )
    classes = query.shape_of(outputs[0])[-1]
    raw, truth = load_labelled(shapes, classes, wanted.data, base / wanted.data.path)
    samples = raw.reshape(len(raw), *raw.shape[2:])
    return _normalised(samples, options), truth


def _normalised(samples: FloatArray, options: Options) -> FloatArray:
    mean, std = options.mean or (0.0,), options.std or (1.0,)
    if len(set(std)) > 1:
        raise ConfigError(
            "HT104", "input.normalize.std", "differs by channel, and weights on one grid cannot",
            "train with one std for all channels",
        )  # fmt: skip
    spread = (1, -1, *(1,) * (samples.ndim - 2))
    shift = np.asarray(mean, np.float32).reshape(spread if len(mean) > 1 else (1,) * samples.ndim)
    return np.ascontiguousarray((samples - shift) / np.float32(std[0]), np.float32)


def as_document(training: Training) -> dict[str, Any]:
    """Return how a training went, for machines."""
    trained = training.trained
    return {
        "path": str(training.path),
        "resumed": training.resumed,
        "assistants": [best and asdict(best) for best in training.assistants],
        "best": asdict(trained.best),
        "error_before": trained.before,
        "epochs": [asdict(epoch) for epoch in trained.epochs],
        "notices": list(trained.notices),
    }
