"""Weights with a high byte for a share of them against plain int8: noise and bytes.

Noise is that of the weights alone, of real float nets, their batch normalisation folded: squared
error by squared weights, layer by layer, weighted by size. Layers that cannot have a second plane,
depthwise ones and those with groups, have plain int8 on both sides. Bytes are those of all weights
as a bundle stores them, code tables included.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from benchmarks.harness import DATA, Report, run
from hardtack_converters.compress.layers import weighted_layers
from hardtack_converters.compress.outliers import can_split
from hardtack_converters.importers import import_model, read_source
from hardtack_converters.lower.matrix import Filter
from hardtack_converters.passes import prepare
from hardtack_converters.ranges import outlier_scale, weight_codes, weight_scale, wide_codes
from hardtack_runtime import sparse
from hardtack_runtime.packing import Constant, frame, pack_constants
from tests.conformance.models.nets import lenet5, lenet300

Array = npt.NDArray[np.float32]

NETS = {
    "kws": "kws_ref_model_float32.tflite",
    "vww": "vww_96_float.tflite",
    "ad": "ad01_fp32.tflite",
    "resnet": "pretrainedResnet.tflite",
    "resnet_large": "pretrainedResnet_large_float.tflite",
}
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
    stored = sum(len(frame(one.coding, one.data)) for one in packed.constants)
    return stored + sum(len(table.encode()) for table in packed.tables) + high


if __name__ == "__main__":
    run("outliers", measure)
