"""A gateway for tests: an agent process whose configuration names boards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hardtack.fleet.store import Store
from hardtack_agent.serial_line import open_line
from hardtack_agent.serial_session import Session
from tests.digit_bundles import sample
from tests.end_to_end.fleet import AgentProcess
from tests.firmware.cable import Cable

NewAgent = Callable[..., AgentProcess]
CONFIG = """
device = "pi-1"
broker = "mqtt://127.0.0.1:1"
state_dir = "state"
trusted_keys = "keys"

[gateway]
poll_s = 0.2
{settings}
"""


def write_config(folder: Path, settings: str) -> Path:
    """Write agent.toml; flags of the agent's process win over its first lines."""
    path = folder / "agent.toml"
    path.write_text(CONFIG.format(settings=settings))
    return path


def boards(*named: tuple[str, Cable]) -> str:
    """Return the tables of boards with names."""
    return "\n".join(
        f"[[gateway.devices]]\nname = {json.dumps(name)}\nport = {json.dumps(cable.address)}\n"
        for name, cable in named
    )


def online(store: Store, device: str) -> bool:
    """Say whether the store believes a device to be there."""
    return any(row.online for row in store.devices() if row.device == device)


def predict(port: int, labels: list[int], shown: list[int]) -> None:
    """Run the model of a board as its application would, on what is `shown`, with the truth."""
    address = f"socket://127.0.0.1:{port}"

    def connect() -> Any:
        return open_line(address)

    with Session(connect, address, patience_s=30) as session:
        session.hello()
        for label, digit in zip(labels, shown, strict=True):
            session.run(sample(digit).astype("int8").tobytes(), label)
