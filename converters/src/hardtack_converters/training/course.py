"""A training in progress: its epochs, one after the other."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from hardtack_converters.training.augment import cross_entropy, mixed, moved, picture_axes
from hardtack_converters.training.average import Average
from hardtack_converters.training.binary import insert_signs
from hardtack_converters.training.grid import Grid
from hardtack_converters.training.module import GraphModule, untrainable
from hardtack_converters.training.options import Epoch, Sizer, Trained, TrainOptions
from hardtack_converters.training.pruning import Pruning
from hardtack_converters.training.teachers import Teachers, distance
from hardtack_runtime.errors import HardtackError, ModelImportError

SMALLEST_LR = 0.01
"""Of the first learning rate, at the end of the cosine."""
AIM = 0.97
"""Share of the size that is steered to, so that a small swing keeps the limit."""
STEP_LR = 0.1
"""Of the learning rate, for the steps: each moves all codes of a layer at once."""
FASTEST = 1.12
"""Growth of the rate per epoch in a long training: units that die of a jump do not come back."""
REACH = 300.0
"""Growth of the rate that half of the epochs must allow, be they few."""
AHEAD = 2.0
"""Epochs by which the steering looks ahead."""
LATE = 0.6
"""Share of the epochs after which one is preferred to all before it: the learning rate is low by
then, and a model that has seen the samples held out before has forgotten them. From then on, too,
what is zero stays zero under a limit of bytes, and what is left learns nearly free of the rate;
and activations are rounded."""
LAST = 4
"""Epochs before the end from which zeros stay where the size is just kept."""
SETTLED = 0.15
"""Of the rate, from then on."""
GROWING = 0.94
"""Share of the size that is steered to before: weights that are free of the rate take more bits."""
JUDGED_AT_ONCE = 500
OUT_OF_RANGE = "HT303"
"""What converting says of numbers that no multiplier reaches."""
PATIENCE = 5
"""Epochs in a row of mere guesses after which a training has diverged."""
GUESSED = 0.9
"""Share of a guesser's error from which on a model counts as one."""
STRAYED = 0.1
"""Share of the samples held out that a training may lose before people are told."""


def fastest_growth(epochs: int) -> float:
    """Return how much the rate may grow from one epoch to the next."""
    return max(FASTEST, float(REACH ** (2 / epochs)))


