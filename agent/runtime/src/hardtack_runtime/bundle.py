"""The bundle: one signed file that a device reads in place (SPEC section 1).

`pack` writes one, `verify` decides whether to trust one, `unpack` reads one back.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from hardtack_runtime import packing
from hardtack_runtime.errors import BundleError, GateError, TrustError
from hardtack_runtime.golden_vectors import decode_golden, encode_golden
from hardtack_runtime.manifest import Manifest, decode_manifest, encode_manifest
from hardtack_runtime.packing import Coding
from hardtack_runtime.program import GoldenVector, Program
from hardtack_runtime.records import decode_program, encode_program
from hardtack_runtime.sections import (
    ARENA,
    StoredAs,
    decode_tables,
    decode_tensors,
    encode_tables,
    encode_tensors,
    round_up,
    row_of,
    unpacked_size,
)
from hardtack_runtime.signing import Keyring, SigningKey
from hardtack_runtime.usage import (
    biases_behind_weights,
    high_planes,
    in_place_weights,
    misfits,
    not_by_columns,
    not_in_place,
    skipped_codes,
)

MAGIC = b"HTB1"
FORMAT_VERSION = 1
KERNEL_ABI = 1
HEADER_SIZE = 160
PAYLOAD_OFFSET = 224
MAX_MEMORY = 1 << 30
"""Most bytes of a file, of an arena, of unpack memory: sums in the C reader never wrap."""
MAX_VERSION = 10**9
"""Each number of a version is below it."""
TAGS = ("META", "PROG", "TENS", "HUFF", "DATA", "GOLD")
_HEADER = struct.Struct("<4sHHII32s32s4I16s16sII8s16s")
_SMALLEST = PAYLOAD_OFFSET + 4 * len(TAGS)
_WORD = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Header:
    """The signed part (SPEC section 1.1)."""

    total_size: int
    payload_sha256: bytes
    name: str
    version: tuple[int, int, int]
    hardware: str
    model_id: bytes
    arena_size: int
    unpacked_size: int
    key_id: bytes

    @property
    def release(self) -> str:
        """`name@1.2.3`."""
        return f"{self.name}@{'.'.join(map(str, self.version))}"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle, read."""

    header: Header
    manifest: Manifest
    program: Program
    golden: tuple[GoldenVector, ...]
    sections: dict[str, int] = field(default_factory=dict)
    """Bytes per section, for reports."""
    stored: tuple[StoredAs, ...] = ()
    """How each constant is stored, in tensor order."""


@dataclass(frozen=True, slots=True)
class Contract:
    """A bundle without its program."""

    header: Header
    manifest: Manifest
    golden: tuple[GoldenVector, ...]


