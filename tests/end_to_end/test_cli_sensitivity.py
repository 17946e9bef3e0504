"""`hardtack sensitivity`: table, document and plot."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.command import CommandLine, change, written


def test_the_table_has_a_row_per_layer(cli: CommandLine, project: Path) -> None:
    document = cli.works("sensitivity", "--samples", "100", "--json").document
    assert [layer["weights"] for layer in document["layers"]] == [144, 4608, 1280]
    assert all(
        len(layer["accuracy"]) == len(document["sparsities"]) for layer in document["layers"]
    )
    assert document["samples"] == 100
    name = document["layers"][1]["name"]
    out = cli.works("sensitivity", "--samples", "100", "--layer", name).out
    lines = out.splitlines()
    assert len(lines) == 3
    assert "accuracy in % of 100 samples" in lines[0]
    assert lines[2].split()[:2] == [name, "4,608"]
    assert f"{100 * document['layers'][1]['accuracy'][-1]:.2f}" in lines[2]
    assert written(project) == []


def test_a_plot_is_drawn(cli: CommandLine, project: Path) -> None:
    pytest.importorskip("matplotlib")
    cli.works("sensitivity", "--samples", "20", "--layer", "*", "--plot", "layers.svg")
    drawn = (project / "layers.svg").read_text()
    assert drawn.startswith("<?xml")
    assert written(project) == ["layers.svg"]


def test_a_plot_of_no_known_kind_is_refused(cli: CommandLine, project: Path) -> None:
    said = cli.run("sensitivity", "--plot", "layers.gif").refused("HT104", 2)
    assert "layers.gif is no .png, .svg or .pdf" in said
    assert written(project) == []


def test_more_samples_than_there_are_are_not_claimed(cli: CommandLine, project: Path) -> None:
    change(project, 'y = "y" }', 'y = "y", max = 30 }')
    out = cli.works("sensitivity", "--samples", "100", "--layer", "*Gemm", "--json").document
    assert out["samples"] == 30


def test_a_plot_that_cannot_be_written_is_refused_before_the_work(
    cli: CommandLine, project: Path
) -> None:
    said = cli.run("sensitivity", "--plot", "digits.onnx/layers.svg").refused("HT107", 2)
    assert "digits.onnx" in said
    assert written(project) == []


def test_without_samples_to_judge_by_it_says_so(cli: CommandLine, project: Path) -> None:
    change(project, "max_drop", "# max_drop")
    change(project, "evaluate =", "# evaluate =")
    assert "nothing to measure accuracy on" in cli.run("sensitivity").refused("HT104", 2)
