"""The prediction socket: a thread per client, one reply per request, whatever comes in.

Source: SPEC section 4.4.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hardtack_agent import wire
from hardtack_agent.inference import Models
from hardtack_agent.prediction import Prediction
from hardtack_runtime.errors import DeviceError, HardtackError

MAX_CLIENTS = 64
RETRY_S = 0.1
_log = logging.getLogger(__name__)


class PredictionServer:
    """Answers predictions on a Unix socket.

    Args:
        path: Socket to listen on; a leftover of a dead agent is replaced.
        models: Who answers.
        status: Returns what `status` requests are told.

    Raises:
        DeviceError: HT609, the socket cannot be made.
    """

    def __init__(self, path: Path, models: Models, status: Callable[[], dict[str, Any]]) -> None:
        self._path = path
        self._models = models
        self._status = status
        self._clients: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_socket():
                path.unlink()
            self._listener.bind(str(path))
            path.chmod(0o660)
            self._listener.listen(16)
        except OSError as error:
            self._listener.close()
            raise DeviceError("HT609", str(path), f"cannot listen: {error}",
                              "choose another path, of at most 107 bytes") from error  # fmt: skip

    def start(self) -> None:
        """Begin to answer, in the background."""
        threading.Thread(target=self._accept, name="predictions", daemon=True).start()

    def stop(self) -> None:
        """Close the socket and every connection."""
        self._stopped.set()
        # shutdown wakes the thread in accept(); close alone would leave it there.
        _close(self._listener)
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            _close(client)
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError as error:
                if self._stopped.wait(RETRY_S):
                    return
                _log.warning("a client could not be let in: %s", error)  # too many open files, say
                continue
            with self._lock:
                full = len(self._clients) >= MAX_CLIENTS
                if not full:
                    self._clients.add(client)
            if full:
                _reply_error(client, None, DeviceError("HT609", "socket", "too many clients"))
                _close(client)
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            while True:
                request = wire.receive(client)
                if request is None:
                    return
                self._answer(client, request)
        except HardtackError as error:
            # The stream is out of step: say why, then hang up.
            _reply_error(client, None, error)
        except OSError as error:
            _log.debug("a client went away: %s", error)
        finally:
            with self._lock:
                self._clients.discard(client)
            _close(client)

    def _answer(self, client: socket.socket, request: dict[str, Any]) -> None:
        key = request.get("id")
        try:
            reply = self._do(request)
        except HardtackError as error:
            _reply_error(client, key, error)
        else:
            wire.send(client, {"id": key, "ok": True, **reply})

    def _do(self, request: dict[str, Any]) -> dict[str, Any]:
        what = request.get("do")
        if what == "predict":
            return _predict(self._models, request)
        if what == "models":
            return {"models": [self._describe(name) for name in self._models.names()]}
        if what == "status":
            return self._status()
        raise DeviceError("HT609", "socket", f"unknown request {what!r}", "predict, models, status")

    def _describe(self, name: str) -> dict[str, Any]:
        manifest = self._models.manifest(name)
        return manifest.model_dump(
            mode="json", include={"name", "version", "inputs", "outputs", "labels", "task"}
        )


def _predict(models: Models, request: dict[str, Any]) -> dict[str, Any]:
    model, inputs, label = request.get("model"), request.get("inputs"), request.get("label")
    if not isinstance(model, str) or not isinstance(inputs, list):
        raise DeviceError("HT609", "socket", "predict needs `model`, text, and `inputs`, a list")
    if label is not None and not isinstance(label, int | str):
        raise DeviceError("HT610", model, "a label is a class index or a text")
    return _to_map(models.predict(model, [wire.unpack_array(one) for one in inputs], label))


def _to_map(prediction: Prediction) -> dict[str, Any]:
    return {
        "model": prediction.model,
        "version": list(prediction.version),
        "outputs": [wire.pack_array(array) for array in prediction.outputs],
        "index": prediction.index,
        "label": prediction.label,
        "latency_us": prediction.latency_us,
    }


def _reply_error(client: socket.socket, key: object, error: HardtackError) -> None:
    fields = {"code": error.code, "where": error.where, "met": error.met, "todo": error.todo}
    try:
        wire.send(client, {"id": key, "ok": False, **fields})
    except OSError as gone:
        _log.debug("a client did not wait for its error: %s", gone)


def _close(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it was never connected, or the peer was quicker
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