def pack(
    program: Program,
    manifest: Manifest,
    *,
    key: SigningKey | None,
    hardware: str = "any",
    golden: tuple[GoldenVector, ...] = (),
    unpack_limit: int | None = None,
    codings: Mapping[int, Coding] = MappingProxyType({}),
    in_place: Collection[Coding] = (Coding.SPARSE, Coding.PACKED),
    smallest: bool = False,
) -> bytes:
    """Write a signed bundle.

    Args:
        program: What to run.
        manifest: Its contract; `model_id` and `layers` are filled in here.
        key: Who vouches for it; None leaves the signature zero, so no device takes it.
        hardware: Class of device it may run on, or "any".
        golden: Vectors recorded by `hardtack_runtime.golden.record`.
        unpack_limit: Bytes of memory the device has for unpacked constants; None: enough.
        codings: Of tensors, by index, that are to have this coding, where they can: RAW, or one
            that is used where it lies.
        in_place: Codings beside RAW that weights may have which `unpack_limit` has no room for.
        smallest: Code weights by ctx where that is smaller, which is slow to unpack, and keep half
            of each digest of the provenance.

    Raises:
        ValueError: the name or the hardware does not fit its field of the header.
        UnsupportedOpError: HT302, a dimension above 65535.
    """
    for text, room in ((manifest.name, 32), (hardware, 16)):
        if _WORD.fullmatch(text) is None or len(text) >= room:
            raise ValueError(f"{text!r} is not a-z, 0-9 and dash, of less than {room} characters")
    packed = _packed_constants(
        program, unpack_limit, codings=codings, in_place=in_place, smallest=smallest
    )
    model_id = _model_id(program)
    manifest = manifest.model_copy(update={"model_id": model_id.hex(), "layers": program.layers})
    table, data = encode_tensors(program.tensors, packed)
    sections = (
        encode_manifest(manifest, 16 if smallest else 32),
        encode_program(program),
        table,
        encode_tables(packed),
        data,
        encode_golden(golden, len(program.ops)),
    )
    payload = _join(sections)
    verify_key_id = key.verify_key.key_id if key else bytes(8)
    header = _HEADER.pack(
        MAGIC, FORMAT_VERSION, KERNEL_ABI, PAYLOAD_OFFSET + len(payload), PAYLOAD_OFFSET,
        hashlib.sha256(payload).digest(), manifest.name.encode(), *manifest.version_numbers, 0,
        hardware.encode(), model_id, program.arena_size, unpacked_size(program, packed),
        verify_key_id, bytes(16),
    )  # fmt: skip
    return header + (key.sign(header) if key else bytes(64)) + payload


def _packed_constants(
    program: Program,
    unpack_limit: int | None,
    *,
    codings: Mapping[int, Coding],
    in_place: Collection[Coding],
    smallest: bool,
) -> packing.Packed:
    """Code the constants; what the operators allow each of them to be is known here."""
    indices = [i for i, tensor in enumerate(program.tensors) if tensor.data is not None]
    constants = [t.data for t in program.tensors if t.data is not None]
    weights, skipped = in_place_weights(program), skipped_codes(program)
    known = {i: c for i, c in codings.items() if not c.is_in_place or i in weights}
    known |= dict.fromkeys(high_planes(program), Coding.SPARSE)
    return packing.pack_constants(
        constants, unpack_limit,
        codings={place: known[i] for place, i in enumerate(indices) if i in known},
        biases=biases_behind_weights(program, indices),
        weights={place for place, i in enumerate(indices) if i in weights},
        in_place=in_place,
        skipped={place: skipped[i] for place, i in enumerate(indices) if i in skipped},
        smallest=smallest, rows=len(program.tensors),
    )  # fmt: skip


def read_header(data: bytes) -> Header:
    """Read the header without trusting it.

    Raises:
        BundleError: HT211 not a bundle or cut short, HT212 a field that no writer writes.
        GateError: HT502 of another format or kernel version.
    """
    if data[:4] != MAGIC:
        found = "is empty" if not data else f"begins with {data[:4].hex(' ')}"
        raise BundleError("HT211", "bundle", f"{found}: this is no hardtack bundle")
    if len(data) < PAYLOAD_OFFSET:
        raise BundleError("HT211", "bundle", f"is cut short after {len(data)} bytes", _RESEND)
    (_, version, abi, total, offset, digest, name, major, minor, patch, zero, hardware, model_id,
     arena, unpacked, key_id, reserved) = _HEADER.unpack_from(data)  # fmt: skip
    if (version, abi) != (FORMAT_VERSION, KERNEL_ABI):
        raise GateError(
            "HT502", "bundle", f"has format {version} and kernel ABI {abi}",
            f"this reader knows format {FORMAT_VERSION} and kernel ABI {KERNEL_ABI}: "
            "update the older side",
        )  # fmt: skip
    if total > len(data):
        raise BundleError("HT211", "bundle", f"has {len(data)} of {total} bytes", _RESEND)
    if total < len(data):
        met = f"has {len(data) - total} bytes more than the {total} its header says"
        raise BundleError("HT211", "bundle", met, "send it again")
    if total < _SMALLEST:
        raise BundleError("HT212", "bundle", f"has {total} bytes, and no room for its sections")
    if zero or any(reserved):
        raise BundleError("HT212", "bundle", "has reserved header fields set")
    if offset != PAYLOAD_OFFSET or total % 4 or (arena | unpacked) % 16:
        raise BundleError("HT212", "bundle", "has sizes in its header that are no multiples")
    if max(major, minor, patch) >= MAX_VERSION:
        raise BundleError("HT212", "bundle", f"has a version number of {MAX_VERSION} or more")
    if max(total, arena, unpacked) > MAX_MEMORY:
        raise BundleError("HT212", "bundle", f"asks for more than {MAX_MEMORY} bytes of memory")
    return Header(
        total, digest, _text(name), (major, minor, patch), _text(hardware), model_id,
        arena, unpacked, key_id,
    )  # fmt: skip


