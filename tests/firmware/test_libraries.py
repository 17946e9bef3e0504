"""The C source as a library of other builds: compiled, and run where this machine can."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hardtack_runtime.interpreter import Interpreter
from tests.digit_bundles import KEY, STRANGER, make_bundle
from tests.end_to_end.command import CommandLine
from tests.firmware.build import monocypher

BUNDLE = make_bundle("1.0.0", ballast=20)
CMAKE = Path(sys.executable).with_name("cmake")


@pytest.fixture
def shell(tmp_path: Path) -> CommandLine:
    shell = CommandLine(tmp_path, tmp_path)
    keys = shell.home / "config" / "hardtack" / "keys"
    keys.mkdir(parents=True)
    KEY.save(keys / "default.key")
    (tmp_path / "digits.htb").write_bytes(BUNDLE)
    return shell


def new(shell: CommandLine, kind: str) -> Path:
    words = ("--bundle", "digits.htb", "--monocypher", str(monocypher()))
    shell.works("firmware", "new", kind, "lib", *words)
    return shell.here / "lib"


def run(*words: str | Path, cwd: Path) -> str:
    ran = subprocess.run([*map(str, words)], cwd=cwd, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"no {program}")
    return found


ARDUINO_H = """\
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
struct Port {
  void begin(long) {}
  void println(const char *text) { puts(text); }
  void println(long number) { printf("%ld\\n", number); }
};
static Port Serial;
static void delay(long) { fflush(stdout); exit(0); }
"""


def test_the_arduino_sketch_runs_its_model(shell: CommandLine, tmp_path: Path) -> None:
    """As the Arduino builder does: everything below src, with src alone in the search path."""
    cxx, library = needs("c++"), new(shell, "arduino")
    sources = list((library / "src").rglob("*.c"))
    objects = tmp_path / "objects"
    objects.mkdir()
    run("cc", "-O1", "-c", f"-I{library / 'src'}", *sources, cwd=objects)
    sketch = (library / "examples" / "predict" / "predict.ino").read_text()
    (objects / "sketch.cpp").write_text(
        f"{ARDUINO_H}{sketch}\nint main() {{ setup(); for (;;) loop(); }}\n"
    )
    example = library / "examples" / "predict"
    words = [f"-I{library / 'src'}", f"-I{example}", "sketch.cpp", *map(str, objects.glob("*.o"))]
    run(cxx, *words, "-o", "sketch", cwd=objects)
    assert run(objects / "sketch", cwd=objects).splitlines() == ["ok", "0"]
    listed = run("nm", objects / "sketch", cwd=objects)
    assert "ht_operator_fully_connected" in listed


def test_the_manifest_of_platformio_is_what_its_packer_takes(
    shell: CommandLine, tmp_path: Path
) -> None:
    library = new(shell, "platformio")
    manifest = json.loads((library / "library.json").read_text())
    assert all(
        (library / "examples/predict" / f).is_file() for f in manifest["examples"][0]["files"]
    )
    pio = needs("pio")
    del manifest["license"]  # the packer looks licences up on the network
    (library / "library.json").write_text(json.dumps(manifest))
    run(pio, "pkg", "pack", library, "-o", tmp_path / "library.tar.gz", cwd=tmp_path)
    assert (tmp_path / "library.tar.gz").is_file()


ZEPHYR = """\
cmake_minimum_required(VERSION 3.20)
project(zephyr_stand_in C)
set(CONFIG_HARDTACK y)
set(CONFIG_HARDTACK_DEVICE y)
{settings}
add_library(zephyr_interface INTERFACE)
function(zephyr_include_directories)
  target_include_directories(zephyr_interface INTERFACE ${{ARGV}})
endfunction()
function(zephyr_library_named name)
  add_library(${{name}} STATIC)
  target_link_libraries(${{name}} PRIVATE zephyr_interface)
endfunction()
function(zephyr_library_include_directories)
  target_include_directories(hardtack PRIVATE ${{ARGV}})
endfunction()
function(zephyr_library_compile_definitions)
  target_compile_definitions(hardtack PRIVATE ${{ARGV}})
endfunction()
function(zephyr_library_sources)
  target_sources(hardtack PRIVATE ${{ARGV}})
endfunction()
add_subdirectory(lib)
"""


def test_the_zephyr_module_compiles_with_the_defaults_of_its_kconfig(
    shell: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kconfiglib = pytest.importorskip("kconfiglib")
    new(shell, "zephyr")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Kconfig").write_text('source "lib/Kconfig"\n')
    parsed = kconfiglib.Kconfig("Kconfig", warn_to_stderr=False)
    parsed.syms["HARDTACK"].set_value("y")
    parsed.syms["HARDTACK_DEVICE"].set_value("y")
    assert parsed.warnings == []
    settings = [
        f"set(CONFIG_{name} {symbol.str_value})"
        for name, symbol in parsed.syms.items()
        if name.startswith("HARDTACK_") and name != "HARDTACK_DEVICE"
    ]
    assert len(settings) == 4
    (tmp_path / "CMakeLists.txt").write_text(ZEPHYR.format(settings="\n".join(settings)))
    run(CMAKE, "-B", "out", "-G", "Unix Makefiles", cwd=tmp_path)
    run(CMAKE, "--build", "out", "-j2", cwd=tmp_path)
    listed = run("nm", tmp_path / "out" / "lib" / "libhardtack.a", cwd=tmp_path)
    assert "T ht_firmware_serve" in listed
    assert "U ht_board_read" in listed
    module = (tmp_path / "lib" / "zephyr" / "module.yml").read_text()
    for line in ("cmake: .", "kconfig: Kconfig"):
        assert line in module


MAIN = """\
import dev.hardtack.Model;
import java.nio.file.*;

