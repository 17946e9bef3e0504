"""Weights with a high byte for a share of them against plain int8: noise, bytes, instructions.

Noise is that of the weights alone, of real float nets, their batch normalisation folded: squared
error by squared weights, layer by layer, weighted by size. Layers that cannot have a second plane,
depthwise ones and those with groups, have plain int8 on both sides; layers that were trained on a
grid of int8, and lose nothing, are left out, as all large ones of keyword spotting. Bytes are those
of all these weights as a bundle stores them, code tables included. Instructions are those of one
layer's inference in QEMU.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.harness import DATA, Report, run
from benchmarks.microcontroller import run_once
from hardtack_converters.compress.layers import weighted_layers
from hardtack_converters.compress.outliers import can_split
from hardtack_converters.importers import import_model, read_source
from hardtack_converters.lower.matrix import Filter
from hardtack_converters.passes import prepare
from hardtack_converters.ranges import (
    grid_step,
    outlier_scale,
    weight_codes,
    weight_scale,
    wide_codes,
)
from hardtack_runtime import sparse
from hardtack_runtime.bundle import pack
from hardtack_runtime.packing import Constant, pack_constants, stored_size
from hardtack_runtime.program import Conv2D, FullyConnected, Program
from tests.conformance.models.nets import lenet5, lenet300
from tests.digit_bundles import KEY
from tests.firmware.qemu import BOARDS, Machine
from tests.golden.make import Builder, manifest_for

Array = npt.NDArray[np.float32]

NETS = {
    "vww": "vww_96_float.tflite",
    "ad": "ad01_fp32.tflite",
    "resnet": "pretrainedResnet.tflite",
    "resnet_large": "pretrainedResnet_large_float.tflite",
}
LAYERS = ("conv_3x3x32", "fc_640_128")
SHARES = {"split05": 0.005, "split2": 0.02}


def measure(report: Report, quick: bool) -> None:
    """Report every net."""
    for name, layers in nets(quick):
        plain = [noise_of(rows, 0.0) for rows, _ in layers]
        sizes = [rows.size for rows, _ in layers]
        before = decibels(plain, sizes)
        report.add(f"{name}.per_channel_sqnr_db", before)
        report.add(f"{name}.per_channel_bytes", stored_bytes(layers, 0.0))
        for split, share in SHARES.items():
            after = decibels([noise_of(rows, share if fits else 0) for rows, fits in layers], sizes)
            report.add(f"{name}.{split}_sqnr_db", after)
            report.add(f"{name}.{split}_sqnr_gain_db", after - before)
            report.add(f"{name}.{split}_bytes", stored_bytes(layers, share))
    for board in ("mps2-an386",) if quick else ("mps2-an386", "mps3-an547"):
        cost(report, board)


def cost(report: Report, name: str) -> None:
    """Report the instructions of layers by the share of their weights that have a high byte."""
    for layer in LAYERS:
        plain = 0
        for key, share in {"plain": 0.0, **SHARES}.items():
            program = layer_program(layer, share)
            bundle = pack(program, manifest_for(program), key=KEY)
            with tempfile.TemporaryDirectory() as folder:
                ran = run_once(Machine(BOARDS[name], Path(folder)), bundle)
            if ran is None:
                raise ValueError(f"{name} has no room for {layer}")
            plain = plain or ran.ticks
            if share:
                where = f"{layer}.{BOARDS[name].hardware}.{key}"
                report.add(f"{where}_instructions_per_plain", ran.ticks / plain)


def layer_program(layer: str, share: float) -> Program:
    """Return a program of one layer."""
    b = Builder(5)
    is_conv = layer == "conv_3x3x32"
    source, shape = ((16, 16, 32), (64, 3, 3, 32)) if is_conv else ((1, 1, 640), (128, 640))
    x, y = b.place(1, *source), b.place(1, *source[:2], shape[0])
    operands = (x, b.weights(*shape), *b.requantise(shape[0]), y)
    high = b.weights(*shape, kept=share) if share else None
    if is_conv:
        b.ops.append(Conv2D(*operands, 1, 1, 1, 1, 1, 1, 0, 0, -128, 127, high))
    else:
        b.ops.append(FullyConnected(*operands, 0, -128, 127, high))
    return b.program(x, y)


def nets(quick: bool) -> Iterator[tuple[str, list[tuple[Array, bool]]]]:
    """Yield names, and of each layer its weights [outputs, inputs] and whether it can split."""
    models = {"lenet300": lenet300, "lenet5": lenet5}
    sources = {
        name: make(DATA / "lenet" / f"{name}.pt").SerializeToString()
        for name, make in models.items()
        if not quick
    }
    files = {name: (DATA / "mlperf_tiny" / file).read_bytes() for name, file in NETS.items()}
    for name, source in (files | sources).items():
        graph = import_model(read_source(source))
        prepare(graph)
        yield (
            name,
            [
                (np.moveaxis(layer.weights, layer.out_axis, 0).reshape(layer.outputs, -1)
                 .astype(np.float32), can_split(layer))
                for layer in weighted_layers(graph)
                if grid_step(layer.weights.astype(np.float32)) is None
            ],
        )  # fmt: skip


def noise_of(rows: Array, share: float) -> float:
    """Return squared error by squared weights."""
    scale = outlier_scale(rows, 0, share) if share else weight_scale(rows, 0)
    codes = wide_codes(rows, scale, 0) if share else weight_codes(rows, scale, 0)
    error = rows - codes.astype(np.float64) * scale[:, None]
    return float((error**2).sum() / (rows.astype(np.float64) ** 2).sum())


def decibels(noises: list[float], sizes: list[int]) -> float:
    """Return the signal-to-noise ratio of all tensors, weighted by their sizes."""
    return float(-10 * np.log10(np.average(noises, weights=sizes)))


def stored_bytes(layers: list[tuple[Array, bool]], share: float) -> int:
    """Return the bytes of all weights in a bundle."""
    planes: list[Constant] = []
    high = 0
    for rows, fits in layers:
        if share and fits:
            scale = outlier_scale(rows, 0, share)
            codes = Filter(wide_codes(rows, scale, 0).astype(np.int64), scale)
            planes.append(codes.low.astype(np.int8).reshape(len(rows), 1, 1, -1))
            high += len(sparse.encode(codes.high.astype(np.int8).reshape(planes[-1].shape)) or b"")
        else:
            plain = weight_codes(rows, weight_scale(rows, 0), 0)
            planes.append(plain.reshape(len(rows), 1, 1, -1))
    packed = pack_constants(planes)
    stored = sum(stored_size(one.coding, one.data) for one in packed.constants)
    return stored + sum(len(table.encode()) for table in packed.tables) + high


if __name__ == "__main__":
    run("outliers", measure)
