"""The average of a module's parameters over the last steps (Polyak 1992): it errs less."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Average:
    """A moving average of the parameters of a module in training.

    Args:
        module: Whose parameters are followed, from where they are.
        decay: What the average keeps of itself at each step, 0..1.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay = module, decay
        self.parameters = [p.detach().clone() for p in module.parameters()]

    def follow(self) -> None:
        """Move towards the parameters as they are now."""
        with torch.no_grad():
            for average, parameter in zip(self.parameters, self.module.parameters(), strict=True):
                average.lerp_(parameter, 1 - self.decay)

    def swap(self) -> None:
        """Give the module the average, and keep what it had; a second time undoes it."""
        with torch.no_grad():
            for at, parameter in enumerate(self.module.parameters()):
                held: Tensor = parameter.detach().clone()
                parameter.copy_(self.parameters[at])
                self.parameters[at] = held
