"""Training under a limit of bytes: the loss counts what the weights will cost in a bundle.

The weight of that cost is steered after each epoch by the real size, so that `size` is a limit and
not an outcome. The best epoch that keeps the limit, on samples held out, is what is returned.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import Tensor

from hardtack_converters import query
from hardtack_converters.training.grid import Grid
from hardtack_converters.training.module import WEIGHTED, GraphModule
from hardtack_runtime import context
from hardtack_runtime.errors import ConfigError, ModelImportError

FIRST_RATE = 1e-6
"""Loss per bit at the beginning, when there is a limit to steer to."""
SMALLEST_LR = 0.01
"""Of the first learning rate, at the end of the cosine."""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How to train.

    Attributes:
        epochs: Rounds over the samples.
        size: Bytes that the coded weights may take; None leaves `rate` as it is.
        rate: Loss per bit of weights; with a size, where the steering begins.
        lr: First learning rate of Adam, on weights in units of their spread.
        batch: Samples per step.
        teacher: Share of the loss that follows the untrained model's soft answers, 0..1.
        temperature: Of those answers.
        held_out: Samples, taken from the end, that choose the best epoch.
        shift: Pixels by which pictures are moved at random, each way.
        seed: Of everything random.
    """

    epochs: int = 20
    size: int | None = None
    rate: float = FIRST_RATE
    lr: float = 0.02
    batch: int = 128
    teacher: float = 0.0
    temperature: float = 4.0
    held_out: int = 5000
    shift: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Epoch:
    """What an epoch came to.

    Attributes:
        number: From 1.
        loss: Mean over its steps, without the cost of bits.
        error: Share of wrong answers on the samples held out.
        bytes: Of the coded weights.
        nonzero: Weights other than zero.
        rate: Loss per bit that was in force.
    """

    number: int
    loss: float
    error: float
    bytes: int
    nonzero: int
    rate: float


@dataclass(frozen=True, slots=True)
class Trained:
    """The outcome.

    Attributes:
        model: The float model, its weights on their grids: convert it as any other.
        epochs: All of them.
        best: The one whose weights it has.
        notices: What people may want to know.
    """

    model: ir.Model
    epochs: tuple[Epoch, ...]
    best: Epoch
    notices: tuple[str, ...]


Progress = Callable[[Epoch, int], None]
"""Told an epoch, and how many there will be."""


def train(
    model: ir.Model,
    samples: npt.NDArray[np.float32],
    classes: npt.NDArray[np.int64],
    options: TrainOptions,
    *,
    checkpoint: Path | None = None,
    progress: Progress = lambda *_: None,
) -> Trained:
    """Train a prepared float classifier.

    Args:
        model: From `passes.prepare`; not changed.
        samples: float32 [count, *input shape without its batch], as the model is fed.
        classes: int64 [count].
        options: How.
        checkpoint: File that keeps the state after every epoch, and is gone on from if it is there.
        progress: Told after every epoch.

    Raises:
        UnsupportedOpError: HT303, a node that cannot be trained.
        ModelImportError: HT225, no epoch kept the limit, or the loss was never a number.
        ConfigError: HT106, the checkpoint is of another training.
    """
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    course = _Course(model.clone(), torch.from_numpy(samples), torch.from_numpy(classes), options)
    if checkpoint is not None and checkpoint.exists():
        course.resume(checkpoint)
    while len(course.epochs) < options.epochs and course.healthy:
        course.run_epoch()
        if course.healthy:
            progress(course.epochs[-1], options.epochs)
        if checkpoint is not None:
            course.save(checkpoint)
    return course.outcome()


