"""[[compress]] on the command line: measured, shown, refused."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import termios
from pathlib import Path

import click

from tests.end_to_end.command import HARDTACK, CommandLine, change, written

PRUNE = '\n[[compress]]\npass = "prune"\nsparsity = "10 %"\n'


def ask(project: Path, text: str) -> None:
    path = project / "deploy.toml"
    path.write_text(path.read_text() + text)


def test_a_pruned_model_is_smaller_and_the_table_says_so(cli: CommandLine, project: Path) -> None:
    plain = cli.works("convert", "--json").document
    ask(project, PRUNE)
    document = cli.works("convert", "--json").document
    (row,) = document["compress"]
    sizes = [d["bundles"][0]["bytes"] for d in (plain, document)]
    assert [row["bytes"]["before"], row["bytes"]["after"]] == sizes
    accuracies = [d["accuracy"]["int8"] for d in (plain, document)]
    assert [row["accuracy"]["before"], row["accuracy"]["after"]] == accuracies
    assert plain["compress"] == []
    assert document["accuracy"]["float"] == plain["accuracy"]["float"]
    out = cli.works("convert").out
    assert f"{sizes[0]:,} -> {sizes[1]:,}" in out
    assert "10.0 % of 6,032 weights are zero" in out


def test_a_pass_beyond_the_gate_is_skipped(cli: CommandLine, project: Path) -> None:
    plain = cli.works("convert", "--json").document["bundles"]
    ask(project, PRUNE.replace("10 %", "97 %"))
    assert "skipped: it costs" in cli.works("convert").out
    assert cli.works("convert", "--json").document["bundles"] == plain


def test_a_required_pass_beyond_the_gate_is_an_error(cli: CommandLine, project: Path) -> None:
    ask(project, PRUNE.replace("10 %", "97 %") + "required = true\n")
    said = cli.run("convert").refused("HT403", 4)
    assert "[[compress]] 1 (prune)" in said
    assert written(project) == []


def test_a_layer_that_is_not_there_is_an_error(cli: CommandLine, project: Path) -> None:
    ask(project, PRUNE + 'layers = ["nowhere"]\n')
    said = cli.run("convert").refused("HT110", 2)
    assert "[[compress]] 1 (prune), layers" in said
    assert written(project) == []


def test_a_share_without_its_unit_is_told_how_to_be_said(cli: CommandLine, project: Path) -> None:
    ask(project, PRUNE.replace('"10 %"', "80"))
    assert 'say "80 %" or 0.8' in cli.run("convert").refused("HT104", 2)


def test_a_pass_that_does_nothing_says_what_it_met(cli: CommandLine, project: Path) -> None:
    ask(project, PRUNE.replace('"10 %"', "0"))
    out = cli.works("convert").out
    assert "skipped: it changed nothing (0.0 % of 6,032 weights are zero)" in out


OUTLIERS = '\n[[compress]]\npass = "outliers"\nshare = "2 %"\nmax_drop = "5 %"\n'


def test_outliers_get_a_high_byte(cli: CommandLine, project: Path) -> None:
    plain = cli.works("convert", "--json").document
    ask(project, OUTLIERS)
    document = cli.works("convert", "--json").document
    (row,) = document["compress"]
    assert row["bytes"]["after"] > row["bytes"]["before"] == plain["bundles"][0]["bytes"]
    assert document["bundles"][0]["bytes"] == row["bytes"]["after"]
    out = cli.works("convert").out
    assert "layers reach beyond int8" in out


WIDE = '\n[[compress]]\npass = "wide_activations"\nmax_drop = "5 %"\n'


def test_wide_activations_take_memory(cli: CommandLine, project: Path) -> None:
    plain = cli.works("convert", "--json").document["bundles"][0]
    ask(project, WIDE)
    document = cli.works("convert", "--json").document
    (row,), (bundle,) = document["compress"], document["bundles"]
    assert row["skipped"] is None
    assert row["arena"] == {"before": plain["arena_bytes"], "after": bundle["arena_bytes"]}
    assert row["arena"]["after"] > row["arena"]["before"]
    assert "activations in int16" in cli.works("convert").out
    cli.works("verify", bundle["path"])
    shown = cli.works("inspect", bundle["path"], "--json").document["operators"]
    assert "Conv2DS16" in {one["operator"] for one in shown}


def test_weights_are_used_where_they_lie_when_that_is_asked(
    cli: CommandLine, project: Path
) -> None:
    ask(project, PRUNE.replace("10 %", "70 %") + 'max_drop = "100 %"\n')
    text = (project / "deploy.toml").read_text().replace('max_drop = "1.0 %"', "")
    (project / "deploy.toml").write_text(text)
    bundle = cli.works("convert", "--json").document["bundles"][0]
    (project / "deploy.toml").write_text(
        text.replace('hardware = "linux"', 'hardware = "linux"\nin_place = "always"')
    )
    sparse = cli.works("convert", "--json").document["bundles"][0]
    assert sparse["unpacked_bytes"] < bundle["unpacked_bytes"]
    shown = cli.works("inspect", sparse["path"], "--json").document["operators"]
    assert "sparse" in {row["weights"] for row in shown}
    assert "sparse" in cli.works("inspect", sparse["path"]).out


def test_a_wrong_place_for_weights_is_an_error(cli: CommandLine, project: Path) -> None:
    text = (project / "deploy.toml").read_text()
    (project / "deploy.toml").write_text(
        text.replace('hardware = "linux"', 'hardware = "linux"\nin_place = "sometimes"')
    )
    assert "in_place" in cli.run("convert").refused("HT104", 2)
    assert written(project) == []


def on_terminal(cli: CommandLine, columns: int, *words: str) -> list[str]:
    """Return the lines that a command shows on a terminal of that width."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, columns))
    process = subprocess.Popen(
        [str(HARDTACK), *words], cwd=cli.here, env=cli.environment | {"TERM": "xterm"},
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: nobody writes any more
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    assert process.wait(20) == 0
    return click.unstyle(shown.decode()).splitlines()


def test_tables_are_as_wide_as_the_terminal_and_whole_in_a_pipe(
    cli: CommandLine, project: Path
) -> None:
    ask(project, PRUNE.replace("10 %", "97 %"))
    told = cli.works("convert", "--layers").out.splitlines()
    (row,) = (line for line in told if line.startswith("prune "))
    assert row.rstrip() == row
    assert len(row) > 100
    reason = row[row.index("skipped: ") :]
    shown = on_terminal(cli, 60, "convert", "--layers")
    first = next(at for at, line in enumerate(shown) if line.startswith("compress "))
    last = next(at for at, line in enumerate(shown) if line.startswith("accuracy "))
    assert max(map(len, shown[first:last])) <= 60
    words = set(" ".join(shown[first:last]).split())
    assert set(reason.split()) <= words
    cli.environment["COLUMNS"] = "50"
    bundle = next((project / "dist").glob("*.htb"))
    shown = cli.works("inspect", bundle).out.splitlines()
    first = next(at for at, line in enumerate(shown) if line.startswith("operator "))
    assert max(map(len, shown[first:])) <= 50


LOW_BIT = '\n[[compress]]\npass = "low_bit"\nbits = 4\n'


def test_four_bits_are_packed_where_nothing_is_to_be_unpacked(
    cli: CommandLine, project: Path
) -> None:
    path = project / "deploy.toml"
    text = path.read_text() + LOW_BIT
    path.write_text(text)
    plain = cli.works("convert", "--json").document
    assert plain["compress"][0]["skipped"] is None
    assert [row["bits"] for row in plain["layers"] if row["macs"]] == [4, 4, 4]
    path.write_text(text.replace('hardware = "linux"', 'hardware = "linux"\nin_place = "always"'))
    document = cli.works("convert", "--json").document
    packed, unpacked = document["bundles"][0], plain["bundles"][0]
    shown = cli.works("inspect", packed["path"], "--json").document["operators"]
    assert "packed" in {row["weights"] for row in shown}
    assert packed["unpacked_bytes"] < unpacked["unpacked_bytes"] / 4
    assert document["accuracy"] == plain["accuracy"]
    cli.works("verify", packed["path"])


def test_multipliers_of_few_bits_make_the_bundle_smaller(cli: CommandLine, project: Path) -> None:
    path = project / "deploy.toml"
    before = cli.works("convert", "--json").document
    path.write_text(path.read_text() + "\n[quantize]\nmultiplier_bits = 16\n")
    after = cli.works("convert", "--json").document
    assert after["bundles"][0]["bytes"] < before["bundles"][0]["bytes"]
    assert after["accuracy"]["int8"] >= before["accuracy"]["int8"] - 0.005


def test_a_size_that_few_bits_do_not_come_to_is_an_error(cli: CommandLine, project: Path) -> None:
    ask(project, '\n[[compress]]\npass = "mixed_precision"\nsize = "1 KiB"\n')
    said = cli.run("convert").refused("HT104", 2)
    assert "(mixed_precision), size" in said
    assert "ask for no less than" in said
    assert written(project) == []


def test_a_percentage_without_its_unit_is_no_limit(cli: CommandLine, project: Path) -> None:
    ask(project, PRUNE + "max_drop = 1\n")
    assert 'say "1 %"' in cli.run("convert").refused("HT104", 2)


def test_passes_that_nobody_judges_are_told_of(cli: CommandLine, project: Path) -> None:
    ask(project, PRUNE)
    change(project, 'evaluate = { path = "test.npz", x = "x", y = "y" }', "")
    change(project, 'max_drop = "1.0 %"', "")
    assert "[data] evaluate is missing" in cli.works("convert").out
