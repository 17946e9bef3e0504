"""Layers with sparse, packed and binary weights used where they lie against the same unpacked.

Instructions on boards in QEMU, as benchmarks.microcontroller counts them, and microseconds here.
`hardtack_converters.placing` takes its thresholds from these figures.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import ROOT, Report, run
from benchmarks.microcontroller import CALIBRATION, lines_here, lines_there, run_once
from hardtack_converters.placing import InPlace, weights_in_place
from hardtack_runtime import codebook, sparse
from hardtack_runtime.bundle import pack, unpack
from hardtack_runtime.memory import Needs, Way
from tests.digit_bundles import KEY
from tests.firmware.build import firmware
from tests.firmware.qemu import BOARDS, Machine

DENSITIES = (5, 10, 20, 30, 50)
"""Percent of weights that are not 0."""
WIDTHS = (1, 2, 4)
"""Bits of an index of packed weights."""
NETS = ("lenet5-3072-0", "lenet300-4600-0")
"""Trained and pruned, in benchmarks/models."""
CORES = {
    "cortex-m4": ("mps2-an386", ""),
    "cortex-m3": ("mps2-an385", ""),
    "cortex-m0": ("mps2-an385", "-mcpu=cortex-m0"),
    "cortex-m55": ("mps3-an547", ""),
}
"""Board of each core, and flags: a Cortex-M3 runs what is compiled for a Cortex-M0."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution of a square image, stride 1, padded to the same size."""

    name: str
    size: int
    n_in: int
    n_out: int
    kernel: int

    @property
    def macs(self) -> int:
        """Multiplications with all weights, taps outside the image included."""
        return self.size**2 * self.n_out * self.kernel**2 * self.n_in


LAYERS = (
    Layer("conv_3x3x16", 32, 16, 16, 3),
    Layer("conv_3x3x32", 16, 32, 64, 3),
    Layer("pw_64", 11, 64, 64, 1),
    Layer("pw_128", 6, 128, 128, 1),
    Layer("fc_256_128", 1, 256, 128, 1),
    Layer("fc_128_128", 1, 128, 128, 1),
    Layer("fc_500_10", 1, 500, 10, 1),
)


def measure(report: Report, quick: bool) -> None:
    """Run every layer at every density, here and on boards."""
    include = ROOT / "build" / "sparse_shapes"
    include.mkdir(parents=True, exist_ok=True)
    write_layers(include / "sparse_layers.h")
    source = Path(__file__).with_name("sparse_shapes.c")
    with tempfile.TemporaryDirectory() as folder:
        here = lines_here(source, include, Path(folder) / "shapes", "-O3", "-D_GNU_SOURCE")
    results = {"x86": {name: (line.ticks / 1000, line.crc) for name, line in here.items()}}
    for core, (name, flags) in list(CORES.items())[: 1 if quick else None]:
        board = BOARDS[name]
        image = firmware(name, board.compiler, flags=f"{flags} -I{include}", app=source)
        there = lines_there(board, image)
        scale = CALIBRATION / there["calibration"].ticks
        results[core] = {n: (line.ticks * scale, line.crc) for n, line in there.items()}
        if core in ("cortex-m3", "cortex-m4"):
            for net in NETS[:1] if quick else NETS:
                inference(report, net, name, scale)
    for core, lines in results.items():
        for layer in LAYERS:
            for density in DENSITIES:
                compare(report, core, (layer, "density", density), lines)
            for bits in WIDTHS:
                compare(report, core, (layer, "bits", bits), lines)
            compare(report, core, (layer, "binary", 1), lines)


