"""`hardtack help HTnnn`: the page of an error code."""

from __future__ import annotations

import difflib
from importlib import resources

import click

from hardtack_runtime.errors import ConfigError


def page_names() -> list[str]:
    """Return the codes that have a page, in order."""
    folder = resources.files("hardtack") / "pages"
    return sorted(entry.name[:-3] for entry in folder.iterdir() if entry.name.endswith(".md"))


@click.command("help")
@click.argument("code", required=False)
def command(code: str | None) -> None:
    """Explain an error code, or list them all."""
    pages = resources.files("hardtack") / "pages"
    names = page_names()
    if code is None:
        for name in names:
            title = (pages / f"{name}.md").read_text(encoding="utf-8").split("\n")[0]
            click.echo(title.removeprefix("# "))
        return
    if code.upper() not in names:
        close = difflib.get_close_matches(code.upper(), names, 3, 0.5)
        todo = f"near: {', '.join(close)}" if close else "`hardtack help` lists them"
        raise ConfigError("HT104", code, "there is no such code", todo)
    click.echo((pages / f"{code.upper()}.md").read_text(encoding="utf-8").rstrip())
