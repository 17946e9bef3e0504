"""Layers with sparse and packed weights used where they lie against the same unpacked.

Instructions on boards in QEMU, as benchmarks.microcontroller counts them, and microseconds here.
`hardtack_converters.placing` takes its thresholds from these figures.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import ROOT, Report, run
from benchmarks.microcontroller import CALIBRATION, lines_here, lines_there
from hardtack_runtime import codebook, sparse
from tests.firmware.build import firmware
from tests.firmware.qemu import BOARDS

DENSITIES = (5, 10, 20, 30, 50)
"""Percent of weights that are not 0."""
WIDTHS = (1, 2, 4)
"""Bits of an index of packed weights."""
CORES = ("mps2-an385", "mps2-an386", "mps3-an547")


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
    Layer("fc_640_128", 1, 640, 128, 1),
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
    for name in CORES[1:2] if quick else CORES:
        board = BOARDS[name]
        there = lines_there(board, firmware(name, board.compiler, flags=f"-I{include}", app=source))
        scale = CALIBRATION / there["calibration"].ticks
        results[board.hardware] = {n: (line.ticks * scale, line.crc) for n, line in there.items()}
    for core, lines in results.items():
        for layer in LAYERS:
            for density in DENSITIES:
                compare(report, core, (layer, "density", density), lines)
            for bits in WIDTHS:
                compare(report, core, (layer, "bits", bits), lines)


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
    word = "sparse" if kind == "density" else "packed"
    report.add(f"{where}.{word}_per_unpacked", coded / unpacked)


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
            add_layer(layer, f"density{density}", stored, arrays, rows)
        for bits in WIDTHS:
            book = rng.permutation(np.arange(-128, 128, dtype=np.int8))[: 1 << bits]
            few = codebook.encode(book[rng.integers(0, len(book), shape)])
            assert few is not None
            add_layer(layer, f"bits{bits}", few, arrays, rows)
    text = (
        "#include <stdint.h>\n\n"
        "typedef struct layer {\n    const char *name;\n    int is_packed;\n"
        "    int32_t size, n_in, n_out, kernel;\n    const uint8_t *stored;\n} layer;\n\n"
        + "".join(arrays)
        + "\nstatic const layer layers[] = {\n"
        + "".join(rows)
        + "};\n"
    )
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def add_layer(layer: Layer, suffix: str, stored: bytes, arrays: list[str], rows: list[str]) -> None:
    """Add a layer's weights and its row of the table, as C."""
    name = f"{layer.name}_{suffix}"
    values = ",".join(map(str, stored))
    arrays.append(f"static const uint8_t {name}_stored[] = {{{values}}};\n")
    fields = f"{layer.size}, {layer.n_in}, {layer.n_out}, {layer.kernel}"
    rows.append(f'    {{"{name}", {int(suffix[0] == "b")}, {fields}, {name}_stored}},\n')


if __name__ == "__main__":
    run("sparse", measure)