_RESEND = "the transfer was cut; send it again"


def _text(field_bytes: bytes) -> str:
    text = field_bytes.rstrip(b"\0").decode("ascii", "replace")
    if _WORD.fullmatch(text) is None or field_bytes[-1] != 0:
        raise BundleError("HT212", "bundle", f"its header names {text!r}: a-z, 0-9 and dash go")
    return text


def verify(data: bytes, keyring: Keyring, hardware: str | None = None) -> Header:
    """Decide whether to trust a bundle, in the order of SPEC section 1.1.

    Args:
        data: The whole file.
        keyring: Public keys this device trusts.
        hardware: Class of this device; None skips the check (a developer's machine).

    Returns:
        The header, now trustworthy.

    Raises:
        BundleError: HT211, HT212: not a bundle, cut short, malformed.
        TrustError: HT701 unknown key or wrong signature, HT702 payload digest differs.
        GateError: HT501 made for other hardware, HT502 other format version.
    """
    header = read_header(data)
    key = keyring.find(header.key_id)
    if key is None:
        raise TrustError(
            "HT701", header.release, f"is signed by key {header.key_id.hex()}, not trusted here",
            "sign it with a trusted key, or add that key's .pub file to the trusted keys",
        )  # fmt: skip
    if not key.verifies(data[HEADER_SIZE:PAYLOAD_OFFSET], data[:HEADER_SIZE]):
        raise TrustError("HT701", header.release, "has a wrong signature: its header was changed")
    if hardware is not None and header.hardware not in ("any", hardware):
        raise GateError(
            "HT501", header.release, f"is for {header.hardware} devices, this one is {hardware}",
            f"convert it for {hardware}",
        )  # fmt: skip
    if hashlib.sha256(data[PAYLOAD_OFFSET:]).digest() != header.payload_sha256:
        raise TrustError(
            "HT702",
            header.release,
            "is damaged: its payload digest differs",
            "send it again, or make it anew",
        )
    return header


def unpack(data: bytes) -> Bundle:
    """Read a bundle whose header has been verified, or that is only looked at.

    Raises:
        BundleError: HT211, HT212: not a bundle, cut short, malformed.
        GateError: HT502 other format version.
    """
    header = read_header(data)
    with _cut_records(header):
        return _unpack(data, header)


def read_contract(data: bytes) -> Contract:
    """Read what a device needs beside the program, which C reads: no constant is decoded.

    Raises:
        BundleError: HT211, HT212: not a bundle, cut short, malformed.
        GateError: HT502 other format version.
    """
    header = read_header(data)
    with _cut_records(header):
        sections = _split(data)
        manifest = decode_manifest(sections["META"], header.name, header.version, header.model_id)
        elements = [port.elements for port in manifest.inputs]
        golden = decode_golden(sections["GOLD"], len(manifest.layers) or None, elements)
        return Contract(header, manifest, golden)


@contextlib.contextmanager
def _cut_records(header: Header) -> Iterator[None]:
    try:
        yield
    except (struct.error, IndexError) as error:
        raise BundleError("HT212", header.release, "a section ends inside a record") from error


