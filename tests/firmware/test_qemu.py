"""The firmware on processors as QEMU has them: the same bits as the host, and no cut bricks it."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from hardtack_agent.serial_link import Reason, Type
from hardtack_agent.serial_messages import NONE, FaultReply, Layers, LayersReply
from hardtack_converters.convert import convert, pack_model
from hardtack_runtime.bundle import pack, unpack
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.memory import Needs, Way
from hardtack_runtime.packing import Coding
from tests.data import data_path
from tests.digit_bundles import KEY, lenet, make_bundle
from tests.firmware.build import firmware, settings_for
from tests.firmware.host import Host, RefusedError, u32
from tests.firmware.qemu import BOARDS, STM32F4, Machine
from tests.golden.make import GAPS, ctx_bundle, gaps_bundle

HERE = Path(__file__).parent
RUNS = int(os.environ.get("HARDTACK_RUNS", "100"))
RUNS_OF_THE_LARGEST = RUNS if "HARDTACK_RUNS" in os.environ else 10
"""Of visual wake words, whose input alone takes a board's UART a second; `make soak` runs all."""
CORTEX_M = ("mps2-an385", "mps2-an386", "mps3-an547")


@pytest.fixture
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(BOARDS[request.param], tmp_path)
    yield machine
    machine.kill()


def differing(host: Host, bundle: bytes, runs: int) -> int:
    """Run random inputs here and there; return how many gave other bits."""
    reference = Interpreter(bundle)
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(runs):
        codes = [rng.integers(-128, 128, s).astype(np.int8) for s in reference.input_shapes]
        expected = b"".join(out.tobytes() for out in reference.run(*codes))
        wrong += host.run(b"".join(code.tobytes() for code in codes)) != expected
    return wrong


@pytest.mark.parametrize("machine", BOARDS, indirect=True)
def test_a_board_installs_updates_and_refuses(machine: Machine) -> None:
    host = machine.start()
    assert host.about.hardware == machine.board.hardware
    assert host.status().why == Reason.NO_MODEL
    first = make_bundle("1.0.0", ballast=20, hardware=machine.board.hardware)
    status = host.install(first)
    assert (status.active, status.running, status.outcome) == (0, 0, Reason.OK)
    assert host.golden() == 2
    assert differing(host, first, 20) == 0
    bad = make_bundle("1.1.0", broken=True)
    assert host.install(bad).outcome == Reason.DIVERGED
    with pytest.raises(RefusedError, match="VERSION"):
        host.install(make_bundle("0.9.0"))
    status = host.install(make_bundle("1.2.0", ballast=30))
    assert (status.active, status.floor) == (1, (1, 2, 0))
    assert 0 < status.stack_used < status.stack_size
    coded_by_context = ctx_bundle()
    assert host.install(coded_by_context).outcome == Reason.OK
    assert differing(host, coded_by_context, 20) == 0
    status = host.status()
    assert 0 < status.stack_used < status.stack_size
    assert host.install(make_bundle("1.3.0", ballast=30)).outcome == Reason.OK
    layers = LayersReply.decode(host.ask(Type.LAYERS, Layers(0, 9).encode()))
    assert layers.operators == 2
    assert FaultReply.decode(host.ask(Type.FAULT, u32(0))).id == 0


@pytest.mark.parametrize("machine", [b for b in BOARDS if BOARDS[b].memory_size], indirect=True)
def test_a_board_keeps_its_model_without_power(machine: Machine) -> None:
    machine.start().install(make_bundle("1.0.0"))
    machine.kill()
    host = machine.start()
    assert host.status().running == 0
    assert host.golden() == 2


def test_an_stm32f4_serves_and_says_that_its_flash_takes_nothing(tmp_path: Path) -> None:
    """QEMU ignores what is written to its flash controller, as a broken chip would."""
    machine = Machine(STM32F4, tmp_path)
    try:
        host = machine.start()
        host.listen()  # it announces itself; what comes while it looks for its clock is lost
        assert (host.about.hardware, host.about.chunk_size) == ("cortex-m4", 128 << 10)
        assert host.status().why == Reason.NO_MODEL
        with pytest.raises(RefusedError, match="FLASH"):
            host.install(make_bundle("1.0.0"))
        status = host.status()
        assert (status.running, status.fault) == (NONE, False)
    finally:
        machine.kill()


BAKED = Path(__file__).parents[2] / "benchmarks" / "models"
COMPRESSED = (BAKED / "lenet300-4600-0.htb", BAKED / "lenet5-4500-1.htb")
MODELS = {
    "keyword spotting": "kws_ref_model",
    "anomaly detection": "ad01_int8",
    "ResNet-8": "pretrainedResnet_quant",
    "visual wake words": "vww_96_int8",
}


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("machine", [*CORTEX_M, "riscv32-virt"], indirect=True)
def test_a_model_gives_the_bits_of_the_host(machine: Machine, model: str) -> None:
    path = data_path(f"mlperf_tiny/{MODELS[model]}.tflite")
    bundle = pack_model(convert(path), KEY)
    runs = RUNS_OF_THE_LARGEST if "vww" in path.name else RUNS
    gives_the_bits_of_the_host(machine, bundle, runs)


