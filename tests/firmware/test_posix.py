"""The whole firmware as a process under sanitizers, driven over a socket."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from hardtack_agent.serial_body import read_words
from hardtack_agent.serial_link import Reason, Type
from hardtack_agent.serial_messages import (
    NONE,
    Erase,
    Finish,
    Layers,
    LayersReply,
    LogReply,
    Read,
    TelemetryReply,
    Write,
    bundle_id,
)
from hardtack_runtime.interpreter import Interpreter
from tests.digit_bundles import KEY, STRANGER, make_bundle, sample
from tests.firmware.build import operators_file, posix_firmware
from tests.firmware.host import Host, RefusedError, u32

FULLY_CONNECTED, ADD = 3, 4


class Device:
    """The posix board as a process; it can be killed and started again on the same flash."""

    def __init__(self, folder: Path, operators: Path | None = None, chip: str = "") -> None:
        self.flash = folder / "flash.bin"
        self.chip = chip
        self._operators = operators
        self._process: subprocess.Popen[str] | None = None

    def start(self, port: int = 0) -> Host:
        """Start it, on any port or on this one, and connect."""
        self._process = subprocess.Popen(
            [posix_firmware(self._operators), self.flash, str(port), self.chip],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return Host(socket.create_connection(("127.0.0.1", self.port)))

    def kill(self) -> None:
        """Cut its power."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    device = Device(tmp_path)
    yield device
    device.kill()


@pytest.fixture
def host(device: Device) -> Host:
    return device.start()


def refusal(reason: Reason) -> AbstractContextManager[pytest.ExceptionInfo[RefusedError]]:
    return pytest.raises(RefusedError, match=reason.name)


def test_a_new_device_says_what_it_is_and_has_no_model(host: Host) -> None:
    about = host.about
    assert (about.version, about.hardware, about.kernel_abi) == (1, "posix", 1)
    assert about.key_ids == (bytes(8), KEY.verify_key.key_id)
    status = host.status()
    assert (status.active, status.running, status.why) == (NONE, NONE, Reason.NO_MODEL)
    assert status.slots == (None, None)


def test_a_bundle_is_installed_replayed_and_run_bit_identically(host: Host) -> None:
    bundle = make_bundle("1.2.3", ballast=300)
    status = host.install(bundle)
    assert (status.active, status.running, status.outcome) == (0, 0, Reason.OK)
    assert status.floor == (1, 2, 3)
    assert status.slots[0] is not None
    assert status.slots[0].name == "digits"
    assert status.slots[0].id == bundle_id(bundle)
    assert host.golden() == 2
    reference = Interpreter(bundle)
    rng = np.random.default_rng(0)
    for _ in range(20):
        codes = rng.integers(-128, 128, (1, 64)).astype(np.int8)
        assert host.run(codes.tobytes()) == reference.run(codes)[0].tobytes()


def test_an_update_goes_to_the_other_slot_and_survives_a_power_cut(device: Device) -> None:
    host = device.start()
    host.install(make_bundle("1.0.0"))
    assert host.install(make_bundle("1.1.0")).active == 1
    device.kill()
    status = device.start().status()
    assert (status.active, status.running, status.floor) == (1, 1, (1, 1, 0))


def test_finish_after_success_is_harmless(host: Host) -> None:
    bundle = make_bundle("1.0.0")
    host.install(bundle)
    assert host.finish(0, bundle) == 1
    assert host.finish(1, bundle) == 1


def test_a_model_that_computes_other_bits_is_given_up(host: Host) -> None:
    good, bad = make_bundle("1.0.0"), make_bundle("1.1.0", broken=True)
    host.install(good)
    status = host.install(bad)
    assert (status.active, status.running) == (0, 0)
    assert (status.outcome, status.detail) == (Reason.DIVERGED, 0)
    assert status.refused == bundle_id(bad)[:8]
    with refusal(Reason.REFUSED):
        host.finish(1, bad)
    before = host.boots
    assert host.finish(1, bad, again=True) == 0
    host.await_boot(before)
    assert host.status().active == 0
    assert host.install(make_bundle("1.1.1")).active == 1


@pytest.mark.parametrize(
    ("bundle", "reason"),
    [
        pytest.param(make_bundle("2.0.0", key=STRANGER), Reason.KEY, id="a stranger's key"),
        pytest.param(make_bundle("2.0.0", hardware="linux"), Reason.HARDWARE, id="hardware"),
        pytest.param(make_bundle("0.9.0"), Reason.VERSION, id="older"),
        pytest.param(make_bundle("1.0.0", ballast=9), Reason.VERSION, id="same version"),
    ],
)
def test_what_is_not_for_this_device_is_refused(host: Host, bundle: bytes, reason: Reason) -> None:
    host.install(make_bundle("1.0.0"))
    with refusal(reason):
        host.install(bundle)
    assert host.status().active == 0


