"""What a compression pass may use, and what it tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from hardtack_converters.samples import Samples
from hardtack_runtime.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Measured:
    """A model as it would be delivered.

    Attributes:
        bytes: Of its bundle.
        accuracy: Share of right answers of that bundle, run by the C runtime; None without
            samples whose classes are known.
        arena: Bytes of its activations.
    """

    bytes: int
    accuracy: float | None
    arena: int


@dataclass(frozen=True, slots=True)
class Bench:
    """Where models are measured.

    Attributes:
        samples: Calibration samples, as the model is fed.
        quantize: Calibrates a float model and returns it in QDQ form.
        measure: Packs a float model and judges its bundle, on so many samples at most; None: all.
        accuracy: Only judges it, on so many evaluation samples at most; None without any.
        progress: Told (done, in all) by passes that take long.
    """

    samples: Samples
    quantize: Callable[[ir.Model], ir.Model]
    measure: Callable[[ir.Model, int | None], Measured]
    accuracy: Callable[[ir.Model, int], float | None]
    progress: Callable[[int, int], None] = lambda *_: None


@dataclass(frozen=True, slots=True)
class Changed:
    """What a pass did.

    Attributes:
        layers: How many layers it changed; 0: nothing.
        summary: What came out, for people.
        satisfied: What was asked for was there before: to change nothing is no harm.
    """

    layers: int
    summary: str
    satisfied: bool = False


def needed(bench: Bench | None, name: str) -> Bench:
    """Return the bench of a pass that cannot do without.

    Raises:
        ConfigError: HT104, there is none.
    """
    if bench is None:
        raise ConfigError("HT104", name, "it needs samples to run the model on", "give a bench")
    return bench
