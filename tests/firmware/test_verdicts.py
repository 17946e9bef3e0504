"""The device's verifier and Python's judge the same damaged bundles alike.

Half of them are signed again after the damage, by a key the device trusts, so that what lies
behind the signature is judged too. HARDTACK_MUTANTS is their number; `make fuzz` tries 100,000.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import struct
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from hardtack_agent.serial_link import Reason
from hardtack_runtime.bundle import HEADER_SIZE, PAYLOAD_OFFSET, TAGS, read_header, unpack, verify
from hardtack_runtime.errors import HardtackError
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.signing import Keyring
from tests.compiled import core_program
from tests.digit_bundles import KEY, make_bundle
from tests.firmware.build import TEMPLATES, keys_file, monocypher

HERE = Path(__file__).parent
MUTANTS = int(os.environ.get("HARDTACK_MUTANTS", "20000"))
BATCH = 2000
SLOT, POOL = 65536, 1 << 22
KEYS = Keyring([KEY.verify_key])
EVERY_OPERATOR = (HERE.parent / "golden" / "good" / "every_op.htb").read_bytes()
BASES = (make_bundle("1.0.0"), make_bundle("1.1.0", hardware="cortex-m4"), EVERY_OPERATOR)
NASTY = (0, 1, 2, 3, 4, 16, 255, 65535, 65536, 1 << 28, (1 << 30) + 16, (1 << 31) - 1, 1 << 31)
MANIFEST = PAYLOAD_OFFSET + 4 * len(TAGS)


def build(folder: Path, core: Path) -> Path:
    """Compile the judge with the core's sources as they lie in `core`."""
    sources = [HERE / "verdicts.c", keys_file(), monocypher() / "monocypher.c"]
    return core_program(folder / "verdicts", sources, core)


def damage(rng: random.Random, data: bytearray, start: int, end: int) -> None:
    """Change a byte, or a 32-bit field to a value that breaks careless sums."""
    at = rng.randrange(start, end)
    if rng.random() < 0.5:
        data[at] ^= rng.randrange(1, 256)
        return
    at = min(at - at % 4, len(data) - 4)
    value = rng.choice(NASTY) if rng.random() < 0.7 else rng.randrange(1 << 32)
    struct.pack_into("<I", data, at, value)


def in_slot(data: bytes | bytearray) -> bytes:
    """Return the bytes that a slot holds of this bundle, by the size its header gives."""
    slot = bytes(data) + b"\xff" * (SLOT - len(data))
    total = struct.unpack_from("<I", slot, 8)[0]
    return slot[:total] if total <= SLOT else slot


def sign_again(data: bytearray) -> None:
    """Make digest and signature right, whatever the rest says."""
    data[16:48] = hashlib.sha256(in_slot(data)[PAYLOAD_OFFSET:]).digest()
    data[136:144] = KEY.verify_key.key_id
    data[HEADER_SIZE:PAYLOAD_OFFSET] = KEY.sign(bytes(data[:HEADER_SIZE]))


