"""The STM32F4 port with a flash controller, which QEMU's lacks: whole updates."""

from __future__ import annotations

from typing import Any, cast

import pytest

from hardtack_agent.serial_link import Reason
from tests.digit_bundles import make_bundle
from tests.firmware.build import firmware
from tests.firmware.host import Host, RefusedError
from tests.firmware.stm32f4_machine import CHIP_ID, Stm32F4
from tests.firmware.test_qemu import differing


def test_an_stm32f4_installs_updates_and_refuses() -> None:
    chip = Stm32F4(firmware("stm32f4", "arm-none-eabi-gcc"))
    host = Host(cast(Any, chip), timeout_s=60.0)
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
