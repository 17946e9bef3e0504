"""What a model says; apart from the interpreter, so that a client need not load it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model said.

    Attributes:
        model: Its name.
        version: SemVer of the bundle that answered.
        outputs: float32 arrays, in the order and shape of the manifest.
        index: Largest element of the first output, when the model classifies.
        label: Its name, when the bundle has labels.
        latency_us: Time inside the interpreter.
    """

    model: str
    version: tuple[int, int, int]
    outputs: tuple[FloatArray, ...]
    index: int | None
    label: str | None
    latency_us: int