public class Main {
    public static void main(String[] names) throws Exception {
        for (int i = 1; i < names.length; i++) {
            try (Model bad = new Model(Files.readAllBytes(Path.of(names[i])))) {
                System.out.println("taken");
            } catch (SecurityException | IllegalArgumentException error) {
                System.out.println(error.getClass().getSimpleName() + ": " + error.getMessage());
            }
        }
        try (Model model = new Model(Files.readAllBytes(Path.of(names[0])))) {
            Model.Port input = model.input(0);
            System.out.println(model.inputs() + " " + model.outputs() + " " + input.elements);
            byte[] codes = new byte[input.elements];
            for (int i = 0; i < codes.length; i++) {
                codes[i] = (byte) (37 * i - 50);
            }
            for (byte code : model.run(codes)) {
                System.out.print(code + " ");
            }
            System.out.println();
            try {
                model.run(new byte[1]);
            } catch (IllegalArgumentException error) {
                System.out.println(error.getMessage());
            }
            try {
                model.output(7);
            } catch (IndexOutOfBoundsException error) {
                System.out.println(error.getMessage());
            }
            model.close();
            try {
                model.inputs();
            } catch (IllegalStateException error) {
                System.out.println(error.getMessage());
            }
        }
    }
}
"""


def test_what_jni_finds_by_name_is_kept_by_the_shrinker(shell: CommandLine) -> None:
    library = new(shell, "android")
    source = (library / "src/main/cpp/hardtack_jni.c").read_text()
    rules = (library / "consumer-rules.pro").read_text()
    assert "consumerProguardFiles 'consumer-rules.pro'" in (library / "build.gradle").read_text()
    names = set(re.findall(r'FindClass\(env, "(dev/hardtack/[^"]+)"\)', source))
    assert names == {"dev/hardtack/Model$Port"}
    for name in names:
        kept = re.search(rf"-keep class {re.escape(name.replace('/', '.'))} {{([^}}]*)}}", rules)
        assert kept is not None
        assert "<init>(int, float, int);" in kept[1]
    assert re.search(r"class dev\.hardtack\.Model \{\s+native <methods>;", rules)


def jni_headers() -> list[str]:
    """Where a JDK keeps jni.h; skip the calling test when there is none."""
    home = Path(os.path.realpath(needs("javac"))).parents[1] / "include"
    if not (home / "jni.h").is_file():
        pytest.skip(f"no jni.h in {home}")
    return [f"-I{home}", f"-I{home / 'linux'}"]


def test_the_android_class_computes_the_bits_of_the_host(
    shell: CommandLine, tmp_path: Path
) -> None:
    """On this machine's Java: the same JNI, C and class as on Android."""
    java, headers = needs("java"), jni_headers()
    cpp = new(shell, "android") / "src" / "main" / "cpp"
    flags = " ".join((*headers, "-Wall -Wextra"))
    run(CMAKE, "-B", "out", "-G", "Unix Makefiles", f"-DCMAKE_C_FLAGS={flags}", cwd=cpp)
    run(CMAKE, "--build", "out", "-j2", cwd=cpp)
    changed = bytearray(BUNDLE)
    changed[-5] ^= 1
    bad = {
        "stranger": make_bundle("1.0.0", key=STRANGER), "changed": bytes(changed),
        "linux": make_bundle("1.0.0", hardware="linux"), "text": b"no bundle at all" * 40,
        "broken": make_bundle("1.0.0", broken=True),
    }  # fmt: skip
    for name, data in bad.items():
        (tmp_path / f"{name}.htb").write_bytes(data)
    (tmp_path / "Main.java").write_text(MAIN)
    model = tmp_path / "lib/src/main/java/dev/hardtack/Model.java"
    run("javac", "-d", "classes", model, "Main.java", cwd=tmp_path)
    names = ("digits.htb", *(f"{name}.htb" for name in bad))
    words = (f"-Djava.library.path={cpp / 'out'}", "-Xcheck:jni", "-cp", "classes", "Main", *names)
    said = run(java, *words, cwd=tmp_path).splitlines()
    codes = (37 * np.arange(64) - 50).astype(np.int8).reshape(1, 64)
    expected = Interpreter(BUNDLE).run(codes)[0].ravel()
    assert said == [
        "SecurityException: the bundle is not signed by a trusted key",
        "SecurityException: the bundle was changed",
        "SecurityException: the bundle is for other hardware than android",
        "SecurityException: this is no bundle of a known format",
        said[4],
        "1 1 64",
        "".join(f"{code} " for code in expected),
        "as many codes as the inputs have",
        "there is no such input or output",
        "the model is closed",
    ]
    assert said[4].startswith("IllegalArgumentException: ")
