"""From a model file to a verified bundle, on the command line; every verb that needs no fleet."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import onnx_ir as ir
import pytest

from hardtack.cli.main import VERBS
from hardtack_converters.convert import Options, convert
from tests.data import data_path
from tests.end_to_end.command import CommandLine, change, copy_project, written

ROOT = Path(__file__).parents[2]
BUNDLE = "dist/digits-1.0.0-pi.htb"


def test_convert_writes_a_signed_bundle_and_a_lock(cli: CommandLine, project: Path) -> None:
    ran = cli.works("convert")
    assert written(project) == ["deploy.lock", BUNDLE]
    assert "made the signing key `default`" in ran.out
    assert "98.50 -> 98.50 % of 600 samples" in ran.out
    verified = cli.works("verify", BUNDLE)
    assert verified.out.endswith("signature, digest and 2 golden vectors: ok\n")


def test_convert_tells_machines_everything_as_one_document(cli: CommandLine, project: Path) -> None:
    document = cli.works("convert", "--json").document
    (bundle,) = document["bundles"]
    assert Path(bundle["path"]).stat().st_size == bundle["bytes"]
    assert document["accuracy"]["int8"] >= document["accuracy"]["float"] - 0.01
    assert document["layers"][0]["operator"] == "Conv2D"
    assert document["layers"][0]["bits"] == 8


def test_the_deployment_of_the_repository_converts(tmp_path: Path) -> None:
    project = tmp_path / "copy"
    shutil.copytree(ROOT / "sdk/src/hardtack/demo_data", project / "sdk/src/hardtack/demo_data")
    shutil.copy(ROOT / "deploy.toml", project)
    cli = CommandLine(tmp_path, project)
    cli.works("check")
    assert "conv" in cli.works("convert", "--layers", "--out", "elsewhere").out.lower()
    assert (project / "elsewhere/digits-1.0.0-pi.htb").is_file()


def test_the_same_deployment_gives_the_same_bundle(cli: CommandLine, project: Path) -> None:
    cli.works("convert")
    first = (project / BUNDLE).read_bytes(), (project / "deploy.lock").read_bytes()
    cli.works("convert")
    assert ((project / BUNDLE).read_bytes(), (project / "deploy.lock").read_bytes()) == first


def test_a_gate_that_has_nothing_to_compare_with_is_said(cli: CommandLine, project: Path) -> None:
    floats = convert(project / "digits.onnx", Options(calibration=project / "calibration.npz"))
    (project / "digits.onnx").write_bytes(ir.to_proto(floats.quantized).SerializeToString())
    change(project, "normalize = { mean = 4.884, std = 6.017 }", "")
    ran = cli.works("convert")
    assert "max_drop: the model came quantised" in ran.out
    assert "% of 600 samples\n" in ran.out


def test_init_check_convert_bakes_an_int8_tflite(tmp_path: Path) -> None:
    shutil.copy(data_path("tflite_micro/person_detect.tflite"), tmp_path / "Person Detect.tflite")
    cli = CommandLine(tmp_path, tmp_path)
    assert "next: `hardtack check`" in cli.works("init", "Person Detect.tflite").out
    assert "every operator has an int8 kernel" in cli.works("check").out
    cli.works("convert")
    assert (tmp_path / "dist/person-detect-1.0.0-any.htb").is_file()


@pytest.mark.parametrize(
    ("name", "hinted"),
    [("hello_world_float", True), ("hello_world_int8", False)],
)
def test_init_tells_of_samples_where_a_model_is_float(
    tmp_path: Path, name: str, hinted: bool
) -> None:
    shutil.copy(data_path(f"tflite_micro/{name}.tflite"), tmp_path / "model.tflite")
    cli = CommandLine(tmp_path, tmp_path)
    cli.works("init", "model.tflite")
    text = (tmp_path / "deploy.toml").read_text()
    for table in ("# [data]", "# [[compress]]", "# [train]"):
        assert (table in text) == hinted


def test_init_keeps_an_existing_deployment_unless_forced(cli: CommandLine, project: Path) -> None:
    before = (project / "deploy.toml").read_text()
    assert "--force" in cli.run("init", "digits.onnx").refused("HT106", 2)
    assert (project / "deploy.toml").read_text() == before
    cli.works("init", "digits.onnx", "--force")
    assert 'path = "digits.onnx"' in (project / "deploy.toml").read_text()


def test_check_tells_machines_that_a_model_is_convertible(baked: CommandLine) -> None:
    document = baked.works("check", "digits.onnx", "--json").document
    assert document == {"model": "digits.onnx", "convertible": True, "problems": []}


def test_inspect_shows_contract_operators_and_bytes(baked: CommandLine) -> None:
    text = baked.works("inspect", BUNDLE).out
    for word in ("digits@1.0.0", "linux", "image", "[1, 1, 8, 8]", "Conv2D", "labels 0, 1"):
        assert word in text
    document = baked.works("inspect", BUNDLE, "--json").document
    assert document["manifest"]["outputs"][0]["shape"] == [1, 10]
    assert document["bytes"]["total"] == (baked.here / BUNDLE).stat().st_size


def test_verify_takes_a_folder_of_keys(baked: CommandLine) -> None:
    folder = baked.home / "config/hardtack/keys"
    document = baked.works("verify", BUNDLE, "--keys", folder, "--json").document
    assert document["verified"] is True


def test_keys_are_made_once_listed_and_private(cli: CommandLine) -> None:
    assert "no keys" in cli.run("keys", "list").err
    cli.works("keys", "new", "field")
    (key,) = cli.works("keys", "list", "--json").document["keys"]
    assert key["name"] == "field"
    assert key["key_id"] in cli.works("keys", "list").out
    private = cli.home / "config/hardtack/keys/field.key"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    before = private.read_bytes()
    assert "already there" in cli.run("keys", "new", "field").refused("HT704", 6)
    assert private.read_bytes() == before


def test_doctor_says_what_works(baked: CommandLine) -> None:
    assert "ok    C runtime: loads" in baked.works("doctor").out
    assert baked.works("doctor", "--json").document["ok"] is True


def test_help_lists_and_explains_every_code(baked: CommandLine) -> None:
    codes = [line.partition(":")[0] for line in baked.works("help").out.splitlines()]
    assert len(codes) > 40
    assert baked.works("help", codes[0].lower()).out.startswith(f"# {codes[0]}: ")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(baked: CommandLine, verb: str) -> None:
    text = baked.works(verb, "--help").out
    assert text.startswith(f"Usage: hardtack {verb} ")


def test_the_version_is_that_of_the_package(baked: CommandLine) -> None:
    from hardtack import __version__

    assert baked.works("--version").out == f"hardtack {__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom hardtack.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "import json\nprint(json.dumps(sorted(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(ran.stdout.splitlines()[-1]))
    heavy = {"numpy", "pydantic", "rich", "sqlalchemy", "onnx", "onnxruntime", "paho"}
    assert not loaded & heavy


def test_a_deployment_is_found_from_a_folder_below(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    (project / "notes").mkdir()
    assert "int8 kernel" in CommandLine(tmp_path, project / "notes").works("check").out
