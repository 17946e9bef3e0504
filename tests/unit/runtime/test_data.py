"""How constants lie in DATA, and that both readers hold them to it (SPEC sections 1.5, 1.7)."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from hardtack_runtime import program as p
from hardtack_runtime.bundle import PAYLOAD_OFFSET, pack, unpack
from hardtack_runtime.errors import BundleError
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.packing import Coding
from hardtack_runtime.sections import Layout
from tests.golden.make import Builder, manifest_for


def _dense(inputs: int, outputs: int) -> p.Program:
    b = Builder(7)
    x, y = b.place(1, 1, 1, inputs), b.place(1, 1, 1, outputs)
    weights = b.weights(outputs, inputs)
    stage = b.requantise(outputs, zero=-128, of=weights)
    b.ops.append(p.FullyConnected(x, weights, *stage, y, 0, -128, 127))
    return b.program(x, y)


def _section(data: bytes, wanted: int) -> tuple[int, int]:
    """Return where a section begins, and its size."""
    sizes = struct.unpack_from("<6I", data, PAYLOAD_OFFSET)
    at = PAYLOAD_OFFSET + 24 + sum(-(-size // 4) * 4 for size in sizes[:wanted])
    return at, sizes[wanted]


def test_streams_have_short_lengths_and_no_padding() -> None:
    program = _dense(300, 20)
    content = unpack(pack(program, manifest_for(program), key=None))
    coded = [one.size for one in content.stored if one.coding != Coding.RAW]
    raw = [one.size for one in content.stored if one.coding == Coding.RAW]
    aligned = sum(-(-size // 4) * 4 for size in raw if size >= 4)
    assert len(coded) >= 2
    assert content.sections["DATA"] == aligned + sum(size for size in raw if size < 4) + sum(
        2 + size for size in coded
    )


def test_lengths_are_wide_where_a_table_s_offsets_are() -> None:
    program = _dense(4096, 32)
    data = pack(program, manifest_for(program), key=None)
    content = unpack(data)
    table, _ = _section(data, 2)
    assert content.sections["DATA"] > 65535
    assert data[table + 2] & 4
    for found, wanted in zip(content.program.tensors, program.tensors, strict=True):
        assert np.array_equal(np.asarray(found.data), np.asarray(wanted.data))
    x = np.random.default_rng(3).integers(-128, 128, (1, 1, 1, 4096)).astype(np.int8)
    raw = dict.fromkeys(range(len(program.tensors)), Coding.RAW)
    plain = pack(program, manifest_for(program), key=None, codings=raw)
    assert np.array_equal(Interpreter(data).run(x)[0], Interpreter(plain).run(x)[0])


@pytest.mark.parametrize("wrong", ["off its word", "behind DATA", "a length behind DATA"])
def test_a_constant_out_of_its_place_is_refused_by_both_readers(wrong: str) -> None:
    program = _dense(300, 20)
    data = bytearray(pack(program, manifest_for(program), key=None))
    table, size = _section(bytes(data), 2)
    (_, data_size) = _section(bytes(data), 4)
    row = Layout(data[table + 2]).row
    for at in range(table + 4, table + size, row.size):
        fields = row.unpack_from(data, at)
        coding, offset = fields[0] >> 4, fields[-1]
        wanted = coding == Coding.RAW if wrong == "off its word" else coding > Coding.RAW
        if wanted and fields[-2] > 1:
            moved = {"off its word": offset + 2, "behind DATA": data_size + 1}
            row.pack_into(data, at, *fields[:-1], moved.get(wrong, data_size - 1))
    for read in (unpack, Interpreter):
        with pytest.raises(BundleError) as caught:
            read(bytes(data))
        assert caught.value.code == "HT212"
