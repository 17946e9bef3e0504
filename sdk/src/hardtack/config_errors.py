"""Turning what is wrong with a deploy.toml into one message with file, line and column."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from hardtack.quantities import is_negative
from hardtack_agent.toml_locations import KeyPath, locate_keys, nearest
from hardtack_runtime.errors import ConfigError
from hardtack_runtime.manifest import NAME_PATTERN, VERSION_PATTERN


def syntax_error(path: Path, text: str, error: tomllib.TOMLDecodeError) -> ConfigError:
    """Turn what the TOML parser met into a message."""
    message, _, place = str(error).partition(" (at ")
    if place.startswith("line"):
        words = place.rstrip(")").replace(",", "").split()
        where = f"{path}:{words[1]}:{words[3]}"
    else:
        where = f"{path}:{len(text.splitlines()) or 1}:1"
    return ConfigError("HT102", where, f"is no TOML: {message}")


def first_error(
    schema: type[BaseModel],
    path: Path,
    text: str,
    values: dict[str, Any],
    error: ValidationError,
) -> ConfigError:
    """Turn pydantic's findings into one message; unknown keys first, they explain the rest."""
    found = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")[0]
    key = _keys_of(found["loc"], values)
    if found["type"] in ("extra_forbidden", "missing"):
        key = (*_keys_of(found["loc"][:-1], values), found["loc"][-1])
    if found["type"].startswith("union_tag"):
        key = (*key, "pass")
    place = nearest(locate_keys(text), key)
    where = f"{path}:{place.line}:{place.column}"
    name = ".".join(part for part in key if isinstance(part, str))  # line and column tell which
    if found["type"] == "extra_forbidden":
        known = _known_keys(schema, tuple(found["loc"][:-1]))
        close = difflib.get_close_matches(str(found["loc"][-1]), known, 1)
        todo = f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(known)}"
        return ConfigError("HT103", where, f"unknown key `{name}`", todo)
    if found["type"] in ("missing", "union_tag_not_found"):
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
        case "union_tag_invalid":
            return f"{context['tag']!r} is none of {context['expected_tags']}"
        case "literal_error":
            return f"{quoted}is not {context['expected']}"
    return f"{quoted}{_demand(found)}"


def _demand(found: Any) -> str:
    """Say what the value must be."""
    given, kind = found["input"], found["type"]
    if kind.endswith("_parsing") and isinstance(given, str) and is_negative(given):
        return "must not be negative"
    text: str = found["msg"].replace("Input should be", "must be")
    return _WORDS.get(kind, text)


def _advice(found: Any) -> str:
    """Suggest the nearest of the allowed words, or a percentage as it is written."""
    context = found.get("ctx", {})
    if 1 in (context.get("lt"), context.get("le")) and re.fullmatch(r"\d\d?", str(found["input"])):
        return f'say "{found["input"]} %" or {int(found["input"]) / 100:g}'
    given, allowed = found["input"], context.get("expected", "")
    if found["type"] == "tuple_type" and isinstance(found["input"], dict):
        return f"write [[{found['loc'][-1]}]], with two brackets"
    if found["type"] == "union_tag_invalid":
        given, allowed = context["tag"], context["expected_tags"]
    elif found["type"] != "literal_error":
        return ""
    words = [word.strip("' ") for word in allowed.replace(" or ", ",").split(",")]
    close = difflib.get_close_matches(str(given), words, 1)
    return f'did you mean "{close[0]}"?' if close else ""


def _known_keys(schema: type[BaseModel], path: KeyPath) -> list[str]:
    """Return the keys of the table at `path`, by walking the schema."""
    models = [schema]
    for part in path:
        if isinstance(part, int):
            continue
        if len(models) > 1:  # `part` is what pydantic has told them apart by
            models = [model for model in models if model.model_fields["pass_"].default == part]
        else:
            models = models_of(models[0].model_fields[str(part)].annotation)
    return [field.alias or name for name, field in models[0].model_fields.items()]


def models_of(annotation: Any) -> list[type[BaseModel]]:
    """Return the tables that a key may hold; several where a table says which one it is."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in getattr(annotation, "__args__", ()) for found in models_of(inner)]