@pytest.mark.slow
@pytest.mark.parametrize("path", COMPRESSED, ids=lambda path: path.stem)
@pytest.mark.parametrize("machine", [*CORTEX_M, "riscv32-virt"], indirect=True)
def test_a_compressed_model_gives_the_bits_of_the_host(machine: Machine, path: Path) -> None:
    """Trained on grids, most weights zero, coded by context."""
    content = unpack(path.read_bytes())
    golden = content.golden
    bundle = pack(content.program, content.manifest, key=KEY, golden=golden, smallest=True)
    gives_the_bits_of_the_host(machine, bundle, RUNS)


def gives_the_bits_of_the_host(machine: Machine, bundle: bytes, runs: int) -> None:
    host = machine.start()
    if Needs.of(unpack(bundle)).way(host.about.pool_size, 1 << 20) is None:
        with pytest.raises(RefusedError, match="MEMORY"):
            host.install(bundle)
        return
    assert host.install(bundle).running == 0
    assert host.golden() > 0
    assert differing(host, bundle, runs) == 0


def keyword_spotting() -> bytes:
    return pack_model(convert(data_path("mlperf_tiny/kws_ref_model.tflite")), KEY)


def gaps_between_zeros() -> bytes:
    return gaps_bundle(GAPS["between_zeros"])


@pytest.mark.slow
@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize(
    ("make", "coding"),
    [
        (keyword_spotting, Coding.DENSE_HUFF),
        (lenet, Coding.GAP_HUFF),
        (gaps_between_zeros, Coding.GAP_HUFF),
    ],
)
def test_weights_are_unpacked_where_there_is_room(
    make: Callable[[], bytes], coding: Coding, way: Way, tmp_path: Path
) -> None:
    """The same bits in each of three ways, and the third with the smallest memory there is."""
    bundle = make()
    assert coding in {stored.coding for stored in unpack(bundle).stored}
    board = BOARDS["mps2-an386"]
    image = firmware(
        board.name, board.compiler, settings=settings_for(Needs.of(unpack(bundle)), way)
    )
    machine = Machine(board, tmp_path, image=image)
    try:
        host = machine.start()
        assert host.install(bundle).running == 0
        assert differing(host, bundle, RUNS) == 0
        machine.kill()
        host = machine.start()
        assert host.golden() > 0
        assert f"weights unpacked {way.value}\n".encode() in host.ask(Type.LOG, u32(0))
    finally:
        machine.kill()


def test_a_model_without_room_is_told_what_would_do(tmp_path: Path) -> None:
    bundle = make_bundle("1.0.0", ballast=20)
    least = Needs.of(unpack(bundle)).least()
    board = BOARDS["mps2-an386"]
    settings = (f"POOL_SIZE={least - 16}", "UNPACKED_SIZE=0")
    machine = Machine(
        board, tmp_path, image=firmware(board.name, board.compiler, settings=settings)
    )
    try:
        with pytest.raises(RefusedError, match=f"MEMORY.* {least}"):
            machine.start().install(bundle)
    finally:
        machine.kill()


@pytest.mark.parametrize("machine", ["mps2-an386"], indirect=True)
def test_power_cut_at_random_moments_of_an_update_leaves_a_model(machine: Machine) -> None:
    """QEMU is killed in the middle; flash is a file that every store reaches at once."""
    rng = random.Random(5)
    versions = iter(f"1.{i}.0" for i in range(1000))
    active = make_bundle(next(versions), ballast=40)
    host = machine.start()
    host.install(active)
    for _ in range(10):
        candidate = make_bundle(next(versions), ballast=40)
        host.timeout_s = 0.3
        try:
            slot = host.free_slot()
            host.transfer(slot, candidate, chunks=rng.randrange(4))
            if rng.random() < 0.7:
                host.transfer(slot, candidate)
                host.finish(slot, candidate)
                time.sleep(rng.random() * 0.05)
        finally:
            machine.kill()
        host = machine.start()
        status = host.status()
        assert status.running == status.active
        running = status.slots[status.running]
        assert running is not None
        holds_candidate = running.version == tuple(map(int, (candidate[80], candidate[84], 0)))
        active = candidate if holds_candidate else active
        assert host.differing(status.running, active) == []
        assert host.golden() == 2


@pytest.mark.parametrize("board", BOARDS)
def test_a_fault_is_told_after_the_reset(board: str, tmp_path: Path) -> None:
    machine = Machine(BOARDS[board], tmp_path, app=HERE / "fault_main.c")
    try:
        host = machine.start()
        while host.boots < 2:
            host.listen()
        status = host.status()
        assert (status.fault, status.reset_cause) == (True, 2)
        fault = FaultReply.decode(host.ask(Type.FAULT, u32(0)))
        assert (fault.operator, fault.count) == (7, 1)
        start, size = symbol(machine, "ht_test_fault")
        assert start <= fault.pc < start + size
        assert FaultReply.decode(host.ask(Type.FAULT, u32(fault.id))).id == 0
        assert not host.status().fault
    finally:
        machine.kill()


def symbol(machine: Machine, name: str) -> tuple[int, int]:
    """Address and size of a function of the firmware."""
    nm = machine.board.compiler.removesuffix("gcc") + "nm"
    listed = subprocess.run([nm, "-S", machine.image], capture_output=True, text=True, check=True)
    line = next(line for line in listed.stdout.splitlines() if line.endswith(f" {name}"))
    address, size = line.split()[:2]
    return int(address, 16), int(size, 16)
