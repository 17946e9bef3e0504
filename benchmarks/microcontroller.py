"""Flash, memory and instructions of the firmware on QEMU's boards, by what each byte is for.

Instructions are those of one inference, counted by QEMU (`-icount shift=6`: 64 ns of virtual time
each, read from the board's microsecond timer, so to 16 instructions). They are not cycles.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from benchmarks.harness import DATA, MODELS, Report, run
from hardtack_agent.serial_link import Reason, Type
from hardtack_agent.serial_messages import Input, Run, RunReply
from hardtack_converters.convert import convert, pack_model
from hardtack_runtime.interpreter import Interpreter
from tests.digit_bundles import KEY
from tests.firmware.host import RefusedError
from tests.firmware.qemu import BOARDS, Machine

NS_PER_INSTRUCTION = 64
CRYPTO = ("monocypher.c", "ht_sha512.c", "ht_ed25519.c")
NAMES = ("kws", "ad", "resnet", "vww")


def measure(report: Report, quick: bool) -> None:
    """Build every board and run the models it has memory for."""
    for name in ("mps2-an386",) if quick else BOARDS:
        for model in NAMES[:1] if quick else NAMES:
            with tempfile.TemporaryDirectory() as folder:  # each begins with empty slots
                machine = Machine(BOARDS[name], Path(folder))
                if model == NAMES[0]:
                    sizes(report, machine)
                inference(report, machine, model)


def sizes(report: Report, machine: Machine) -> None:
    """Report flash by origin, and memory without the pool."""
    prefix = machine.board.compiler.removesuffix("gcc")
    board = machine.board.name
    listed = subprocess.run(
        [f"{prefix}nm", "-S", "-l", machine.image], capture_output=True, text=True, check=True
    ).stdout
    by_origin = {"crypto": 0, "kernels": 0, "runtime": 0, "core": 0}
    memory = 0
    for line in listed.splitlines():
        parts = line.split()
        if len(parts) < 4:
            continue
        size, kind = int(parts[1], 16), parts[2].lower()
        where = parts[4] if len(parts) > 4 else ""
        if kind in "bd" and parts[3] != "pool":
            memory += size
        elif kind in "trw" and (origin := _origin(where)):
            by_origin[origin] += size
    total = int(
        subprocess.run(
            [f"{prefix}size", machine.image], capture_output=True, text=True, check=True
        ).stdout.splitlines()[1].split()[0]
    )  # fmt: skip
    report.add(f"{board}.flash_bytes", total)
    report.add(f"{board}.flash_without_crypto_bytes", total - by_origin["crypto"])
    for origin, size in by_origin.items():
        report.add(f"{board}.flash_{origin}_bytes", size)
    report.add(f"{board}.static_ram_bytes", memory)


def _origin(where: str) -> str:
    """Say what a symbol's source file is for."""
    if where.partition(":")[0].endswith(CRYPTO):
        return "crypto"
    if "/csrc/src/kernels/" in where:
        return "kernels"
    if "/csrc/" in where:
        return "runtime"
    return "core" if "/hardtack_firmware/" in where else ""


def inference(report: Report, machine: Machine, model: str) -> None:
    """Install a model and count what one run takes."""
    bundle = pack_model(convert(DATA / MODELS[model]), KEY)
    key = f"{model}.{machine.board.name}"
    try:
        host = machine.start("-icount", "shift=6")
        host.timeout_s = 120.0
        if len(bundle) > host.about.slot_size:
            return
        try:
            host.install(bundle)
        except RefusedError as refused:
            if refused.reason != Reason.MEMORY:
                raise
            return
        elements = sum(_product(shape) for shape in Interpreter(bundle).input_shapes)
        piece = host.about.max_body - 8
        codes = bytes(elements)
        for at in range(0, elements, piece):
            host.ask(Type.INPUT, Input(1, at, codes[at : at + piece]).encode())
        done = RunReply.decode(host.ask(Type.RUN, Run(1).encode()))
        status = host.status()
        report.add(f"{key}.instructions", done.latency_us * 1000 / NS_PER_INSTRUCTION)
        report.add(f"{key}.stack_bytes", status.stack_used)
        interpreter = Interpreter(bundle)
        report.add(f"{key}.model_ram_bytes", interpreter.arena_size + interpreter.unpacked_size)
    finally:
        machine.kill()


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


if __name__ == "__main__":
    if not DATA.is_dir():
        print(f"no data at {DATA}: set HARDTACK_DATA to the folder of real models")
    else:
        run("microcontroller", measure)
