"""A gateway and the real firmware, the line cut at every N-th byte of an update."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hardtack_agent import gateway_port
from hardtack_agent.config import AgentConfig
from hardtack_agent.events import BlockArrived, Listed, Result
from hardtack_agent.gateway import Gateway
from hardtack_agent.gateway_board import Board
from hardtack_agent.messages import make_offer
from hardtack_agent.serial_link import Frame, Type, encode_frame
from hardtack_agent.serial_messages import Input, Run
from tests.digit_bundles import KEY, make_bundle, sample
from tests.end_to_end.fleet import until
from tests.firmware.cable import Cable
from tests.firmware.test_posix import Device

STEP = 23


class Bench:
    """A gateway in this process, without a broker: jobs are put into the board's hands."""

    def __init__(self, folder: Path, operators: Path | None = None) -> None:
        self.folder = folder
        self.device = Device(folder, operators)
        self.device.start().line.close()
        self.cable = Cable(lambda: self.device.port)
        KEY.verify_key.save(folder / "keys" / "fleet.pub")
        config = AgentConfig.model_validate({
            "device": "pi-1", "broker": "mqtt://127.0.0.1:1", "state_dir": folder / "state",
            "trusted_keys": folder / "keys", "telemetry_period_s": 3600,
            "gateway": {
                "poll_s": 3600, "devices": [{"name": "kitchen", "port": self.cable.address}],
            },
        })  # fmt: skip
        self.gateway = Gateway(config)
        self.gateway.start()
        until(lambda: "kitchen" in self.gateway._boards and self.board.present, why="the board")
        self._jobs = 0

    @property
    def board(self) -> Board:
        return self.gateway._boards["kitchen"][0]

    def push(self, bundle: bytes, version: tuple[int, int, int]) -> str:
        """Hand a bundle over as the server would, in place of any other job; return its job."""
        self._jobs += 1
        job_id = f"{self._jobs:08x}"
        offer = make_offer(job_id, "digits", version, bundle, block_size=1 << 20)
        head = bytes.fromhex(offer.sha256)[:16]

        def hand_over() -> None:
            self.board.updater.handle(Listed(int(job_id, 16), (offer,)))
            self.board.updater.handle(BlockArrived(head, 0, bundle))

        self.board.do(hand_over)
        return job_id

    def result(self, job_id: str) -> Result:
        """Wait for the end of a job."""

        def ended() -> list[Result]:
            return [one for one in self.board.updater.saved.results if one.job_id == job_id]

        until(lambda: bool(ended()), why=f"job {job_id}")
        return ended()[0]

    def update(self, bundle: bytes, version: tuple[int, int, int]) -> None:
        """Push a bundle and wait until the board has confirmed it."""
        result = self.result(self.push(bundle, version))
        assert (result.state, result.code, result.attempt) == ("confirmed", "", 1), result

    def close(self) -> None:
        self.gateway.stop()
        self.cable.close()
        self.device.kill()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(gateway_port, "FIRST_WAIT_S", 0.01)
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.mark.slow
def test_a_cut_at_every_nth_byte_of_an_update_costs_nothing(bench: Bench) -> None:
    bench.update(make_bundle("1.0.0", ballast=6), (1, 0, 0))
    cuts = reach = 0
    while not bench.cable.cut_at:  # until an update is over before the cut
        cuts += 1
        reach += STEP
        bench.cable.cut_at = bench.cable.carried + reach
        bench.update(make_bundle(f"1.{cuts}.0", ballast=6), (1, cuts, 0))
    bench.cable.cut_at = 0
    assert cuts > 50
    print(f"{cuts - 1} cuts, one every {STEP} bytes of {reach}")


def test_what_a_board_has_counted_is_taken_before_the_reset_that_would_lose_it(
    bench: Bench,
) -> None:
    bench.update(make_bundle("1.0.0"), (1, 0, 0))
    # The board's application predicts; the gateway has just looked, and would not look for hours.
    codes = sample(2).astype("int8").tobytes()
    for run in (1000, 1001, 1002):
        bench.cable.send(encode_frame(Frame(Type.INPUT, 65535, Input(run, 0, codes).encode())))
        bench.cable.send(encode_frame(Frame(Type.RUN, 65535, Run(run, 2).encode())))
    bench.update(make_bundle("1.1.0"), (1, 1, 0))
    totals = bench.board.spool.totals()
    assert (totals.samples, totals.labelled, totals.correct) == (3, 3, 3)
