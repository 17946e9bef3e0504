"""A gateway and the real firmware: how a trial ends, and what must not end one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hardtack_agent import gateway_port
from hardtack_agent.events import Phase
from hardtack_agent.serial_link import Reason
from hardtack_agent.serial_refusal import VERDICTS, Verdict, explain
from hardtack_runtime.errors import DeviceError
from tests.digit_bundles import make_bundle
from tests.end_to_end.fleet import until
from tests.firmware.build import operators_file
from tests.firmware.test_gateway_cuts import Bench
from tests.firmware.test_posix import ADD


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(gateway_port, "FIRST_WAIT_S", 0.01)
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_every_reason_has_a_verdict() -> None:
    assert set(VERDICTS) == set(Reason)
    for reason in (Reason.OK, Reason.IN_USE, Reason.RANGE, Reason.STALE):
        assert VERDICTS[reason] is Verdict.NONE
    for reason in (Reason.OPERATOR, Reason.MEMORY, Reason.HARDWARE):
        assert VERDICTS[reason] is Verdict.UNFIT
    assert all(explain("board", reason, 0).reason == reason for reason in Reason)


def test_a_bundle_the_firmware_has_no_operator_for_is_taken_once_it_was_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_port, "FIRST_WAIT_S", 0.01)
    bench = Bench(tmp_path, operators_file("ht_operators_add", [ADD]))
    try:
        refused = bench.result(bench.push(make_bundle("1.0.0"), (1, 0, 0)))
        assert (refused.state, refused.code) == ("failed", "HT502")
        assert not bench.board.updater.saved.quarantine
        bench.device.kill()
        bench.device._operators = None
        bench.device.start().line.close()
        bench.update(make_bundle("1.0.0"), (1, 0, 0))
    finally:
        bench.close()


def test_a_job_that_takes_the_place_of_another_in_mid_transfer_is_not_lost(bench: Bench) -> None:
    bundle = make_bundle("1.0.0", ballast=600)
    bench.cable.byte_s = 2e-5  # a chunk takes longer than the change of jobs
    first = bench.push(bundle, (1, 0, 0))
    until(lambda: bench.cable.carried > 6000, why="the first chunks")
    second = bench.push(bundle, (1, 0, 0))
    assert bench.result(first).state == "cancelled"
    bench.cable.byte_s = 0.0
    assert bench.result(second).state == "confirmed"


def test_a_slot_file_that_rots_does_not_blame_the_bundle(bench: Bench) -> None:
    bench.cable.pull()
    until(lambda: not bench.board.present, why="offline")
    bundle = make_bundle("1.0.0")
    job = bench.push(bundle, (1, 0, 0))
    until(lambda: bench.board.updater.saved.phase is Phase.TRIAL, why="the download")
    path = bench.board.store.slot_path("digits", "a")
    rotten = bytearray(bundle)
    rotten[170] ^= 1  # in the signature: the board would blame the bundle
    path.write_bytes(rotten)
    bench.cable.plug()
    ended = bench.result(job)
    assert (ended.state, ended.code) == ("failed", "HT702")
    assert not bench.board.updater.saved.quarantine
    bench.update(bundle, (1, 0, 0))


@pytest.mark.parametrize("code", ["HT621", "HT603"])
def test_what_fails_in_every_first_step_is_tried_more_and_more_rarely_and_said_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    asked: list[int] = []

    def fails(*_: Any) -> None:
        raise DeviceError(code, "kitchen", "planted")

    def counts(failures: int, *_: float) -> float:
        asked.append(failures)
        return 0.01

    monkeypatch.setattr(gateway_port.Visit, "_try", fails)
    monkeypatch.setattr(gateway_port, "backoff_s", counts)
    with caplog.at_level(logging.INFO):
        bench.push(make_bundle("1.0.0"), (1, 0, 0))
        until(lambda: len(asked) >= 5, why="five tries")
    assert asked[:5] == [0, 1, 2, 3, 4]
    assert sum("planted" in one.getMessage() for one in caplog.records) == 1
    assert not bench.board.updater.saved.results
