"""What is written is whole, by one process at a time, or not there."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

import pytest

from hardtack.files import only_writer, require_writable, write_whole
from hardtack_runtime.errors import ConfigError


def test_a_lock_that_was_unlinked_meanwhile_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, lock_file = fcntl.flock, tmp_path / "model.lock"

    def late(*arguments: Any) -> None:
        lock_file.unlink()  # by the one who had it until now
        lock(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", late)
        with pytest.raises(ConfigError, match="another process"), only_writer(tmp_path / "model"):
            pass
    with only_writer(tmp_path / "model"):
        assert lock_file.exists()
    assert not lock_file.exists()


def test_a_folder_that_cannot_be_made_is_found_before_the_work(tmp_path: Path) -> None:
    require_writable(tmp_path / "not" / "there")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / ("long" * 100)):
        with pytest.raises(ConfigError) as caught:
            require_writable(folder)
        assert caught.value.code == "HT107"


def test_an_interrupted_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "bundle", b"data")
    assert list(tmp_path.iterdir()) == []
