"""Flash, memory and instructions of the firmware on QEMU's boards, of models and of single layers.

Instructions are counted by QEMU (`-icount shift=6`: 64 ns of virtual time each, read from the
board's counter). They are not cycles. Figures of others are cited, not measured here:
benchmarks/README.md says from where.
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.harness import DATA, MODELS, ROOT, Report, run
from hardtack_agent.serial_link import Reason, Type
from hardtack_agent.serial_messages import Input, Run, RunReply
from hardtack_converters.convert import Converted, convert, pack_model
from hardtack_runtime import gap_huff, huffman
from hardtack_runtime.bundle import unpack
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.memory import Needs, Way
from tests.digit_bundles import KEY
from tests.firmware.build import firmware, operators_file, settings_for
from tests.firmware.host import RefusedError
from tests.firmware.qemu import BOARDS, Board, Machine

Int8Array = npt.NDArray[np.int8]
NS_PER_INSTRUCTION = 64
CALIBRATION = 200_000
CRYPTO = ("monocypher.c", "ht_sha512.c", "ht_ed25519.c")
NAMES = ("kws", "kws_pruned", "ad", "resnet", "vww")
SHAPE_BOARDS = ("mps2-an386", "mps3-an547", "mps2-an385")
COUNTER_MHZ = {"mps2-an385": 25, "mps2-an386": 25, "mps3-an547": 32}
"""By which a board's build divides its counter to get microseconds; QEMU's runs as it likes."""
WORDS = {Way.MEMORY: "to_memory", Way.FLASH: "to_flash", Way.LAYERS: "layerwise"}
"""Where weights are unpacked, in keys; boards have memory for all of them otherwise."""
SYMBOLS = 16_384
MACS = {
    "conv_10x4x1": 320_000,
    "dw_3x3_25x5x64": 72_000,
    "pw_64_25x5": 512_000,
    "conv_3x3x16": 2_359_296,
    "conv_3x3x3": 442_368,
    "dw_3x3_12x12x64": 82_944,
    "pw_128_6x6": 589_824,
    "fc_640_128": 81_920,
}
"""Of the layers in kernel_shapes.c, taps outside the image included."""
CMSIS_NN = {
    "cortex-m4": (3.49, 7.79, 2.09, 2.33, 4.77, 7.88, 1.83, 1.95),
    "cortex-m55": (0.957, 2.34, 0.396, 0.399, 1.42, 2.33, 0.282, 0.490),
}
"""Instructions per MAC, in the order of MACS."""
MCUNET_VWW0 = {
    "tinyengine_cited": (59_000, 453_000),
    "cmsis_nn_cited": (163_000, 646_000),
    "tflm_cited": (163_000, 627_000),
}
"""RAM and flash in bytes of a whole firmware, from TinyEngine's README: another model than ours."""
LEAST_FLASH = {"emlearn_cited": 2_000, "tflm_cited": 20_000}
"""What runtimes say that they begin with, without a model."""
TFLM_ARENA = {"kws": 24_272, "resnet": 55_984, "vww": 103_680, "ad": 3_984}


def measure(report: Report, quick: bool) -> None:
    """Build every board and run the models it has memory for."""
    cite(report)
    ticks: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in SHAPE_BOARDS[:2] if quick else SHAPE_BOARDS:
            ticks[name] = shapes(report, BOARDS[name], Path(folder))
    for name in SHAPE_BOARDS[:2] if quick else BOARDS:
        for model in NAMES[:2] if quick else NAMES:
            with tempfile.TemporaryDirectory() as folder:  # each begins with empty slots
                inference(report, name, model, Path(folder), ticks.get(name))
    for model in NAMES[:2]:
        for way in WORDS:
            with tempfile.TemporaryDirectory() as folder:
                unpacking(report, "mps2-an386", model, way, Path(folder), ticks["mps2-an386"])