def test_every_bit_flip_of_the_header_is_refused(host: Host) -> None:
    """One write of the header's chunk per byte; the payload's bytes are the digest's business."""
    bundle = make_bundle("1.0.0")
    host.transfer(0, bundle)
    rng = random.Random(1)
    for at in range(224):
        flipped = bytearray(bundle)
        flipped[at] ^= 1 << rng.randrange(8)
        host.transfer(0, bytes(flipped))
        with pytest.raises(RefusedError) as refused:
            host.ask(Type.FINISH, Finish(0, 0, bundle_id(bytes(flipped))).encode())
        expected = {Reason.HEADER, Reason.KEY, Reason.SIGNATURE}
        assert refused.value.reason in expected, at
    host.transfer(0, bundle)
    assert host.install(bundle).active == 0


def test_flips_in_the_payload_are_refused(host: Host) -> None:
    bundle = make_bundle("1.0.0")
    for at in range(224, len(bundle), 97):
        flipped = bytearray(bundle)
        flipped[at] ^= 0x10
        with refusal(Reason.DIGEST):
            host.install(bytes(flipped))


def test_a_transfer_cut_off_goes_on_where_it_was(device: Device) -> None:
    bundle = make_bundle("1.0.0", ballast=600)
    host = device.start()
    host.transfer(0, bundle, chunks=4)
    device.kill()
    host = device.start()
    total = -(-len(bundle) // host.about.chunk_size)
    assert host.differing(0, bundle) == list(range(4, total))
    host.transfer(0, bundle)
    assert host.chunks_written == total - 4


def test_the_slot_in_use_is_never_written(host: Host) -> None:
    bundle = make_bundle("1.0.0")
    host.install(bundle)
    with refusal(Reason.IN_USE):
        host.ask(Type.ERASE, Erase(0, 0).encode())
    with refusal(Reason.IN_USE):
        host.ask(Type.WRITE, Write(0, 0, bytes(16)).encode())
    assert host.differing(0, bundle) == []


def test_writing_what_is_there_is_harmless_and_other_bytes_need_an_erasure(host: Host) -> None:
    write = Write(1, 64, bytes(range(16))).encode()
    host.ask(Type.ERASE, Erase(1, 0).encode())
    host.ask(Type.WRITE, write)
    host.ask(Type.WRITE, write)
    with refusal(Reason.NOT_ERASED) as refused:
        host.ask(Type.WRITE, Write(1, 68, bytes(16)).encode())
    assert refused.value.detail == 68
    there = host.ask(Type.READ, Read(1, 18, 63).encode())
    assert there == b"\xff" + bytes(range(16)) + b"\xff"


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        pytest.param(Type.ERASE, Erase(2, 0).encode(), Reason.RANGE, id="slot"),
        pytest.param(Type.ERASE, Erase(0, 60000).encode(), Reason.RANGE, id="chunk"),
        pytest.param(Type.WRITE, Write(0, 2, bytes(4)).encode(), Reason.MALFORMED, id="unit"),
        pytest.param(Type.WRITE, Write(0, 1 << 31, bytes(4)).encode(), Reason.RANGE, id="offset"),
        pytest.param(Type.WRITE, b"\0", Reason.MALFORMED, id="short"),
        pytest.param(Type.CHECK, b"\0\0\xff\xff\xff\xff", Reason.RANGE, id="check"),
        pytest.param(Type.GOLDEN, u32(0), Reason.NO_MODEL, id="golden"),
        pytest.param(Type.RUN, u32(1, 0xFFFF), Reason.NO_MODEL, id="run"),
        pytest.param(Type.FINISH, bytes(36), Reason.DIGEST, id="empty slot"),
        pytest.param(Type.HELLO, b"\2" + bytes(19), Reason.MALFORMED, id="protocol 2"),
    ],
)
def test_nonsense_is_refused(host: Host, kind: Type, body: bytes, reason: Reason) -> None:
    with refusal(reason):
        host.ask(kind, body)


def test_any_type_with_any_body_leaves_the_device_alive(host: Host) -> None:
    host.install(make_bundle("1.0.0"))
    rng = random.Random(7)
    kinds = [kind for kind in Type if kind not in {Type.RESET, Type.HELLO}]
    for _ in range(2000):
        size = rng.choice((0, 1, 4, 6, 8, 12, 36, rng.randrange(500)))
        body = bytearray(rng.randbytes(size))
        if size and rng.random() < 0.7:
            body[0] = rng.randrange(3)
            body[1 : min(size, 4)] = bytes(min(size, 4) - 1)
        with contextlib.suppress(RefusedError):
            host.ask(rng.choice(kinds), bytes(body))
    assert host.status().running == 0


