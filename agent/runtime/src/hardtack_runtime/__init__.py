"""The bundle format and the int8 runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def csrc_dir() -> Path:
    """Return the folder with the C runtime's `include` and `src`, for builds of firmware.

    In a working tree (an editable install) that is the tree's own, so that an edit counts at
    once; else the copy inside the installed package.
    """
    from pathlib import Path

    package = Path(__file__).parent
    tree = package.parents[1] / "csrc"
    return tree if (tree.parent / "CMakeLists.txt").is_file() else package / "csrc"
