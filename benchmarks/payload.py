"""Packed .onnx and .tflite files beside zstd and brotli, at their best, on the same files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import brotli
import zstandard

from benchmarks.harness import DATA, Report, run, time_call
from hardtack_converters.importers.source import Source
from hardtack_converters.importers.spans import tensor_spans
from hardtack_runtime.payload import pack_payload, unpack_payload
from tests.conformance.models.nets import lenet5, lenet300

QUICK = ("kws_ref_model", "kws_ref_model_float32", "hello_world_int8")


def measure(report: Report, quick: bool) -> None:
    """Pack every model of the data, restore it, and report the bytes and the speed of restoring."""
    for name, data in models():
        if quick and name not in QUICK:
            continue
        packed = pack_payload(data, tensor_spans(Source(data, name)))
        if unpack_payload(packed) != data:
            raise SystemExit(f"{name} is not restored")
        key = f"{name}.packed_bytes"
        report.add(f"{name}.model_bytes", len(data))
        report.add(key, len(packed))
        report.add(key, len(zstandard.compress(data, 19)), "zstd_19")
        report.add(key, len(brotli.compress(data, quality=11)), "brotli_11")
        micros = time_call(lambda packed=packed: unpack_payload(packed), 1.0)  # type: ignore[misc]
        report.add(f"{name}.unpack_mb_s", [len(data) / us for us in micros])


def models() -> Iterator[tuple[str, bytes]]:
    """Give name and bytes of every .tflite file of the data, and of two nets as ONNX."""
    for path in sorted(Path(DATA).glob("*/*.tflite")):
        yield path.stem, path.read_bytes()
    for name, make in (("lenet5", lenet5), ("lenet300", lenet300)):
        yield f"{name}_onnx", make(DATA / "lenet" / f"{name}.pt").SerializeToString()


if __name__ == "__main__":
    run("payload", measure)