class _Course:
    """A training in progress."""

    def __init__(
        self, model: ir.Model, samples: Tensor, classes: Tensor, options: TrainOptions
    ) -> None:
        held = min(options.held_out, len(samples) // 5)
        self.options = options
        self.module = GraphModule(model)
        self.teacher = GraphModule(model.clone()) if options.teacher else None
        self.samples, self.classes = samples[: len(samples) - held], classes[: len(samples) - held]
        self.judges = samples[len(samples) - held :], classes[len(samples) - held :]
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=options.lr)
        self.rate = options.rate
        self.epochs: list[Epoch] = []
        self.best: tuple[Epoch, dict[str, Any]] | None = None
        self.healthy = True
        self.identity = hashlib.sha256(
            repr((asdict(options), samples.shape, [n.op_type for n in model.graph])).encode()
        ).hexdigest()

    def run_epoch(self) -> None:
        """Go through the samples once, measure, and steer."""
        losses = [self._step(x, y, at) for at, (x, y) in enumerate(self._batches())]
        if not math.isfinite(losses[-1]):
            self.healthy = False
            return
        epoch = Epoch(
            len(self.epochs) + 1, float(np.mean(losses)), self._error(), *self._cost(), self.rate
        )
        self.epochs.append(epoch)
        fits = self.options.size is None or epoch.bytes <= self.options.size
        if fits and (self.best is None or epoch.error <= self.best[0].error):
            self.best = epoch, copy.deepcopy(self.module.state_dict())
        if self.options.size is not None:
            ratio = epoch.bytes / (0.97 * self.options.size)
            self.rate *= min(2.0, max(0.5, ratio))

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.samples))
        for first in range(0, len(order) - self.options.batch + 1, self.options.batch):
            chosen = order[first : first + self.options.batch]
            yield self._moved(self.samples[chosen]), self.classes[chosen]

    def _moved(self, x: Tensor) -> Tensor:
        shift = self.options.shift
        if not shift or x.dim() != 4:
            return x
        dy, dx = (int(v) for v in torch.randint(-shift, shift + 1, (2,)))
        return torch.roll(x, (dy, dx), (2, 3))

    def _step(self, x: Tensor, y: Tensor, at: int) -> float:
        steps = max(1, len(self.samples) // self.options.batch)
        share = (len(self.epochs) + at / steps) / self.options.epochs
        cosine = 0.5 * (1 + math.cos(math.pi * share))
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.lr * max(SMALLEST_LR, cosine)
        answers = self.module(x)
        loss = F.cross_entropy(answers, y)
        if self.teacher is not None:
            loss = (1 - self.options.teacher) * loss + self._follow(x, answers)
        bits = sum((grid.rate() for grid in self._grids()), torch.zeros(()))
        self.optimizer.zero_grad()
        (loss + self.rate * min(1.0, 4 * share) * bits).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach())

    def _follow(self, x: Tensor, answers: Tensor) -> Tensor:
        """Return the distance to the teacher's soft answers (arXiv 1503.02531)."""
        assert self.teacher is not None
        t = self.options.temperature
        with torch.no_grad():
            soft = F.softmax(self.teacher(x) / t, -1)
        distance = F.kl_div(F.log_softmax(answers / t, -1), soft, reduction="batchmean")
        return self.options.teacher * t * t * distance

    def _grids(self) -> list[Grid]:
        return [grid for grid in self.module.grids.values() if isinstance(grid, Grid)]

    def _error(self) -> float:
        x, y = self.judges
        with torch.no_grad():
            wrong = [
                int((self.module(x[at : at + 500]).argmax(-1) != y[at : at + 500]).sum())
                for at in range(0, len(x), 500)
            ]
        return sum(wrong) / max(1, len(x))

    def _cost(self) -> tuple[int, int]:
        """Return bytes of the coded weights, and how many are not zero."""
        size = nonzero = 0
        with torch.no_grad():
            for codes in weight_codes(self.module):
                stream = context.encode(codes)
                size += codes.size if stream is None else len(stream)
                nonzero += int(np.count_nonzero(codes))
        return size, nonzero

    def save(self, path: Path) -> None:
        """Keep everything that goes on; complete or not at all."""
        state = {
            "identity": self.identity, "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(), "rate": self.rate, "healthy": self.healthy,
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "best": None if self.best is None else (asdict(self.best[0]), self.best[1]),
            "random": torch.get_rng_state(),
        }  # fmt: skip
        temporary = path.with_name(path.name + ".part")
        torch.save(state, temporary)
        temporary.replace(path)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state = torch.load(path, weights_only=True)
        if state["identity"] != self.identity:
            raise ConfigError(
                "HT106", str(path), "is the checkpoint of another training",
                "delete it, or train with the options it was made with",
            )  # fmt: skip
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rate, self.healthy = state["rate"], state["healthy"]
        self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
        if state["best"] is not None:
            self.best = Epoch(**state["best"][0]), state["best"][1]
        torch.set_rng_state(state["random"])

    def outcome(self) -> Trained:
        """Return the best epoch's model."""
        if self.best is None:
            least = min((epoch.bytes for epoch in self.epochs), default=0)
            met = "the loss was no number" if not self.epochs else f"the least was {least} bytes"
            raise ModelImportError(
                "HT225", "training", f"no epoch kept the limit of {self.options.size} bytes: {met}",
                "allow more bytes or more epochs, or a lower learning rate",
            )  # fmt: skip
        epoch, state = self.best
        self.module.load_state_dict(state)
        self.module.write_back()
        notices = () if self.healthy else (f"the loss was no number after epoch {epoch.number}",)
        return Trained(self.module.model, tuple(self.epochs), epoch, notices)


def weight_codes(module: GraphModule) -> Iterator[npt.NDArray[np.int8]]:
    """Give the codes of each weight tensor as a bundle has them: [N, H, W, C], rows outputs."""
    for node in module.model.graph:
        if node.op_type not in WEIGHTED:
            continue
        grid = module.grid_of(node)
        if grid is None:
            continue
        codes = grid.codes().detach().numpy().astype(np.int8)
        if node.op_type == "Conv":
            yield np.ascontiguousarray(codes.transpose(0, 2, 3, 1))
        else:
            by_output = query.int_attribute(node, "transB", 0) == 1
            yield np.ascontiguousarray(codes if by_output else codes.T)[None, None]