def cite(report: Report) -> None:
    """Put in what others measured."""
    for core, figures in CMSIS_NN.items():
        for shape, figure in zip(MACS, figures, strict=True):
            report.add(f"{shape}.{core}.insn_per_mac", figure, peer="cmsis_nn_cited")
    for board, total in (("mps2-an386", 7.64e6), ("mps3-an547", 1.79e6)):
        report.add(f"kws.{board}.instructions", total, peer="cmsis_nn_cited")
    for model, arena in TFLM_ARENA.items():
        report.add(f"{model}.arena_bytes", arena, peer="tflm_cited")
    for peer, (ram, flash) in MCUNET_VWW0.items():
        report.add("mcunet_vww0.stm32h743.ram_bytes", ram, peer=peer)
        report.add("mcunet_vww0.stm32h743.flash_bytes", flash, peer=peer)
    for peer, flash in LEAST_FLASH.items():
        report.add("ad.mps2-an386.flash_runtime_bytes", flash, peer=peer)
    report.add("huffman.laplace.mps2-an386.insn_per_symbol", 17.4, peer="lut_8_bits_cited")


# ---- Single layers and Huffman


@dataclass(frozen=True, slots=True)
class Line:
    """What kernel_shapes.c says of one thing."""

    ticks: int
    crc: int


def shapes(report: Report, board: Board, folder: Path) -> float:
    """Count the instructions of single kernels; return how many a tick of the counter is.

    Raises:
        ValueError: the board computes other bits than this machine.
    """
    source = Path(__file__).with_name("kernel_shapes.c")
    include = ROOT / "build" / "kernel_shapes"
    include.mkdir(parents=True, exist_ok=True)
    symbols = write_streams(include / "huffman_stream.h")
    image = firmware(board.name, board.compiler, flags=f"-I{include}", app=source)
    here = lines_here(source, include, folder / "kernel_shapes")
    there = lines_there(board, image)
    differing = [name for name in here if here[name].crc != there[name].crc]
    if differing:
        raise ValueError(f"{board.name} computes other bits: {', '.join(differing)}")
    scale = CALIBRATION / there["calibration"].ticks
    for shape, macs in MACS.items():
        key = f"{shape}.{board.hardware}.insn_per_mac"
        report.add(key, there[shape].ticks * scale / macs)
    for stream, count in symbols.items():
        key = f"huffman.{stream}.{board.name}.insn_per_symbol"
        report.add(key, there[stream].ticks * scale / count)
    sizes = _symbols(board, image)
    report.add(f"huffman.{board.name}.ram_bytes", sizes["decoder"][0])
    report.add(f"huffman.{board.name}.gap_ram_bytes", sizes["gap_decoders"][0])
    return scale


def write_streams(path: Path) -> dict[str, int]:
    """Write Huffman streams as C arrays; return their symbols by name.

    Two of dense-huff, of made-up and of real weights, and two of gap-huff, of made-up weights of
    which a share is kept: of `pruned` a gap and a value count as one symbol, of `thinned`, which
    is mostly values, an element does.
    """
    real = convert(DATA / MODELS["kws"]).program.tensors
    weights = [t.data.ravel() for t in real if t.data is not None and t.data.dtype == np.int8]
    dense = {"laplace": laplace(3.59), "kws_weights": np.concatenate(weights)[:SYMBOLS]}
    arrays, symbols = {}, dict.fromkeys(dense, SYMBOLS)
    for name, codes in dense.items():
        table = huffman.build_table(np.bincount(codes.astype(np.int64) + 128, minlength=256))
        arrays[f"{name}_table"] = table.encode()
        arrays[f"{name}_stream"] = huffman.encode_dense(codes, table)
    for name, share in (("pruned", 0.4), ("thinned", 0.8)):
        kept = np.random.default_rng(7).random(SYMBOLS) < share
        codes = np.where(kept, laplace(3.59), 0).astype(np.int8)
        gap_table, table = gap_huff.build_tables(codes)
        arrays |= {f"{name}_gaps": gap_table.encode(), f"{name}_table": table.encode()}
        arrays[f"{name}_stream"] = gap_huff.encode(codes, gap_table, table)
        symbols[name] = SYMBOLS if name == "thinned" else int(np.count_nonzero(codes))
    lines = [f"#define HUFFMAN_SYMBOLS {SYMBOLS}\n"]
    for array, data in arrays.items():
        listed = ",".join(map(str, data))
        lines.append(f"static const uint8_t {array}[] = {{{listed}}};\n")
    text = "".join(lines)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
    return symbols


