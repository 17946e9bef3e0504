"""Power cuts at every flash operation, inside it, and again during recovery; and the mutants.

A mutant is a planted mistake in the real source: if the sweep does not find it, it proves nothing.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from hardtack_runtime.bundle import PAYLOAD_OFFSET, TAGS, unpack
from hardtack_runtime.memory import Needs, Way
from tests.compiled import core_program
from tests.digit_bundles import make_bundle
from tests.firmware.build import TEMPLATES, keys_file, monocypher

HERE = Path(__file__).parent
OLD = make_bundle("1.0.0", ballast=6)
NEW = make_bundle("1.1.0", ballast=12)
DIVERGING = make_bundle("1.1.0", ballast=12, broken=True)


def tampered() -> bytes:
    """A signed header over another payload: in the manifest, of which only the digest tells."""
    changed = bytearray(NEW)
    changed[PAYLOAD_OFFSET + 4 * len(TAGS) + 8] ^= 1
    return bytes(changed)


def build(folder: Path, core: Path, flags: tuple[str, ...] = ()) -> Path:
    """Compile the sweep with the core's sources as they lie in `core`."""
    driver = core / "src" / "power_cut.c"
    sources = [
        driver if driver.exists() else HERE / "power_cut.c",
        keys_file(),
        monocypher() / "monocypher.c",
    ]
    return core_program(folder / "power_cut", sources, core, flags)


