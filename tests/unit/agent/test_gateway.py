"""What a gateway needs before it begins."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hardtack_agent import gateway
from hardtack_agent.config import AgentConfig
from hardtack_agent.gateway import Gateway
from hardtack_agent.gateway_board import Board, Facts
from hardtack_agent.gateway_port import Visit, _StoppedError
from hardtack_agent.serial_link import MAX_FRAME
from hardtack_agent.serial_messages import HelloReply
from hardtack_runtime.errors import ConfigError, DeviceError


def config(folder: Path, table: dict[str, Any]) -> AgentConfig:
    return AgentConfig.model_validate({
        "device": "pi-1", "broker": "mqtt://127.0.0.1:1", "state_dir": folder,
        "trusted_keys": folder, "gateway": table,
    })  # fmt: skip


def test_pyserial_is_needed_for_ports_and_for_sockets_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    Gateway(config(tmp_path, {"ports": ["socket://127.0.0.1:1"]}))
    with pytest.raises(ConfigError, match="gateway") as missing:
        Gateway(config(tmp_path, {"ports": ["/dev/ttyUSB*"]}))
    assert missing.value.code == "HT105"


def test_the_search_for_ports_outlives_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked = threading.Semaphore(0)

    def fails(_pattern: str) -> list[str]:
        looked.release()
        raise NotImplementedError("non-relative patterns")

    monkeypatch.setattr(gateway, "LOOK_S", 0.01)
    monkeypatch.setattr(gateway, "expand", fails)
    running = Gateway(config(tmp_path, {"ports": ["/dev/none-such*"]}))
    running.start()
    assert all(looked.acquire(timeout=10) for _ in range(3))
    running.stop()
    assert len([one for one in caplog.records if "looked at again" in one.message]) == 1


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    settings = config(tmp_path, {"ports": ["socket://127.0.0.1:1"], "remote": True})
    board = Board(settings, "kitchen", FACTS)
    board._attached.set()
    yield board
    board.abandon()


ABOUT = HelloReply(
    1, 4, 1024, bytes(16), "posix", 65536, 4096, 4, 65536, (bytes(8), bytes(8)), 0, 1,
    bytes(16), "",
)  # fmt: skip


def test_what_is_larger_than_a_frame_is_not_kept(board: Board) -> None:
    board.take_frame(bytes(MAX_FRAME + 1))
    assert board.frames.empty()
    board.take_frame(bytes(MAX_FRAME))
    assert board.frames.qsize() == 1


@pytest.mark.parametrize("end", ["detach", "attach", "relay"])
def test_frames_that_wait_do_not_reach_a_later_board(board: Board, end: str) -> None:
    board.take_frame(b"RESET")
    assert not board.frames.empty()
    if end == "detach":
        board.detach()
    elif end == "attach":
        board.attach(ABOUT)
    else:
        session: Any = SimpleNamespace(about=ABOUT)
        with pytest.raises(_StoppedError):
            Visit(session, board, stop)._relay()
    assert board.frames.empty()


def stop() -> bool:
    raise _StoppedError


FACTS = Facts("00" * 16, "posix", "hardtack 0.1.0", 1024, 512, ["aa" * 8], {"11": "22"})


def test_what_is_known_of_a_board_survives_a_restart(tmp_path: Path) -> None:
    FACTS.save(tmp_path)
    assert Facts.load(tmp_path) == FACTS


@pytest.mark.parametrize("text", ["", "{", "[]", '{"v": 2}', '{"v": 1, "chip": "0"}'])
def test_facts_that_cannot_be_read_are_asked_again(tmp_path: Path, text: str) -> None:
    assert Facts.load(tmp_path) is None
    (tmp_path / "board.json").write_text(text)
    assert Facts.load(tmp_path) is None


def test_a_disk_that_fails_has_a_code(tmp_path: Path) -> None:
    with pytest.raises(DeviceError) as failed:
        FACTS.save(tmp_path / "none")
    assert failed.value.code == "HT612"
