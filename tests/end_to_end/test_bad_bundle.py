"""Damaged, foreign and missing bundles on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hardtack.cli.main import main
from tests.end_to_end.command import CommandLine

BUNDLE = "dist/digits-1.0.0-pi.htb"


def verify(path: Path, keys: Path, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """Run the verb in this process: a process for each of a thousand would take minutes."""
    with pytest.raises(SystemExit) as end:
        main(["verify", str(path), "--keys", str(keys), "--json"])
    caught = capsys.readouterr()
    if end.value.code == 0:
        return 0, ""
    assert not caught.out
    return end.value.code, json.loads(caught.err)["error"]["code"]


def test_a_flipped_bit_anywhere_is_found(
    baked: CommandLine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = (baked.here / BUNDLE).read_bytes()
    keys = baked.home / "config/hardtack/keys"
    path = tmp_path / "flipped.htb"
    path.write_bytes(data)
    assert verify(path, keys, capsys) == (0, "")
    rng = np.random.default_rng(7)
    everywhere = {*range(300), *rng.integers(300, len(data), 400).tolist(), len(data) - 1}
    for offset in sorted(everywhere):
        damaged = bytearray(data)
        damaged[offset] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        status, code = verify(path, keys, capsys)
        assert (status, code[:3]) in [(3, "HT2"), (4, "HT5"), (6, "HT7")], (offset, status, code)


def test_a_cut_bundle_is_found(
    baked: CommandLine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = (baked.here / BUNDLE).read_bytes()
    keys = baked.home / "config/hardtack/keys"
    path = tmp_path / "cut.htb"
    for size in (0, 1, 3, 4, 100, 255, 256, 257, len(data) // 2, len(data) - 4, len(data) - 1):
        path.write_bytes(data[:size])
        assert verify(path, keys, capsys) == (3, "HT211"), size
    path.write_bytes(data + b"more")
    assert verify(path, keys, capsys) == (3, "HT211")


@pytest.mark.parametrize("verb", ["verify", "inspect", "push"])
def test_what_is_no_bundle_is_named(baked: CommandLine, verb: str) -> None:
    assert "no.htb" in baked.run(verb, "no.htb").refused("HT211", 3)
    assert "directory" in baked.run(verb, ".").refused("HT211", 3)
    message = baked.run(verb, "digits.onnx").refused("HT211", 3)
    assert "no hardtack bundle" in message
    assert "--> digits.onnx" in message


def test_a_bundle_of_a_strangers_key_is_refused(baked: CommandLine, tmp_path: Path) -> None:
    stranger = CommandLine(tmp_path, baked.here)
    for words in (("verify", BUNDLE), ("push", BUNDLE, "pi-1")):
        assert "not trusted here" in stranger.run(*words).refused("HT701", 6)
    stranger.works("keys", "new")
    stranger.run("verify", BUNDLE).refused("HT701", 6)


def test_a_bundle_for_other_hardware_is_refused(baked: CommandLine) -> None:
    message = baked.run("verify", BUNDLE, "--hardware", "esp32").refused("HT501", 4)
    assert "convert it for esp32" in message
    baked.works("verify", BUNDLE, "--hardware", "linux")


def test_a_folder_without_keys_is_refused(baked: CommandLine, tmp_path: Path) -> None:
    assert "*.pub" in baked.run("verify", BUNDLE, "--keys", tmp_path / "no").refused("HT704", 6)
    (tmp_path / "junk.pub").write_text("junk")
    message = baked.run("verify", BUNDLE, "--keys", tmp_path).refused("HT704", 6)
    assert "junk.pub" in message