def sweep(
    program: Path, folder: Path, new: bytes, *, accepted: bool, old: bytes = OLD
) -> tuple[int, str]:
    """Run the sweep; return its exit status and what it printed."""
    (folder / "old").write_bytes(old)
    (folder / "new").write_bytes(new)
    result = subprocess.run(
        [program, folder / "old", folder / "new", str(int(accepted))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return result.returncode, result.stdout


TO_FLASH = ("-DPOOL=320", "-DUNIT=32u")
"""Memory for the largest weight and not for all: they are unpacked to flash."""


SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def test_the_smallest_pool_that_is_told_will_do(tmp_path: Path) -> None:
    small = make_bundle("1.1.0", ballast=0)
    flags = (*SANITIZED, "-DUNIT=32u", f"-DPOOL={Needs.of(unpack(small)).least(1 << 20)}")
    program = build(tmp_path, TEMPLATES / "core", flags)
    old = make_bundle("1.0.0", ballast=0)
    status, said = sweep(program, tmp_path, small, accepted=True, old=old)
    assert status == 0, said


def test_flash_that_takes_no_weights_leaves_a_model_that_runs(tmp_path: Path) -> None:
    needs = Needs.of(unpack(NEW))
    pool = needs.arena + needs.layer
    assert needs.way(pool, 1 << 20) == Way.FLASH
    program = build(tmp_path, TEMPLATES / "core", (f"-DPOOL={pool}", "-DWORN"))
    status, said = sweep(program, tmp_path, NEW, accepted=True)
    assert status == 0, said


@pytest.fixture(scope="module", params=[(), TO_FLASH], ids=["to memory", "to flash"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("sweep"), TEMPLATES / "core", request.param)


@pytest.mark.parametrize(
    ("new", "accepted"),
    [
        pytest.param(NEW, True, id="a good bundle"),
        pytest.param(DIVERGING, False, id="one that computes other bits"),
        pytest.param(tampered(), False, id="one with changed bytes"),
    ],
)
def test_no_cut_leaves_a_bad_state(
    program: Path, tmp_path: Path, new: bytes, accepted: bool
) -> None:
    status, printed = sweep(program, tmp_path, new, accepted=accepted)
    assert status == 0, printed
    assert int(printed.split()[0]) > 500


@pytest.mark.parametrize("more", [(), TO_FLASH], ids=["to memory", "to flash"])
def test_the_sweep_is_clean_under_sanitizers(tmp_path: Path, more: tuple[str, ...]) -> None:
    flags = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DHT_PORTABLE")
    program = build(tmp_path, TEMPLATES / "core", (*flags, *more))
    assert sweep(program, tmp_path, NEW, accepted=True)[0] == 0


NO_DIGEST = (
    "ht_verify.c",
    "return memcmp(digest, bundle + HT_AT_DIGEST, sizeof digest) == 0 ? HT_REASON_OK",
    "return 1 ? HT_REASON_OK",
)
MUTANTS = {
    "the digest is not checked": ([NO_DIGEST], "tampered"),
    "active before it is tried": (
        [
            (
                "ht_device.c",
                "    device->journal.trial = (uint8_t)slot;\n",
                "    device->journal.trial = (uint8_t)slot;\n"
                "    uint8_t id[32];\n"
                "    ht_bundle_id(ht_device_slot(device, slot), id);\n"
                "    memcpy(device->journal.confirmed[slot], id, HT_CONFIRMED_BYTES);\n"
                "    device->journal.active = (uint8_t)slot;\n"
                "    device->journal.trial = HT_NO_SLOT;\n",
            )
        ],
        "diverging",
    ),
    "confirmed before it is tried": (
        [
            (
                "ht_device.c",
                "    if (reason == HT_REASON_OK) {\n        reason = try_model(device, &detail);",
                "    if (reason == HT_REASON_OK) {\n"
                "        if (confirm(device) != HT_REASON_OK) {\n            return 0;\n        }\n"
                "        device->journal.trial = slot;\n"
                "        reason = try_model(device, &detail);",
            )
        ],
        "diverging",
    ),
    "recorded before it is verified": (
        [
            (
                "ht_device.c",
                "    reason = verify(device, slot, 1, NULL, detail);\n"
                "    return reason == HT_REASON_OK ? put_on_trial(device, slot) : reason;",
                "    (void)verify;\n"
                "    device->journal.trial = (uint8_t)slot;\n"
                "    return confirm(device);",
            ),
        ],
        "tampered",
    ),
    "the newest record's unit is erased": (
        [
            (
                "ht_journal.c",
                "place = newest.sequence != 0 && newest_at < second ? second : flash->journal_at;",
                "place = newest_at < second ? flash->journal_at : second;",
            )
        ],
        "good",
    ),
    "a torn record is believed": (
        [("ht_journal.c", "get32(record + AT_CRC) == ht_crc32(0, record, AT_CRC)", "1")],
        "good",
    ),
    "the place behind a torn record is not looked for": (
        [
            (
                "ht_journal.c",
                "ht_flash_is_erased(flash->base + at - RECORD_SIZE, RECORD_SIZE)) {",
                "at - RECORD_SIZE > newest_at) {",
            )
        ],
        "good",
    ),
    "the record of unpacked weights is written first": (
        [
            (
                "ht_weights.c",
                "    ht_reason reason = erase(flash, bundle->unpacked_size);\n",
                "    static uint8_t all[4096];\n"
                "    ht_reason reason = erase(flash, bundle->unpacked_size);\n"
                "    (void)ht_unpack_all(bundle, all);\n"
                "    write_record(flash, bundle, record);\n"
                "    put32(record + AT_CONTENT_CRC, ht_crc32(0, all, bundle->unpacked_size));\n"
                "    put32(record + AT_CRC, ht_crc32(0, record, AT_CRC));\n"
                "    reason = ht_flash_program(flash, record_at(flash), record, 64, detail);\n",
            )
        ],
        "to flash",
    ),
    "unpacked weights are believed by their record": (
        [
            (
                "ht_weights.c",
                "    write_record(flash, bundle, record);\n    return memcmp",
                "    write_record(flash, bundle, record);\n"
                "    put32(record + AT_CONTENT_CRC, get32(flash->base + record_at(flash) + 8));\n"
                "    put32(record + AT_CRC, ht_crc32(0, record, AT_CRC));\n    return memcmp",
            )
        ],
        "to flash",
    ),
    "golden vectors run unwatched": (
        [("ht_device.c", "    golden.watch = device->watch;\n", "")],
        "good",
    ),
    "the slot in use may be written": (
        [
            (
                "ht_device.c",
                "return slot == device->journal.active || slot == device->journal.trial ||\n"
                "                   slot == device->running",
                "return 0",
            ),
            ("power_cut.c", "device.journal.active == 0 ? 1 : 0", "0"),
        ],
        "good",
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_sweep_finds(name: str, tmp_path: Path) -> None:
    edits, kind = MUTANTS[name]
    core = tmp_path / "core"
    shutil.copytree(TEMPLATES / "core", core)
    shutil.copy(HERE / "power_cut.c", core / "src" / "power_cut.c")
    for file, right, wrong in edits:
        path = core / "src" / file
        source = path.read_text()
        assert source.count(right) == 1, f"the mutant no longer fits {file}"
        path.write_text(source.replace(right, wrong))
    new = {"diverging": DIVERGING, "tampered": tampered()}.get(kind, NEW)
    program = build(tmp_path, core, TO_FLASH if kind == "to flash" else ())
    status, printed = sweep(program, tmp_path, new, accepted=new is NEW)
    assert status == 1, printed