def trained_on(count: int, options: TrainOptions) -> int:
    """Return how many of the samples, the first ones, are trained on; the others judge."""
    return count - min(options.held_out, count // 5)


class Course:
    """The state of a training.

    Args:
        model: Prepared; its constants will be changed.
        data: float32 [count, *shape] and int64 [count].
        options: How.
        sizer: Counts bytes after every epoch.
    """

    def __init__(
        self, model: ir.Model, data: tuple[Tensor, Tensor], options: TrainOptions, sizer: Sizer
    ) -> None:
        samples, classes = data
        kept = trained_on(len(samples), options)
        self.options, self.sizer = options, sizer
        self.teachers: Teachers | None = None
        self.soft: Tensor | None = None
        before = model.clone()
        self.axes = picture_axes(model)
        self.module = GraphModule(
            model, share=options.share, binary=insert_signs(model, options.binary),
            activations=options.activations,
        )  # fmt: skip
        if not list(self.module.parameters()):
            raise untrainable("model", "it has no weights")
        self.samples, self.classes = samples[:kept], classes[:kept]
        self.judges = samples[kept:], classes[kept:]
        self.batch = min(options.batch, kept)
        self.optimizer = torch.optim.Adam(self._groups(), lr=options.lr)
        self.random = torch.Generator().manual_seed(options.seed)
        self.rate = options.rate
        self.epochs: list[Epoch] = []
        self.best: tuple[Epoch, dict[str, Any]] | None = None
        self.healthy = True
        self.before = self._error(GraphModule(before, exact=True))
        self.guessed = GUESSED * (1 - 1 / len(self.classes.unique()))
        self.pruning = self._pruning()
        self.average = Average(self.module, options.average) if options.average else None

    def _pruning(self) -> Pruning | None:
        settings = self.options.prune
        if settings is None:
            return None
        return Pruning(self.module, settings, self.options.epochs, self.before)

    def _groups(self) -> list[dict[str, Any]]:
        """Return the parameters with their share of the learning rate."""
        steps = [grid.log_step for grid in self.module.all_grids() if isinstance(grid, Grid)]
        others = [p for p in self.module.parameters() if not any(p is step for step in steps)]
        return [{"params": others, "share": 1.0}, {"params": steps, "share": STEP_LR}]

    def run_epoch(self) -> None:
        """Go through the samples once, measure, and steer."""
        share = 0.0 if self.pruning is None else self.pruning.share_after(self.epochs)
        if self.pruning is not None:
            self.pruning.zero(share)
        self.module.rounds = self.options.activations and len(self.epochs) >= self._late
        if self._settled_after == len(self.epochs):
            self.rate *= SETTLED
            for grid in self.module.all_grids():
                grid.mask *= grid.codes().detach() != 0
        losses = [self._step(chosen, at) for at, chosen in enumerate(self._batches())]
        numbers = all(bool(torch.isfinite(p).all()) for p in self.module.parameters())
        if not (numbers and math.isfinite(sum(losses))):
            self.healthy = False
            return
        if self.average is not None:
            self.average.swap()
        nonzero = sum(int(np.count_nonzero(codes)) for codes in self.module.weight_codes())
        self.module.write_back()
        size_now = self._size()
        if size_now is None:
            self.healthy = False
            return
        epoch = Epoch(
            len(self.epochs) + 1, float(np.mean(losses)), self._error(self.module),
            size_now, nonzero, self.rate, share,
        )  # fmt: skip
        self.epochs.append(epoch)
        last = self.epochs[-PATIENCE:]
        if len(last) == PATIENCE and all(self._is_guessing(one.error) for one in last):
            self.healthy = False
        size = self.options.size
        if (size is None or epoch.bytes <= size) and self._is_best(epoch):
            self.best = epoch, copy.deepcopy(self.module.state_dict())
        if self.average is not None:
            self.average.swap()
        if size is not None:
            grows = self._settles and self._settled_after is None
            self.rate *= self._growth((GROWING if grows else AIM) * size)

    def _is_guessing(self, error: float) -> bool:
        """Return whether a model that knew more is hardly better than guessing.

        Where teachers alone are listened to, the classes do not tell.
        """
        if self.options.teacher == 1:
            return False
        return self.before < self.guessed <= error

    def _size(self) -> int | None:
        """Return the bytes as they are now; None where the weights have left all that int8 has."""
        try:
            return self.sizer(self.module.model)
        except HardtackError as error:
            if error.code != OUT_OF_RANGE:
                raise
            return None

    @property
    def _late(self) -> int:
        return int(LATE * self.options.epochs)

    @property
    def _settles(self) -> bool:
        return self.options.size is not None and self.pruning is None

    @property
    def _settled_after(self) -> int | None:
        """After how many epochs zeros stay: once the size leaves room for what that costs."""
        size = self.options.size
        if size is None or not self._settles:
            return None
        last = max(self._late, self.options.epochs - LAST)
        for count in range(self._late, len(self.epochs) + 1):
            room = GROWING if count < last else 1.0
            if count and self.epochs[count - 1].bytes <= room * size:
                return count
        return None

    def _growth(self, aim: float) -> float:
        """Return what the rate is multiplied with, by where the bytes are going.

        A rate goes on to work for epochs: what they have fallen by, they will fall by again.
        """
        now = self.epochs[-1].bytes
        before = self.epochs[-2].bytes if len(self.epochs) > 1 else now
        fastest = self.options.growth or fastest_growth(self.options.epochs)
        expected = now * float((now / before) ** AHEAD)
        # Squared: much of a small bundle is not weights, and no rate makes it smaller.
        return min(fastest, max(1 / fastest, (expected / aim) ** 2))

    def _is_best(self, epoch: Epoch) -> bool:
        if self.pruning is not None and not self.pruning.keeps(epoch):
            return False
        return self.best is None or self._merit(epoch) >= self._merit(self.best[0])

    def _merit(self, epoch: Epoch) -> tuple[float, bool, float]:
        return epoch.pruned, epoch.number > self._late, -epoch.error

    def _batches(self) -> Iterator[Tensor]:
        order = torch.randperm(len(self.samples), generator=self.random)
        for first in range(0, len(order) - self.batch + 1, self.batch):
            yield order[first : first + self.batch]

    def _step(self, chosen: Tensor, at: int) -> float:
        steps = len(self.samples) // self.batch
        share = (len(self.epochs) + at / steps) / self.options.epochs
        cosine = 0.5 * (1 + math.cos(math.pi * share))
        for group in self.optimizer.param_groups:
            group["lr"] = group["share"] * self.options.lr * max(SMALLEST_LR, cosine)
        loss = self._loss(chosen)
        rates = (grid.rate(self.options.structure) for grid in self.module.all_grids())
        bits = sum(rates, torch.zeros(()))
        self.optimizer.zero_grad()
        (loss + self.rate * min(1.0, share / self.options.ramp) * bits).backward()
        self.optimizer.step()
        if self.average is not None:
            self.average.follow()
        return float(loss.detach())

    def _loss(self, chosen: Tensor) -> Tensor:
        """Return the distance of the answers to these samples to classes and teachers."""
        wanted, mixture = self.options, None
        x = moved(self.samples[chosen], wanted.shift, self.axes, self.random)
        if wanted.mixup:
            x, mixture = mixed(x, wanted.mixup, self.random)
        with torch.autocast("cpu", torch.bfloat16, enabled=wanted.half):
            answers = self.module.logits(x).float()
        loss = cross_entropy(answers, self.classes[chosen], mixture)
        if self.teachers is None:
            return loss
        soft = self.teachers.soft(x) if self.soft is None else self.soft[chosen]
        far = distance(soft, answers, wanted.temperature)
        return (1 - wanted.teacher) * loss + wanted.teacher * far

    def listen(self, teachers: Sequence[ir.Model]) -> None:
        """Follow the soft answers of models: to all samples as they are, unmoved, or to mixtures.

        Mixtures are new at every step, and teachers answer to just those (arXiv 2106.05237).
        """
        wanted = self.options
        self.module.eval()  # one sample must not set the limits of activations
        with torch.no_grad():
            classes = self.module.logits(self.samples[:1]).shape[-1]
        self.module.train()
        self.teachers = Teachers(teachers, wanted.teacher_weights, wanted.temperature, classes)
        soft = self.teachers.soft(self.samples[:1] if wanted.mixup else self.samples)
        self.soft = None if wanted.mixup else soft

    def _error(self, module: GraphModule) -> float:
        x, y = self.judges
        wrong = 0
        module.eval()
        with torch.no_grad():
            for at in range(0, len(x), JUDGED_AT_ONCE):
                some = slice(at, at + JUDGED_AT_ONCE)
                wrong += int((module.logits(x[some]).argmax(-1) != y[some]).sum())
        module.train()
        return wrong / max(1, len(x))

    def outcome(self) -> Trained:
        """Return the best epoch's model.

        Raises:
            ModelImportError: HT225, there is none.
        """
        if self.best is None or self._is_guessing(self.best[0].error):
            raise ModelImportError("HT225", "training", *self._failed())
        epoch, state = self.best
        self.module.load_state_dict(state)
        self.module.write_back()
        notices = []
        if not self.healthy:
            notices.append(f"it diverged after epoch {len(self.epochs)}: training stopped there")
        if epoch.error > self.before + STRAYED:
            fell = f"{100 * (1 - self.before):.2f} to {100 * (1 - epoch.error):.2f} %"
            notices.append(f"accuracy fell from {fell}: {self._advice()} may keep it")
        if self.before >= self.guessed and self.options.teacher < 1:
            right = f"{100 * (1 - self.before):.2f} %"
            notices.append(
                f"before training it was right on {right} of the samples held out, no better "
                "than guessing: if it should have known more, look at their scale and classes"
            )
        return Trained(self.module.model, tuple(self.epochs), epoch, self.before, tuple(notices))

    def _failed(self) -> tuple[str, str]:
        """Say why there is no model, and what to do."""
        if not self.epochs:
            return "it diverged in the first epoch", "set a lower learning rate"
        if self.best is None:
            return self._missed(), "allow more bytes or more epochs"
        return "the model came to answers no better than guessing", f"{self._advice()} may help"

    def _advice(self) -> str:
        wanted = self.options
        if wanted.prune is not None or wanted.share is not None or wanted.binary:
            return "a lower learning rate, more epochs or asking for less"
        return "a lower learning rate" + (", more bytes or epochs" if wanted.size else "")

    def _missed(self) -> str:
        """Say which limit no epoch kept to."""
        size = self.options.size
        least = min(epoch.bytes for epoch in self.epochs)
        if size is not None and least > size:
            return f"no epoch kept to {size} bytes: the least was {least}"
        error = min(epoch.error for epoch in self.epochs)
        before = "" if self.pruning is None else f", {100 * self.pruning.unpruned:.2f} unpruned"
        return f"no epoch kept to the limits: the least error was {100 * error:.2f} %{before}"
