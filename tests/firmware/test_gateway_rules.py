"""What a gateway decides; its conversations with the real firmware, stopped at every step."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from hardtack_agent import gateway_rules as rules
from hardtack_agent import serial_messages as body
from hardtack_agent.config import GatewayConfig
from hardtack_agent.gateway_port import drive, expand
from hardtack_agent.serial_line import open_line
from hardtack_agent.serial_link import REPLY, Frame, Type, encode_frame
from hardtack_agent.serial_messages import HelloReply, StatusReply, TelemetryReply
from hardtack_agent.serial_session import Session
from hardtack_agent.spool import Mark, Spool
from hardtack_agent.telemetry import Window
from hardtack_runtime.errors import DeviceError
from tests.digit_bundles import make_bundle, sample
from tests.firmware.test_posix import Device

Collect = Callable[[rules.Marks, bytes], rules.Script]


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    device = Device(tmp_path_factory.mktemp("board"))
    device.start().line.close()
    with session_with(device) as session:
        session.install(make_bundle("1.2.3"))
    yield device
    device.kill()


def session_with(device: Device) -> Session:
    return Session(
        functools.partial(open_line, f"socket://127.0.0.1:{device.port}"), "board"
    )  # fmt: skip


def about(chip: bytes = bytes(16), hardware: str = "cortex-m4") -> HelloReply:
    return HelloReply(
        1, 4, 1024, bytes(16), hardware, 65536, 4096, 4, 65536, (bytes(8), bytes(8)), 0, 1, chip, ""
    )


def settings(**fields: Any) -> GatewayConfig:
    return GatewayConfig.model_validate({"ports": ["/dev/ttyUSB*"], **fields})


CHIP = bytes.fromhex("00112233445566778899aabbccddeeff")
HASHED = "".join(f"{byte:02x}" for byte in hashlib.sha256(CHIP).digest()[:6])


@pytest.mark.parametrize(
    ("named", "port", "chip", "name"),
    [
        pytest.param([], "/dev/ttyUSB0", CHIP, f"cortex-m4-{HASHED}", id="by its chip"),
        pytest.param([("a", "/dev/x", None)], "/dev/x", CHIP, "a", id="by its port"),
        pytest.param([("a", "/dev/by-id/*", None)], "/dev/by-id/7", CHIP, "a", id="by a pattern"),
        pytest.param([("a", None, "00112233")], "/dev/x", CHIP, "a", id="by its id, at any port"),
        pytest.param(
            [("a", "/dev/x", None), ("b", None, "00112233")], "/dev/x", CHIP, "b",
            id="its id before its port",
        ),
        pytest.param([("a", "/dev/x", "99887766")], "/dev/x", CHIP, None, id="another chip"),
        pytest.param([], "/dev/ttyUSB0", bytes(16), None, id="no chip id and no name"),
    ],
)  # fmt: skip
def test_a_board_has_one_name_or_is_refused(
    named: list[tuple[str, str | None, str | None]], port: str, chip: bytes, name: str | None
) -> None:
    devices = [{"name": n, "port": p, "id": i} for n, p, i in named]
    if name is not None:
        assert rules.name_of(settings(devices=devices), port, about(chip)) == name
        return
    with pytest.raises(DeviceError) as refused:
        rules.name_of(settings(devices=devices), port, about(chip))
    assert refused.value.code == "HT623"


def test_two_chips_of_one_lot_have_two_names() -> None:
    place = bytes(12)  # X, Y, wafer and the lot's first characters; the lot's last one differs
    names = {
        rules.name_of(settings(), "/dev/ttyUSB0", about(place + bytes([0, 0, 0, lot])))
        for lot in b"AB"
    }
    assert len(names) == 2


class KilledError(Exception):
    """The gateway's process is gone."""


def stopped_at(script: rules.Script, step: int) -> Generator[Any, Any, Any]:
    """Go on with a conversation until its step, before what that asks for is done."""
    action = next(script)
    for count in range(step + 1):
        if count == step:
            raise KilledError
        try:
            answer = yield action
            action = script.send(answer)
        except StopIteration as end:
            return end.value


