"""deploy.toml: its schema, and errors that name file, line and column."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from hardtack.config_errors import first_error, syntax_error
from hardtack.quantities import parse_share, parse_size, parse_time
from hardtack_agent.toml_locations import KeyPath, locate_keys, nearest
from hardtack_converters.compress.settings import Compression, Factorise, Prune
from hardtack_converters.compress.settings import Share as Shared
from hardtack_runtime.errors import ConfigError
from hardtack_runtime.manifest import Hardware, Name, Version

FILE_NAME = "deploy.toml"


def _text(parse: Any) -> BeforeValidator:
    def from_text(value: object) -> object:
        if not isinstance(value, str):
            raise ValueError(f'write it as text with its unit, like "{_EXAMPLES[parse]}"')
        return parse(value)

    return BeforeValidator(from_text)


_EXAMPLES = {parse_size: "48 KiB", parse_time: "10 s", parse_share: "1 %"}
Size = Annotated[int, _text(parse_size), Field(gt=0)]
Seconds = Annotated[float, _text(parse_time), Field(gt=0)]
Share = Annotated[float, _text(parse_share), Field(ge=0, le=1)]


Shape = tuple[Annotated[int, Field(gt=0)], ...]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Project(_Strict):
    """What the bundle is called."""

    name: Name = "model"
    release: Version = "1.0.0"


class Model(_Strict):
    """The trained model."""

    path: str
    """ONNX (float or QDQ) or .tflite (float or int8); relative to deploy.toml."""
    task: Literal["classify", "regress", "anomaly", "none"] = "none"
    labels: str | tuple[str, ...] = ()
    """A text file with one label a line, or the list itself."""
    strip_softmax: bool = False
    """Leave out a last softmax: the largest output stays the largest."""


def _finite(value: float | tuple[float, ...]) -> float | tuple[float, ...]:
    if not all(map(math.isfinite, value if isinstance(value, tuple) else (value,))):
        raise ValueError("NaN or infinity")
    return value


def _divisor(value: float | tuple[float, ...]) -> float | tuple[float, ...]:
    if 0 in (value if isinstance(value, tuple) else (value,)):
        raise ValueError("inputs are divided by it, so it cannot be 0")
    return _finite(value)


class Normalize(_Strict):
    """x' = (x - mean) / std, folded into the first layer; one value or one per channel."""

    mean: Annotated[float | tuple[float, ...], AfterValidator(_finite)] = 0.0
    std: Annotated[float | tuple[float, ...], AfterValidator(_divisor)] = 1.0


class Input(_Strict):
    """What the model is fed."""

    shape: Shape | dict[str, Shape] | None = None
    """Pins dimensions that the file leaves open; with several inputs a table by name."""
    normalize: Normalize | None = None


class Samples(_Strict):
    """Arrays in a .npz, a .npy or a folder of .npy files."""

    path: str
    x: str | None = None
    """Name of the inputs in a .npz; default: the first array."""
    max: int = Field(default=512, gt=0)
    """At most so many samples."""


class LabelledSamples(Samples):
    """Samples with their classes."""

    y: str = "y"
    """Name of the class numbers in the .npz."""
    max: int = Field(default=10000, gt=0)


class Data(_Strict):
    """Samples; calibration and evaluation should not share rows."""

    calibrate: Samples | None = None
    evaluate: LabelledSamples | None = None


class Quantize(_Strict):
    """How float ranges become int8."""

    method: Literal["min-max", "percentile", "entropy"] = "min-max"
    percentile: float = Field(default=99.99, gt=50, le=100)
    multiplier_bits: Literal[8, 16, 24, 31] = 31
    """Of the multiplier of each output channel. 16 take two bytes less, 8 three; other bits than
    TensorFlow Lite's come out then, so measure the accuracy."""


class TrainingSamples(Samples):
    """Samples with their classes, raw as devices get them; the last tenth or so is held out."""

    y: str = "y"
    """Name of the class numbers in the .npz."""
    max: int = Field(default=1_000_000, gt=0)


def _all_numbers(tables: Any) -> Any:
    return [_numbers_in(table) for table in tables] if isinstance(tables, list) else tables


