"""The STM32F4 port with a flash controller, which QEMU's lacks: whole updates."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from hardtack_agent.serial_link import Reason, Type
from hardtack_agent.serial_messages import Hello
from tests.digit_bundles import KEY, make_bundle
from tests.end_to_end.command import CommandLine
from tests.firmware.build import firmware, monocypher
from tests.firmware.host import Host, RefusedError, u32
from tests.firmware.stm32f4_machine import CHIP_ID, Stm32F4
from tests.firmware.test_qemu import differing

HERE = Path(__file__).parent


def test_an_stm32f4_installs_updates_and_refuses() -> None:
    chip = Stm32F4(firmware("stm32f4", "arm-none-eabi-gcc"))
    host = Host(cast(Any, chip), timeout_s=60.0)
    host.listen()
    assert host.about.device_id[:12] == CHIP_ID
    first = make_bundle("1.0.0", ballast=80, hardware="cortex-m4")
    status = host.install(first)
    assert (status.active, status.running, status.outcome) == (0, 0, Reason.OK)
    assert host.golden() == 2
    assert differing(host, first, 5) == 0
    with pytest.raises(RefusedError, match="VERSION"):
        host.install(make_bundle("0.9.0"))
    status = host.install(make_bundle("1.2.0", ballast=30))
    assert (status.active, status.floor) == (1, (1, 2, 0))
    assert set(chip.erased) <= {1, 2, 6, 9}
    assert {6, 9} <= set(chip.erased)


def test_a_model_that_comes_with_the_firmware_replaces_what_the_board_ran(tmp_path: Path) -> None:
    """Its journal said that slot A holds 2.0.0, and that nothing older may come."""
    chip = Stm32F4(firmware("stm32f4", "arm-none-eabi-gcc"))
    host = Host(cast(Any, chip), timeout_s=60.0)
    host.listen()
    assert host.install(make_bundle("2.0.0")).floor == (2, 0, 0)
    shell = CommandLine(tmp_path, tmp_path)
    keys = shell.home / "config" / "hardtack" / "keys"
    keys.mkdir(parents=True)
    KEY.save(keys / "default.key")
    older = make_bundle("1.0.0", ballast=20)
    (tmp_path / "digits.htb").write_bytes(older)
    shell.works("firmware", "new", "stm32f4", "fw", "--monocypher", str(monocypher()))
    built = shell.works("build", "fw", "--with-model", "--bundle", "digits.htb", "--json").document
    assert built["bin_is_whole"]
    chip.load(tmp_path / "fw/build/stm32f4/firmware.hex")
    host.listen()
    status = host.status()
    assert (status.active, status.running, status.floor) == (0, 0, (1, 0, 0))
    assert differing(host, older, 2) == 0


def test_an_application_that_computes_long_is_updated() -> None:
    """An interrupt keeps what comes meanwhile: nothing has to be sent again."""
    elf = firmware("stm32f4", "arm-none-eabi-gcc", app=HERE / "busy_main.c")
    host = Host(cast(Any, Stm32F4(elf)), timeout_s=60.0)
    host.listen()
    host.ask(Type.HELLO, Hello(1, bytes(16)).encode(), tries=1)
    assert host.install(make_bundle("1.0.0")).running == 0
    assert host.resends == 0


def test_weights_are_unpacked_to_a_sector_of_their_own_once() -> None:
    elf = firmware("stm32f4", "arm-none-eabi-gcc", settings=("POOL_SIZE=400",))
    chip = Stm32F4(elf)
    host = Host(cast(Any, chip), timeout_s=60.0)
    host.listen()
    bundle = make_bundle("1.0.0", ballast=40)
    assert host.install(bundle).running == 0
    assert chip.erased.count(5) == 1
    before = host.boots
    host.ask(Type.RESET)
    host.await_boot(before)
    assert b"weights unpacked to flash\n" in host.ask(Type.LOG, u32(0))
    assert differing(host, bundle, 5) == 0
    assert chip.erased.count(5) == 1
