"""The manifest of a bundle: its contract with whoever feeds it (SPEC section 1.3)."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import cbor2
from pydantic import BaseModel, ConfigDict, Field, field_validator

from hardtack_runtime.cbor import read_cbor
from hardtack_runtime.errors import BundleError

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]*$"
VERSION_PATTERN = r"^[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=31)]
Hardware = Annotated[str, Field(pattern=NAME_PATTERN, max_length=15)]
Version = Annotated[str, Field(pattern=VERSION_PATTERN)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PortSpec(_Strict):
    """One input or output: real = scale * (code - zero_point)."""

    name: str
    shape: tuple[Annotated[int, Field(gt=0)], ...]
    dtype: Literal["int8", "int16"] = "int8"
    scale: float = Field(gt=0)
    zero_point: int = Field(ge=-128, le=127)

    @field_validator("shape")
    @classmethod
    def _fits_a_tensor(cls, shape: tuple[int, ...]) -> tuple[int, ...]:
        if math.prod(shape) >= 1 << 28:
            raise ValueError("holds 2^28 elements or more")
        return shape

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


Digest = Annotated[str, Field(pattern=r"^([0-9a-f]{32}|[0-9a-f]{64})?$")]
"""SHA-256, or the first half of it, in hex."""


class Provenance(_Strict):
    """Where the model came from and what made the bundle; digests in hex."""

    source_sha256: Digest = ""
    source_format: str = ""
    tool: str = "hardtack"
    tool_version: str = ""
    calibration_samples: int = 0
    calibration_sha256: Digest = ""


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

    def require_ports(
        self, inputs: Sequence[tuple[int, str]], outputs: Sequence[tuple[int, str]]
    ) -> None:
        """Check that this is the contract of a program, whose signer may be hostile.

        Args:
            inputs: Elements of each input of the program, and their type.
            outputs: Of each output.

        Raises:
            BundleError: HT212, it has other inputs or outputs.
        """
        for what, ports, sizes in (
            ("inputs", self.inputs, inputs),
            ("outputs", self.outputs, outputs),
        ):
            said = [(port.elements, port.dtype) for port in ports]
            if said != list(sizes):
                raise BundleError(
                    "HT212", "META", f"names {what} of {said} elements, the program has {[*sizes]}"
                )


_IN_HEADER = {"name", "version", "model_id"}
_DIGESTS = ("source_sha256", "calibration_sha256")
"""Of the provenance: hex here, bytes in the file."""
_LARGEST = 1 << 20
"""Bytes a manifest may have: a small section must not unpack into all of a device's memory."""
_TYPICAL: dict[str, Any] = {
    "inputs": [{"name": "input", "shape": [1], "scale": 1.0, "zero_point": -128}],
    "outputs": [{"name": "output", "shape": [1, 10], "scale": 1.0, "zero_point": 0}],
    "labels": ["0", "1"],
    "task": "classify",
    "preprocessing": [{"step": "normalize", "mean": [0.0], "std": [1.0], "folded": True}],
    "softmax_stripped": True,
    "layers": ["node_Conv_0", "node_MaxPool_1", "node_Gemm_2"],
    "provenance": {
        "source_sha256": b"", "source_format": "onnx", "tool": "hardtack", "tool_version": "0.1.0",
        "calibration_samples": 128, "calibration_sha256": b"",
    },
}  # fmt: skip
DICTIONARY = cbor2.dumps(_TYPICAL, canonical=True)
"""What the compressor has seen before: SPEC section 1.3 has these bytes."""
_RAW_DEFLATE = -15


def encode_manifest(manifest: Manifest, digest_size: int = 32) -> bytes:
    """Write the META section: deterministic CBOR, deflated, without what the header says.

    Args:
        manifest: What to write.
        digest_size: Bytes of each digest that are written.
    """
    fields = manifest.model_dump(mode="json", exclude=_IN_HEADER, exclude_defaults=True)
    origin = fields.get("provenance", {})
    origin |= {key: bytes.fromhex(origin[key])[:digest_size] for key in _DIGESTS if key in origin}
    packer = zlib.compressobj(9, zlib.DEFLATED, _RAW_DEFLATE, zdict=DICTIONARY)
    return packer.compress(cbor2.dumps(fields, canonical=True)) + packer.flush()


def decode_manifest(
    section: bytes, name: str, version: tuple[int, int, int], model_id: bytes
) -> Manifest:
    """Read the META section; name, version and model id come from the header.

    Raises:
        BundleError: HT212, no CBOR or not of the manifest's schema.
    """
    header = {"name": name, "version": ".".join(map(str, version)), "model_id": model_id.hex()}
    try:
        unpacker = zlib.decompressobj(_RAW_DEFLATE, zdict=DICTIONARY)
        fields = read_cbor(unpacker.decompress(section, _LARGEST))
        if not unpacker.eof or unpacker.unused_data or not isinstance(fields, dict):
            raise ValueError("not one deflate stream of one map")
        return Manifest.model_validate(_with_hex(fields) | header)
    except (ValueError, zlib.error) as error:
        detail = str(error).split("\n")[0]
        raise BundleError("HT212", "META", f"the manifest cannot be read ({detail})") from error


def _with_hex(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields with digests in hex; one that is no bytes is refused."""
    origin = fields.get("provenance")
    if not isinstance(origin, dict):
        return fields
    found = {key: origin[key] for key in _DIGESTS if key in origin}
    if not all(isinstance(digest, bytes) for digest in found.values()):
        raise ValueError("a digest is no bytes")
    return fields | {"provenance": origin | {key: raw.hex() for key, raw in found.items()}}