def _numbers_in(table: Any) -> Any:
    """Read "80 %" and "20 KiB"; what is neither stays for the schema to refuse."""
    if not isinstance(table, dict):
        return table
    return {key: _number(value) for key, value in table.items()}


def _number(value: Any) -> Any:
    if isinstance(value, str):
        for parse in (parse_share, parse_size):
            try:
                return parse(value)
            except ValueError:
                continue
    return value


def _reshaping(settings: Prune | Factorise) -> Prune | Factorise:
    if isinstance(settings, Prune) and settings.pattern != "channel":
        raise ValueError(
            'what is pruned here comes back: say it by `prune`, or pattern = "channel"'
        )
    if isinstance(settings, Prune) and settings.sensitivity:
        raise ValueError("training knows no sensitivity: [[compress]] does")
    if settings.max_drop is not None or settings.required:
        raise ValueError("nothing is measured before training: leave max_drop and required out")
    return settings


Reshaping = Annotated[
    Annotated[Prune | Factorise, Field(discriminator="pass_")], AfterValidator(_reshaping)
]
"""A pass that changes which layers there are, or how large."""


def _trainable(settings: Prune | None) -> Prune | None:
    if settings is not None and settings.sensitivity:
        raise ValueError("training knows no sensitivity: [[compress]] does")
    if settings is not None and settings.pattern == "channel":
        raise ValueError("no channels go on the way: [train] compress removes them before")
    return settings


_Pixels = Annotated[int, Field(ge=0)]


class Train(_Strict):
    """Training of a float classifier with the bundle's size in the loss, by `hardtack train`."""

    data: TrainingSamples
    out: str = "trained.onnx"
    """The trained model, which `convert` takes in place of `[model] path`."""
    size: Size | None = None
    """Limit for the whole bundle, of the largest target."""
    epochs: int = Field(default=20, gt=0)
    """Rounds over the samples."""
    batch: int = Field(default=128, gt=0)
    """Samples per step."""
    lr: float = Field(default=0.02, gt=0)
    """First learning rate, of weights in units of their spread; falls as a cosine."""
    average: float = Field(default=0.0, ge=0, lt=1)
    """What is kept is a moving average of the weights, with this share of itself at each step:
    0.995 suits some hundred steps per epoch."""
    teacher: float = Field(default=0.0, ge=0, le=1)
    """Share of the loss that follows the answers of teachers; without `teachers`, of the model."""
    teachers: list[str] = []
    """Float models of the same input and classes; the mean of their softened answers teaches."""
    teacher_weights: list[Annotated[float, Field(gt=0)]] = []
    """How much each of them counts; all alike when empty."""
    assistants: list[str] = []
    """Models of sizes in between, the largest first: each is taught by the one before, the first
    by the teachers, and the last one teaches."""
    temperature: float = Field(default=4.0, gt=0)
    """Softness of those answers."""
    shift: _Pixels | tuple[_Pixels, _Pixels] = 0
    """Pixels by which pictures are moved at random, each way; or `[rows, columns]`."""
    mixup: float = Field(default=0.0, ge=0, le=1)
    """Largest share of another sample that is mixed into each; good with teachers and few data."""
    seed: int = Field(default=0, ge=0)
    """Of everything random: the same seed gives the same model."""
    prune: Annotated[Prune | None, BeforeValidator(_numbers_in), AfterValidator(_trainable)] = None
    """Set weights to zero on the way: as [[compress]] prune does; max_drop is of held out."""
    share: Annotated[Shared | None, BeforeValidator(_numbers_in)] = None
    """Let the weights of a layer share few values, and learn these. Prune before, in a training of
    its own."""
    compress: Annotated[tuple[Reshaping, ...], BeforeValidator(_all_numbers)] = ()
    """Passes that change the layers before they are trained: factorise, and prune by channel."""
    binary: list[str] = []
    """Names or patterns of layers whose weights and inputs become binary: not the first."""
    activations: bool = False
    """Round activations to int8 in the last 40 % of the epochs, as devices do."""

    @model_validator(mode="after")
    def _teaching(self) -> Self:
        if self.teachers and not self.teacher:
            raise ValueError("teachers need `teacher`, their share of the loss, above 0")
        if self.prune and self.share:
            raise ValueError("prune first, then share in a training of its own")
        if self.assistants and not self.teachers:
            raise ValueError("assistants need teachers")
        if self.teacher_weights and len(self.teacher_weights) != len(self.teachers):
            raise ValueError("teacher_weights must be as many as teachers")
        return self