def test_input_comes_in_pieces_again_and_late(host: Host) -> None:
    bundle = make_bundle("1.0.0")
    host.install(bundle)
    codes = sample(2).astype(np.int8).tobytes()
    with refusal(Reason.GAP):
        host.ask(Type.INPUT, u32(1, 4) + codes[4:])
    host.ask(Type.INPUT, u32(1, 0) + codes[:20])
    with refusal(Reason.GAP):
        host.ask(Type.RUN, u32(1, 0xFFFF))
    host.ask(Type.INPUT, u32(1, 10) + codes[10:30])
    host.ask(Type.INPUT, u32(1, 0) + codes[:20])
    host.ask(Type.INPUT, u32(1, 30) + codes[30:])
    with refusal(Reason.RANGE):
        host.ask(Type.INPUT, u32(1, 64) + b"\0")
    first = host.ask(Type.RUN, u32(1, 2))
    assert host.ask(Type.RUN, u32(1, 2)) == first
    host.ask(Type.INPUT, u32(1, 0) + bytes(20))
    expected = Interpreter(bundle).run(np.frombuffer(codes, np.int8))[0].tobytes()
    assert host.ask(Type.OUTPUT, u32(1, 0, 99)) == expected
    host.ask(Type.INPUT, u32(2, 0) + codes)
    with refusal(Reason.STALE):
        host.ask(Type.INPUT, u32(1, 0) + codes)
    window = TelemetryReply.decode(host.ask(Type.TELEMETRY, u32(0)))
    assert (window.predictions, window.labelled, window.correct) == (1, 1, 1)
    assert window.classes == {2: 1}


def test_telemetry_is_told_until_it_is_acknowledged(host: Host) -> None:
    bundle = make_bundle("1.0.0")
    host.install(bundle)
    nothing = TelemetryReply.decode(host.ask(Type.TELEMETRY, u32(0)))
    assert nothing.sequence == 0
    for label in (0, 1, 1):
        host.run(sample(1).astype(np.int8).tobytes(), label)
    told = TelemetryReply.decode(host.ask(Type.TELEMETRY, u32(0)))
    assert (told.sequence, told.predictions, told.labelled, told.correct) == (1, 3, 3, 2)
    assert told.classes == {1: 3}
    assert sum(told.latency.values()) == 3
    assert told.model_id == bundle[112:128]
    host.run(sample(1).astype(np.int8).tobytes())
    again = TelemetryReply.decode(host.ask(Type.TELEMETRY, u32(0)))
    assert (again.sequence, again.predictions) == (1, 3)
    following = TelemetryReply.decode(host.ask(Type.TELEMETRY, u32(1)))
    assert (following.sequence, following.predictions) == (2, 1)
    assert TelemetryReply.decode(host.ask(Type.TELEMETRY, u32(2))).sequence == 0


def test_layers_and_log_are_told(host: Host) -> None:
    host.install(make_bundle("1.0.0", ballast=50))
    layers = LayersReply.decode(host.ask(Type.LAYERS, Layers(0, 100).encode()))
    assert (layers.operators, len(read_words(layers.data))) == (2, 2)
    log = LogReply.decode(host.ask(Type.LOG, u32(0)))
    assert log.data.endswith(b"on posix: slot A, weights unpacked to memory\n")


def test_a_reset_forgets_the_boot_id_and_says_so(host: Host) -> None:
    first = host.hello().boot_id
    assert host.hello().boot_id == first
    before = host.boots
    host.ask(Type.RESET)
    host.await_boot(before)
    assert host.status().reset_cause == 1
    assert host.hello().boot_id != first


def test_a_host_may_go_and_come_back_at_any_time(device: Device) -> None:
    host = device.start()
    host.transfer(0, make_bundle("1.0.0"), chunks=1)
    host.line.sendall(b"\x05\x01\x02")
    host.line.close()
    again = Host(socket.create_connection(("127.0.0.1", device.port)), timeout_s=1.0)
    assert again.install(make_bundle("1.0.0")).active == 0


def test_a_model_with_an_operator_that_was_left_out_is_refused(tmp_path: Path) -> None:
    device = Device(tmp_path, operators_file("ht_operators_add", [ADD]))
    try:
        host = device.start()
        with pytest.raises(RefusedError) as caught:
            host.install(make_bundle("1.0.0"))
        assert (caught.value.reason, caught.value.detail) == (Reason.OPERATOR, FULLY_CONNECTED)
        assert host.status().running == NONE
    finally:
        device.kill()
