"""The state of a training on disk: written after each epoch, complete or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from hardtack_converters.training.course import Course
from hardtack_converters.training.options import Epoch, TrainOptions
from hardtack_runtime.errors import ModelImportError

_DIGEST = 32
"""Bytes in front: SHA-256 of what follows, as a changed bit would train another model."""


def identity_of(
    models: tuple[ir.Model, ...],
    samples: npt.NDArray[np.float32],
    classes: npt.NDArray[np.int64],
    options: TrainOptions,
) -> str:
    """Return a digest of all that decides how a training goes, in hex."""
    digest = hashlib.sha256(repr((asdict(options), samples.shape)).encode())
    for model in models:
        digest.update(ir.to_proto(model).SerializeToString(deterministic=True))
    digest.update(np.ascontiguousarray(samples).tobytes())
    digest.update(np.ascontiguousarray(classes).tobytes())
    return digest.hexdigest()


def save(course: Course, path: Path, identity: str) -> None:
    """Keep everything that the next epoch depends on."""
    best = None if course.best is None else (asdict(course.best[0]), course.best[1])
    state = {
        "identity": identity, "module": course.module.state_dict(),
        "optimizer": course.optimizer.state_dict(), "random": course.random.get_state(),
        "average": None if course.average is None else course.average.parameters,
        "rate": course.rate, "healthy": course.healthy,
        "epochs": [asdict(epoch) for epoch in course.epochs], "best": best,
    }  # fmt: skip
    write_state(path, state)


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write numbers and tensors to a file, behind their digest."""
    stored = io.BytesIO()
    torch.save(state, stored)
    with replacing(path) as file:
        file.write(hashlib.sha256(stored.getvalue()).digest() + stored.getvalue())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of `path` once it is whole; one that fails is gone."""
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = str(path)  # a full disk is told of without a name
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def resume(course: Course, path: Path, identity: str) -> None:
    """Bring a course to where the checkpoint left it.

    Raises:
        ModelImportError: HT226, the checkpoint is of another training, or is none.
    """
    state = read_state(path)
    if state.get("identity") != identity:
        raise ModelImportError(
            "HT226", str(path), "is the checkpoint of another training",
            "begin anew with --restart, or go back to the options it was made with",
        )  # fmt: skip
    course.module.load_state_dict(state["module"])
    course.optimizer.load_state_dict(state["optimizer"])
    course.random.set_state(state["random"])
    if course.average is not None:
        course.average.parameters = state["average"]
    course.rate, course.healthy = state["rate"], state["healthy"]
    course.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
    if state["best"] is not None:
        course.best = Epoch(**state["best"][0]), state["best"][1]


def read_state(path: Path) -> dict[str, Any]:
    """Read what `write_state` has written.

    Raises:
        ModelImportError: HT226, it is something else, or damaged.
    """
    data = path.read_bytes()
    stored = data[_DIGEST:]
    if hashlib.sha256(stored).digest() != data[:_DIGEST]:
        raise ModelImportError(
            "HT226", str(path), "is no checkpoint, or a damaged one", "begin anew with --restart"
        )
    state: dict[str, Any] = torch.load(io.BytesIO(stored), weights_only=True)
    return state
