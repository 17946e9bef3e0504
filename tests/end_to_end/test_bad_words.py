"""Mistakes in deploy.toml and on the command line: where, what was met, what to do."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import click
import pytest

from hardtack.cli.main import VERBS, main
from tests.end_to_end.command import HARDTACK, CommandLine, change, written

TARGET = '[[target]]\nname = "pi"\nhardware = "linux"\n'


@pytest.mark.parametrize(
    ("old", "new", "code", "place", "words"),
    [
        pytest.param("normalize", "normalise", "HT103", "14:1", "mean `normalize`?", id="key"),
        pytest.param("[gates]", "[gate]", "HT103", "20:1", "did you mean `gates`?", id="table"),
        pytest.param("max = 256", "most = 256", "HT103", "17:41", "calibrate.most`", id="inline"),
        pytest.param('"classify"', "classify", "HT102", "10:8", "no TOML", id="syntax"),
        pytest.param('"16 KiB"', '"16 kilo"', "HT104", "21:1", "KiB", id="unit"),
        pytest.param('"16 KiB"', "16384", "HT104", "21:1", 'like "48 KiB"', id="no unit"),
        pytest.param('"1.0 %"', '"200 %"', "HT104", "22:1", "'200 %'", id="more than all"),
        pytest.param('"1.0.0"', '"1.0"', "HT104", "6:1", "like 1.0.0", id="release"),
        pytest.param('"digits"', '"My Net"', "HT104", "5:1", "small letters", id="name"),
        pytest.param('"classify"', '"klassify"', "HT104", "10:1", 'mean "classify"?', id="choice"),
        pytest.param("max = 256", 'max = "x"', "HT104", "17:41", "whole number", id="number"),
        pytest.param("std = 6.017", "std = 0", "HT104", "14:29", "cannot be 0", id="divisor"),
        pytest.param("mean = 4.884", "mean = nan", "HT104", "14:15", "NaN", id="not a number"),
        pytest.param('path = "digits.onnx"\n', "", "HT104", "8:1", "`model.path` is", id="missing"),
        pytest.param("[[target]]", TARGET + "[[target]]", "HT104", "24:1", "same name", id="twice"),
        pytest.param('"linux"', '"linux-on-a-large-board"', "HT104", "26:1", "15 char", id="long"),
        pytest.param(
            'evaluate = { path = "test.npz", x = "x", y = "y" }', "", "HT104", "22:1",
            "nothing to measure accuracy on", id="a gate without samples",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_the_deployment_is_located(
    cli: CommandLine, project: Path, old: str, new: str, code: str, place: str, words: str
) -> None:
    change(project, old, new)
    message = cli.run("convert").refused(code, 2)
    assert f"deploy.toml:{place}\n" in message
    assert words in message
    assert written(project) == []


def test_a_deployment_that_is_not_there_is_asked_for(cli: CommandLine, project: Path) -> None:
    (project / "deploy.toml").unlink()
    assert "hardtack init" in cli.run("convert").refused("HT101", 2)
    assert "x.toml" in cli.run("convert", "--config", "x.toml").refused("HT101", 2)
    assert "UTF-8" in cli.run("convert", "--config", "test.npz").refused("HT102", 2)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        pytest.param(("konvert",), "Did you mean 'convert'?", id="verb"),
        pytest.param(("frobnicate",), "No such verb 'frobnicate'.", id="no such verb"),
        pytest.param(("convert", "--jsn"), "Did you mean '--json'?", id="option"),
        pytest.param(("push",), "Missing argument 'BUNDLE'", id="missing argument"),
        pytest.param(("serve", "--port", "many"), "'many' is not a valid integer", id="number"),
        pytest.param(("demo", "--devices", "0"), "0 is not in the range", id="range"),
    ],
)
def test_a_wrong_word_ends_with_status_2_and_a_hint(
    baked: CommandLine, words: tuple[str, ...], hint: str
) -> None:
    ran = baked.run(*words)
    assert (ran.status, ran.out) == (2, "")
    assert hint in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        pytest.param(("help", "HT999"), "no such code", id="unknown code"),
        pytest.param(("help", "me"), "`hardtack help` lists them", id="no code"),
        pytest.param(("keys", "new", ""), "no name for a key", id="empty key name"),
        pytest.param(("keys", "new", "a b"), "no name for a key", id="key name"),
        pytest.param(("watch", "--since", "5"), "the unit must be", id="time without unit"),
        pytest.param(("agent", "Bad Name!"), "a-z", id="device name"),
        pytest.param(("agent", "a", "--broker", "ftp://x"), "mqtt://", id="broker address"),
        pytest.param(("agent", "a", "--hardware", "A"), "hardware", id="hardware"),
        pytest.param(("devices", "--tenant", "a/#"), "part of a topic", id="tenant"),
    ],
)
def test_a_wrong_value_on_the_command_line_is_explained(
    baked: CommandLine, words: tuple[str, ...], hint: str
) -> None:
    assert hint in baked.run(*words).refused("HT104", 2)


@pytest.mark.parametrize(
    ("words", "code", "status", "hint"),
    [
        pytest.param(("--state-dir", "test.npz"), "HT612", 5, "test.npz", id="state is a file"),
        pytest.param(("--state-dir", "x" * 120), "HT609", 5, "107 bytes", id="path too long"),
        pytest.param(("--keys", "nowhere"), "HT704", 6, "nowhere", id="no folder of keys"),
        pytest.param(("--keys", "."), "HT704", 6, "every bundle would be refused", id="no keys"),
    ],
)
def test_an_agent_that_could_do_nothing_does_not_start(
    cli: CommandLine, words: tuple[str, ...], code: str, status: int, hint: str
) -> None:
    assert hint in cli.run("agent", "pi-1", *words).refused(code, status)


def test_a_store_that_is_no_database_is_named(baked: CommandLine) -> None:
    for verb in ("devices", "watch"):
        assert "digits.onnx" in baked.run(verb, "--store", "digits.onnx").refused("HT614", 5)


def test_init_quotes_the_path_of_the_model(cli: CommandLine, project: Path) -> None:
    (project / 'a "b".onnx').write_bytes((project / "digits.onnx").read_bytes())
    cli.works("init", 'a "b".onnx', "--force")
    assert "int8 kernel" in cli.works("check").out
    assert "neither ONNX" in cli.run("init", "deploy.toml").refused("HT203", 3)


def test_a_reader_that_has_gone_is_no_fault(cli: CommandLine) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        ran = subprocess.run(
            [HARDTACK, "help"], stdout=nobody, stderr=subprocess.PIPE, env=cli.environment,
            check=False,
        )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_a_terminal_without_unicode_gets_escapes(cli: CommandLine, project: Path) -> None:
    (project / "modèle.htb").write_bytes(b"")
    cli.environment |= {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert "mod" in cli.run("verify", "modèle.htb").refused("HT211", 3)


def test_a_pipe_is_no_model(cli: CommandLine, project: Path) -> None:
    os.mkfifo(project / "pipe")
    assert "is a pipe" in cli.run("check", "pipe").refused("HT201", 3)
    assert "is a pipe" in cli.run("verify", "pipe").refused("HT211", 3)


def test_what_nobody_foresaw_is_reported_with_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    @click.command("oops")
    def oops() -> None:
        raise ZeroDivisionError("by the pound")

    monkeypatch.setitem(VERBS, "oops", "a verb with a fault")
    monkeypatch.setitem(sys.modules, "hardtack.cli.oops", types.SimpleNamespace(command=oops))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as end:
        main(["oops"])
    (report,) = tmp_path.iterdir()
    err = capsys.readouterr().err
    assert (end.value.code, err.splitlines()[0]) == (
        1, "error[HT901]: ZeroDivisionError: by the pound",
    )  # fmt: skip
    assert str(report) in err
    assert "Traceback" in report.read_text()
    assert "Traceback" not in err


def test_a_refused_agent_leaves_no_folder(cli: CommandLine) -> None:
    cli.run("agent", "Bad Name!").refused("HT104", 2)
    assert not (cli.home / "data").exists()
