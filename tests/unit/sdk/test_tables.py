"""Tables are as wide as the terminal, and whole where there is none."""

from __future__ import annotations

import pytest
from rich.table import Table

from hardtack.cli.tables import print_table

NAME = "model/" + "/".join(f"block_{index}/depthwise" for index in range(20))


def long_table() -> Table:
    table = Table("layer", "bytes", "", box=None, pad_edge=False)
    table.add_row(NAME, "1,234 -> 567", "skipped: it costs 12.34 points of accuracy")
    table.add_row("fc", "1 -> 1", "")
    return table


def test_a_pipe_gets_whole_rows_without_blanks_behind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table(long_table())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].split(maxsplit=4) == [
        NAME, "1,234", "->", "567", "skipped: it costs 12.34 points of accuracy",
    ]  # fmt: skip
    assert lines == [line.rstrip() for line in lines]


@pytest.mark.parametrize(("columns", "whole"), [(80, True), (76, True), (40, False)])
def test_numbers_are_folded_only_where_nothing_else_is_left_to_fold(
    columns: int, whole: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    numbers = [f"{90 - index}.25" for index in range(8)]
    table = Table("layer", "weights", *("" for _ in numbers), box=None, pad_edge=False)
    table.add_row(NAME, "123,456", *numbers)
    print_table(table)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert (lines[1].split()[1:] == ["123,456", *numbers]) == whole


def test_a_narrow_terminal_gets_all_of_a_name_in_pieces(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    print_table(long_table())
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    pieces = [line.split()[0] for line in lines[1:-1]]
    assert "".join(piece for piece in pieces if piece in NAME) == NAME
    assert lines == [line.rstrip() for line in lines]


@pytest.mark.parametrize("columns", ["0", "wide", ""])
def test_a_width_that_is_none_is_not_asked_for(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("FORCE_COLOR", "1")
    print_table(long_table())
    assert NAME in capsys.readouterr().out


def test_names_are_not_taken_for_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("layer", box=None)
    table.add_row("block:x:conv")
    print_table(table)
    assert "block:x:conv" in capsys.readouterr().out
