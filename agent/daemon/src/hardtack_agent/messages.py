"""The control messages, JSON, as pydantic models; and the block, a fixed binary frame.

Unknown fields are ignored so that a newer peer may add some; the version `v` is not.

Source: SPEC section 4.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

import pydantic
from pydantic import Field

from hardtack_runtime.errors import DeviceError

VERSION = 1
BLOCK_SIZE = 32768
BLOCK_HASH_BYTES = 8
_BLOCK_HEADER = struct.Struct("<B3xI16s")

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
JobId = Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]
BlockHash = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
BootId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
U32 = Annotated[int, Field(ge=0, lt=2**32)]
U63 = Annotated[int, Field(ge=0, lt=2**63)]
Version = tuple[U32, U32, U32]
JobState = Literal[
    "queued", "fetching", "installed", "trial",
    "confirmed", "rolled_back", "failed", "cancelled",
]  # fmt: skip
FINAL_STATES = frozenset({"confirmed", "rolled_back", "failed", "cancelled"})


class Message(pydantic.BaseModel):
    """What all control messages share."""

    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")

    v: Literal[1] = 1

    def encode(self) -> bytes:
        """Return the message as compact JSON, UTF-8."""
        return self.model_dump_json().encode()


class ModelState(pydantic.BaseModel):
    """A model a device holds.

    Attributes:
        name: As in the bundle's header.
        version: SemVer.
        sha256: Of the whole bundle file.
        slot: Slot it runs from.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")

    name: Annotated[str, Field(max_length=31)]
    version: Version
    sha256: Sha256
    slot: Literal["a", "b"]


class Birth(Message):
    """up/birth, retained: what the device is and holds; sent on connection and after a change."""

    boot_id: BootId
    agent: Annotated[str, Field(max_length=32)]
    hardware: Annotated[str, Field(max_length=16)]
    bundle_format: U32
    kernel_abi: U32
    models: Annotated[tuple[ModelState, ...], Field(max_length=256)] = ()


class Online(Message):
    """up/state, retained: `online` false is the last will."""

    boot_id: BootId
    online: bool


class Offer(pydantic.BaseModel):
    """One bundle the server wants on the device.

    Attributes:
        job_id: Names the order; one device, one bundle.
        sha256: Of the bundle file.
        name: Model, as in the bundle's header.
        version: As in the bundle's header.
        size: Bytes of the file.
        block_size: Bytes of each block but the last.
        block_hashes: First 8 bytes of SHA-256 of each block: finds damage early. Trust comes
            from the bundle's signature only.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")

    job_id: JobId
    sha256: Sha256
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
    version: Version
    size: Annotated[int, Field(gt=0, lt=2**32)]
    block_size: Annotated[int, Field(ge=256, le=1 << 20)]
    block_hashes: tuple[BlockHash, ...]

    @pydantic.model_validator(mode="after")
    def _one_hash_per_block(self) -> Offer:
        if len(self.block_hashes) != -(-self.size // self.block_size):
            raise ValueError(f"{len(self.block_hashes)} block hashes for {self.size} bytes")
        return self

    def block_length(self, index: int) -> int:
        """Return the bytes of block `index`."""
        return min(self.block_size, self.size - index * self.block_size)


class JobList(Message):
    """dn/job, retained: every open job of the device; a job no longer named is cancelled.

    Attributes:
        rev: Grows with every change (milliseconds since 1970); an older list is ignored.
        offers: In the order they are to be done.
    """

    rev: U63
    offers: tuple[Offer, ...] = ()


class Request(Message):
    """up/rq: ask for the job list, or for blocks of a bundle."""

    ask: Literal["jobs", "blocks"]
    sha256: Sha256 | None = None
    blocks: Annotated[tuple[U32, ...], Field(max_length=64)] = ()


class JobEvent(Message):
    """up/ev: how far a job is; the same (job_id, attempt, state) may come again.

    Attributes:
        attempt: Counts the trials of this bundle on this device, from 0.
        code: HTnnn when it went wrong, else empty.
        detail: For people.
        done: Blocks held, of `total`.
    """

    job_id: JobId
    boot_id: BootId
    state: JobState
    attempt: U32 = 0
    code: Annotated[str, Field(max_length=8)] = ""
    detail: Annotated[str, Field(max_length=1000)] = ""
    done: U32 = 0
    total: U32 = 0


class Ack(Message):
    """dn/ack: these telemetry records are committed at the controller."""

    boot_id: BootId
    seqs: tuple[U63, ...]


AnyMessage = TypeVar("AnyMessage", bound=Message)


def decode(kind: type[AnyMessage], payload: bytes, where: str) -> AnyMessage:
    """Read a control message.

    Raises:
        DeviceError: HT613, not JSON of this schema or of this version.
    """
    try:
        return kind.model_validate_json(payload)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "message"
        raise DeviceError(
            "HT613", where, f"not a {kind.__name__}: {place}: {first['msg']}"
        ) from error


@dataclass(frozen=True, slots=True)
class Block:
    """dn/blk: one block of a bundle.

    Attributes:
        sha256_head: First 16 bytes of the bundle's SHA-256.
        index: Which block, from 0.
        data: Its bytes.
    """

    sha256_head: bytes
    index: int
    data: bytes


def encode_block(block: Block) -> bytes:
    """Write a block frame: u8 version, 3 reserved, u32 index, u8[16] digest head, data."""
    return _BLOCK_HEADER.pack(VERSION, block.index, block.sha256_head) + block.data


def decode_block(payload: bytes) -> Block:
    """Read a block frame; the inverse of `encode_block`.

    Raises:
        DeviceError: HT613, cut short or of another version.
    """
    if len(payload) < _BLOCK_HEADER.size:
        raise DeviceError("HT613", "dn/blk", f"{len(payload)} bytes are no block frame")
    version, index, head = _BLOCK_HEADER.unpack_from(payload)
    if version != VERSION or payload[1:4] != b"\0\0\0":
        raise DeviceError("HT613", "dn/blk", f"block frame of version {version}, not {VERSION}")
    return Block(head, index, payload[_BLOCK_HEADER.size :])


def block_hash(data: bytes) -> str:
    """Return the hash of a block as an offer lists it, 16 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()[: 2 * BLOCK_HASH_BYTES]


def make_offer(
    job_id: str, name: str, version: tuple[int, int, int], data: bytes, block_size: int = BLOCK_SIZE
) -> Offer:
    """Describe a bundle as an offer."""
    hashes = tuple(block_hash(data[at : at + block_size]) for at in range(0, len(data), block_size))
    return Offer(
        job_id=job_id, sha256=hashlib.sha256(data).hexdigest(), name=name, version=version,
        size=len(data), block_size=block_size, block_hashes=hashes,
    )  # fmt: skip
