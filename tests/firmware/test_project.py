"""`hardtack firmware` and `hardtack build` as a user runs them."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bincopy import BinFile

from hardtack_agent.serial_link import Reason
from hardtack_firmware.boards import boards, find_board
from hardtack_firmware.build import find_toolchain, project_board
from hardtack_firmware.images import FAMILIES
from hardtack_runtime.errors import ConfigError
from tests.digit_bundles import STRANGER, make_bundle
from tests.end_to_end.command import CommandLine, Ran
from tests.firmware.build import ROOT, monocypher
from tests.firmware.host import RefusedError
from tests.firmware.kernel_bundle import kernel_bundle
from tests.firmware.qemu import BOARDS, Machine

BUNDLE = make_bundle("1.0.0", ballast=40)
NEEDED = ("sh", "make", "mkdir", "cmp", "cp", "rm")


def new(shell: CommandLine, board: str, *words: str) -> Path:
    shell.works("firmware", "new", board, "fw", "--monocypher", str(monocypher()), *words)
    return shell.here / "fw"


def without_python(folder: Path, compiler: str) -> dict[str, str]:
    """Return an environment that finds make and one compiler."""
    programs = folder / "programs"
    programs.mkdir()
    for name in (*NEEDED, compiler):
        where = shutil.which(name)
        if where is None:
            pytest.skip(f"no {name}")
        (programs / name).symlink_to(where)
    return {"PATH": str(programs)}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[list[Machine]]:
    started: list[Machine] = []
    yield started
    for one in started:
        one.kill()


def test_a_project_builds_without_python_boots_and_is_flashed(
    shell: CommandLine, tmp_path: Path, machine: list[Machine]
) -> None:
    project = new(shell, "mps2-an386", "--bundle", "digits.htb")
    environment = without_python(tmp_path, "arm-none-eabi-gcc")
    ran = subprocess.run(
        ["make", "-s", "-j2", "EXTRA_CFLAGS=-Werror"], cwd=project, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    elf = project / "build" / "mps2-an386" / "firmware.elf"
    machine.append(Machine(BOARDS["mps2-an386"], tmp_path, image=elf))
    machine[0].start().line.close()
    place = f"socket://127.0.0.1:{machine[0].port}"
    out = shell.works("flash", "digits.htb", "--device", place).out
    assert "runs digits@1.0.0 from slot A; 2 golden vectors: same bits" in out


@pytest.mark.parametrize("board", ["microbit", "mps2-an386", "mps3-an547", "riscv32-virt"])
def test_what_zig_builds_runs_a_model(
    shell: CommandLine, tmp_path: Path, machine: list[Machine], board: str
) -> None:
    """With no other compiler than the one that pip brings."""
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("no ziglang")
    project = new(shell, board)
    shell.environment |= without_python(tmp_path, "true")
    built = shell.works("build", "fw", "--json").document
    assert built["compiler"] == "zig"
    elf = project / "build" / board / "firmware.elf"
    machine.append(Machine(BOARDS[board], tmp_path, image=elf))
    host = machine[0].start()
    host.timeout_s = 60.0
    bundle = kernel_bundle(1, 9)[0] if BOARDS[board].memory_size else BUNDLE
    status = host.install(bundle)  # its golden vectors are replayed
    assert (status.running, status.outcome) == (0, Reason.OK)


def test_the_posix_board_runs_the_application_of_the_project(shell: CommandLine) -> None:
    project = new(shell, "posix")
    main = project / "app" / "main.c"
    main.write_text(main.read_text().replace("ht_firmware_start();", "return 23;"))
    shell.works("build", "fw")
    program = project / "build" / "posix" / "firmware.elf"
    ran = subprocess.run([program, shell.here / "flash.bin"], check=False)
    assert ran.returncode == 23


def test_a_slot_far_from_the_firmware_does_not_make_a_file_of_what_lies_between(
    shell: CommandLine,
) -> None:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("no arm-none-eabi-gcc")
    project = new(shell, "mps2-an386", "--bundle", "digits.htb")
    said = shell.works("build", "fw", "--with-model").out
    assert "firmware.bin is without the model" in said
    out = project / "build" / "mps2-an386"
    assert (out / "firmware.bin").stat().st_size < 1 << 20
    image = BinFile(str(out / "firmware.hex"))
    assert image[0x21000000 : 0x21000000 + len(BUNDLE)] == BUNDLE
    assert image[0x21200000:0x21202000] == b"\xff" * 0x2000  # the journal


def test_what_the_tour_makes_in_a_checkout_is_not_for_git() -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    made = ["board/Makefile", "flash.bin", ".hardtack/pi-1/agent.sock"]
    ran = subprocess.run(
        ["git", "check-ignore", *made], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.stdout.split() == made


@pytest.mark.parametrize("setting", ["0x10000", "0x10000 # for two models", "64K", "65536u"])
def test_memory_for_a_model_is_written_as_people_write_sizes(
    shell: CommandLine, setting: str
) -> None:
    project = new(shell, "posix")
    path = project / "project.mk"
    path.write_text(re.sub(r"POOL_SIZE \?= .*", f"POOL_SIZE ?= {setting}", path.read_text()))
    assert project_board(project).pool == 65536
    (project / "app" / "main.c").write_text(
        "typedef char right[HT_POOL_SIZE == 65536 ? 1 : -1];\nint main(void) { return 0; }\n"
    )
    objects = ["build/posix/main.o", "OUT=build/posix"]
    subprocess.run(["make", "-s", *objects], cwd=project, check=True)


def test_a_python_in_a_folder_with_spaces_runs_zig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "my $tools" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(sys, "executable", str(python))
    has = {"make": "/bin/make"}
    monkeypatch.setattr(shutil, "which", has.get)
    toolchain = find_toolchain(find_board("stm32f4"))
    assert [word.split("=")[0] for word in toolchain.variables] == ["TOOLCHAIN", "ZIG", "HOSTCC"]
    rule = "all:\n\t@$(ZIG) x\n\t@$(HOSTCC)\n"
    words = ["make", "--no-print-directory", "-f", "-", *toolchain.variables]
    ran = subprocess.run(words, input=rule, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["-m ziglang x", "-m ziglang cc"]


def test_only_the_operators_of_its_models_are_in_it(
    shell: CommandLine, tmp_path: Path, machine: list[Machine]
) -> None:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("no arm-none-eabi-gcc")
    project = new(shell, "mps2-an386")
    every = shell.works("build", "fw", "--json").document
    few = shell.works("build", "fw", "--bundle", "digits.htb", "--json").document
    names = {kernel["name"] for kernel in few["kernels"]}
    assert "conv_2d" in names  # fully_connected is one of a single tap
    absent = {"softmax", "conv_2d_sparse", "conv_2d_split", "fully_connected_columns"}
    assert not absent & names
    assert {"conv_2d", *absent} < {kernel["name"] for kernel in every["kernels"]}
    assert few["flash"] < every["flash"]
    layers = few["layers"]["digits@1.0.0"]
    assert [layer["operator"] for layer in layers] == ["FullyConnected"] * 2
    assert layers[1]["raw"] > layers[0]["raw"] > 0
    assert (project / "models" / "digits.htb").read_bytes() == BUNDLE


def test_the_report_adds_up(shell: CommandLine) -> None:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("no arm-none-eabi-gcc")
    new(shell, "microbit", "--bundle", "digits.htb")
    found = shell.works("build", "fw", "--json").document
    named = sum(part["flash"] for part in (*found["parts"], *found["kernels"]))
    assert 0.9 * found["flash"] < named <= found["flash"]  # the rest is padding and literals
    assert found["ram"] <= boards()["microbit"].ram
    assert found["sections"]["pool"] == boards()["microbit"].pool
    words = shell.works("build", "fw").out
    assert "digits@1.0.0" in words
    assert "conv_2d" in words


def test_the_boards_are_listed_with_what_is_known_of_them(shell: CommandLine) -> None:
    found = shell.works("firmware", "list", "--json").document
    by_name = {board["name"]: board for board in found["boards"]}
    assert {*BOARDS, "posix", "rp2040", "stm32f4"} == by_name.keys()
    assert by_name["stm32f4"]["slot"] == 384 << 10
    words = shell.works("firmware", "list").out
    assert all(name in words for name in (*by_name, "zephyr", "android"))


def test_the_page_on_microcontrollers_has_every_board_and_family() -> None:
    page = (ROOT / "docs" / "microcontrollers.md").read_text()
    assert all(f"`{name}`" in page for name in boards())
    assert all(f"{name} `{number:#010x}`" in page for name, number in FAMILIES.items())


def test_the_models_of_deploy_toml_are_taken_unasked(shell: CommandLine) -> None:
    (shell.here / "deploy.toml").write_text(
        'version = 1\n[project]\nname = "digits"\nrelease = "1.0.0"\n[model]\npath = "x.onnx"\n'
        '[fleet]\nbroker = "mqtt://127.0.0.1"\n'
    )
    dist = shell.here / "dist"
    dist.mkdir()
    (dist / "digits-1.0.0-pi.htb").write_bytes(make_bundle("1.0.0", hardware="linux"))
    (dist / "digits-1.0.0-mcu.htb").write_bytes(BUNDLE)
    project = new(shell, "microbit")
    assert [path.name for path in (project / "models").iterdir()] == ["digits-1.0.0-mcu.htb"]


def left(shell: CommandLine) -> list[str]:
    return sorted(path.name for path in shell.here.iterdir() if path.name != "home")


def refuses(shell: CommandLine, *words: str) -> Ran:
    return shell.run("firmware", "new", *words, "--monocypher", str(monocypher()))


@pytest.mark.parametrize(
    ("words", "code", "status", "said"),
    [
        pytest.param(("rp2400",), "HT104", 2, "did you mean 'rp2040'?", id="unknown board"),
        pytest.param(("posix", "."), "HT106", 2, "exists already", id="folder exists"),
        pytest.param(("posix", "--bundle", "no.htb"), "HT211", 3, "no.htb", id="no bundle"),
        pytest.param(("posix", "--key", "nobody"), "HT704", 6, "nobody.pub", id="no key"),
        pytest.param(("posix", *("--key", "default") * 3), "HT104", 2, "two", id="three keys"),
    ],
)
def test_a_project_that_cannot_be_made_leaves_nothing(
    shell: CommandLine, words: tuple[str, ...], code: str, status: int, said: str
) -> None:
    before = left(shell)
    assert said in refuses(shell, *words).refused(code, status)
    assert left(shell) == before


@pytest.mark.parametrize(
    ("board", "bundle", "code", "status"),
    [
        pytest.param("stm32f4", make_bundle(hardware="linux"), "HT501", 4, id="hardware"),
        pytest.param("android", make_bundle(hardware="linux"), "HT501", 4, id="library"),
        pytest.param("stm32f4", make_bundle(key=STRANGER), "HT701", 6, id="key"),
        pytest.param("zephyr", make_bundle(key=STRANGER), "HT701", 6, id="key of a library"),
    ],
)
def test_a_model_that_the_board_would_refuse_is_not_taken(
    shell: CommandLine, board: str, bundle: bytes, code: str, status: int
) -> None:
    (shell.here / "bad.htb").write_bytes(bundle)
    before = left(shell)
    refuses(shell, board, "--bundle", "bad.htb").refused(code, status)
    assert left(shell) == before
    if board != "stm32f4":
        return
    project = new(shell, board, "--bundle", "digits.htb")
    shell.run("build", "fw", "--bundle", "bad.htb").refused(code, status)
    assert [path.name for path in (project / "models").iterdir()] == ["digits.htb"]


def test_two_models_that_would_become_one_file_are_refused(shell: CommandLine) -> None:
    (shell.here / "digits.bin").write_bytes(make_bundle("2.0.0"))
    words = ("posix", "--bundle", "digits.htb", "--bundle", "digits.bin")
    assert "two files of the same name" in refuses(shell, *words).refused("HT104", 2)


def test_a_full_disk_leaves_no_half_of_a_project(shell: CommandLine) -> None:
    before = left(shell)
    words = ("firmware", "new", "posix", "fw", "--monocypher", str(monocypher()))
    shell.run(*words, limits=("prlimit", "--fsize=8192")).refused("HT603", 5)
    assert left(shell) == before


def test_a_folder_without_monocypher_is_refused(shell: CommandLine) -> None:
    ran = shell.run("firmware", "new", "posix", "fw", "--monocypher", str(shell.here))
    assert "monocypher.c" in ran.refused("HT107", 2)


def test_what_is_no_project_is_not_built(shell: CommandLine) -> None:
    assert "holds no firmware project" in shell.run("build", "home").refused("HT108", 2)


def test_a_mistake_in_the_application_is_named_by_line(shell: CommandLine) -> None:
    project = new(shell, "posix")
    (project / "app" / "main.c").write_text("int main(void) {\n    return nothing;\n}\n")
    said = shell.run("build", "fw").refused("HT109", 2)
    assert "fw/app/main.c:2:12" in said
    assert "nothing" in said
    (project / "app" / "main.c").write_text("void f(void);\nint main(void) { f(); return 0; }\n")
    assert "no source file defines f" in shell.run("build", "fw").refused("HT109", 2)


@pytest.mark.parametrize(
    ("setting", "ballast", "said"),
    [
        pytest.param("POOL_SIZE := 32\n", 40, "digits@1.0.0 needs", id="pool"),
        pytest.param("SLOT_SIZE := 0x400\n", 40, "more than a slot of posix", id="slot"),
    ],
)
def test_a_model_that_does_not_fit_stops_the_build(
    shell: CommandLine, setting: str, ballast: int, said: str
) -> None:
    project = new(shell, "posix", "--bundle", "digits.htb")
    if setting.startswith("POOL"):
        path = project / "project.mk"
        path.write_text(path.read_text().replace("POOL_SIZE ?=", f"{setting}#"))
    else:
        path = project / "ports" / "posix" / "board.mk"
        path.write_text(path.read_text().replace("SLOT_SIZE :=", f"{setting}#"))
    assert said in shell.run("build", "fw").refused("HT503", 4)


def test_a_firmware_larger_than_its_board_says_by_how_much(shell: CommandLine) -> None:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("no arm-none-eabi-gcc")
    project = new(shell, "microbit")
    settings = project / "project.mk"
    settings.write_text(settings.read_text().replace("8192", "16384"))
    said = shell.run("build", "fw").refused("HT503", 4)
    assert "passes the end of microbit's RAM by" in said


def test_a_kernel_that_the_project_lacks_is_named(shell: CommandLine) -> None:
    project = new(shell, "posix", "--bundle", "digits.htb")
    (project / "csrc" / "src" / "ht_operator_fully_connected.c").unlink()
    said = shell.run("build", "fw").refused("HT301", 3)
    assert "no kernel for fully_connected" in said


def test_a_firmware_refuses_a_model_of_other_operators(
    shell: CommandLine, tmp_path: Path, machine: list[Machine]
) -> None:
    """The table is the project's: here one that has only what the digits do not need."""
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("no arm-none-eabi-gcc")
    project = new(shell, "mps2-an386", "--bundle", "digits.htb")
    table = project / "generated" / "ht_operators.c"
    table.write_text(table.read_text().replace("[3]", "[4]").replace("fully_connected", "add"))
    subprocess.run(["make", "-s", "-j2"], cwd=project, check=True)
    elf = project / "build" / "mps2-an386" / "firmware.elf"
    machine.append(Machine(BOARDS["mps2-an386"], tmp_path, image=elf))
    with pytest.raises(RefusedError, match="OPERATOR, detail 3"):
        machine[0].start().install(BUNDLE)


