"""Builds C test programs and libraries from the runtime's own sources."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.compiled import CSRC, runtime_archive

ROOT = Path(__file__).parents[3]
OPERATORS = CSRC / "src" / "ht_operators.c"
SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
WARNINGS = ("-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Wmissing-prototypes", "-Werror")


def compiler(name: str = "") -> str:
    """Return a C compiler, or skip the calling test where there is none."""
    wanted = name or os.environ.get("CC", "cc")
    path = shutil.which(wanted)
    if path is None:
        pytest.skip(f"no {wanted}: install a C compiler")
    return path


def build(
    output: Path,
    *sources: Path,
    flags: tuple[str, ...],
    cc: str = "",
    operators: Path = OPERATORS,
) -> Path:
    """Compile the runtime and more sources into one program or library.

    Args:
        output: The file to write.
        sources: Besides the runtime's.
        flags: Of the compiler.
        cc: The compiler.
        operators: The table of operators.

    Raises:
        AssertionError: the compiler had something to say.
    """
    warned = (*WARNINGS, *flags)
    if sources and operators == OPERATORS:
        runtime = [runtime_archive(warned, compiler(cc))]
    else:
        listed = [*CSRC.glob("src/*.c"), *CSRC.glob("src/kernels/*.c")]
        runtime = sorted([*(path for path in listed if path != OPERATORS), operators])
    command = [
        *(compiler(cc), "-std=c99", *warned),
        *(f"-I{CSRC / 'include'}", f"-I{ROOT / 'fuzz'}"),
        *map(str, (*sources, *runtime)),
        *("-o", str(output)),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return output
