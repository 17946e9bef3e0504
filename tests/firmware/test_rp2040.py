"""The RP2040 port on an emulated chip: its own second stage, UART, and flash by the boot ROM.

The emulator is rp2040js from npm, pinned by hash; see rp2040_machine.cjs for the boot ROM's part.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardtack_agent.serial_link import Reason, Type
from hardtack_agent.serial_messages import Hello
from hardtack_firmware.images import read_segments
from tests.compiled import BUILD, alone
from tests.digit_bundles import KEY, make_bundle
from tests.end_to_end.command import CommandLine
from tests.firmware.build import firmware, monocypher
from tests.firmware.host import Host, RefusedError
from tests.firmware.test_qemu import differing

HERE = Path(__file__).parent
PACKAGE = "rp2040js-1.4.1"
SHA256 = "83328017cf7e503477e8d218cb742d3e843782d795edd175a0b81346c194e56f"


@functools.cache
def emulator() -> Path:
    """Fetch the emulator once; skip the calling test where npm is not there or reaches nothing."""
    folder = BUILD / PACKAGE
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("no node or npm: the RP2040 emulator runs on it")
    with alone():
        if not folder.is_dir():
            _fetch(folder)
    return folder / "package"


def _fetch(folder: Path) -> None:
    archive = folder.parent / f"{PACKAGE}.tgz"
    name, version = PACKAGE.rsplit("-", 1)
    ran = subprocess.run(
        ["npm", "pack", "--silent", f"{name}@{version}"],
        cwd=folder.parent, capture_output=True, check=False,
    )  # fmt: skip
    if ran.returncode:
        pytest.skip(f"npm could not fetch {PACKAGE}")
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == SHA256
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")


def image_of(elf: Path) -> bytes:
    """Flash from its beginning on, as a programmer writes it."""
    segments = read_segments(elf)
    image = bytearray(b"\xff" * (segments[-1][0] + len(segments[-1][1]) - 0x10000000))
    for address, data in segments:
        image[address - 0x10000000 : address - 0x10000000 + len(data)] = data
    return bytes(image)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "firmware.bin"
    path.write_bytes(image_of(firmware("rp2040", "arm-none-eabi-gcc")))
    return path


def started(image: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["node", str(HERE / "rp2040_machine.cjs"), str(emulator()), str(image)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def connected(process: subprocess.Popen[str]) -> socket.socket:
    assert process.stdout is not None
    return socket.create_connection(("127.0.0.1", int(process.stdout.readline())))


@pytest.fixture
def host(image: Path) -> Iterator[Host]:
    process = started(image)
    host = Host(connected(process), timeout_s=20.0)
    yield host
    host.line.close()
    process.kill()
    _, err = process.communicate()
    assert "breach" not in err, err


def test_an_rp2040_boots_installs_updates_and_refuses(host: Host) -> None:
    assert (host.about.hardware, host.about.chunk_size) == ("cortex-m0", 4096)
    first = make_bundle("1.0.0", ballast=80, hardware="cortex-m0")
    status = host.install(first)
    assert (status.active, status.running, status.outcome) == (0, 0, Reason.OK)
    assert host.golden() == 2
    assert differing(host, first, 5) == 0
    with pytest.raises(RefusedError, match="VERSION"):
        host.install(make_bundle("0.9.0"))
    status = host.install(make_bundle("1.2.0", ballast=30))
    assert (status.active, status.floor) == (1, (1, 2, 0))
    assert 0 < status.stack_used < status.stack_size


def test_an_application_that_computes_long_is_updated(tmp_path: Path) -> None:
    """An interrupt keeps what comes meanwhile: nothing has to be sent again."""
    image = tmp_path / "busy.bin"
    image.write_bytes(image_of(firmware("rp2040", "arm-none-eabi-gcc", app=HERE / "busy_main.c")))
    process = started(image)
    host = Host(connected(process), timeout_s=20.0)
    host.listen()
    host.ask(Type.HELLO, Hello(1, bytes(16)).encode(), tries=1)
    assert host.install(make_bundle("1.0.0")).running == 0
    assert host.resends == 0
    host.line.close()
    process.communicate(timeout=20)


def test_a_model_comes_with_the_firmware(tmp_path: Path) -> None:
    """`hardtack build --with-model`: a new board runs it from its first start."""
    shell = CommandLine(tmp_path, tmp_path)
    keys = shell.home / "config" / "hardtack" / "keys"
    keys.mkdir(parents=True)
    KEY.save(keys / "default.key")
    bundle = make_bundle("1.0.0", ballast=20)
    (tmp_path / "digits.htb").write_bytes(bundle)
    shell.works("firmware", "new", "rp2040", "fw", "--monocypher", str(monocypher()))
    without = shell.run("build", "fw", "--with-model").refused("HT104", 2)
    assert "one model, not none" in without
    drive = tmp_path / "RPI-RP2"
    drive.mkdir()
    (drive / "INFO_UF2.TXT").write_text("UF2 Bootloader\n")
    words = ("--with-model", "--bundle", "digits.htb", "--upload-to", drive)
    assert f"loaded by {drive}" in shell.works("build", "fw", *words).out
    loaded = (drive / "firmware.uf2").read_bytes()
    assert bundle[:256] in loaded  # a block's payload
    process = started(tmp_path / "fw/build/rp2040/firmware.bin")
    host = Host(connected(process), timeout_s=20.0)
    host.listen()
    status = host.status()
    assert (status.running, status.active) == (0, 0)
    assert differing(host, bundle, 2) == 0
    host.line.close()
    process.communicate(timeout=20)


def test_the_boot_rom_takes_no_second_stage_with_another_crc(image: Path) -> None:
    """So the check in the machine does check."""
    changed = bytearray(image.read_bytes())
    changed[20] ^= 1
    image.write_bytes(changed)
    process = started(image)
    with connected(process):
        _, err = process.communicate(timeout=20)
    assert (process.returncode, "wrong CRC" in err) == (1, True)