def mutant(rng: random.Random) -> bytes:
    """Return a damaged bundle; the manifest, which no device reads, only as the digest sees it."""
    data = bytearray(rng.choice(BASES))
    after_manifest = MANIFEST + -(-struct.unpack_from("<I", data, PAYLOAD_OFFSET)[0] // 4) * 4
    kind = rng.choices(("header", "payload", "size", "signed", "signed header"), (3, 1, 1, 4, 1))[0]
    if kind == "size":
        return bytes(data[: rng.randrange(len(data))]) + bytes(rng.choice((0, 4, 8)))
    for _ in range(rng.randint(1, 2)):
        if kind in ("header", "signed header"):
            damage(rng, data, 0, PAYLOAD_OFFSET)
        elif kind == "payload":
            damage(rng, data, PAYLOAD_OFFSET, len(data))
        elif rng.random() < 0.1:
            damage(rng, data, PAYLOAD_OFFSET, MANIFEST)
        else:
            damage(rng, data, after_manifest, len(data))
    if kind.startswith("signed"):
        sign_again(data)
    return bytes(data)


def judge_here(mutant: bytes) -> Reason:
    """Say what a Linux device says of the bundle, as a reason."""
    data = in_slot(mutant)
    try:
        header = read_header(data)
        verify(data, KEYS, "cortex-m4")
        unpack(data)
        interpreter = Interpreter(data)
    except HardtackError as error:
        if error.code == "HT701":
            return Reason.KEY if KEYS.find(header.key_id) is None else Reason.SIGNATURE
        return {"HT501": Reason.HARDWARE, "HT702": Reason.DIGEST}.get(error.code, Reason.STRUCTURE)
    weights = min(interpreter.unpacked_size, interpreter.layer_size)
    return Reason.OK if header.arena_size + weights <= POOL else Reason.MEMORY


def judge_there(program: Path, slots: list[bytes]) -> list[Reason]:
    """Say what the device says of each."""
    sent = b"".join(struct.pack("<I", len(slot)) + slot for slot in slots)
    said = subprocess.run([program], input=sent, capture_output=True, check=True).stdout
    assert len(said) == len(slots)
    return [Reason(byte) for byte in said]


def agree(here: Reason, there: Reason) -> bool:
    """Say whether both judge alike.

    Linux looks at the whole header before the signature; a microcontroller at what it needs to
    find the signature, and at the rest with the structure. It computes the golden vectors at
    once, and does not read the manifest, with which the program may disagree.
    """
    if there == Reason.DIVERGED:
        return here in (Reason.OK, Reason.STRUCTURE)
    if here == Reason.STRUCTURE:
        return there not in (Reason.OK, Reason.DIGEST)
    return here == there


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("verdicts"), TEMPLATES / "core")


def test_the_bundles_themselves_are_accepted(program: Path) -> None:
    assert judge_there(program, list(BASES)) == [Reason.OK] * len(BASES)
    assert [judge_here(base) for base in BASES] == [Reason.OK] * len(BASES)


def compare(program: Path, count: int) -> Counter[Reason]:
    """Judge random mutants here and there; return what the device said how often.

    Raises:
        AssertionError: the two do not agree.
    """
    rng = random.Random(20)
    judged: Counter[Reason] = Counter()
    for _ in range(count // BATCH):
        mutants = [mutant(rng) for _ in range(BATCH)]
        for data, there in zip(mutants, judge_there(program, mutants), strict=True):
            here = judge_here(data)
            assert agree(here, there), (here.name, there.name, data.hex())
            judged[there] += 1
    return judged


@pytest.mark.slow
def test_both_verifiers_judge_damaged_bundles_alike(program: Path) -> None:
    judged = compare(program, MUTANTS)
    wanted = ("OK", "HEADER", "KEY", "SIGNATURE", "HARDWARE", "DIGEST", "STRUCTURE", "DIVERGED")
    assert all(judged[Reason[name]] for name in wanted), judged


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("if (!ht_ed25519_verifies(", "if (0 && !ht_ed25519_verifies("),
        ("bundle + HT_AT_DIGEST, sizeof digest)", "bundle + HT_AT_DIGEST, 0)"),
        ("memcmp(field, padded, HARDWARE_SIZE) == 0", "field[0] == padded[0]"),
    ],
    ids=["signature not checked", "digest not compared", "half a hardware name"],
)
def test_a_careless_verifier_is_found(right: str, wrong: str, tmp_path: Path) -> None:
    """Mutants of the device's verifier: if these pass, the comparison proves nothing."""
    core = tmp_path / "core"
    shutil.copytree(TEMPLATES / "core", core)
    source = core / "src" / "ht_verify.c"
    text = source.read_text()
    assert text.count(right) == 1
    source.write_text(text.replace(right, wrong))
    with pytest.raises(AssertionError):
        compare(build(tmp_path, core), 4 * BATCH)


def test_no_changed_byte_before_the_payload_is_accepted(program: Path) -> None:
    base = bytearray(BASES[1])
    mutants = []
    for at in range(PAYLOAD_OFFSET + 4 * len(TAGS)):
        for bit in range(8):
            base[at] ^= 1 << bit
            mutants.append(bytes(base))
            base[at] ^= 1 << bit
    said = judge_there(program, mutants)
    assert Reason.OK not in said
    assert all(agree(judge_here(data), there) for data, there in zip(mutants, said, strict=True))
