"""What the C runtime asks of a processor is asked when it is compiled."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from hardtack_runtime import csrc_dir

CSRC = csrc_dir()
GCC = "arm-none-eabi-gcc"
M4 = ("-mcpu=cortex-m4", "-mthumb", "-O2")
KERNEL, HUFFMAN = "kernels/ht_conv_2d_s8.c", "ht_huffman_dense.c"


def compiled(source: str, *flags: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(GCC) is None:
        pytest.skip(f"no {GCC}")
    includes = (f"-I{CSRC / 'include'}", f"-I{CSRC / 'src'}")
    words = [GCC, "-std=c99", *M4, *includes, *flags, str(CSRC / "src" / source), "-o", "-"]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("source", "flag", "said"),
    [
        pytest.param(HUFFMAN, "-mbig-endian", "needs a little-endian processor", id="big endian"),
        pytest.param(KERNEL, "-DHT_WINDOW_TAPS=24", "a_window_is_whole_vectors", id="odd window"),
        pytest.param(KERNEL, "-DHT_WINDOW_TAPS=512", "a_second_window_is_in_reach", id="too wide"),
    ],
)
def test_what_would_compute_other_bits_does_not_compile(source: str, flag: str, said: str) -> None:
    assert compiled(source, "-fsyntax-only").stderr == ""
    assert said in compiled(source, "-fsyntax-only", flag).stderr


def test_assembly_that_loads_unaligned_is_left_out_where_that_faults() -> None:
    assert "smlad" in compiled(KERNEL, "-S").stdout
    aligned = compiled(KERNEL, "-S", "-mno-unaligned-access")
    assert aligned.returncode == 0
    assert "smlad" not in aligned.stdout