class Gates(_Strict):
    """Limits; a broken one ends `convert` with status 4 and writes nothing."""

    size: Size | None = None
    max_drop: Share | None = None
    """Accuracy that int8 may lose against the float model on [data] evaluate."""


class Target(_Strict):
    """A kind of device."""

    name: Name
    hardware: Hardware = "any"
    ram: Size | None = None
    """Limit for arena and unpacked weights. Weights beyond it stay raw while the bundle fits
    `flash`; where it does not, they are coded and unpacked layer by layer."""
    flash: Size | None = None
    """Limit for the bundle."""
    pack: Literal["fast", "smallest"] = "fast"
    """smallest: weights coded by context too, unpacked at start a hundred times more slowly; one
    golden vector, and half of each digest."""
    in_place: Literal["auto", "always", "never"] = "auto"
    """Weights with many zeros, or of few values, used where they lie in flash and never unpacked.
    auto: where that is faster on `hardware`, `pack` is fast, and `flash` and [gates] size allow it,
    for they take more bytes than Huffman codes; always: where they take fewer than unpacked."""


def _differently_named(targets: tuple[Target, ...]) -> tuple[Target, ...]:
    names = [target.name for target in targets]
    if len(set(names)) != len(names):
        raise ValueError("two targets have the same name, so their bundles would too")
    return targets


class Sign(_Strict):
    """Who vouches for the bundle."""

    key: str = "default"
    """Name of a key of `hardtack keys`, or the path of its file."""


class Fleet(_Strict):
    """Where the devices are."""

    broker: str = "mqtt://127.0.0.1:1883"
    tenant: Name = "default"
    store: str | None = None
    """Path of the controller's database; default: the user's data folder."""


class Deployment(_Strict):
    """A deploy.toml."""

    version: Literal[1]
    project: Project = Project()
    model: Model
    input: Input = Input()
    data: Data = Data()
    quantize: Quantize = Quantize()
    train: Train | None = None
    compress: Annotated[tuple[Compression, ...], BeforeValidator(_all_numbers)] = ()
    gates: Gates = Gates()
    target: Annotated[
        tuple[Target, ...], Field(min_length=1), AfterValidator(_differently_named)
    ] = (Target(name="any"),)
    sign: Sign = Sign()
    fleet: Fleet = Fleet()


def find_config(start: Path) -> Path:
    """Return the nearest deploy.toml, from `start` upwards.

    Raises:
        ConfigError: HT101, there is none.
    """
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    raise ConfigError(
        "HT101", str(start), "no deploy.toml here or above", "`hardtack init MODEL` writes one"
    )


def load_config(path: Path) -> Deployment:
    """Read and check a deploy.toml.

    Raises:
        ConfigError: HT101 missing, HT102 no TOML, HT103 unknown key, HT104 wrong value;
            `where` is file:line:column.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError("HT101", str(path), f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError("HT102", str(path), "is not UTF-8 text") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise syntax_error(path, text, error) from error
    try:
        config = Deployment.model_validate(values)
    except ValidationError as error:
        raise first_error(Deployment, path, text, values, error) from error
    if config.data.evaluate is None:
        _refuse_unmeasurable(config, path, text)
    return config


def _refuse_unmeasurable(config: Deployment, path: Path, text: str) -> None:
    """Name the first key that needs accuracy, for there is nothing to measure it on."""
    keys: list[KeyPath] = [("gates", "max_drop")] if config.gates.max_drop is not None else []
    for index, wanted in enumerate(config.compress):
        if wanted.max_drop is not None:
            keys.append(("compress", index, "max_drop"))
        if isinstance(wanted, Prune) and wanted.sensitivity:
            keys.append(("compress", index, "sensitivity"))
    if keys:
        place = nearest(locate_keys(text), keys[0])
        raise ConfigError(
            "HT104", f"{path}:{place.line}:{place.column}",
            f"`{'.'.join(map(str, keys[0]))}`: there is nothing to measure accuracy on",
            'add [data] evaluate = { path = "test.npz" }, samples with their classes',
        )  # fmt: skip