def laplace(entropy: float) -> Int8Array:
    """Return 5-bit codes, rounded from a Laplace distribution, of this many bits of entropy."""
    low, high = 0.5, 8.0
    for _ in range(40):
        scale = (low + high) / 2
        reals = np.random.default_rng(5).laplace(0, scale, SYMBOLS)
        codes = np.rint(reals).clip(-16, 15).astype(np.int8)
        shares = np.bincount(codes.astype(np.int64) + 16) / SYMBOLS
        shares = shares[shares > 0]
        low, high = (scale, high) if -(shares * np.log2(shares)).sum() < entropy else (low, scale)
    return codes


def lines_here(source: Path, include: Path, program: Path, *flags: str) -> dict[str, Line]:
    """Run a program of such lines on this machine; other flags than the usual ones may be given."""
    csrc = ROOT / "agent" / "runtime" / "csrc"
    subprocess.run(
        [
            *("cc", "-std=c99", *(flags or ("-O1", "-DHT_PORTABLE"))),
            *(f"-I{include}", f"-I{csrc / 'include'}"),
            *(str(source), *map(str, sorted((csrc / "src").rglob("*.c"))), "-o", str(program)),
        ],
        check=True,
    )
    printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return _parse(printed.splitlines())


def lines_there(board: Board, image: Path) -> dict[str, Line]:
    """Run it on a board in QEMU.

    Raises:
        ValueError: the board stopped before its end.
    """
    process = subprocess.Popen(
        [
            *(f"qemu-system-{board.system}", "-M", board.name, "-icount", "shift=6"),
            *("-kernel", str(image), "-display", "none", "-monitor", "none", "-serial", "stdio"),
        ],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines: list[str] = []
    try:
        while not (lines and lines[-1].startswith("end ")):
            line = process.stdout.readline()
            if not line:
                raise ValueError(f"{board.name} stopped after {lines[-1:]}")
            lines.append(line)
    finally:
        process.kill()
        process.wait()
    return _parse(lines)


def _parse(lines: list[str]) -> dict[str, Line]:
    parts = [line.split() for line in lines]
    return {name: Line(int(ticks), int(crc)) for name, ticks, crc in parts}


# ---- Models


def converted(model: str) -> Converted:
    """Convert a real model; `kws_pruned` is kws without its seven smallest weights of ten."""
    if model != "kws_pruned":
        return convert(DATA / MODELS[model])
    whole = convert(DATA / MODELS["kws"])
    tensors = tuple(
        replace(t, data=np.where(np.abs(t.data) > np.quantile(np.abs(t.data), 0.7), t.data, 0)
                .astype(np.int8)) if t.data is not None and t.data.dtype == np.int8
        and t.data.size > 512 else t
        for t in whole.program.tensors
    )  # fmt: skip
    return replace(whole, program=replace(whole.program, tensors=tensors))


def inference(
    report: Report, name: str, model: str, folder: Path, insn_per_tick: float | None
) -> None:
    """Build firmware with the model's operators alone, install it and count what one run takes."""
    done = converted(model)
    bundle = pack_model(done, KEY)
    operators = operators_file(f"ht_operators_{model}", {op.opcode for op in done.program.ops})
    machine = Machine(BOARDS[name], folder, operators=operators)
    key = f"{model}.{name}"
    ran = run_once(machine, bundle)
    if ran is None:
        return
    scale = insn_per_tick or 1 / NS_PER_INSTRUCTION
    report.add(f"{key}.instructions", ran.ticks * scale)
    needs = Needs.of(unpack(bundle))
    report.add(f"{model}.arena_bytes", needs.arena)
    report.add(f"{model}.unpacked_bytes", needs.unpacked)
    report.add(f"{model}.layer_bytes", needs.layer)
    static = sizes(report, key, machine)
    report.add(f"{key}.stack_bytes", ran.stack)
    report.add(f"{key}.ram_bytes", needs.taken(Way.MEMORY) + static + ran.stack)


@dataclass(frozen=True, slots=True)
class Ran:
    """One inference: ticks of the board's counter, and bytes of stack ever in use."""

    ticks: int
    stack: int


def run_once(machine: Machine, bundle: bytes) -> Ran | None:
    """Install a bundle and run it; None where the board has no room for it."""
    try:
        host = machine.start("-icount", "shift=6")
        host.timeout_s = 120.0
        if len(bundle) > host.about.slot_size:
            return None
        try:
            host.install(bundle)
        except RefusedError as refused:
            if refused.reason != Reason.MEMORY:
                raise
            return None
        elements = sum(int(np.prod(shape)) for shape in Interpreter(bundle).input_shapes)
        piece = host.about.max_body - 8
        for at in range(0, elements, piece):
            codes = bytes(min(piece, elements - at))
            host.ask(Type.INPUT, Input(1, at, codes).encode())
        reply = RunReply.decode(host.ask(Type.RUN, Run(1).encode()))
        stack = host.status().stack_used
    finally:
        machine.kill()
    return Ran(reply.latency_us * COUNTER_MHZ.get(machine.board.name, 1000), stack)


def unpacking(
    report: Report, name: str, model: str, way: Way, folder: Path, insn_per_tick: float
) -> None:
    """Count what one run takes where weights are unpacked this way, and all the memory."""
    done = converted(model)
    bundle = pack_model(done, KEY)
    needs = Needs.of(unpack(bundle))
    board = BOARDS[name]
    image = firmware(
        board.name, board.compiler, settings=settings_for(needs, way),
        operators=operators_file(f"ht_operators_{model}", {op.opcode for op in done.program.ops}),
    )  # fmt: skip
    machine = Machine(board, folder, image=image)
    ran = run_once(machine, bundle)
    if ran is None:
        raise ValueError(f"{name} has no room for {model} {way.value}")
    key = f"{model}.{name}.{WORDS[way]}"
    report.add(f"{key}_instructions", ran.ticks * insn_per_tick)
    beyond = static_memory(machine) + ran.stack
    report.add(f"{key}_ram_bytes", needs.taken(way) + beyond)
    report.add(f"{key}_ram_beyond_arena_bytes", needs.taken(way) - needs.arena + beyond)


def sizes(report: Report, key: str, machine: Machine) -> int:
    """Report flash by origin; return bytes of static memory without the pool."""
    prefix = machine.board.compiler.removesuffix("gcc")
    by_origin = {"crypto": 0, "kernels": 0, "runtime": 0, "core": 0}
    memory = static_memory(machine)
    for size, kind, where in _symbols(machine.board, machine.image).values():
        if kind in "trw" and (origin := _origin(where)):
            by_origin[origin] += size
    listed = subprocess.run(
        [f"{prefix}size", machine.image], capture_output=True, text=True, check=True
    ).stdout
    total = int(listed.splitlines()[1].split()[0])
    report.add(f"{key}.flash_bytes", total)
    report.add(f"{key}.flash_without_crypto_bytes", total - by_origin["crypto"])
    for origin, size in by_origin.items():
        report.add(f"{key}.flash_{origin}_bytes", size)
    report.add(f"{key}.static_ram_bytes", memory)
    return memory


def static_memory(machine: Machine) -> int:
    """Return bytes of static memory without the pool."""
    symbols = _symbols(machine.board, machine.image).items()
    return sum(size for name, (size, kind, _) in symbols if kind in "bd" and name != "pool")


def _symbols(board: Board, image: Path) -> dict[str, tuple[int, str, str]]:
    """Return size, kind and source of every symbol; those of one name count once each."""
    prefix = board.compiler.removesuffix("gcc")
    listed = subprocess.run(
        [f"{prefix}nm", "-S", "-l", image], capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, tuple[int, str, str]] = {}
    for line in listed.splitlines():
        parts = line.split()
        if len(parts) >= 4:
            name = parts[3] if parts[3] not in found else f"{parts[3]}@{parts[0]}"
            where = parts[4] if len(parts) > 4 else ""
            found[name] = (int(parts[1], 16), parts[2].lower(), where)
    return found


def _origin(where: str) -> str:
    """Say what a symbol's source file is for."""
    if where.partition(":")[0].endswith(CRYPTO):
        return "crypto"
    if "/csrc/src/kernels/" in where:
        return "kernels"
    if "/csrc/" in where:
        return "runtime"
    return "core" if "/hardtack_firmware/" in where else ""


if __name__ == "__main__":
    if not DATA.is_dir():
        print(f"no data at {DATA}: set HARDTACK_DATA to the folder of real models")
    else:
        run("microcontroller", measure)
