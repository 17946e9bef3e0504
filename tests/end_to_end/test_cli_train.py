"""`hardtack train` and what `hardtack convert` makes of it, on the demo's digits."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardtack.bake import check_drop
from hardtack.config import Deployment
from hardtack.evaluation import Accuracy
from hardtack.files import only_writer
from hardtack_converters.report import PassRow
from hardtack_runtime.errors import GateError
from tests.end_to_end.command import CommandLine, change, copy_project, written

pytest.importorskip("torch", reason="training needs torch: make .venv/torch")

TABLE = """
[train]
data = { path = "test.npz", x = "x", y = "y" }
size = "3600 B"
epochs = 20
batch = 32
lr = 0.03
"""
BUNDLE = "dist/digits-1.0.0-pi.htb"
CHECKPOINT = "trained.onnx.checkpoint"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    folder = tmp_path_factory.mktemp("trained")
    project = copy_project(folder / "project")
    append(project, TABLE)
    change(project, 'hardware = "linux"', 'hardware = "linux"\npack = "smallest"')
    change(project, 'max_drop = "1.0 %"', "")
    cli = CommandLine(folder, project)
    assert "next: `hardtack convert`" in cli.works("train").out
    yield cli
    cli.stop()


def append(project: Path, text: str) -> None:
    path = project / "deploy.toml"
    path.write_text(path.read_text() + text)


def test_a_trained_model_becomes_a_bundle_of_the_size_asked_for(trained: CommandLine) -> None:
    assert written(trained.here) == ["trained.onnx"]
    document = trained.works("convert", "--json").document
    assert document["bundles"][0]["bytes"] <= 3600
    assert document["accuracy"]["int8"] > 0.95
    trained.works("verify", BUNDLE)


def test_the_same_training_gives_the_same_file_and_tells_machines(trained: CommandLine) -> None:
    before = (trained.here / "trained.onnx").read_bytes()
    document = trained.works("train", "--json").document
    assert (trained.here / "trained.onnx").read_bytes() == before
    assert document["resumed"] is False
    assert [epoch["number"] for epoch in document["epochs"]] == list(range(1, 21))
    assert document["best"]["bytes"] <= 3600


def test_a_killed_training_goes_on_unless_told_not_to(trained: CommandLine, tmp_path: Path) -> None:
    project = shutil.copytree(trained.here, tmp_path / "project")
    before = (project / "trained.onnx").read_bytes()
    cli = CommandLine(tmp_path, project)
    process = cli.start("train")
    while not (project / CHECKPOINT).exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    assert (project / "trained.onnx").read_bytes() == before
    kept = (project / CHECKPOINT).read_bytes()
    assert "went on    with a training that was interrupted" in cli.works("train").out
    assert (project / "trained.onnx").read_bytes() == before
    assert not (project / CHECKPOINT).exists()
    (project / CHECKPOINT).write_bytes(kept)
    change(project, "epochs = 20", "epochs = 1")
    change(project, 'size = "3600 B"', 'size = "30 KB"')
    assert "--restart" in cli.run("train").refused("HT226", 3)
    assert "epoch 1 of 1" in cli.works("train", "--restart").out


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_a_stopped_training_says_how_it_goes_on(
    trained: CommandLine, tmp_path: Path, sent: signal.Signals, status: int
) -> None:
    project = shutil.copytree(trained.here, tmp_path / "project")
    change(project, "epochs = 20", "epochs = 2000")
    # A suite that runs in the background ignores SIGINT, and so does what it starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = CommandLine(tmp_path, project).start("train")
    finally:
        signal.signal(signal.SIGINT, before)
    while not (project / CHECKPOINT).exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(sent)
    assert process.wait(20) == status
    said = (project / "train-0.log").read_text().lstrip()
    assert said == "interrupted\n`hardtack train` goes on after the last finished epoch\n"
    assert not list(project.glob("*.part"))


def test_convert_says_when_the_model_was_not_trained(project: Path, cli: CommandLine) -> None:
    append(project, TABLE)
    assert "run `hardtack train`" in cli.run("convert").refused("HT229", 3)


def test_convert_says_when_the_model_changed_since(trained: CommandLine, tmp_path: Path) -> None:
    project = shutil.copytree(trained.here, tmp_path / "project")
    with (project / "digits.onnx").open("ab") as file:
        file.write(b"\x72\x04\x0a\x00\x12\x00")  # an empty entry of metadata
    assert "run `hardtack train` again" in CommandLine(tmp_path, project).run("convert").refused(
        "HT229", 3
    )


def test_training_that_is_not_asked_for_says_what_to_add(cli: CommandLine) -> None:
    assert "add [train]" in cli.run("train").refused("HT104", 2)


def test_a_size_that_cannot_be_kept_leaves_nothing(project: Path, cli: CommandLine) -> None:
    append(project, TABLE.replace("3600 B", "300 B").replace("epochs = 20", "epochs = 1"))
    assert "kept to 300 bytes" in cli.run("train").refused("HT225", 3)
    assert written(project) == []


def test_one_std_for_each_channel_cannot_be_trained(project: Path, cli: CommandLine) -> None:
    append(project, TABLE)
    change(project, "std = 6.017", "std = [6.017, 5.0]")
    assert "one std for all channels" in cli.run("train").refused("HT104", 2)
    change(project, "std = [6.017, 5.0]", "std = 6.017")
    change(project, 'y = "y" }\nsize', 'y = "labels" }\nsize')
    assert "has no array 'labels'" in cli.run("train").refused("HT221", 3)


def test_assistants_are_trained_first_and_kept_for_the_next_size(
    project: Path, cli: CommandLine
) -> None:
    append(project, TABLE.replace("epochs = 20", "epochs = 3").replace("3600 B", "30 KB"))
    for name in ("large", "larger", "medium"):
        shutil.copy(project / "digits.onnx", project / f"{name}.onnx")
    append(project, 'teacher = 0.5\nteachers = ["large.onnx", "larger.onnx"]\n')
    append(project, 'teacher_weights = [1, 2]\nassistants = ["medium.onnx"]\n')
    assert "assistant  1: epoch" in cli.works("train").out
    assert {"trained.assistant-1.onnx", "trained.onnx"} < set(written(project))
    assert not list(project.glob("*.checkpoint"))
    before = (project / "trained.assistant-1.onnx").read_bytes()
    change(project, 'size = "30 KB"', 'size = "40 KB"')
    document = cli.works("train", "--json").document
    assert document["assistants"] == [None]
    assert not document["resumed"]
    anew = cli.works("train", "--restart", "--json").document
    assert anew["assistants"][0]["number"] <= 3
    assert (project / "trained.assistant-1.onnx").read_bytes() == before


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ('teachers = ["digits.onnx"]', "teachers need `teacher`"),
        ('teacher = 0.5\nassistants = ["digits.onnx"]', "assistants need teachers"),
        (
            'teacher = 0.5\nteachers = ["digits.onnx"]\nteacher_weights = [1, 2]',
            "as many as teachers",
        ),
    ],
    ids=["no share", "no teachers", "weights"],
)
def test_teachers_that_make_no_sense_are_refused(
    project: Path, cli: CommandLine, lines: str, why: str
) -> None:
    append(project, TABLE + lines + "\n")
    assert why in cli.run("train").refused("HT104", 2)


def test_a_teacher_that_is_not_there_is_named(project: Path, cli: CommandLine) -> None:
    append(project, TABLE + 'teacher = 0.5\nteachers = ["absent.onnx"]\n')
    assert "absent.onnx" in cli.run("train").refused("HT201", 3)
    assert written(project) == []


def test_layers_are_factorised_and_share_values_before_they_are_trained(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    table = TABLE.replace('size = "3600 B"\n', "teacher = 0.5\n").replace("20", "6")
    append(project, table + 'compress = [{ pass = "factorise", budget = "60 %" }]\n')
    append(project, "share = { bits = 4 }\n")
    change(project, 'max_drop = "1.0 %"', "")
    cli = CommandLine(tmp_path, project)
    try:
        told = cli.works("train").out
        assert "factorise: " in told
        assert " weights in " in told
        bundle = cli.works("convert", "--json").document
        assert bundle["accuracy"]["int8"] > 0.9
        change(project, 'pass = "factorise", budget = "60 %"', 'pass = "prune", sparsity = "50 %"')
        refused = cli.run("train")
        assert refused.status == 2
        assert 'pattern = "channel"' in refused.err
        change(project, 'pass = "prune", sparsity = "50 %"', 'pass = "share", bits = 3')
        assert cli.run("train").status == 2
    finally:
        cli.stop()


@pytest.mark.parametrize("out", ["digits.onnx", "test.npz", "deploy.toml", "sub/../digits.onnx"])
def test_a_training_does_not_write_over_what_it_reads(
    project: Path, cli: CommandLine, out: str
) -> None:
    append(project, TABLE + f'out = "{out}"\n')
    before = {path: path.read_bytes() for path in project.iterdir() if path.is_file()}
    assert "no new .onnx file" in cli.run("train").refused("HT104", 2)
    assert {path: path.read_bytes() for path in before} == before


def test_a_model_trained_by_another_table_is_not_converted(trained: CommandLine) -> None:
    change(trained.here, "epochs = 20", "epochs = 21")
    try:
        assert "not trained as [train] says now" in trained.run("convert").refused("HT229", 3)
    finally:
        change(trained.here, "epochs = 21", "epochs = 20")
    assert "converted trained.onnx, trained from digits.onnx" in trained.works("convert").out


def test_a_bundle_larger_than_was_trained_for_is_told_of(trained: CommandLine) -> None:
    small, large = 'pack = "smallest"', 'pack = "fast"\nin_place = "always"'
    change(trained.here, small, large)
    try:
        told = trained.works("convert").out
    finally:
        change(trained.here, large, small)
    assert "bytes, [train] size asks for 3,600: passes or targets are others" in told
    assert "[train] size asks for" not in trained.works("convert").out


def test_a_damaged_trained_model_is_to_be_trained_again(trained: CommandLine) -> None:
    whole = (trained.here / "trained.onnx").read_bytes()
    try:
        for data in (b"", whole[:1000]):
            (trained.here / "trained.onnx").write_bytes(data)
            ran = trained.run("convert")
            assert (ran.status, "run `hardtack train` again" in ran.err) == (3, True)
    finally:
        (trained.here / "trained.onnx").write_bytes(whole)


def test_the_accuracy_and_bytes_before_training_are_told(trained: CommandLine) -> None:
    document = trained.works("convert", "--json").document
    assert document["accuracy"]["untrained"] == pytest.approx(0.985)
    assert document["source_bytes"] == (trained.here / "digits.onnx").stat().st_size
    told = trained.works("convert").out
    assert "(untrained -> float -> int8)" in told
    assert "[data] evaluate is what was trained on" in told


def test_the_gate_holds_the_bundle_against_the_model_before_training() -> None:
    config = Deployment.model_validate(
        {"version": 1, "model": {"path": "m.onnx"}, "gates": {"max_drop": "2 %"}}
    )
    check_drop(config, Accuracy(600, int8=0.97, floats=0.98, untrained=0.985))
    passes = [
        PassRow(name, "", 2, 1, 2, 2, 0.98, 0.98 - cost, 0.1, skipped)
        for name, cost, skipped in (("prune", 0.02, ""), ("share", 0.3, "too dear"))
    ]
    with pytest.raises(GateError) as caught:
        check_drop(config, Accuracy(600, int8=0.95, floats=0.98), passes)
    assert "most of it in [[compress]] (prune 2.00 points)" in caught.value.todo
    with pytest.raises(GateError, match="in training"):
        check_drop(config, Accuracy(600, int8=0.92, floats=0.95, untrained=0.985), passes)
    with pytest.raises(GateError, match="most of it in training") as caught:
        check_drop(config, Accuracy(600, int8=0.95, floats=0.955, untrained=0.985))
    assert caught.value.code == "HT401"
    assert "98.50 -> 95.50 -> 95.00 % of 600 samples" in caught.value.met


def test_two_trainings_do_not_write_the_same_file(trained: CommandLine) -> None:
    with only_writer(trained.here / "trained.onnx"):
        said = trained.run("train").refused("HT107", 2)
    assert "is being written by another process" in said
    trained.works("train")
