"""Samples changed at random, so that a net does not learn them by heart."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
import torch
from torch import Tensor
from torch.nn import functional

from hardtack_converters import query


@dataclass(frozen=True, slots=True)
class Mixture:
    """What was mixed into each sample of a batch.

    Attributes:
        share: Of the other one, float32 [count].
        partner: Its place in the batch, int64 [count].
    """

    share: Tensor
    partner: Tensor


Axes = tuple[int, int]


def picture_axes(model: ir.Model) -> Axes:
    """Return where a batch has rows and columns: channels come first, unless from a .tflite."""
    readers = [node for node, _ in model.graph.inputs[0].uses()]
    orders = {query.ints_attribute(node, "perm", ()) for node in readers}
    return (1, 2) if orders == {(0, 3, 1, 2)} else (2, 3)


def moved(x: Tensor, shift: int | tuple[int, int], axes: Axes, random: torch.Generator) -> Tensor:
    """Move each picture by some pixels; what leaves at one side comes in at the other.

    Args:
        x: float32 [count, ...] with three axes a sample; of another rank it is left as it is.
        shift: Most pixels, each way; or rows and columns.
        axes: From `picture_axes`.
        random: Where the moves come from.
    """
    most = (shift, shift) if isinstance(shift, int) else shift
    if not any(most) or x.dim() != 4:
        return x
    pictures = x.movedim(axes, (1, 2))
    count, height, width, _ = pictures.shape
    draws = [torch.randint(-far, far + 1, (count, 1), generator=random) for far in most]
    rows = (torch.arange(height) + draws[0]) % height
    columns = (torch.arange(width) + draws[1]) % width
    each = torch.arange(count)[:, None, None]
    return pictures[each, rows[:, :, None], columns[:, None]].movedim((1, 2), axes)


def mixed(x: Tensor, most: float, random: torch.Generator) -> tuple[Tensor, Mixture]:
    """Mix into each sample another one of the batch (mixup, arXiv 1710.09412).

    Args:
        x: float32 [count, ...].
        most: Largest share of the other one, 0..1; shares are drawn evenly from 0 on.
        random: Where shares and partners come from.
    """
    share = most * torch.rand(len(x), generator=random)
    partner = torch.randperm(len(x), generator=random)
    each = share.reshape(-1, *(1,) * (x.dim() - 1))
    return (1 - each) * x + each * x[partner], Mixture(share, partner)


def cross_entropy(answers: Tensor, classes: Tensor, mixture: Mixture | None) -> Tensor:
    """Return the mean over a batch; of a mixture's two classes, each by its share.

    Args:
        answers: Logits, float32 [count, classes].
        classes: Of the samples before they were mixed, int64 [count].
        mixture: How they were, if they were.
    """
    if mixture is None:
        return functional.cross_entropy(answers, classes)
    own, other = (
        functional.cross_entropy(answers, some, reduction="none")
        for some in (classes, classes[mixture.partner])
    )
    return torch.lerp(own, other, mixture.share).mean()
