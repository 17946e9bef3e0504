"""What a gateway needs before it begins."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from hardtack_agent.config import AgentConfig
from hardtack_agent.gateway import Gateway
from hardtack_agent.gateway_board import Facts
from hardtack_runtime.errors import ConfigError, DeviceError


def config(folder: Path, gateway: dict[str, Any]) -> AgentConfig:
    return AgentConfig.model_validate({
        "device": "pi-1", "broker": "mqtt://127.0.0.1:1", "state_dir": folder,
        "trusted_keys": folder, "gateway": gateway,
    })  # fmt: skip


def test_pyserial_is_needed_for_ports_and_for_sockets_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    Gateway(config(tmp_path, {"ports": ["socket://127.0.0.1:1"]}))
    with pytest.raises(ConfigError, match="gateway") as missing:
        Gateway(config(tmp_path, {"ports": ["/dev/ttyUSB*"]}))
    assert missing.value.code == "HT105"


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