def _unpack(data: bytes, header: Header) -> Bundle:
    sections = _split(data)
    manifest = decode_manifest(sections["META"], header.name, header.version, header.model_id)
    tables = decode_tables(sections["HUFF"])
    tensors, stored = decode_tensors(
        sections["TENS"], sections["DATA"], tables, header.arena_size, header.unpacked_size
    )
    program = decode_program(sections["PROG"], tensors, header.arena_size, manifest.layers)
    _require_biases_only_folded(program, stored)
    _require_weights_only_in_place(program, stored)
    sizes = {tag: len(body) for tag, body in sections.items()}
    inputs, outputs = (
        [(tensors[p.tensor].elements, tensors[p.tensor].code_type) for p in ports]
        for ports in (program.inputs, program.outputs)
    )
    manifest.require_ports(inputs, outputs)
    golden = decode_golden(sections["GOLD"], len(program.ops), [size for size, _ in inputs])
    return Bundle(header, manifest, program, golden, sizes, stored)


def _require_biases_only_folded(program: Program, stored: tuple[StoredAs, ...]) -> None:
    """Refuse what leans on other constants than its own weights (SPEC section 1.7)."""
    indices = [i for i, tensor in enumerate(program.tensors) if tensor.is_constant]
    folded = {place for place, one in enumerate(stored) if one.coding == Coding.FOLDED}
    if wrong := folded - biases_behind_weights(program, indices):
        where = f"TENS tensor {indices[min(wrong)]}"
        raise BundleError("HT212", where, "is folded, and not the bias of the weights before it")


def _require_weights_only_in_place(program: Program, stored: tuple[StoredAs, ...]) -> None:
    """Refuse constants whose coding an operator that reads them does not know."""
    indices = (i for i, tensor in enumerate(program.tensors) if tensor.is_constant)
    codings = {i: one.coding for i, one in zip(indices, stored, strict=True)}
    in_place = {i for i, coding in codings.items() if coding.is_in_place}
    by_columns = {i for i, c in codings.items() if c == Coding.SPARSE_COLUMNS}
    misplaced = (in_place & not_in_place(program)) | (by_columns & not_by_columns(program))
    planes = {i for i in high_planes(program) if codings.get(i) != Coding.SPARSE}
    wrong = misplaced | planes | misfits(program)
    if wrong:
        where = f"TENS tensor {min(wrong)}"
        raise BundleError("HT212", where, "has a coding for weights and is read as something else")


def _model_id(program: Program) -> bytes:
    """Name the computation, however it is stored (SPEC section 1.1, model_id)."""
    digest = hashlib.sha256(encode_program(program))
    for tensor in program.tensors:
        coding = Coding.RAW if tensor.is_constant else ARENA
        digest.update(row_of(tensor, coding, tensor.offset).encode())
    for tensor in program.tensors:
        if tensor.data is not None:
            digest.update(tensor.data.astype(tensor.data.dtype.newbyteorder("<")).tobytes())
    return digest.digest()[:16]


def _join(sections: tuple[bytes, ...]) -> bytes:
    """Build the payload: the sizes of the sections, then the sections, each aligned to 4."""
    sizes = struct.pack(f"<{len(TAGS)}I", *(len(section) for section in sections))
    return sizes + b"".join(section + bytes(-len(section) % 4) for section in sections)


def _split(data: bytes) -> dict[str, bytes]:
    """Cut the payload into its sections; they fill it without gaps."""
    sizes = struct.unpack_from(f"<{len(TAGS)}I", data, PAYLOAD_OFFSET)
    at, sections = PAYLOAD_OFFSET + 4 * len(TAGS), {}
    for tag, size in zip(TAGS, sizes, strict=True):
        end = round_up(at + size, 4)
        if end > len(data) or any(data[at + size : end]):
            raise BundleError("HT212", "section table", f"{tag} ends outside the file")
        sections[tag] = data[at : at + size]
        at = end
    if at != len(data):
        raise BundleError("HT212", "section table", "sections do not fill the file")
    return sections
