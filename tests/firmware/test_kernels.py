"""Kernels on processors as QEMU has them, operator by operator: the host's bits, which are held to
TFLite Micro's by tests/conformance."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardtack_agent.serial_link import Reason
from hardtack_firmware.generate import Model, used_table
from tests.firmware.build import written
from tests.firmware.kernel_bundle import kernel_bundle
from tests.firmware.qemu import BOARDS, Machine
from tests.golden.make import xnor_bundle

ROUNDS = 9
"""Of nine operators."""


@pytest.fixture
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(BOARDS[request.param], tmp_path)
    yield machine
    machine.kill()


@pytest.mark.parametrize("weights", ["unpacked", "sparse", "packed", "xnor", "split", "wide"])
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


@pytest.mark.parametrize("counts", [True, False], ids=["counted", "multiplied"])
@pytest.mark.parametrize("board", ["mps2-an385", "mps2-an386"])
def test_a_firmware_of_one_binary_model_gives_its_bits_whichever_kernel_is_linked(
    board: str, counts: bool, tmp_path: Path
) -> None:
    bundle = xnor_bundle()
    source = used_table([Model.read(tmp_path / "xnor.htb", bundle)])
    assert "&ht_in_place_xnor," in source
    if not counts:
        source = source.replace("place_xnor", "place_packed")
    operators = written(f"ht_operators_{'xnor' if counts else 'packed'}.c", source)
    machine = Machine(BOARDS[board], tmp_path, operators=operators)
    symbols = subprocess.run(
        ["arm-none-eabi-nm", machine.image], capture_output=True, text=True, check=True
    ).stdout
    assert (" ht_conv_2d_xnor_s8" in symbols) == counts
    try:
        host = machine.start()
        status = host.install(bundle)
        assert (status.outcome, status.running) == (Reason.OK, 0)
        assert host.golden() == 2
    finally:
        machine.kill()