def acknowledges_before_it_keeps(marks: rules.Marks, _chip: bytes) -> rules.Script:
    """The planted mutant: what a careless gateway would do."""
    hello = yield rules.Ask(Type.HELLO, body.Hello(1, bytes(range(16))).encode())
    boot = HelloReply.decode(hello).boot_id
    status = StatusReply.decode((yield rules.Ask(Type.STATUS)))
    known = marks(boot, "window")
    while True:
        told = yield rules.Ask(Type.TELEMETRY, body.Telemetry(known).encode())
        window = TelemetryReply.decode(told)
        if window.sequence == 0:
            return
        known = window.sequence
        yield rules.Ask(Type.TELEMETRY, body.Telemetry(known).encode())
        mark = Mark(boot, "window", known)
        yield rules.Take(rules.window_of(window, status, 1e9), mark, numbered=True)


def counted_by(collect: Collect, device: Device, folder: Path) -> tuple[int, int, int]:
    """Predict, collect, and be killed at every step; return predictions made, kept, and kills."""
    made = kills = step = 0
    finished = False
    while not finished:
        with session_with(device) as session:
            session.hello()
            for label in range(3):
                session.run(sample(label).astype("int8").tobytes(), label)
            made += 3
            spool = Spool(folder / "spool.db", bytes([step]) * 16)
            try:
                drive(stopped_at(collect(spool.mark, bytes(16)), step), session, spool)
                finished = True
            except KilledError:
                kills += 1
            spool.close()
            spool = Spool(folder / "spool.db", b"\xff" * 16)  # the next process takes what is left
            drive(collect(spool.mark, bytes(16)), session, spool)
            spool.close()
        step += 1
    spool = Spool(folder / "spool.db", b"\xfe" * 16)
    totals, records = spool.totals(), spool.pending(1000)
    assert records is not None
    windows = [window for _, window in records[1] if isinstance(window, Window)]
    assert {(window.model, window.version) for window in windows} == {("digits", (1, 2, 3))}
    assert [seq for seq, _ in records[1]] == sorted({seq for seq, _ in records[1]})
    spool.close()
    return made, totals.samples, kills


def test_a_gateway_killed_at_any_step_loses_and_doubles_no_prediction(
    device: Device, tmp_path: Path
) -> None:
    made, kept, kills = counted_by(rules.collect, device, tmp_path)
    assert made == kept
    assert kills >= 9


def test_the_mutant_that_acknowledges_before_it_keeps_is_found(
    device: Device, tmp_path: Path
) -> None:
    made, kept, _ = counted_by(acknowledges_before_it_keeps, device, tmp_path)
    assert kept < made


