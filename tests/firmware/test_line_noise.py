"""A transfer over a line that flips, loses, doubles and swaps bytes is still bit-exact."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.digit_bundles import make_bundle
from tests.firmware.host import Host
from tests.firmware.test_posix import Device


class NoisyLine:
    """Two sockets and a thread each way; one byte in `1 / rate` is harmed."""

    def __init__(self, port: int, harm: str, rate: float) -> None:
        self.harmed = 0
        self._harm, self._rate = harm, rate
        self.near, inner = socket.socketpair()
        self._far = socket.create_connection(("127.0.0.1", port))
        self._inner = inner
        self._threads = [
            threading.Thread(target=self._carry, args=args, daemon=True)
            for args in ((inner, self._far, 1), (self._far, inner, 2))
        ]
        for thread in self._threads:
            thread.start()

    def _carry(self, source: socket.socket, sink: socket.socket, seed: int) -> None:
        rng = random.Random(seed)
        try:
            while data := source.recv(4096):
                sink.sendall(self._spoil(data, rng))
        except OSError:
            pass

    def _spoil(self, data: bytes, rng: random.Random) -> bytes:
        out = bytearray()
        for byte in data:
            harm = self._harm if rng.random() < self._rate else ""
            self.harmed += bool(harm)
            if harm == "all":
                harm = rng.choice(("flipped", "lost", "doubled", "swapped"))
            if harm == "flipped":
                out.append(byte ^ 1 << rng.randrange(8))
            elif harm == "doubled":
                out += bytes((byte, byte))
            elif harm == "swapped" and out:
                out.insert(len(out) - 1, byte)
            elif harm != "lost":
                out.append(byte)
        return bytes(out)

    def close(self) -> None:
        """Hang up and let the threads end."""
        for end in (self.near, self._inner, self._far):
            end.close()


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    device = Device(tmp_path)
    device.start().line.close()
    yield device
    device.kill()


@pytest.mark.parametrize("harm", ["flipped", "lost", "doubled", "swapped", "all"])
def test_one_byte_in_a_hundred(device: Device, harm: str) -> None:
    bundle = make_bundle("1.0.0", ballast=60)
    line = NoisyLine(device.port, harm, 0.01)
    host = Host(line.near, timeout_s=0.05, piece=64)
    status = host.install(bundle)
    assert (status.active, status.running) == (0, 0)
    assert host.differing(0, bundle) == []
    assert line.harmed > 50
    assert host.resends > 10
    line.close()
