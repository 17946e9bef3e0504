"""deploy.toml: its schema, and errors that name file, line and column."""

from __future__ import annotations

import difflib
import math
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from hardtack.quantities import parse_share, parse_size, parse_time
from hardtack_agent.toml_locations import KeyPath, locate_keys, nearest
from hardtack_runtime.errors import ConfigError
from hardtack_runtime.manifest import NAME_PATTERN, VERSION_PATTERN, Hardware, Name, Version

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
    """ONNX (float or QDQ) or int8 .tflite; relative to deploy.toml."""
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


class TrainingSamples(Samples):
    """Samples with their classes, raw as devices get them; the last tenth or so is held out."""

    y: str = "y"
    """Name of the class numbers in the .npz."""
    max: int = Field(default=1_000_000, gt=0)


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
    teacher: float = Field(default=0.0, ge=0, le=1)
    """Share of the loss that follows the answers of the untrained model."""
    temperature: float = Field(default=4.0, gt=0)
    """Softness of those answers."""
    shift: int = Field(default=0, ge=0)
    """Pixels by which pictures are moved at random, each way."""
    seed: int = Field(default=0, ge=0)
    """Of everything random: the same seed gives the same model."""


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
    """smallest: weights coded by context too; unpacked at start a hundred times more slowly."""


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
        raise _syntax_error(path, text, error) from error
    try:
        config = Deployment.model_validate(values)
    except ValidationError as error:
        raise _first_error(path, text, values, error) from error
    if config.gates.max_drop is not None and config.data.evaluate is None:
        place = nearest(locate_keys(text), ("gates", "max_drop"))
        raise ConfigError(
            "HT104", f"{path}:{place.line}:{place.column}",
            "`gates.max_drop`: there is nothing to measure accuracy on",
            'add [data] evaluate = { path = "test.npz" }, samples with their classes',
        )  # fmt: skip
    return config


def _syntax_error(path: Path, text: str, error: tomllib.TOMLDecodeError) -> ConfigError:
    message, _, place = str(error).partition(" (at ")
    if place.startswith("line"):
        words = place.rstrip(")").replace(",", "").split()
        where = f"{path}:{words[1]}:{words[3]}"
    else:
        where = f"{path}:{len(text.splitlines()) or 1}:1"
    return ConfigError("HT102", where, f"is no TOML: {message}")


def _first_error(
    path: Path, text: str, values: dict[str, Any], error: ValidationError
) -> ConfigError:
    """Turn pydantic's findings into one message; unknown keys first, they explain the rest."""
    found = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")[0]
    key = _keys_of(found["loc"], values)
    if found["type"] in ("extra_forbidden", "missing"):
        key = tuple(found["loc"])
    place = nearest(locate_keys(text), key)
    where = f"{path}:{place.line}:{place.column}"
    name = ".".join(map(str, key))
    if found["type"] == "extra_forbidden":
        known = _known_keys(tuple(found["loc"][:-1]))
        close = difflib.get_close_matches(str(found["loc"][-1]), known, 1)
        todo = f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(known)}"
        return ConfigError("HT103", where, f"unknown key `{name}`", todo)
    if found["type"] == "missing":
        return ConfigError("HT104", where, f"`{name}` is missing", f"add `{name} = ...`")
    return ConfigError("HT104", where, f"`{name}`: {_message(found)}", _advice(found))


def _keys_of(path: KeyPath, values: dict[str, Any]) -> KeyPath:
    """Drop the names of union members that pydantic puts into its paths."""
    keys: list[str | int] = []
    at: Any = values
    for part in path:
        is_index = isinstance(at, list) and isinstance(part, int) and part < len(at)
        if is_index or (isinstance(at, dict) and part in at):
            at = at[part]
            keys.append(part)
    return tuple(keys)


_WORDS = {
    "string_type": "must be text in quotes",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "model_type": "must be a table",
    "tuple_type": "must be a list",
    "too_short": "must not be empty",
}
_PATTERNS = {
    NAME_PATTERN: "small letters, digits and dashes, beginning with a letter or digit",
    VERSION_PATTERN: "three numbers with dots between them, like 1.0.0",
}


def _message(found: Any) -> str:
    """Say what was met in words of ours: pydantic's speak of schemas and regular expressions."""
    given, context = found["input"], found.get("ctx", {})
    quoted = f"{given!r} " if isinstance(given, str | int | float) else ""
    match found["type"]:
        case "value_error":
            return str(context["error"])
        case "string_pattern_mismatch":
            return f"{quoted}must be {_PATTERNS.get(context['pattern'], context['pattern'])}"
        case "string_too_long":
            return f"{quoted}may have at most {context['max_length']} characters"
        case "literal_error":
            return f"{quoted}is not {context['expected']}"
    text = found["msg"].replace("Input should be", "must be")
    return f"{quoted}{_WORDS.get(found['type'], text)}"


def _advice(found: Any) -> str:
    """Suggest the nearest of the allowed words."""
    if found["type"] != "literal_error" or not isinstance(found["input"], str):
        return ""
    allowed = [
        word.strip("' ") for word in found["ctx"]["expected"].replace(" or ", ",").split(",")
    ]
    close = difflib.get_close_matches(found["input"], allowed, 1)
    return f'did you mean "{close[0]}"?' if close else ""


def _known_keys(path: KeyPath) -> list[str]:
    """Return the keys of the table at `path`, by walking the schema."""
    model: Any = Deployment
    for part in path:
        if isinstance(part, int):
            continue
        model = _model_of(model.model_fields[part].annotation)
    return list(model.model_fields)


def _model_of(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_of(inner)
        if found is not None:
            return found
    return None
