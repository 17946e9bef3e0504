"""Ask the agent of this device for predictions.

with Client(Path("/var/lib/hardtack/agent.sock")) as agent:
    print(agent.predict("digits", [image]).label)
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from hardtack_agent import wire
from hardtack_agent.prediction import Prediction
from hardtack_runtime.errors import DeviceError


class Client:
    """A connection to the prediction socket; one thread at a time.

    Args:
        path: The agent's socket.
        timeout_s: Longest wait for a reply.

    Raises:
        DeviceError: HT609, nobody listens there.
    """

    def __init__(self, path: Path, timeout_s: float = 30.0) -> None:
        self._path = path
        self._next = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise DeviceError(
                "HT609", str(path), f"no agent answers ({error.strerror})", "is hardtack-agent up?"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def predict(
        self, model: str, inputs: Sequence[npt.ArrayLike], label: int | str | None = None
    ) -> Prediction:
        """Run a model once on the device; as `Models.predict`.

        Raises:
            DeviceError: what the agent answered (HT610, HT611...), or HT609.
        """
        arrays = [wire.pack_array(np.asarray(value)) for value in inputs]
        reply = self._ask({"do": "predict", "model": model, "inputs": arrays, "label": label})
        outputs = tuple(np.asarray(wire.unpack_array(one), np.float32) for one in reply["outputs"])
        major, minor, patch = reply["version"]
        return Prediction(
            reply["model"], (major, minor, patch), outputs,
            reply["index"], reply["label"], reply["latency_us"],
        )  # fmt: skip

    def models(self) -> list[dict[str, Any]]:
        """Return name, version, inputs, outputs, labels and task of each model."""
        models: list[dict[str, Any]] = self._ask({"do": "models"})["models"]
        return models

    def status(self) -> dict[str, Any]:
        """Return what the agent says of itself."""
        return self._ask({"do": "status"})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self._next += 1
        try:
            wire.send(self._socket, {"id": self._next, **request})
            reply = wire.receive(self._socket)
        except OSError as error:
            raise DeviceError("HT609", str(self._path), f"the agent went away: {error}") from error
        if reply is None:
            raise DeviceError("HT609", str(self._path), "the agent closed the connection")
        if not reply.get("ok"):
            fields = [str(reply.get(key, "")) for key in ("code", "where", "met", "todo")]
            raise DeviceError(*fields)
        return reply
