"""Soft answers of one teacher or several, and the distance to them (arXiv 1503.02531)."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
import torch
from torch import Tensor
from torch.nn import functional

from hardtack_converters.training.module import GraphModule
from hardtack_runtime.errors import ModelImportError

_AT_ONCE = 500


class Teachers:
    """Float models that answer together.

    Args:
        models: Prepared, of one input and as many classes.
        weights: One positive number per model, or none when all count alike.
        temperature: Above 0.
        classes: How many the student tells apart.
    """

    def __init__(
        self, models: Sequence[ir.Model], weights: Sequence[float], temperature: float, classes: int
    ) -> None:
        self._modules = [GraphModule(model.clone(), exact=True) for model in models]
        shares = torch.tensor(tuple(weights) or (1.0,) * len(models))
        self._shares, self._temperature = shares / shares.sum(), temperature
        self._classes = classes

    def soft(self, samples: Tensor) -> Tensor:
        """Return the mean of softmax(logits / temperature), float32 [count, classes].

        Towards temperature 0 it is the one-hot answer of a teacher, at 1 its probabilities;
        towards infinity `distance` to it becomes half the squared distance of centred logits.

        Args:
            samples: float32 [count, *input shape without its batch].

        Raises:
            ModelImportError: HT228, a teacher that cannot be run, or that takes other samples or
                gives other classes than the student.
        """
        total = torch.zeros(len(samples), self._classes)
        for share, module in zip(self._shares, self._modules, strict=True):
            answers = _logits(module, samples)
            if answers.shape != total.shape:
                raise _unfit(f"gives {answers.shape[-1]} classes, and the model {self._classes}")
            total += share * functional.softmax(answers / self._temperature, -1)
        return total


def _logits(module: GraphModule, samples: Tensor) -> Tensor:
    try:
        with torch.no_grad():
            answers = torch.cat([module.logits(some) for some in samples.split(_AT_ONCE)])
    except (RuntimeError, ValueError) as error:  # of torch: sizes that do not go together
        raise _unfit("does not take samples of the model's input shape") from error
    if answers.dim() != 2 or len(answers) != len(samples):
        raise _unfit("gives no row of classes")
    return answers


def _unfit(met: str) -> ModelImportError:
    return ModelImportError(
        "HT228", "teacher", met, "take one of the same input and classes as the model"
    )


def distance(soft: Tensor, answers: Tensor, temperature: float) -> Tensor:
    """Return temperature^2 * KL(soft || softmax(answers / temperature)), the mean over a batch.

    The square keeps the gradient as large as that of the classes, whatever the temperature.

    Args:
        soft: From `Teachers`, float32 [batch, classes].
        answers: The student's logits, float32 [batch, classes].
        temperature: That of `soft`.
    """
    told = functional.log_softmax(answers / temperature, -1)
    return temperature**2 * functional.kl_div(told, soft, reduction="batchmean")
