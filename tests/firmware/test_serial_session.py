"""The session of agent and command line over the real firmware: noise, resets, lost lines."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hardtack_agent.serial_line import open_line
from hardtack_agent.serial_link import Reason, Type
from hardtack_agent.serial_messages import bundle_id
from hardtack_agent.serial_refusal import RefusedError, explain
from hardtack_agent.serial_session import Session, runs
from hardtack_runtime.bundle import pack
from hardtack_runtime.errors import ConfigError, DeviceError, HardtackError
from hardtack_runtime.golden import record
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.operators import FullyConnectedS16
from hardtack_runtime.program import Port
from tests.digit_bundles import KEY, STRANGER, make_bundle, sample
from tests.firmware.test_line_noise import NoisyLine
from tests.firmware.test_posix import Device
from tests.golden.make import manifest_for, wide_program


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    device = Device(tmp_path)
    device.start().line.close()
    yield device
    device.kill()


def connect(device: Device, reconnect_s: float = 30.0, patience_s: float = 15.0) -> Session:
    def line() -> object:
        return open_line(f"socket://127.0.0.1:{device.port}")

    return Session(line, "board", reconnect_s=reconnect_s, patience_s=patience_s)  # type: ignore[arg-type]


def test_a_bundle_is_installed_replayed_and_run_bit_identically(device: Device) -> None:
    bundle = make_bundle("1.2.3", ballast=300)
    told: list[tuple[int, int]] = []
    with connect(device) as session:
        status = session.install(bundle, progress=lambda *now: told.append(now))
        assert runs(status, bundle_id(bundle))
        assert told[0][0] == 0
        assert told[-1][0] == told[-1][1]
        assert session.golden() == 2
        reference = Interpreter(bundle)
        rng = np.random.default_rng(0)
        for _ in range(10):
            codes = rng.integers(-128, 128, (1, 64)).astype(np.int8)
            expected = reference.run(codes)[0].tobytes()
            assert session.run(codes.tobytes()).codes == expected


def test_an_output_of_int16_comes_in_bytes_and_the_largest_of_its_codes_is_the_top(
    device: Device,
) -> None:
    program = wide_program()
    dense = next(op for op in program.ops if isinstance(op, FullyConnectedS16))
    outputs = (Port(dense.output, 0.5, 0), *program.outputs)
    whole = replace(program, outputs=outputs)
    manifest = manifest_for(whole)
    golden = record(Interpreter(pack(whole, manifest, key=None)), seeds=(1, 2))
    bundle = pack(whole, manifest, key=KEY, golden=golden)
    reference = Interpreter(bundle)
    with connect(device) as session:
        session.install(bundle)
        assert session.golden() == 2
        rng = np.random.default_rng(0)
        for _ in range(5):
            codes = rng.integers(-128, 128, (1, 144)).astype(np.int8)
            expected = reference.run(codes)
            assert expected[0].dtype == np.int16
            done = session.run(codes.tobytes())
            assert done.codes == b"".join(codes.tobytes() for codes in expected)
            assert done.top == int(expected[0].argmax())


def test_what_is_active_already_is_not_sent_again(device: Device) -> None:
    with connect(device) as session:
        session.install(make_bundle("1.0.0"))
        written = session.chunks_written
        session.install(make_bundle("1.0.0"))
        assert session.chunks_written == written > 0


def test_runs_are_counted_once_and_told_until_acknowledged(device: Device) -> None:
    with connect(device) as session:
        session.install(make_bundle("1.0.0"))
        for label in (0, 1, 1):
            assert session.run(sample(1).astype(np.int8).tobytes(), label).top == 1
        told = session.telemetry(0)
        assert (told.predictions, told.labelled, told.correct) == (3, 3, 2)
        assert session.telemetry(0).sequence == told.sequence
        assert session.telemetry(told.sequence).sequence == 0
        assert session.fault().id == 0
        assert b"slot A" in session.log().data


def test_a_model_that_computes_other_bits_names_its_first_layer(device: Device) -> None:
    bad = make_bundle("1.1.0", broken=True)
    with connect(device) as session:
        session.install(make_bundle("1.0.0"))
        with pytest.raises(DeviceError, match=r"first in layer 0 \(dense_0\)") as failed:
            session.install(bad, layers=("dense_0",))
        assert failed.value.code == "HT606"
        with pytest.raises(HardtackError, match="gave this bundle up before") as refused:
            session.install(bad)
        assert refused.value.code == "HT705"
        assert session.golden() == 2


@pytest.mark.parametrize(
    ("bundle", "code"),
    [
        pytest.param(make_bundle("2.0.0", key=STRANGER), "HT701", id="a stranger's key"),
        pytest.param(make_bundle("2.0.0", hardware="linux"), "HT501", id="hardware"),
        pytest.param(make_bundle("0.9.0"), "HT703", id="older"),
        pytest.param(bytes(600 << 10), "HT503", id="too large"),
    ],
)
def test_what_is_not_for_this_device_is_refused(device: Device, bundle: bytes, code: str) -> None:
    with connect(device) as session:
        session.install(make_bundle("1.0.0"))
        with pytest.raises(HardtackError) as refused:
            session.install(bundle)
        assert refused.value.code == code
        assert session.status().active == 0


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        pytest.param(Reason.FLASH, "HT622", id="flash"),
        pytest.param(Reason.RANGE, "HT621", id="range"),
        pytest.param(77, "HT621", id="unknown to us"),
        pytest.param(Reason.NO_MODEL, "HT611", id="no model"),
        pytest.param(Reason.GAVE_UP, "HT607", id="gave up"),
    ],
)
def test_every_reason_is_an_error_with_a_code(reason: int, code: str) -> None:
    assert explain("board", reason, 5).code == code


def test_a_wrong_input_and_a_missing_model_are_told(device: Device) -> None:
    with connect(device) as session:
        with pytest.raises(HardtackError) as failed:
            session.run(bytes(64))
        assert failed.value.code == "HT611"
        session.install(make_bundle("1.0.0"))
        for size in (63, 65):
            with pytest.raises(HardtackError) as failed:
                session.run(bytes(size))
            assert failed.value.code == "HT610"


def test_a_run_begins_anew_after_a_reset(device: Device) -> None:
    bundle = make_bundle("1.0.0")
    codes = sample(2).astype(np.int8)
    expected = Interpreter(bundle).run(codes)[0].tobytes()
    with connect(device) as session:
        session.install(bundle)
        for _ in range(3):
            assert session.run(codes.tobytes()).codes == expected
            session.ask(Type.RESET)
            assert session.run(codes.tobytes()).codes == expected


@pytest.mark.parametrize("harm", ["flipped", "lost", "doubled", "swapped", "all"])
def test_one_byte_in_a_hundred(device: Device, harm: str) -> None:
    bundle = make_bundle("1.0.0", ballast=30)
    line = NoisyLine(device.port, harm, 0.01)
    port = line.near.fileno()
    session = Session(functools.partial(SocketPair, line), f"fd {port}")
    status = session.install(bundle)
    assert runs(status, bundle_id(bundle))
    assert session.differing(0, bundle) == []
    assert session.golden() == 2
    assert line.harmed > 20
    line.close()


class SocketPair:
    """The near end of a noisy line."""

    byte_s = 0.0

    def __init__(self, line: NoisyLine) -> None:
        self._end = line.near

    def read(self, timeout_s: float) -> bytes:
        self._end.settimeout(max(timeout_s, 1e-4))
        try:
            return self._end.recv(4096)
        except TimeoutError:
            return b""

    def write(self, data: bytes) -> None:
        self._end.sendall(data)

    def close(self) -> None:
        """The test closes it."""


def test_a_device_that_loses_power_again_and_again_gets_the_bundle(device: Device) -> None:
    bundle = make_bundle("1.0.0", ballast=1500)
    cuts = {2, 7, 13, 20}

    def cut(done: int, total: int) -> None:
        if done in cuts:
            cuts.remove(done)
            restart_on_the_same_port(device)

    with connect(device) as session:
        status = session.install(bundle, progress=cut)
        assert runs(status, bundle_id(bundle))
        assert session.golden() == 2
        assert session.reconnects == 4
        total = -(-len(bundle) // session.about.chunk_size)
        assert total <= session.chunks_written <= total + 4


def restart_on_the_same_port(device: Device) -> None:
    device.kill()
    device.start(device.port).line.close()


def test_a_line_that_stays_away_is_told(device: Device) -> None:
    session = connect(device, reconnect_s=0.3)
    session.hello()
    device.kill()
    with pytest.raises(DeviceError) as failed:
        session.status()
    assert failed.value.code == "HT620"


def test_a_silent_device_is_told_in_time(device: Device) -> None:
    line = NoisyLine(device.port, "lost", 1.0)
    session = Session(functools.partial(SocketPair, line), "board", patience_s=0.5)
    begun = time.monotonic()
    with pytest.raises(DeviceError) as failed:
        session.hello()
    assert failed.value.code == "HT616"
    assert time.monotonic() - begun < 3
    line.close()


@pytest.mark.parametrize(
    "address", ["socket://", "socket://host", "socket://h:x", "socket://h:1/a"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError) as failed:
        open_line(address)
    assert failed.value.code == "HT104"


def test_raw_refusals_carry_reason_and_detail(device: Device) -> None:
    with connect(device) as session, pytest.raises(RefusedError) as refused:
        session.ask(Type.WRITE, b"\0")
    assert refused.value.reason == Reason.MALFORMED
