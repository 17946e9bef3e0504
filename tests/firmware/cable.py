"""A cable that can be cut at any byte: a TCP proxy between a gateway and a device."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable


class Cable:
    """Forwards 127.0.0.1:`port` to a device's port.

    Attributes:
        carried: Bytes the host has sent, over all connections.
        cut_after: Bytes from the host after which connection number n, from 0, is cut; 0 for never.
        cut_at: Cut when so many bytes were carried, once; 0 for never.
        byte_s: Seconds a byte from the host takes.
        cuts: How often it was cut.
        plugged: False: who connects is hung up on at once.
    """

    def __init__(self, device_port: Callable[[], int]) -> None:
        self.carried = 0
        self.cut_after: Callable[[int], int] = lambda number: 0
        self.connections = 0
        self.byte_s = 0.0
        self.cut_at = 0
        self.cuts = 0
        self.plugged = True
        self._device_port = device_port
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """Where the host finds it."""
        return f"socket://127.0.0.1:{self.port}"

    def pull(self) -> None:
        """Pull it out."""
        self.plugged = False
        self._hang_up()

    def plug(self) -> None:
        """Plug it in."""
        self.plugged = True

    def send(self, data: bytes) -> None:
        """Send something to the device that is no word of the host's."""
        with self._lock:
            self._open[-1].sendall(data)

    def close(self) -> None:
        """Throw it away."""
        self._listener.close()
        self.pull()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    if not self.plugged:
                        raise ConnectionRefusedError
                    far = socket.create_connection(("127.0.0.1", self._device_port()))
                except OSError:
                    near.close()
                    continue
                for end in (near, far):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._open += [near, far]
                threading.Thread(target=self._to_device, args=(near, far), daemon=True).start()
                threading.Thread(target=self._to_host, args=(far, near), daemon=True).start()

    def _to_device(self, near: socket.socket, far: socket.socket) -> None:
        left = limit = self.cut_after(self.connections)
        self.connections += 1
        with contextlib.suppress(OSError):
            while data := near.recv(4096):
                time.sleep(len(data) * self.byte_s)
                if self.cut_at and self.carried + len(data) >= self.cut_at:
                    limit, left, self.cut_at = 1, self.cut_at - self.carried, 0
                if limit and len(data) >= left:
                    far.sendall(data[:left])
                    self.carried += left
                    self.cuts += 1
                    break
                left -= len(data)
                self.carried += len(data)
                far.sendall(data)
        self._hang_up(near, far)

    def _to_host(self, far: socket.socket, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(4096):
                near.sendall(data)
        self._hang_up(near, far)

    def _hang_up(self, *ends: socket.socket) -> None:
        with self._lock:
            for end in ends or tuple(self._open):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
                if end in self._open:
                    self._open.remove(end)
