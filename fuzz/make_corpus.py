"""Writes the fuzzers' first inputs: `python -m fuzz.make_corpus FOLDER`. Seeded."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np

from hardtack_runtime import gap_huff, huffman
from hardtack_runtime.packing import Coding
from tests.golden.make import (
    GAPS,
    every_op_program,
    gaps_bundle,
    golden_bundle,
    manifest_for,
    packed_bundle,
    split_bundle,
    wide_bundle,
    xnor_bundle,
)


def bundles() -> dict[str, bytes]:
    """Return bundles: one of every operator, with golden vectors and without, and no operator."""
    from hardtack_runtime.bundle import pack
    from hardtack_runtime.program import Port, Program, Tensor

    whole = every_op_program()
    empty = Program((Tensor("x", (1, 1, 1, 5)),), (), (Port(0, 1.0, 0),), (Port(0, 1.0, 0),), 16)
    return {
        "every_op": golden_bundle(),
        "smallest": golden_bundle(smallest=True),
        "between_zeros": gaps_bundle(GAPS["between_zeros"]),
        "split": split_bundle(),
        "wide": wide_bundle(),
        "xnor": xnor_bundle(),
        "sparse": golden_bundle(coding=Coding.SPARSE),
        "packed": packed_bundle(),
        "no_golden": pack(whole, manifest_for(whole), key=None),
        "empty": pack(empty, manifest_for(empty), key=None),
    }


def _counted(table: bytes) -> bytes:
    return bytes((len(table),)) + table


def streams() -> dict[str, bytes]:
    """Return Huffman inputs in the layout of `exercise_huffman`."""
    made = {}
    for count in (1, 50, 5000, 30_000):
        rng = np.random.default_rng(count)
        codes = np.rint(rng.laplace(0, 9, count)).clip(-127, 127).astype(np.int8)
        table = huffman.build_table(np.bincount(codes.astype(np.int64) + 128, minlength=256))
        head = struct.pack("<BH", 0, count - 1)
        dense = huffman.encode_dense(codes, table)
        made[f"dense_{count}"] = head + _counted(table.encode()) + _counted(b"") + dense
        for name, kept in (("gap", 0.2), ("gap_between_zeros", 0.9)):
            sparse = np.where(rng.random(count) < kept, codes, 0).astype(np.int8)
            sparse[count - count // 50 :] = 0
            sparse[0] = 1
            gap_table, table = gap_huff.build_tables(sparse)
            stored = gap_huff.encode(sparse, gap_table, table)
            tables = _counted(table.encode()) + _counted(gap_table.encode())
            made[f"{name}_{count}"] = struct.pack("<BH", 1, count - 1) + tables + stored
    return made


def main(folder: Path) -> None:
    """Write both corpora."""
    for name, seeds in (("bundle", bundles()), ("huffman", streams())):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for seed, data in seeds.items():
            (folder / name / seed).write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
