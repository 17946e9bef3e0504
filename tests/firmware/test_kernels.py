"""Kernels on processors as QEMU has them, operator by operator: the host's bits, which are held to
TFLite Micro's by tests/conformance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hardtack_agent.serial_link import Reason
from tests.firmware.kernel_bundle import kernel_bundle
from tests.firmware.qemu import BOARDS, Machine

ROUNDS = 9
"""Of nine operators."""


@pytest.fixture
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(BOARDS[request.param], tmp_path)
    yield machine
    machine.kill()


@pytest.mark.parametrize("weights", ["unpacked", "sparse", "packed", "split", "wide"])
@pytest.mark.parametrize("machine", [b for b in BOARDS if BOARDS[b].memory_size], indirect=True)
def test_every_kernel_gives_the_bits_of_the_host(machine: Machine, weights: str) -> None:
    bundle, program = kernel_bundle(1, ROUNDS, weights)
    host = machine.start()
    host.timeout_s = 60.0
    status = host.install(bundle)
    if status.outcome == Reason.DIVERGED:
        pytest.fail(f"operator {status.detail} differs: {program.ops[status.detail]}")
    assert (status.outcome, status.running) == (Reason.OK, 0)
    assert host.golden() == 4
