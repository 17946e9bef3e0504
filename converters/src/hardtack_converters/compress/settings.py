"""What can be asked of each compression pass: the [[compress]] tables of deploy.toml."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Part = Annotated[float, Field(ge=0, lt=1)]


def _with_unit(value: object) -> object:
    if type(value) is int and value:
        raise ValueError(f'{value} may be a share or a percentage: say "{value} %"')
    return value


Drop = Annotated[float, BeforeValidator(_with_unit), Field(ge=0, le=1)]


class Pass(BaseModel):
    """Settings that all passes have.

    `pass_` is written `pass` in deploy.toml.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: tuple[str, ...] = ()
    """Names of layers, or patterns like `conv*`; default: all that the pass can change."""
    max_drop: Drop | None = None
    """Accuracy that this pass may cost; default: what `[gates] max_drop` leaves to all passes."""
    required: bool = Field(default=False, strict=True)
    """Stop with HT403 where the pass would be skipped, also when it changes nothing."""


def _pattern(text: str) -> str:
    if text in ("unstructured", "vector", "channel"):
        return text
    found = re.fullmatch(r"([1-9]\d?):([1-9]\d?)", text)
    if found is None or int(found[1]) >= int(found[2]):
        raise ValueError(f"{text!r} is none of unstructured, vector, channel, or n:m like 2:4")
    return text


class Prune(Pass):
    """Set weights to zero, or remove whole channels."""

    pass_: Literal["prune"] = Field(default="prune", alias="pass")
    sparsity: Part | None = None
    """Share of the weights (of the channels, by `channel`) that go."""
    ratio: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    """The same, said as how many times fewer are left: 10 is a sparsity of 0.9."""
    pattern: Annotated[str, AfterValidator(_pattern)] = "unstructured"
    """`unstructured`, `vector`, `channel`, or n:m such as `2:4`: what goes together."""
    size: int = Field(default=4, ge=2, le=64)
    """Weights of a vector."""
    scope: Literal["layer", "global"] = "layer"
    """`layer`: each layer loses the same share; `global`: the least important go, wherever."""
    sensitivity: bool = False
    """Let each layer lose what it can spare, measured first on [data] evaluate."""
    reconstruct: bool = True
    """Let what is left make up for what goes, on calibration samples."""
    samples: int = Field(default=500, gt=0)
    """Evaluation samples that sensitivity is measured on, at most."""

    @property
    def share(self) -> float:
        """Share that goes: `sparsity`, or what `ratio` or `n:m` comes to."""
        if self.kept_of is not None:
            return 1 - self.kept_of[0] / self.kept_of[1]
        return self.sparsity if self.sparsity is not None else 1 - 1 / (self.ratio or 1.0)

    @property
    def kept_of(self) -> tuple[int, int] | None:
        """The n and m of an n:m pattern."""
        kept, colon, block = self.pattern.partition(":")
        return (int(kept), int(block)) if colon else None

    @model_validator(mode="after")
    def _said_once(self) -> Prune:
        said = [self.sparsity is not None, self.ratio is not None, self.kept_of is not None]
        if sum(said) != 1:
            raise ValueError("say how much goes once: sparsity, ratio, or a pattern n:m")
        fits = self.pattern in ("unstructured", "vector") and self.scope == "layer"
        if self.sensitivity and not fits:
            raise ValueError("sensitivity chooses shares of layers: not for n:m, channel, global")
        return self


class Share(Pass):
    """Let the weights of a layer share few values, optimal k-means in one dimension."""

    pass_: Literal["share"] = Field(default="share", alias="pass")
    bits: int = Field(default=4, ge=1, le=8, strict=True)
    """A layer has at most 2 to the power of `bits` values; zeros stay zeros and are one of them."""


def _bits(value: object) -> object:
    number = isinstance(value, int) and not isinstance(value, bool) and 3 <= value <= 7
    if not number and value not in ("ternary", "binary"):
        words = "; 2 bits are `ternary`, 1 is `binary`" if value in (1, 2) else ""
        raise ValueError(f"{value!r} is none of 3 to 7, ternary, binary{words}")
    return value


Bits = Annotated[Literal["binary", "ternary"] | int, BeforeValidator(_bits)]
"""Codes of a weight: binary -1 and 1, ternary -1..1, n bits -(2^(n-1) - 1)..2^(n-1) - 1."""
Method = Literal["nearest", "gptq", "adaround"]
"""How weights are rounded: see the page of `round`."""
Iterations = Annotated[int, Field(gt=0)]
LARGEST_CODE = 127


