"""The prediction socket: whatever comes in, the next client is served."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
import pytest

from hardtack_agent import wire
from hardtack_agent.client import Client
from hardtack_agent.inference import Models
from hardtack_agent.server import PredictionServer
from hardtack_runtime.errors import BundleError, DeviceError
from tests.golden.make import golden_bundle

HUGE = 10**400
INPUT = {"do": "predict", "model": "golden"}


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    models = Models(lambda window, outcome: None)
    models.load("golden", golden_bundle())
    server = PredictionServer(tmp_path / "agent.sock", models, dict)
    server.start()
    yield tmp_path / "agent.sock"
    server.stop()


def _raw(path: Path, body: bytes) -> dict[str, Any] | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(struct.pack("<I", len(body)) + body)
        return wire.receive(connection)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(b"", "HT609", id="empty"),
        pytest.param(b"\xff", "HT609", id="no CBOR"),
        pytest.param(b"\x81" * 5000, "HT609", id="nested deep"),
        pytest.param(cbor2.dumps({"do": "models"}) + b"\0", "HT609", id="more than one item"),
        pytest.param(bytes.fromhex("a1626964d81c81d81d00"), "HT609", id="an id in a circle"),
        pytest.param(cbor2.dumps([1]), "HT609", id="no map"),
        pytest.param(cbor2.dumps(INPUT | {"inputs": [[HUGE]]}), "HT610", id="a huge number"),
        pytest.param(cbor2.dumps(INPUT | {"inputs": [["a"]]}), "HT610", id="text"),
        pytest.param(cbor2.dumps(INPUT | {"inputs": [{"dtype": []}]}), "HT610", id="no dtype"),
    ],
)
def test_a_hostile_frame_is_answered_and_the_next_client_served(
    path: Path, body: bytes, code: str
) -> None:
    reply = _raw(path, body)
    assert reply is not None
    assert (reply["ok"], reply["code"]) == (False, code)
    with Client(path) as agent:
        assert agent.predict("golden", [np.zeros((1, 8, 8, 4))]).model == "golden"


def test_a_file_that_is_no_socket_is_not_replaced(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    with pytest.raises(DeviceError) as caught:
        PredictionServer(precious, Models(lambda window, outcome: None), dict)
    assert caught.value.code == "HT609"
    assert precious.read_text() == "mine"


def test_a_contract_of_another_program_is_not_loaded() -> None:
    from hardtack_runtime.bundle import pack, unpack
    from tests.golden.make import KEY

    content = unpack(golden_bundle())
    (port,) = content.manifest.outputs
    wrong = port.model_copy(update={"shape": (1, 3)})
    manifest = content.manifest.model_copy(update={"outputs": (wrong,)})
    with pytest.raises(BundleError, match="META") as caught:
        Models(lambda window, outcome: None).load(
            "golden", pack(content.program, manifest, key=KEY)
        )
    assert caught.value.code == "HT212"