def inference(report: Report, net: str, name: str, insn_per_tick: float) -> None:
    """Report a trained net with the weights that `auto` places, and with all unpacked."""
    content = unpack((Path(__file__).parent / "models" / f"{net}.htb").read_bytes())
    board = BOARDS[name]
    ways: tuple[tuple[InPlace, str | None], ...] = (("auto", None), ("never", "unpacked"))
    for wanted, peer in ways:
        bundle = pack(
            content.program, content.manifest, key=KEY, golden=content.golden,
            codings=weights_in_place(content.program, board.hardware, wanted),
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            ran = run_once(Machine(board, Path(folder)), bundle)
        if ran is None:
            raise ValueError(f"{name} has no room for {net}")
        where = f"{net}.{board.hardware}"
        report.add(f"{where}.instructions", ran.ticks * insn_per_tick, peer=peer)
        report.add(f"{where}.stack_bytes", ran.stack, peer=peer)
        needs = Needs.of(unpack(bundle))
        report.add(f"{where}.pool_bytes", needs.taken(Way.MEMORY), peer=peer)
        report.add(f"{where}.bundle_bytes", len(bundle), peer=peer)


def compare(
    report: Report, core: str, case: tuple[Layer, str, int], lines: dict[str, tuple[float, int]]
) -> None:
    """Report one layer at one density, or number of bits.

    Raises:
        ValueError: weights used where they lie gave other bits.
    """
    layer, kind, value = case
    key = f"{layer.name}_{kind}{value}"
    (unpacked, expected), (coded, found) = lines[f"{key}_unpacked"], lines[f"{key}_coded"]
    if expected != found:
        raise ValueError(f"{core}: coded weights of {key} give other bits")
    unit = "us" if core == "x86" else "instructions"
    where = f"{layer.name}.{core}.{kind}{value}"
    report.add(f"{where}.{unit}", coded)
    report.add(f"{where}.{unit}", unpacked, peer="unpacked")
    word = {"density": "sparse", "bits": "packed", "binary": "xnor"}[kind]
    report.add(f"{where}.{word}_per_unpacked", coded / unpacked)
    if f"{key}_columns" in lines:
        by_columns, found = lines[f"{key}_columns"]
        if found != expected:
            raise ValueError(f"{core}: columns of {key} give other bits")
        report.add(f"{where}.columns_per_unpacked", by_columns / unpacked)


def write_layers(path: Path) -> None:
    """Write the layers and their weights as C arrays."""
    rng = np.random.default_rng(3)
    arrays: list[str] = []
    rows: list[str] = []
    for layer in LAYERS:
        shape = (layer.n_out, layer.kernel, layer.kernel, layer.n_in)
        codes = rng.laplace(0, 25, shape).clip(-127, 127).round().astype(np.int8)
        codes[codes == 0] = 1
        order = rng.permutation(codes.size).reshape(shape)
        for density in DENSITIES:
            kept = np.where(order < codes.size * density // 100, codes, 0).astype(np.int8)
            if layer.n_out == 1 or (stored := sparse.encode(kept)) is None:
                raise ValueError(f"{layer.name} has no sparse form")
            by_columns = None
            if layer.size == 1:
                by_columns = sparse.encode_columns(kept.reshape(1, 1, layer.n_out, -1), -128)
            add_layer(layer, f"density{density}", (stored, by_columns), arrays, rows)
        for bits in WIDTHS:
            book = rng.permutation(np.arange(-128, 128, dtype=np.int8))[: 1 << bits]
            few = codebook.encode(book[rng.integers(0, len(book), shape)])
            assert few is not None
            add_layer(layer, f"bits{bits}", (few, None), arrays, rows)
        binary = codebook.encode(rng.choice(np.array([-1, 1], np.int8), shape))
        assert binary is not None
        add_layer(layer, "binary1", (binary, None), arrays, rows)
    text = (
        "#include <stdint.h>\n\n"
        "enum { SPARSE, PACKED, BINARY };\n\n"
        "typedef struct layer {\n    const char *name;\n    int form;\n"
        "    int32_t size, n_in, n_out, kernel;\n    const uint8_t *stored, *columns;\n} layer;\n\n"
        + "".join(arrays)
        + "\nstatic const layer layers[] = {\n"
        + "".join(rows)
        + "};\n"
    )
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def add_layer(
    layer: Layer,
    suffix: str,
    stored: tuple[bytes, bytes | None],
    arrays: list[str],
    rows: list[str],
) -> None:
    """Add a layer's weights, by rows and perhaps by columns, and its row of the table, as C."""
    name = f"{layer.name}_{suffix}"
    names = [f"{name}_stored", f"{name}_columns" if stored[1] is not None else "0"]
    for array, data in zip(names, stored, strict=True):
        if data is not None:
            values = ",".join(map(str, data))
            arrays.append(f"static const uint8_t {array}[] = {{{values}}};\n")
    fields = f"{layer.size}, {layer.n_in}, {layer.n_out}, {layer.kernel}"
    form = {"density": "SPARSE", "bits": "PACKED", "binary": "BINARY"}[suffix.rstrip("0123456789")]
    rows.append(f'    {{"{name}", {form}, {fields}, {", ".join(names)}}},\n')


if __name__ == "__main__":
    run("sparse", measure)
