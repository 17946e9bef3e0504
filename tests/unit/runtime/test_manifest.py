"""The manifest in the file is what SPEC section 1.3 says, and small."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Any

import cbor2
import pytest
from pydantic import ValidationError

from hardtack_runtime.errors import BundleError
from hardtack_runtime.manifest import (
    DICTIONARY,
    Manifest,
    PortSpec,
    Provenance,
    decode_manifest,
    encode_manifest,
)

SPEC = (Path(__file__).parents[3] / "SPEC.md").read_text(encoding="utf-8")
FOUND = re.search(r"<!-- dictionary -->\n```hex\n([0-9a-f\n]+)```", SPEC)
BYTES = bytes.fromhex("".join(FOUND[1].split())) if FOUND else b""
ORIGIN = Provenance(
    source_sha256="a7" * 32, source_format="tflite", tool_version="0.1.0", calibration_samples=3,
    calibration_sha256="5c" * 32,
)  # fmt: skip
MANIFEST = Manifest(
    name="digits", version="1.2.3", model_id="ab" * 16, labels=("zero", "one"), task="classify",
    inputs=(PortSpec(name="image", shape=(1, 28, 28), scale=0.25, zero_point=-128),),
    outputs=(PortSpec(name="scores", shape=(1, 2), scale=0.1, zero_point=3),),
    preprocessing=({"step": "normalize", "mean": [33.3], "std": [78.5], "folded": True},),
    layers=("conv", "dense"), provenance=ORIGIN,
)  # fmt: skip
HEADER = ("digits", (1, 2, 3), bytes.fromhex("ab" * 16))


def packed(fields: Any) -> bytes:
    """Write a section as SPEC says it, with the dictionary printed there."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=BYTES)
    return packer.compress(cbor2.dumps(fields, canonical=True)) + packer.flush()


def test_the_dictionary_is_the_one_that_is_specified() -> None:
    assert BYTES == DICTIONARY
    assert cbor2.loads(BYTES)["task"] == "classify"


def test_what_is_written_is_read_back() -> None:
    assert decode_manifest(encode_manifest(MANIFEST), *HEADER) == MANIFEST


def test_a_reader_of_the_specification_reads_it() -> None:
    unpacker = zlib.decompressobj(-15, zdict=BYTES)
    fields = cbor2.loads(unpacker.decompress(encode_manifest(MANIFEST)))
    assert unpacker.eof
    assert fields["provenance"]["source_sha256"] == b"\xa7" * 32
    assert fields["labels"] == ["zero", "one"]
    assert {"name", "version", "model_id", "softmax_stripped"}.isdisjoint(fields)
    assert "tool" not in fields["provenance"]


def test_digests_take_the_bytes_they_have() -> None:
    plain = MANIFEST.model_copy(update={"provenance": Provenance()})
    both = len(encode_manifest(MANIFEST)) - len(encode_manifest(plain))
    assert both < 64 + 40
    assert len(encode_manifest(plain)) < 110


@pytest.mark.parametrize("digest", ["a7" * 32, b"\xa7" * 31, 7, None])
def test_a_digest_that_is_none_is_refused(digest: object) -> None:
    with pytest.raises(BundleError, match="META") as caught:
        decode_manifest(packed({"provenance": {"source_sha256": digest}}), *HEADER)
    assert caught.value.code == "HT212"


def test_a_digest_is_hex() -> None:
    with pytest.raises(ValidationError):
        Provenance(source_sha256="no digest")


def test_a_manifest_of_a_gigabyte_is_not_unpacked() -> None:
    with pytest.raises(BundleError, match="manifest cannot be read"):
        decode_manifest(packed({"task": "x" * (1 << 21)}), *HEADER)


@pytest.mark.parametrize("section", [b"", b"no stream", encode_manifest(MANIFEST) + b"\0"])
def test_what_is_no_stream_is_refused(section: bytes) -> None:
    with pytest.raises(BundleError) as caught:
        decode_manifest(section, *HEADER)
    assert caught.value.code == "HT212"