def test_without_any_compiler_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/make" if name == "make" else None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="arm-none-eabi-gcc") as refused:
        find_toolchain(find_board("stm32f4"))
    assert (refused.value.code, "hardtack[firmware]" in refused.value.todo) == ("HT105", True)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="make") as refused:
        find_toolchain(find_board("posix"))
    assert refused.value.code == "HT105"


@pytest.mark.parametrize("size", [100_000, 400], ids=["compiler", "generated files"])
def test_a_build_on_a_full_disk_says_where_there_is_no_room(shell: CommandLine, size: int) -> None:
    new(shell, "posix")
    limit = ("prlimit", f"--fsize={size}")
    assert "--> fw" in shell.run("build", "fw", limits=limit).refused("HT603", 5)
    shell.works("build", "fw")


def test_a_project_that_cannot_be_written_names_its_folder(shell: CommandLine) -> None:
    said = shell.run("firmware", "new", "posix", "/proc/fw", "--monocypher", str(monocypher()))
    assert "--> /proc/fw\n" in said.refused("HT107", 2)


def test_a_library_says_that_it_is_built_elsewhere(shell: CommandLine) -> None:
    shell.works("firmware", "new", "arduino", "fw", "--bundle", "digits.htb")
    assert "fw/README.md" in shell.run("build", "fw").refused("HT108", 2)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        pytest.param("POOL_SIZE := 64k", "'64k' is no size", id="no size"),
        pytest.param("POOL_SIZE := 20001", "POOL_SIZE is a multiple of 16", id="pool"),
        pytest.param("UNPACKED_SIZE := 1000", "a multiple of the erase unit", id="region"),
    ],
)
def test_a_size_that_cannot_be_names_the_setting(
    shell: CommandLine, setting: str, said: str
) -> None:
    settings = new(shell, "posix") / "project.mk"
    settings.write_text(f"{setting}\n{settings.read_text()}")
    assert said in shell.run("build", "fw").refused("HT104", 2)
