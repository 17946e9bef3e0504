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
    Phase,
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
        verify: Checks signature, hardware and digest; raises HardtackError. The structure is
            checked by the trial, in its own process.
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
        counts_trials: As in `State`.
    """

    def __init__(self, store: SlotStore, ports: Ports, *, counts_trials: bool = True) -> None:
        self._store = store
        self._ports = ports
        self._state = State(saved=store.load(), counts_trials=counts_trials)
        self._events: deque[Event] = deque()

    @property
    def saved(self) -> Saved:
        """What is on the disk."""
        return self._state.saved

    @property
    def fetching(self) -> bool:
        """True while blocks are wanted."""
        return self._state.saved.phase is Phase.FETCHING

    def start(self) -> None:
        """Recover whatever the last run left behind, and go on from it.

        Raises:
            DeviceError: HT612, a slot cannot be read.
        """
        self.handle(Started(self._store.found()))
        self._store.sweep(self._state.saved)

    def handle(self, event: Event) -> None:
        """Take one event, and all that follow from it at once."""
        self._events.append(event)
        self.drain()

    @property
    def stalled(self) -> bool:
        """True when the state file could not be written; `drain` tries again."""
        return bool(self._events)

    def drain(self) -> None:
        """Handle what is queued.

        When the state file cannot be written the event counts as not having happened, and stays
        queued: a full disk delays an update, it does not stop the agent.
        """
        while self._events:
            before = self._state
            self._state, actions = update.step(before, self._events[0])
            try:
                answers = [self._do(action) for action in actions]
            except OSError as error:
                _log.error("the disk failed (%s); trying again", error)
                self._state = before
                return
            except Exception:
                # A fault of ours: the same event would meet it for ever, and all behind it wait.
                self._events.popleft()
                raise
            self._events.popleft()
            self._events.extendleft(answer for answer in reversed(answers) if answer is not None)

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
