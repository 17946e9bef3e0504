"""The spool loses nothing and doubles nothing, killed wherever it may be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from hardtack_agent.spool import Mark, Spool
from hardtack_agent.telemetry import Note, Outcome, Record, Window
from hardtack_runtime.errors import DeviceError

EMPTY = Window("digits", (1, 0, 0), bytes(16), 1000, 1000)
OTHER = Window("words", (1, 0, 0), bytes(15) + b"\1", 1000, 1000)


def as_window(record: Record) -> Window:
    assert isinstance(record, Window)
    return record


moves = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 5)),
        st.tuples(st.just("add other"), st.integers(1, 5)),
        st.tuples(st.just("flush"), st.just(0)),
        st.tuples(st.just("deliver"), st.integers(1, 4)),
        st.tuples(st.just("lose the answer"), st.integers(1, 4)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(moves, st.integers(1, 4))
def test_every_sample_reaches_the_other_side_once(steps: list[tuple[str, int]], most: int) -> None:
    received: dict[tuple[bytes, int], Window] = {}
    made = 0
    with tempfile.TemporaryDirectory() as folder:
        path, boot = Path(folder) / "spool.db", 1
        spool = Spool(path, bytes([boot]) * 16, max_records=most)
        for what, count in [*steps, ("flush", 0), ("deliver", 99), ("flush", 0), ("deliver", 99)]:
            if what.startswith("add"):
                spool.add(EMPTY if what == "add" else OTHER, [Outcome(latency_us=9)] * count, 1001)
                made += count
            elif what == "flush":
                spool.flush()
            elif what == "restart":
                boot += 1
                spool.close()
                spool = Spool(path, bytes([boot]) * 16, max_records=most)
            else:
                while batch := spool.pending(count):
                    received.update(
                        {(batch[0], seq): as_window(window) for seq, window in batch[1]}
                    )
                    if what == "lose the answer":
                        break
                    spool.acknowledge(batch[0], [seq for seq, _ in batch[1]])
        assert sum(window.samples for window in received.values()) == made
        assert spool.totals().samples == made
        assert spool.totals().records == len(received)
        assert spool.waiting() == 0
        spool.close()


def test_a_full_spool_keeps_windows_open(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", bytes(16), max_records=2)
    for _ in range(5):
        spool.add(EMPTY, [Outcome()], 1001)
        spool.flush()
    assert spool.waiting() == 2
    boot, records = spool.pending(9) or (b"", [])
    spool.acknowledge(boot, [seq for seq, _ in records])
    assert spool.flush() == 1
    assert [as_window(one).samples for _, one in (spool.pending(9) or (b"", []))[1]] == [3]


def test_kill_9_keeps_what_was_said_to_be_counted(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import itertools, sys
        from pathlib import Path
        from hardtack_agent.spool import Mark, Spool
        from hardtack_agent.telemetry import Note, Outcome, Record, Window
        spool = Spool(Path(sys.argv[1]), sys.argv[2].encode() * 16)
        window = Window("digits", (1, 0, 0), bytes(16), 1000, 1000)
        for n in itertools.count(1):
            spool.add(window, [Outcome()], 1001)
            print(n, flush=True)
            if n % 7 == 0:
                spool.flush()
    """)
    path, said = tmp_path / "spool.db", 0
    for run in "abcde":
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(path), run], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        for _ in range(40 + ord(run) % 7):
            child.stdout.readline()
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read().decode().split()
        said += max([int(word) for word in rest], default=40 + ord(run) % 7)
        child.wait()
    spool = Spool(path, b"z" * 16)
    # A sample may have been counted by the file and killed before it was said, once per run.
    assert said <= spool.totals().samples <= said + 5


def test_a_full_disk_delays_telemetry_and_loses_none(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", bytes(16))
    pages = spool._db.execute("PRAGMA page_count").fetchone()[0]
    spool._db.execute(f"PRAGMA max_page_count={pages}")
    full = 0
    for n in range(400):
        window = Window(f"model-{n}", (1, 0, 0), n.to_bytes(16, "big"), 1000, 1000)
        spool.add(window, [Outcome(latency_us=n)], 1001)
    try:
        spool.flush()
    except DeviceError as error:
        full = error.code == "HT603"
    assert full
    spool._db.execute("PRAGMA max_page_count=100000")
    assert spool.flush() == 400
    assert spool.totals().samples == 400


BOARD, NEXT_BOOT = b"\x0b" * 16, b"\x0c" * 16


def test_what_a_board_tells_twice_is_taken_once_also_after_it_was_delivered(tmp_path: Path) -> None:
    for start in range(40):  # a gateway may start often while the board stays on
        spool = Spool(tmp_path / "spool.db", bytes([start]) * 16)
        took = [spool.take(EMPTY, Mark(BOARD, "window", seq), numbered=True) for seq in (1, 2)]
        assert took == [start == 0] * 2
        while batch := spool.pending(9):
            assert batch[0] == BOARD
            assert [seq for seq, _ in batch[1]] == [1, 2]
            spool.acknowledge(batch[0], [seq for seq, _ in batch[1]])
        assert spool.mark(BOARD, "window") == 2
        spool.close()
    spool = Spool(tmp_path / "spool.db", b"z" * 16)
    assert spool.take(EMPTY, Mark(NEXT_BOOT, "window", 1), numbered=True)
    assert spool.totals().records == 3


def test_notes_wait_beside_windows_under_numbers_of_their_own(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", bytes(16))
    note = Note("log", 7, {"text": "slot A"})
    assert spool.take(note, Mark(BOARD, "log", 6))
    assert not spool.take(note, Mark(BOARD, "log", 6))
    assert not spool.take(note, Mark(BOARD, "log", 5))
    spool.take(EMPTY, Mark(BOARD, "window", 9), numbered=True)
    assert spool.pending(9) == (bytes(16), [(1, note)])
    spool.acknowledge(bytes(16), [1])
    assert spool.pending(9) == (BOARD, [(9, EMPTY)])


def test_marks_are_bounded_and_the_newest_stay(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", bytes(16))
    for boot in range(300):
        spool.take(EMPTY, Mark(boot.to_bytes(16, "big"), "window", 1), numbered=True)
    assert spool.mark((299).to_bytes(16, "big"), "window") == 1
    assert spool.mark((0).to_bytes(16, "big"), "window") == 0


def test_a_boot_that_still_speaks_keeps_all_its_marks(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", bytes(16))
    layers = Note("layers", 7, {"model": "digits@1.0.0", "ticks_per_s": 1, "ticks": [1]})
    assert spool.take(layers, Mark(BOARD, "layers", 1))
    for seq in range(1, 301):
        spool.take(EMPTY, Mark(BOARD, "window", seq), numbered=True)
    assert not spool.take(layers, Mark(BOARD, "layers", 1))


def test_gossip_of_boards_leaves_room_for_predictions_and_faults(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", bytes(16), max_records=10)
    for at in range(1, 20):
        assert spool.take(Note("log", at, {"text": "x"}), Mark(BOARD, "log", at))
    assert spool.waiting() == 5
    assert spool.take(Note("fault", 1, {"pc": 1}), Mark(BOARD, "fault 1", 1))
    assert spool.take(EMPTY, Mark(BOARD, "window", 1), numbered=True)
    assert spool.waiting() == 7
