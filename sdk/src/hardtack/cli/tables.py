"""Tables of the command line: as wide as the terminal, and whole where there is none."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Column, Table

UNLIMITED = 10_000
"""Columns of a terminal that no table needs."""
SHORT = 8
"""Characters of a cell, a number mostly, that is kept in one piece where there is room."""
GAP = 2
"""Blanks between columns."""


def print_table(table: Table) -> None:
    """Print a table to a terminal's width, or `COLUMNS`; a pipe gets every row on one line.

    Names of layers are copied: a cell that is too long is folded and not cut, as far as the width
    has room for all columns.
    """
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked) > 0:
        console.width = int(asked)
    elif not sys.stdout.isatty():
        console.width = UNLIMITED
    _fold(table.columns, console.width)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def _fold(columns: list[Column], width: int) -> None:
    """Let columns fold, those of short cells only where the others would have no room."""
    from rich.cells import cell_len

    wide = [max(cell_len(str(cell)) for cell in (one.header, *one.cells)) for one in columns]
    fits = sum(min(each, SHORT) + GAP for each in wide) - GAP <= width
    for column, each in zip(columns, wide, strict=True):
        column.overflow, column.no_wrap = "fold", fits and each <= SHORT
