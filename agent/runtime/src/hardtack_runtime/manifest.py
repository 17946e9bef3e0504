"""The manifest of a bundle: its contract with whoever feeds it (SPEC section 1.3)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import cbor2
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hardtack_runtime.errors import BundleError

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=31)]
Version = Annotated[str, Field(pattern=r"^\d{1,9}\.\d{1,9}\.\d{1,9}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PortSpec(_Strict):
    """One input or output: real = scale * (code - zero_point)."""

    name: str
    shape: tuple[int, ...]
    dtype: Literal["int8"] = "int8"
    scale: float = Field(gt=0)
    zero_point: int = Field(ge=-128, le=127)


class Provenance(_Strict):
    """Where the model came from and what made the bundle."""

    source_sha256: str = ""
    source_format: str = ""
    tool: str = "hardtack"
    tool_version: str = ""
    calibration_samples: int = 0
    calibration_sha256: str = ""


class Manifest(_Strict):
    """What people and applications need to know of a bundle."""

    name: Name
    version: Version
    model_id: str = ""
    inputs: tuple[PortSpec, ...]
    outputs: tuple[PortSpec, ...]
    labels: tuple[str, ...] = ()
    task: Literal["classify", "regress", "anomaly", "none"] = "none"
    preprocessing: tuple[dict[str, Any], ...] = ()
    softmax_stripped: bool = False
    layers: tuple[str, ...] = ()
    provenance: Provenance = Provenance()

    @property
    def version_numbers(self) -> tuple[int, int, int]:
        """Major, minor and patch."""
        major, minor, patch = (int(part) for part in self.version.split("."))
        return major, minor, patch


def parse_version(text: str) -> tuple[int, int, int]:
    """Return major, minor, patch of "1.2.3".

    Raises:
        ValueError: not three numbers.
    """
    match = re.fullmatch(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})", text)
    if match is None:
        raise ValueError(f"{text!r} is not MAJOR.MINOR.PATCH")
    return int(match[1]), int(match[2]), int(match[3])


def encode_manifest(manifest: Manifest) -> bytes:
    """Write the META section: deterministic CBOR."""
    return cbor2.dumps(manifest.model_dump(mode="json"), canonical=True)


def decode_manifest(section: bytes) -> Manifest:
    """Read the META section.

    Raises:
        BundleError: HT212, no CBOR or not of the manifest's schema.
    """
    try:
        return Manifest.model_validate(cbor2.loads(section))
    except (cbor2.CBORDecodeError, ValidationError, ValueError, RecursionError) as error:
        detail = str(error).split("\n")[0]
        raise BundleError("HT212", "META", f"the manifest cannot be read ({detail})") from error
