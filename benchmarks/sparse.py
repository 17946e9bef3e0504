"""Layers with sparse weights used where they lie against the same unpacked, by density.

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
from hardtack_runtime import sparse
from tests.firmware.build import firmware
from tests.firmware.qemu import BOARDS

DENSITIES = (5, 10, 20, 30, 50)
"""Percent of weights that are not 0."""
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
    for name in CORES[1:2] if quick else CORES:
        board = BOARDS[name]
        there = lines_there(board, firmware(name, board.compiler, flags=f"-I{include}", app=source))
        scale = CALIBRATION / there["calibration"].ticks
        results[board.hardware] = {n: (line.ticks * scale, line.crc) for n, line in there.items()}
    for core, lines in results.items():
        for layer in LAYERS:
            for density in DENSITIES:
                compare(report, core, layer, density, lines)


def compare(
    report: Report, core: str, layer: Layer, density: int, lines: dict[str, tuple[float, int]]
) -> None:
    """Report one layer at one density.

    Raises:
        ValueError: sparse weights gave other bits.
    """
    key = f"{layer.name}_{density}"
    (unpacked, expected), (coded, found) = lines[f"{key}_unpacked"], lines[f"{key}_sparse"]
    if expected != found:
        raise ValueError(f"{core}: sparse weights of {key} give other bits")
    unit = "us" if core == "x86" else "instructions"
    where = f"{layer.name}.{core}.density{density}"
    report.add(f"{where}.{unit}", coded)
    report.add(f"{where}.{unit}", unpacked, peer="unpacked")
    report.add(f"{where}.sparse_per_unpacked", coded / unpacked)
    if f"{key}_columns" in lines:
        by_columns, found = lines[f"{key}_columns"]
        if found != expected:
            raise ValueError(f"{core}: columns of {key} give other bits")
        report.add(f"{where}.columns_per_unpacked", by_columns / unpacked)


def write_layers(path: Path) -> None:
    """Write the layers and their weights as C arrays."""
    rng = np.random.default_rng(3)
    arrays, rows = [], []
    for layer in LAYERS:
        shape = (layer.n_out, layer.kernel, layer.kernel, layer.n_in)
        codes = rng.laplace(0, 25, shape).clip(-127, 127).round().astype(np.int8)
        codes[codes == 0] = 1
        order = rng.permutation(codes.size).reshape(shape)
        for density in DENSITIES:
            kept = np.where(order < codes.size * density // 100, codes, 0).astype(np.int8)
            if layer.n_out == 1 or (stored := sparse.encode(kept)) is None:
                raise ValueError(f"{layer.name} has no sparse form")
            name = f"{layer.name}_{density}"
            values = ",".join(map(str, stored))
            arrays.append(f"static const uint8_t {name}_stored[] = {{{values}}};\n")
            fields = f"{layer.size}, {layer.n_in}, {layer.n_out}, {layer.kernel}, {name}_stored"
            columns = "0"
            if layer.size == 1:
                columns = f"{name}_columns"
                by_columns = sparse.encode_columns(kept.reshape(1, 1, layer.n_out, -1), -128)
                values = ",".join(map(str, by_columns or b""))
                arrays.append(f"static const uint8_t {columns}[] = {{{values}}};\n")
            rows.append(f'    {{"{name}", {fields}, {columns}}},\n')
    text = (
        "#include <stdint.h>\n\n"
        "typedef struct layer {\n    const char *name;\n    int32_t size, n_in, n_out, kernel;\n"
        "    const uint8_t *stored, *columns;\n} layer;\n\n"
        + "".join(arrays)
        + "\nstatic const layer layers[] = {\n"
        + "".join(rows)
        + "};\n"
    )
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


if __name__ == "__main__":
    run("sparse", measure)
