"""The command line: one module per verb, imported when the verb is used."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path, readable=False)
"""A file or folder, there or not: who opens it says what is wrong with it, with a code."""
