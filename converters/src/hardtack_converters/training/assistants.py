"""Teacher assistants: models of sizes in between, each taught by the one before.

A small student learns little from a teacher far larger than itself. A chain of assistants, the
largest first, is trained before it; the last one teaches (arXiv 1902.03393).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack_converters.training.checkpoint import identity_of, replacing
from hardtack_converters.training.options import Epoch, Progress, TrainOptions
from hardtack_converters.training.train import train

FloatArray = npt.NDArray[np.float32]
TRAINED_AS = "hardtack.trained_as"
"""Key, in a trained assistant, of the identity of its training."""


@dataclass(frozen=True, slots=True)
class Assistant:
    """A model that is taught and then teaches.

    Attributes:
        model: Prepared, untrained or not.
        file: Where the trained model is kept; while it is trained, its checkpoint lies beside.
    """

    model: ir.Model
    file: Path

    @property
    def checkpoint(self) -> Path:
        """The state of a training that was interrupted."""
        return self.file.with_name(self.file.name + ".checkpoint")


@dataclass(frozen=True, slots=True)
class Taught:
    """A trained assistant.

    Attributes:
        model: What its file holds, prepared.
        best: The epoch it is from; None when the file was there already.
        notices: What people may want to know of its training.
    """

    model: ir.Model
    best: Epoch | None
    notices: tuple[str, ...] = ()


def train_assistants(
    assistants: Sequence[Assistant],
    samples: FloatArray,
    classes: npt.NDArray[np.int64],
    options: TrainOptions,
    *,
    teachers: Sequence[ir.Model],
    read: Callable[[Path], ir.Model],
    progress: Progress = lambda *_: None,
) -> list[Taught]:
    """Train assistants one after the other, without a limit of bytes.

    They run on no device, so nothing of them is rounded or binary. One whose file is there, of the
    very same training, is taken as it is; one that was interrupted goes on.

    Args:
        assistants: The largest first.
        samples: As for `train`.
        classes: As for `train`.
        options: Of the student; `teacher` is above 0.
        teachers: Of the first assistant.
        read: Reads and prepares a trained assistant.
        progress: Told after every epoch of each.

    Raises:
        ModelImportError: as `train`.
    """
    taught: list[Taught] = []
    wanted = replace(
        options, size=None, rate=0.0, prune=None, share=None, binary=(), activations=False
    )  # fmt: skip
    for assistant in assistants:
        if taught:
            teachers, wanted = [taught[-1].model], replace(wanted, teacher_weights=())
        identity = identity_of((assistant.model, *teachers), samples, classes, wanted)
        known = read(assistant.file) if assistant.file.exists() else None
        if known is not None and known.metadata_props.get(TRAINED_AS) == identity:
            taught.append(Taught(known, None))
            continue
        trained = train(
            assistant.model, samples, classes, wanted, _weights, teachers=teachers,
            checkpoint=assistant.checkpoint, progress=progress,
        )  # fmt: skip
        trained.model.metadata_props[TRAINED_AS] = identity
        with replacing(assistant.file) as file:
            file.write(ir.to_proto(trained.model).SerializeToString(deterministic=True))
        assistant.checkpoint.unlink(missing_ok=True)
        again = read(assistant.file)  # the same bits as when resumed
        taught.append(Taught(again, trained.best, trained.notices))
    return taught


def _weights(model: ir.Model) -> int:
    """Return the constants of a model: a byte each, near enough for people to read."""
    constants = (value.const_value for value in model.graph.initializers.values())
    return sum(constant.size for constant in constants if constant is not None)
