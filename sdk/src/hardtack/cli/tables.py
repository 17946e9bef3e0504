"""Tables of the command line: as wide as the terminal, and whole where there is none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

UNLIMITED = 10_000
"""Columns that no table needs."""


def print_table(table: Table) -> None:
    """Print a table to a terminal's width, or `COLUMNS`; a pipe gets every row on one line.

    No cell is cut, for people copy names of layers: what is too long is folded.
    """
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = UNLIMITED
    for column in table.columns:
        column.overflow = "fold"
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())
