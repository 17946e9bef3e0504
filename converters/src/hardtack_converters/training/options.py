"""What a training is asked, and what it tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from hardtack_converters.compress.settings import Prune, Share

FIRST_RATE = 1e-6
"""Loss per bit at the beginning, when there is a limit to steer to."""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How to train.

    Attributes:
        epochs: Rounds over the samples.
        size: Bytes that `Sizer` may count; None leaves `rate` as it is.
        rate: Loss per bit of weights; with a size, where the steering begins.
        ramp: Share of the epochs over which the rate comes into force, from nothing.
        growth: What the rate may be multiplied with after an epoch; None: little in a long
            training, more in a short one, which begins as far from where it ends.
        structure: Codes that a unit and an input of a layer count for: more of it gathers the
            weights in fewer units.
        lr: First learning rate of Adam, on weights in units of their spread.
        batch: Samples per step.
        average: What is judged and kept is a moving average of the weights, that keeps this share
            of itself at each step, 0..1; 0: the weights as they are.
        half: Multiply in bfloat16, twice as fast on processors that can; samples held out are
            judged in float32.
        teacher: Share of the loss that follows the soft answers of teachers, 0..1.
        teacher_weights: How much each teacher counts; none: all alike.
        temperature: Of those answers.
        held_out: Samples, taken from the end and a fifth of all at most, that choose the epoch.
        shift: Pixels by which pictures are moved at random, each way; or rows and columns.
        mixup: Largest share of another sample that is mixed into each, 0..1. Teachers answer to
            the mixtures, which costs a run of each of them per step.
        seed: Of everything random.
        prune: Weights to set to zero on the way, and how much accuracy, of the samples held out,
            that may cost.
        share: Layers of few values, which are learnt. What is zero stays zero; not with `prune`.
        binary: Names of layers, or patterns, whose weights and inputs become binary.
        activations: Round activations to int8 in the last epochs.
    """

    epochs: int = 20
    size: int | None = None
    rate: float = FIRST_RATE
    ramp: float = 0.25
    growth: float | None = None
    structure: float = 1.0
    lr: float = 0.02
    batch: int = 128
    average: float = 0.0
    half: bool = False
    teacher: float = 0.0
    teacher_weights: tuple[float, ...] = ()
    temperature: float = 4.0
    held_out: int = 5000
    shift: int | tuple[int, int] = 0
    mixup: float = 0.0
    seed: int = 0
    prune: Prune | None = None
    share: Share | None = None
    binary: tuple[str, ...] = ()
    activations: bool = False


@dataclass(frozen=True, slots=True)
class Epoch:
    """What an epoch came to.

    Attributes:
        number: From 1.
        loss: Mean over its steps, without the cost of bits.
        error: Share of wrong answers on the samples held out.
        bytes: As `Sizer` counts.
        nonzero: Weights other than zero.
        rate: Loss per bit that was in force.
        pruned: Share of the weights that pruning held at zero.
    """

    number: int
    loss: float
    error: float
    bytes: int
    nonzero: int
    rate: float
    pruned: float = 0.0


@dataclass(frozen=True, slots=True)
class Trained:
    """The outcome.

    Attributes:
        model: The float model, its weights on their grids: convert it as any other.
        epochs: All of them.
        best: The one whose weights it has.
        before: Share of wrong answers of the model that it began with, on the samples held out.
        notices: What people may want to know.
    """

    model: ir.Model
    epochs: tuple[Epoch, ...]
    best: Epoch
    before: float
    notices: tuple[str, ...]


Progress = Callable[[Epoch, int], None]
"""Told an epoch, and how many there will be."""

Sizer = Callable[[ir.Model], int]
"""Counts the bytes of a model whose weights lie on grids."""
