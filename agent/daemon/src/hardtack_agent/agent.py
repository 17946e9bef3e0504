"""The agent of a Linux device: holds models, answers predictions, tries updates in a process.

Predictions never wait for updates or telemetry: they have threads of their own.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import Any

import hardtack_agent
from hardtack_agent.config import AgentConfig
from hardtack_agent.events import RunTrial, TrialEnded
from hardtack_agent.inference import Models
from hardtack_agent.member import Member
from hardtack_agent.server import PredictionServer
from hardtack_agent.telemetry import Outcome, Window
from hardtack_agent.trial import try_in_process
from hardtack_runtime.bundle import Header, verify
from hardtack_runtime.errors import HardtackError
from hardtack_runtime.signing import Keyring

_log = logging.getLogger(__name__)


class Agent(Member):
    """Everything one Linux device runs; errors as `Member`.

    Args:
        config: What agent.toml says.
    """

    hardware = ""
    software = hardtack_agent.__version__

    def __init__(self, config: AgentConfig) -> None:
        super().__init__(config, config.device, config.state_dir)
        self.hardware = config.hardware
        self.models = Models(self._record)
        self._server = PredictionServer(config.socket_path, self.models, self._status)

    def begin(self) -> None:
        """Load what is active and answer predictions."""
        for name, pair in self.updater.saved.models.items():
            if pair.active is not None:
                self.activate(name)
        self._server.start()

    def end(self) -> None:
        """Answer no more."""
        self._server.stop()

    def verify(self, data: bytes) -> Header:
        """Check signature, hardware and digest."""
        return verify(data, Keyring.load(self.config.trusted_keys), self.hardware)

    def start_trial(self, trial: RunTrial) -> None:
        """Try it in another process."""
        threading.Thread(target=self._try, args=(trial,), name="trial", daemon=True).start()

    def _try(self, trial: RunTrial) -> None:
        path = self.store.slot_path(trial.name, trial.slot)
        verdict = try_in_process(path, self.config.trial_timeout_s)
        ended = TrialEnded(trial.job_id, verdict.code, verdict.detail, verdict.again)
        self.do(partial(self.updater.handle, ended))

    def activate(self, name: str) -> None:
        """Answer predictions from the active slot of a model."""
        try:
            self.models.load(name, self.store.read_active(self.updater.saved, name))
        except HardtackError as error:
            _log.error("%s: %s", error.code, error)
        self.publish_birth()

    def _record(self, window: Window, outcome: Outcome) -> None:
        self.spool.add(window, [outcome], int(time.time()))

    def _status(self) -> dict[str, Any]:
        totals = self.spool.totals()
        return {
            "device": self.device,
            "boot_id": self.boot_id.hex,
            "connected": self.connection.connected,
            "models": [state.model_dump(mode="json") for state in self.model_states()],
            "waiting_records": self.spool.waiting(),
            "finished_records": totals.records,
            "finished_samples": totals.samples,
        }
