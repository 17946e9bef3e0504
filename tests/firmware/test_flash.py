"""`hardtack flash` as a user runs it, against the real firmware on a socket and on a port."""

from __future__ import annotations

import os
import pty
import select
import socket
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardtack.serial_ports import ports
from hardtack_agent.serial_line import open_line
from hardtack_agent.serial_refusal import silent
from hardtack_runtime.errors import DeviceError
from tests.digit_bundles import KEY, STRANGER, make_bundle
from tests.end_to_end.command import CommandLine, free_port
from tests.firmware.host import Host
from tests.firmware.test_posix import Device

NOBODY = 65534


class Port:
    """A serial port of this machine (a pseudo-terminal) that is wired to a device's socket."""

    def __init__(self, port: int) -> None:
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        self._slave = slave
        self._line = socket.create_connection(("127.0.0.1", port))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def _carry(self) -> None:
        while not self._stop.is_set():
            ready, _, _ = select.select([self._master, self._line.fileno()], [], [], 0.1)
            if self._master in ready:
                try:
                    self._line.sendall(os.read(self._master, 4096))
                except OSError:  # nobody has the other side open
                    self._stop.wait(0.02)
            if self._line.fileno() in ready:
                os.write(self._master, self._line.recv(4096))

    def release(self) -> None:
        """Hold it no longer ourselves; the command must be the only one."""
        os.close(self._slave)
        self._slave = -1

    def close(self) -> None:
        """Unplug it."""
        self._stop.set()
        self._thread.join()
        self._line.close()
        os.close(self._master)
        if self._slave >= 0:
            os.close(self._slave)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    device = Device(tmp_path)
    device.start().line.close()
    yield device
    device.kill()


@pytest.fixture
def shell(tmp_path: Path) -> CommandLine:
    shell = CommandLine(tmp_path, tmp_path)
    keys = shell.home / "config" / "hardtack" / "keys"
    keys.mkdir(parents=True)
    KEY.verify_key.save(keys / "default.pub")
    (tmp_path / "digits.htb").write_bytes(make_bundle("1.0.0", ballast=200))
    return shell


@pytest.fixture
def port(device: Device) -> Iterator[Port]:
    port = Port(device.port)
    yield port
    port.close()


def at(device: Device) -> str:
    return f"socket://127.0.0.1:{device.port}"


def test_a_bundle_is_flashed_and_the_words_say_what_runs(
    shell: CommandLine, device: Device
) -> None:
    ran = shell.works("flash", "digits.htb", "--device", at(device))
    assert "runs digits@1.0.0 from slot A; 2 golden vectors: same bits" in ran.out


def test_a_second_bundle_goes_to_the_other_slot_and_the_same_one_nowhere(
    shell: CommandLine, device: Device
) -> None:
    words = ("--device", at(device), "--json")
    first = shell.works("flash", "digits.htb", *words).document
    assert (first["slot"], first["hardware"], first["golden_vectors"]) == ("A", "posix", 2)
    assert first["chunks_written"] > 1
    again = shell.works("flash", "digits.htb", *words).document
    assert (again["slot"], again["chunks_written"]) == ("A", 0)
    (shell.here / "digits.htb").write_bytes(make_bundle("1.1.0"))
    assert shell.works("flash", "digits.htb", *words).document["slot"] == "B"


def test_it_works_over_a_port_and_finds_the_speed_itself(shell: CommandLine, port: Port) -> None:
    port.release()
    ran = shell.works("flash", "digits.htb", "--device", port.path, "--json")
    assert ran.document["device"] == port.path


def test_a_port_that_another_program_holds_is_told_with_its_name(
    shell: CommandLine, port: Port
) -> None:
    script = "import sys; f = open(sys.argv[1]); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, port.path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as holder:  # fmt: skip
        assert holder.stdout is not None
        holder.stdout.readline()
        port.release()
        said = shell.run("flash", "digits.htb", "--device", port.path).refused("HT618", 5)
        assert f"(process {holder.pid})" in said
        holder.communicate(b"")


def test_a_port_this_user_may_not_open_names_the_group(port: Port) -> None:
    Path(port.path).chmod(0o060)
    mine, group, groups = os.geteuid(), os.getegid(), os.getgroups()
    if mine == 0:
        os.setgroups([])
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    try:
        with pytest.raises(DeviceError, match=r"`sudo usermod -aG \S+ \S+`, then log out") as told:
            open_line(port.path)
    finally:
        os.seteuid(mine)
        if mine == 0:
            os.setegid(group)
            os.setgroups(groups)
    assert told.value.code == "HT619"


def test_a_port_that_is_not_there(shell: CommandLine) -> None:
    shell.run("flash", "digits.htb", "--device", "/dev/ttyNONE0").refused("HT617", 5)


def test_a_file_that_is_no_port(shell: CommandLine) -> None:
    message = shell.run("flash", "digits.htb", "--device", "/dev/null").refused("HT617", 5)
    assert "is no serial port" in message


def test_a_socket_that_another_host_has_is_not_blamed_on_a_cable() -> None:
    assert "a gateway" in silent("socket://127.0.0.1:1", 15).todo
    assert "remote = true" in silent("mqtt:kitchen", 15).todo
    assert "cable" in silent("/dev/ttyACM0", 15).todo


def test_a_socket_where_nobody_listens(shell: CommandLine) -> None:
    where = f"socket://127.0.0.1:{free_port()}"
    shell.run("flash", "digits.htb", "--device", where).refused("HT617", 5)


def test_what_is_no_hardtack_device_is_told_at_every_speed(shell: CommandLine) -> None:
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    os.close(slave)
    said = shell.run("flash", "digits.htb", "--device", name).refused("HT616", 5)
    assert "115200, 921600" in said
    os.close(master)


def test_a_bundle_of_a_stranger_is_not_sent(shell: CommandLine, device: Device) -> None:
    (shell.here / "digits.htb").write_bytes(make_bundle("2.0.0", key=STRANGER))
    shell.run("flash", "digits.htb", "--device", at(device)).refused("HT701", 6)


def test_a_bundle_for_other_hardware_is_not_sent(shell: CommandLine, device: Device) -> None:
    (shell.here / "digits.htb").write_bytes(make_bundle("2.0.0", hardware="cortex-m4"))
    shell.run("flash", "digits.htb", "--device", at(device)).refused("HT501", 4)


def test_a_model_that_diverges_is_told_with_its_layer_and_the_old_one_stays(
    shell: CommandLine, device: Device
) -> None:
    shell.works("flash", "digits.htb", "--device", at(device))
    (shell.here / "bad.htb").write_bytes(make_bundle("1.1.0", broken=True))
    said = shell.run("flash", "bad.htb", "--device", at(device)).refused("HT606", 5)
    assert "first in layer 0" in said
    assert shell.works("flash", "digits.htb", "--device", at(device), "--json").document["slot"]


def test_a_flash_that_was_cut_off_goes_on_where_it_was(shell: CommandLine, device: Device) -> None:
    bundle = (shell.here / "digits.htb").read_bytes()
    host = Host(socket.create_connection(("127.0.0.1", device.port)))
    host.transfer(0, bundle, chunks=3)
    total = -(-len(bundle) // host.about.chunk_size)
    host.line.close()
    ran = shell.works("flash", "digits.htb", "--device", at(device), "--json")
    assert ran.document["chunks_written"] == total - 3 > 0


def test_auto_says_when_there_is_no_port(shell: CommandLine) -> None:
    if ports():
        pytest.skip("this machine has serial ports: auto would ask what is on them")
    said = shell.run("flash", "digits.htb").refused("HT617", 5)
    assert "no serial port" in said