def largest_code(bits: Bits) -> int:
    """Return the largest code; the smallest is as far from 0."""
    return 1 if isinstance(bits, str) else 2 ** (bits - 1) - 1


class LowBit(Pass):
    """Give weights few codes: 7 to 3 bits, ternary or binary, each output on a grid of its own."""

    pass_: Literal["low_bit"] = Field(default="low_bit", alias="pass")
    bits: Bits = 4
    """3 to 7, `ternary` (-1, 0, 1) or `binary` (-1, 1)."""
    method: Method = "gptq"
    """`gptq` or `adaround` to keep what the layer computes, `nearest` to keep single weights."""
    samples: int = Field(default=128, gt=0)
    """Calibration samples that outputs are compared on."""
    iterations: Iterations = 2000
    """Steps of `adaround` for each layer."""

    @property
    def largest(self) -> int:
        """Largest code."""
        return largest_code(self.bits)

    @model_validator(mode="after")
    def _has_neighbours(self) -> LowBit:
        if (self.bits, self.method) == ("binary", "adaround"):
            raise ValueError("adaround chooses between neighbours, and binary has none: use gptq")
        return self


class MixedPrecision(Pass):
    """Give each layer the bits that it needs, so that the bundle has no more than some bytes."""

    pass_: Literal["mixed_precision"] = Field(default="mixed_precision", alias="pass")
    size: int = Field(gt=0)
    """Bytes that the bundle may have, of the largest target, like "20 KiB"."""
    choices: Annotated[tuple[Bits, ...], Field(min_length=1)] = ("ternary", 3, 4, 5, 6)
    """Bits that a layer may get, as those of `low_bit`; or it keeps its 8."""
    samples: int = Field(default=128, gt=0)
    """Calibration samples that outputs are compared on."""


class Factorise(Pass):
    """Write a layer as two smaller ones."""

    pass_: Literal["factorise"] = Field(default="factorise", alias="pass")
    kind: Literal["dense", "separable", "bottleneck"] = "dense"
    """Which layers, and into what: see above."""
    energy: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The smallest rank that keeps this share of the squared outputs (`separable`: weights)."""
    budget: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The largest rank whose weights are at most this share of the layer's."""

    @model_validator(mode="after")
    def _said_once(self) -> Factorise:
        if (self.energy is None) == (self.budget is None):
            raise ValueError("say the rank once: by energy or by budget")
        return self


class AccuracyPass(Pass):
    """Settings of passes that may make the bundle larger, for they are there for accuracy."""

    max_drop: Drop | None = None
    """Accuracy that this pass may cost; default: none."""


class Equalise(AccuracyPass):
    """Give the channels between two layers like ranges, so that one grid suits them all."""

    pass_: Literal["equalise"] = Field(default="equalise", alias="pass")


class BiasCorrection(AccuracyPass):
    """Take out of the biases what rounding to int8 adds to a layer's mean output."""

    pass_: Literal["bias_correction"] = Field(default="bias_correction", alias="pass")
    samples: int = Field(default=128, gt=0)
    """Calibration samples that means are taken over."""


class Round(AccuracyPass):
    """Round each weight up or down so that the layer's output stays, not to the nearest code."""

    pass_: Literal["round"] = Field(default="round", alias="pass")
    method: Literal["gptq", "adaround"] = "gptq"
    """Which algorithm: see above."""
    samples: int = Field(default=128, gt=0)
    """Calibration samples that outputs are compared on."""
    iterations: Iterations = 2000
    """Steps of `adaround` for each layer."""

    @property
    def largest(self) -> int:
        """Largest code."""
        return LARGEST_CODE


class Outliers(AccuracyPass):
    """Give the few largest weights of a layer a high byte, and so all others a finer grid."""

    pass_: Literal["outliers"] = Field(default="outliers", alias="pass")
    share: Annotated[float, Field(gt=0, le=0.1)] = 0.005
    """Weights of a layer that may reach beyond int8, at most."""


class WideActivations(AccuracyPass):
    """Keep the results of layers in 16 bits: int16 activations, int8 weights."""

    pass_: Literal["wide_activations"] = Field(default="wide_activations", alias="pass")
    outputs: bool = False
    """Give the model's outputs in int16, too; who reads codes must know that they are two bytes."""


Compression = Annotated[
    Prune
    | Share
    | LowBit
    | MixedPrecision
    | Factorise
    | Equalise
    | BiasCorrection
    | Round
    | Outliers
    | WideActivations,
    Field(discriminator="pass_"),
]
"""One [[compress]] table."""
