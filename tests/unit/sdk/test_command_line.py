"""What holds for the options of all verbs."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from hardtack.cli.main import VERBS, cli


def parameters() -> Iterator[tuple[str, click.Parameter]]:
    context = click.Context(cli)
    for verb in VERBS:
        command = cli.get_command(context, verb)
        assert command is not None
        inner = command.commands.values() if isinstance(command, click.Group) else (command,)
        for one in inner:
            yield from ((f"{verb} {found.name}", found) for found in one.params)


BUNDLES = [
    pytest.param(found, id=place)
    for place, found in parameters() if found.name in ("bundle", "bundles", "packed")
]  # fmt: skip


@pytest.mark.parametrize("found", BUNDLES)
def test_who_opens_a_bundle_says_that_it_cannot_be_read(found: click.Parameter) -> None:
    assert isinstance(found.type, click.Path)
    assert not found.type.readable  # click would refuse it, without a code
    assert not found.type.exists


def test_every_verb_that_takes_a_bundle_is_looked_at() -> None:
    assert len(BUNDLES) == 7


def test_the_help_says_which_status_a_full_disk_has() -> None:
    assert "5 device, transport or full disk" in " ".join(str(cli.epilog).split())
