"""Does what the update state machine asks for, and tells it what came of it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from hardtack_agent import update
from hardtack_agent.events import (
    Action,
    Activate,
    Ask,
    Discard,
    Erase,
    Event,
    Install,
    Refused,
    Report,
    Reserve,
    Reserved,
    RunTrial,
    Save,
    Saved,
    Started,
    State,
    StoreBlock,
    Switched,
    Verified,
    Verify,
)
from hardtack_agent.slots import SlotStore
from hardtack_runtime.bundle import Header
from hardtack_runtime.errors import HardtackError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ports:
    """What lies outside the store.

    Attributes:
        verify: Checks signature, hardware, digest and structure; raises HardtackError.
        trial: Begins a trial; its end comes back as an event.
        activate: Loads the active slot of a model.
        ask: Sends a request for blocks.
        report: Sends how a job stands.
    """

    verify: Callable[[bytes], Header]
    trial: Callable[[RunTrial], None]
    activate: Callable[[str], None]
    ask: Callable[[Ask], None]
    report: Callable[[Report], None]


class Updater:
    """The one job in hand, and the slots.

    Not thread-safe: one thread feeds it events.

    Args:
        store: Where bundles and state lie.
        ports: What lies outside.
    """

    def __init__(self, store: SlotStore, ports: Ports) -> None:
        self._store = store
        self._ports = ports
        self._state = State(saved=store.load())

    @property
    def saved(self) -> Saved:
        """What is on the disk."""
        return self._state.saved

    @property
    def fetching(self) -> bool:
        """True while blocks are wanted."""
        return self._state.saved.phase is update.Phase.FETCHING

    def start(self) -> None:
        """Recover whatever the last run left behind, and go on from it."""
        self.handle(Started(self._store.found()))
        self._store.sweep(self._state.saved)

    def handle(self, event: Event) -> None:
        """Take one event, and all that follow from it at once.

        Raises:
            OSError: the state file cannot be written: the agent must stop, not guess.
        """
        events = deque([event])
        while events:
            self._state, actions = update.step(self._state, events.popleft())
            for action in actions:
                answer = self._do(action)
                if answer is not None:
                    events.append(answer)

    def _do(self, action: Action) -> Event | None:
        try:
            return self._perform(action)
        except HardtackError as error:
            _log.warning("%s: %s", error.code, error)
            return Refused(error.code, str(error))

    def _perform(self, action: Action) -> Event | None:
        answer: Event | None = None
        match action:
            case Save():
                self._store.save(self._state.saved)
            case Reserve():
                answer = Reserved(self._store.reserve(action.offer))
            case StoreBlock():
                self._store.store_block(action.offer, action.index, action.data)
            case Verify():
                header = self._ports.verify(self._store.sealed(action.offer))
                answer = Verified(header.name, header.version, header.model_id.hex())
            case Install():
                self._store.install(action.offer, action.slot)
                answer = Switched()
            case Discard():
                self._store.discard(action.sha256)
            case Erase():
                self._store.erase(action.name, action.slot)
            case RunTrial():
                self._ports.trial(action)
            case Activate():
                self._ports.activate(action.name)
            case Ask():
                self._ports.ask(action)
            case Report():
                self._ports.report(action)
        return answer
