"""A command line with a default key and a bundle, for tests of firmware projects."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.digit_bundles import KEY, make_bundle
from tests.end_to_end.command import CommandLine


@pytest.fixture
def shell(tmp_path: Path) -> CommandLine:
    shell = CommandLine(tmp_path, tmp_path)
    keys = shell.home / "config" / "hardtack" / "keys"
    keys.mkdir(parents=True)
    KEY.save(keys / "default.key")
    (tmp_path / "digits.htb").write_bytes(make_bundle("1.0.0", ballast=40))
    return shell