def test_a_reset_between_the_questions_puts_no_window_into_the_wrong_boot(
    device: Device, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool.db", bytes(16))

    def reset_before(script: rules.Script, victim: int, session: Session) -> rules.Script:
        action, asked = next(script), 0
        while True:
            if asked == victim:
                session.ask(Type.RESET)
                session.run(sample(1).astype("int8").tobytes(), 1)
            asked += 1
            try:
                action = script.send((yield action))
            except StopIteration as end:
                return end.value

    for victim in range(4):  # after HELLO, STATUS, TELEMETRY, HELLO there is nothing more to ask
        with session_with(device) as session:
            session.ask(Type.RESET)
            drive(
                reset_before(rules.collect(spool.mark, bytes(16)), victim, session), session, spool
            )
            drive(rules.collect(spool.mark, bytes(16)), session, spool)
        assert spool.totals().samples == victim + 1
    spool.close()


def test_a_cable_moved_to_another_board_in_mid_conversation_gives_it_no_window() -> None:
    status = bytes(252)
    window = TelemetryReply(1, 5, 0, 0, 0, 9, 1, 2, 3, CHIP, {}, {}).encode() + bytes(4)
    ours, other = about().encode(), about(CHIP).encode()
    for replies in ([other], [ours, status, window, other, other]):
        script = rules.collect(lambda source, what: 0, bytes(16))
        asked: Any = next(script)
        with pytest.raises(DeviceError, match="answers where") as moved:
            for reply in replies:
                asked = script.send(reply)
                assert isinstance(asked, rules.Ask)
        assert moved.value.code == "HT623"


def test_a_fault_is_kept_once_and_then_cleared() -> None:
    fault = body.FaultReply(7, 1, 2, 3, 4, 5, 1).encode()
    none = bytes(28)
    status = StatusReply(
        0, 255, 0, 0, 0, (0, 0, 0), 1, 255, 18, True, 2, 9, 0, 0, bytes(8), 0, (None, None)
    )
    script = rules.notes(about(), status, lambda source, what: 0)
    assert isinstance(health := next(script), rules.Take)
    assert health.record.kind == "health"  # type: ignore[union-attr]
    assert script.send(True) == rules.Ask(Type.FAULT, bytes(4))
    kept: Any = script.send(fault)
    assert kept.record.body == {
        "pc": 1, "lr": 2, "psr": 3, "cause": 4, "operator": 5, "count": 1
    }  # fmt: skip
    assert script.send(True) == rules.Ask(Type.FAULT, (7).to_bytes(4, "little"))
    asked: Any = script.send(none)
    assert asked.kind is Type.LOG


@pytest.mark.parametrize(
    ("name", "running", "known"),
    [
        pytest.param("digits", 0, True, id="a model"),
        pytest.param("../../../../evil", 0, False, id="a path"),
        pytest.param("", 0, False, id="no name"),
        pytest.param("a" * 32, 0, False, id="too long"),
        pytest.param("digits\n", 0, False, id="a line"),
        pytest.param("digits", 7, False, id="no such slot"),
    ],
)
def test_a_name_that_cannot_be_a_models_is_reported_as_no_model(
    name: str, running: int, known: bool
) -> None:
    slot = body.Slot(name, (1, 2, 3), bytes(16), bytes(32), 512)
    status = StatusReply(
        0, 255, 0, 0, 0, (0, 0, 0), 1, running, 0, False, 0, 9, 0, 0, bytes(8), 0, (slot, None)
    )
    assert (rules.running_slot(status) is slot) is known
    told = TelemetryReply(1, 5, 0, 0, 0, 9, 1, 2, 3, CHIP, {}, {})
    assert rules.window_of(told, status, 1e9).model == ("digits" if known else "none")


@pytest.mark.parametrize(
    ("frame", "verdict"),
    [
        pytest.param(Frame(Type.STATUS, 1), rules.Relay.SEND, id="a question"),
        pytest.param(Frame(Type.TELEMETRY, 1, bytes(4)), rules.Relay.SEND, id="look at telemetry"),
        pytest.param(Frame(Type.TELEMETRY, 1, b"\1\0\0\0"), rules.Relay.DROP, id="acknowledge it"),
        pytest.param(Frame(Type.FAULT, 1, b"\1\0\0\0"), rules.Relay.DROP, id="clear a fault"),
        pytest.param(Frame(Type.FINISH, 1, bytes(36)), rules.Relay.COLLECT_FIRST, id="finish"),
        pytest.param(Frame(Type.RESET, 1), rules.Relay.COLLECT_FIRST, id="reset"),
        pytest.param(Frame(Type.STATUS | REPLY, 1), rules.Relay.DROP, id="a reply"),
    ],
)
def test_frames_from_afar_are_judged(frame: Frame, verdict: rules.Relay) -> None:
    piece = encode_frame(frame).strip(b"\0")
    assert rules.relay(piece) is verdict
    assert rules.relay(piece[:-1] + b"\x55") is rules.Relay.DROP


def test_a_stream_is_cut_into_the_frames_it_holds_byte_for_byte() -> None:
    frames = [encode_frame(Frame(Type.LOG, n, bytes(range(n)))) for n in range(1, 40)]
    stream = b"noise\0" + b"".join(frames) + b"\0\0\x03half"
    pieces, found = rules.Pieces(), []
    for at in range(0, len(stream), 7):
        found += pieces.feed(stream[at : at + 7])
    assert found == [frame.strip(b"\0") for frame in frames]


def test_a_trouble_is_said_once_until_it_is_over() -> None:
    troubles = rules.Troubles()
    assert [troubles.new(one) for one in ("a", "a", "b", "b", "a")] == [
        True, False, True, False, True
    ]  # fmt: skip
    troubles.over()
    assert troubles.new("a")


def test_patterns_are_expanded_to_the_ports_there_are(tmp_path: Path) -> None:
    for name in ("usb-b", "usb-a", "other"):
        (tmp_path / name).touch()
    assert expand(f"{tmp_path}/usb-*") == [f"{tmp_path}/usb-a", f"{tmp_path}/usb-b"]
    assert expand("/nowhere/usb-*") == []
