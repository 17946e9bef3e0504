"""The table of operators: complete by default, and a firmware's own may leave operators out."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Collection
from pathlib import Path

import pytest

from hardtack_agent.serial_link import Reason
from hardtack_agent.serial_refusal import explain
from hardtack_runtime.operator_table import IN_PLACE, NAMES, XNOR, table_source
from hardtack_runtime.operators import OPS
from hardtack_runtime.packing import Coding
from tests.compiled import CSRC
from tests.golden.make import golden_bundle
from tests.unit.runtime_c.compile import build, compiler

NOT_LINKED = -18
CONV_2D, FULLY_CONNECTED, ADD = 1, 3, 4


def test_every_operator_has_its_name_in_c() -> None:
    assert set(NAMES) == set(OPS)
    header = (CSRC / "include/hardtack/ht_operators.h").read_text()
    declared = re.findall(r"extern const ht_operator_entry ht_operator_(\w+);", header)
    assert declared == list(NAMES.values())
    table = (CSRC / "src/ht_operators.c").read_text()
    assert re.findall(r"&ht_operator_(\w+)", table) == declared
    kernels = table.partition("ht_in_place[")[2].partition("};")[0]
    every = IN_PLACE | {Coding.PACKED: XNOR}
    assert re.findall(r"= &ht_(\w+),", kernels) == list(every.values())
    assert list(IN_PLACE) == [coding for coding in Coding if coding.is_in_place]


def own_table(
    folder: Path, *opcodes: int, codings: Collection[Coding] = (), split: bool = False
) -> Path:
    path = folder / "ht_operators.c"
    path.write_text(table_source(opcodes, codings, split=split))
    return path


def open_golden(library: Path, coding: Coding | None = None) -> tuple[int, int]:
    """Open the bundle that has every operator."""
    return open_bundle(library, golden_bundle(coding=coding))


def open_bundle(library: Path, data: bytes) -> tuple[int, int]:
    """Open a bundle; return status and opcode of the refused operator."""
    c = ctypes.CDLL(str(library))
    c.ht_model_size.restype = ctypes.c_size_t
    model = ctypes.create_string_buffer(c.ht_model_size())
    room = (ctypes.c_uint32 * (len(data) // 4 + 1)).from_buffer_copy(data + bytes(8))
    status = c.ht_model_open(room, ctypes.c_size_t(len(data)), model)
    c.ht_model_failed_opcode.restype = ctypes.c_uint32
    return status, c.ht_model_failed_opcode(model)


def test_an_absent_operator_is_refused_and_named(tmp_path: Path) -> None:
    table = own_table(tmp_path, *(set(NAMES) - {FULLY_CONNECTED}))
    flags = ("-shared", "-fPIC")
    library = build(tmp_path / "some.so", flags=flags, operators=table)
    assert open_golden(library) == (NOT_LINKED, FULLY_CONNECTED)
    assert open_golden(build(tmp_path / "all.so", flags=flags)) == (0, 0)
    error = explain("board", Reason.OPERATOR, FULLY_CONNECTED)
    assert error.code == "HT502"
    assert "fully_connected" in str(error)


def test_an_absent_coding_is_refused_and_the_first_operator_named_that_has_it(
    tmp_path: Path,
) -> None:
    flags = ("-shared", "-fPIC")
    without = build(tmp_path / "no.so", flags=flags, operators=own_table(tmp_path, *NAMES))
    assert open_golden(without) == (0, 0)
    assert open_golden(without, Coding.SPARSE) == (NOT_LINKED, CONV_2D)
    table = own_table(tmp_path, *NAMES, codings={Coding.SPARSE})
    library = build(tmp_path / "sparse.so", flags=flags, operators=table)
    assert open_golden(library, Coding.SPARSE) == (0, 0)


def test_an_opcode_that_does_not_exist_is_no_table_entry(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        table_source([max(NAMES) + 1])


def test_what_the_table_leaves_out_is_not_linked(tmp_path: Path) -> None:
    main = tmp_path / "main.c"
    main.write_text(
        '#include "hardtack/ht_interpreter.h"\n'
        "int main(void) { ht_model model; return (int)ht_model_open(0, 0, &model) + 1; }\n"
    )
    flags = ("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-DHT_PORTABLE")
    program = build(tmp_path / "few", main, flags=flags, operators=own_table(tmp_path, ADD))
    listed = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    linked = set(re.findall(r"T (ht_\w+_s8)\b", listed))
    assert linked == {"ht_add_s8"}
    assert set(re.findall(r"ht_operator_(\w+)\b", listed)) >= {"add"}
    assert "ht_operator_conv_2d" not in listed
    assert subprocess.run([program], check=False).returncode == 0


def test_an_entry_without_its_file_is_a_link_error_that_names_it(tmp_path: Path) -> None:
    table = own_table(tmp_path, *NAMES)
    sources = [
        path
        for path in [*CSRC.glob("src/*.c"), *CSRC.glob("src/kernels/*.c")]
        if path.name not in {"ht_operators.c", "ht_operator_softmax.c"}
    ]
    result = subprocess.run(
        [
            *(compiler(), "-std=c99", "-DHT_PORTABLE", f"-I{CSRC / 'include'}"),
            *(str(CSRC / "tools/ht_run.c"), str(table), *map(str, sources)),
            *("-o", str(tmp_path / "run")),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode != 0
    assert "undefined reference to `ht_operator_softmax'" in result.stderr
