"""What `hardtack watch` makes of what devices told."""

from __future__ import annotations

import time
from pathlib import Path

from hardtack.cli.watch import _notes, _troubles
from hardtack.fleet.store import Store
from hardtack_agent.telemetry import Note

FAULT = dict.fromkeys(("pc", "lr", "psr", "cause", "operator", "count"), 1)


def test_a_note_cannot_speak_for_another_device(tmp_path: Path) -> None:
    store = Store(tmp_path / "fleet.db")
    false = {**FAULT, "device": "kitchen", "kind": "log", "time_s": 0}
    store.add_telemetry("cellar", bytes(16), [(1, Note("fault", int(time.time()), false))])
    (note,) = _notes(store, 60)
    assert (note["device"], note["kind"]) == ("cellar", "fault")
    assert [line.split()[0] for line in _troubles(store, 60)] == ["cellar"]
    store.close()
