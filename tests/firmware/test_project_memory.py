"""What `hardtack build` says of the memory that models take."""

from __future__ import annotations

import shutil

import pytest

from tests.digit_bundles import lenet
from tests.end_to_end.command import CommandLine
from tests.firmware.test_project import new


def test_a_model_larger_than_the_board_s_memory_is_not_told_to_take_more(
    shell: CommandLine,
) -> None:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("no arm-none-eabi-gcc")
    (shell.here / "lenet.htb").write_bytes(lenet())
    new(shell, "microbit", "--bundle", "lenet.htb")
    said = shell.run("build", "fw").refused("HT503", 4)
    assert "needs at least 152272 bytes of memory" in said
    assert "the board has 16384 bytes of memory in all" in said
    assert "POOL_SIZE to" not in said


@pytest.mark.parametrize(
    ("pool", "region", "said"),
    [
        pytest.param(
            "4096",
            "0",
            "784 B of 4.0 KiB for a model: arena 128 B, weights unpacked 656 B to memory\n",
            id="memory",
        ),
        pytest.param(
            "400",
            "64K",
            "128 B of 400 B for a model: arena 128 B, weights unpacked 656 B to flash\n",
            id="flash",
        ),
        pytest.param(
            "496",
            "0",
            "496 B of 496 B for a model: arena 128 B, weights unpacked "
            "656 B to memory, layer by layer, 368 B at most\n",
            id="layers",
        ),
    ],
)
def test_the_report_says_where_weights_are_unpacked(
    shell: CommandLine, pool: str, region: str, said: str
) -> None:
    project = new(shell, "posix", "--bundle", "digits.htb")
    path = project / "project.mk"
    settings = f"POOL_SIZE := {pool}\nUNPACKED_SIZE := {region}\n#"
    path.write_text(path.read_text().replace("POOL_SIZE ?=", settings))
    assert said in shell.works("build", "fw").out
