"""Codings of int8 weights beside zstd, brotli and NNCodec's coder on the same symbols.

Streams are the weights of real int8 models, a tensor at a time, the same with the smallest nine
tenths of each tensor set to zero, and those of the bundles in `benchmarks/models`: nets that were
pruned, or trained under a limit of bytes. NNCodec (`pip install --no-deps nncodec`, which compiles
its coder) is measured when it is installed, at its best scan order for each tensor.

`dense_huff`, `gap_huff` and `ctx` are of all tensors of a stream coded one way; `huff` is what a
bundle has: each tensor in the Huffman coding, or raw, that is smallest for it, tables shared.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import brotli
import numpy as np
import numpy.typing as npt
import zstandard

from benchmarks.harness import DATA, MODELS, Report, run, time_calls
from hardtack_converters.convert import convert
from hardtack_runtime import context, gap_huff, huffman
from hardtack_runtime.bundle import unpack
from hardtack_runtime.interpreter import huffman_decode_dense, huffman_decode_gap
from hardtack_runtime.packing import entropy_bytes, pack_constants, share_tables
from hardtack_runtime.program import Program

Codes = npt.NDArray[np.int8]
SMALLEST = 300
"""Elements below which a tensor is left out: it would be stored raw."""
SCAN_ORDERS = range(5)
TRAINED_MODELS = Path(__file__).parent / "models"
TRAINED = (
    "lenet300-4600-0", "lenet5-3072-0", "kws-trained", "resnet-trained", "lenet300-30000-0",
    "lenet5-40000-0",
)  # fmt: skip
"""Bundles whose weights are streams; `--quick` takes the first two."""


def measure(report: Report, quick: bool) -> None:
    """Code every stream every way."""
    seconds = 0.3 if quick else 3.0
    for name in ("kws", "ad") if quick else ("kws", "resnet", "resnet_large", "vww", "ad"):
        tensors = weights(name)
        one_stream(report, name, tensors, seconds)
        one_stream(report, f"{name}_pruned", [pruned(codes) for codes in tensors], seconds)
    for name in TRAINED[:2] if quick else TRAINED:
        bundle = (TRAINED_MODELS / f"{name}.htb").read_bytes()
        one_stream(report, name.replace("-", "_"), weights_of(unpack(bundle).program), seconds)


def weights(name: str) -> list[Codes]:
    """Return the int8 tensors of a model as it comes."""
    return weights_of(convert(DATA / MODELS[name]).program)


def weights_of(program: Program) -> list[Codes]:
    """Return the int8 tensors of a program, [N, H, W, C] each."""
    constants = [t.data for t in program.tensors if t.data is not None]
    return [c for c in constants if c.dtype == np.int8 and c.size >= SMALLEST]


def pruned(codes: Codes) -> Codes:
    """Return the tensor with its smallest nine tenths at zero."""
    order = np.argsort(np.abs(codes.astype(np.int16)), axis=None, kind="stable")
    kept = codes.copy().reshape(-1)
    kept[order[: codes.size * 9 // 10]] = 0
    return kept.reshape(codes.shape)


def one_stream(report: Report, name: str, tensors: list[Codes], seconds: float) -> None:
    """Report bytes by coding and rival, and how fast the largest tensor is decoded."""
    report.add(f"{name}.raw_bytes", sum(codes.size for codes in tensors))
    report.add(f"{name}.entropy_bytes", sum(map(entropy_bytes, tensors)))
    for coding, sizes in our_sizes(tensors).items():
        report.add(f"{name}.{coding}_bytes", sizes)
    for rival, encode in rivals():
        size = sum(encode(codes) for codes in tensors)
        for coding in ("gap_huff", "huff", "ctx"):
            report.add(f"{name}.{coding}_bytes", size, rival)
    largest = max(tensors, key=lambda codes: codes.size)
    squeezed = zstandard.compress(largest.tobytes(), 3)
    calls = decoders(largest)
    calls["zstd_3"] = lambda: zstandard.ZstdDecompressor().decompress(squeezed)
    times = time_calls(calls, seconds)
    theirs = times.pop("zstd_3")
    for coding, micros in times.items():
        report.add(f"{name}.{coding}_mb_s", [largest.size / us for us in micros])
    report.add(f"{name}.dense_huff_mb_s", [largest.size / us for us in theirs], "zstd_3")


def our_sizes(tensors: list[Codes]) -> dict[str, int]:
    """Return bytes by coding, code tables included: tensors of one bundle may share tables."""
    sizes = {"dense_huff": 0, "ctx": 0}
    for codes in tensors:
        sizes["dense_huff"] += sum(map(len, dense(codes)))
        sizes["ctx"] += len(context.encode(codes) or codes.tobytes())
    packed = pack_constants(list(tensors))
    tables = sum(len(table.encode()) for table in packed.tables)
    stored = sum(len(one.data) for one in packed.constants)
    return sizes | {"gap_huff": gaps_size(tensors), "huff": tables + stored}


def gaps_size(tensors: list[Codes]) -> int:
    """Return the bytes of gap-huff with tables that tensors share where that saves bytes."""
    tables: list[list[huffman.Table]] = [[] for _ in tensors]
    size = 0
    for kind in zip(*map(gap_huff.histograms, tensors), strict=True):
        for table, members in share_tables(list(kind)):
            size += len(table.encode())
            for member in members:
                tables[member].append(table)
    stored = (gap_huff.encode(c, *pair) for c, pair in zip(tensors, tables, strict=True))
    return size + sum(map(len, stored))


def dense(codes: Codes) -> tuple[bytes, bytes]:
    """Return the code table and the stream."""
    flat = codes.reshape(-1)
    table = huffman.build_table(np.bincount(flat.astype(np.int64) + 128, minlength=256))
    return table.encode(), huffman.encode_dense(flat, table)


def gaps(codes: Codes) -> tuple[bytes, bytes, bytes]:
    """Return the tables of gaps and values, and the stream."""
    gap_table, value_table = gap_huff.build_tables(codes)
    stored = gap_huff.encode(codes, gap_table, value_table)
    return gap_table.encode(), value_table.encode(), stored


def decoders(codes: Codes) -> dict[str, Callable[[], object]]:
    """Return what decodes this tensor, by coding."""
    table, stored = dense(codes)
    gap_table, value_table, gap_stream = gaps(codes)
    stream = context.encode(codes)
    size = codes.size
    found: dict[str, Callable[[], object]] = {
        "dense_huff": lambda: huffman_decode_dense(stored, size, table),
        "gap_huff": lambda: huffman_decode_gap(gap_stream, size, gap_table, value_table),
    }
    if stream is not None:
        n, h, w, c = codes.shape
        found["ctx"] = lambda: context.decode(stream, (n, h, w, c))
    return found


def rivals() -> Iterator[tuple[str, Callable[[Codes], int]]]:
    """Give each rival that is installed, as a function from codes to bytes."""
    yield "zstd_19", lambda codes: len(zstandard.compress(codes.tobytes(), 19))
    yield "brotli_11", lambda codes: len(brotli.compress(codes.tobytes(), quality=11))
    coder = _nncodec()
    if coder is not None:
        yield "nncodec", lambda codes: min(_nncodec_size(coder, codes, o) for o in SCAN_ORDERS)


def _nncodec() -> Any:
    """Load NNCodec's coder alone: the package around it wants torchvision and OpenCV."""
    try:
        files = metadata.files("nncodec") or []
    except metadata.PackageNotFoundError:
        return None
    paths = [f.locate() for f in files if "deepCABAC" in f.name and f.name.endswith(".so")]
    spec = importlib.util.spec_from_file_location("deepCABAC", str(paths[0])) if paths else None
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _nncodec_size(coder: Any, codes: Codes, scan_order: int) -> int:
    """Return the bytes of a tensor, rows of zeros skipped, its statistics tuned to the tensor."""
    n, h, w, _ = codes.shape
    table = np.ascontiguousarray(codes.reshape(n if n > 1 else h * w, -1), np.int32)
    empty = np.array([not row.any() for row in table], np.int32)
    sizes = []
    for tuned in (0, 1):
        encoder = coder.Encoder()
        encoder.initCtxModels(11, tuned)
        off = (coder.HdspMode.AlwaysOff, np.zeros(2, np.int8))
        encoder.encodeLayer(table, 0, scan_order, 1, 0, 1, empty, *off, 0, 0)
        sizes.append(len(encoder.finish()))
    return min(sizes)


if __name__ == "__main__":
    run("coders", measure)
