"""What the update state machine knows, hears and asks for; plain data.

Source: SPEC section 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

from hardtack_agent.messages import JobState, Offer

SlotName = Literal["a", "b"]
Version = tuple[int, int, int]


class Phase(StrEnum):
    """Where the one job in hand stands."""

    IDLE = "idle"
    FETCHING = "fetching"
    VERIFYING = "verifying"
    INSTALLING = "installing"
    TRIAL = "trial"


@dataclass(frozen=True, slots=True)
class SlotRecord:
    """A complete, verified bundle in a slot."""

    sha256: str
    version: Version
    model_id: str


@dataclass(frozen=True, slots=True)
class ModelSlots:
    """The pair of slots of one model.

    Attributes:
        a: What slot a holds for certain; None when empty or being written.
        b: The same of slot b.
        active: The slot predictions come from.
        floor: Highest version ever confirmed, and its digest: nothing older is let in.
    """

    a: SlotRecord | None = None
    b: SlotRecord | None = None
    active: SlotName | None = None
    floor: tuple[Version, str] | None = None

    def get(self, slot: SlotName) -> SlotRecord | None:
        """Return what a slot holds."""
        return self.a if slot == "a" else self.b

    def put(self, slot: SlotName, record: SlotRecord | None) -> ModelSlots:
        """Return the pair with one slot changed."""
        return replace(self, a=record) if slot == "a" else replace(self, b=record)

    @property
    def inactive(self) -> SlotName:
        """The slot the next bundle goes to."""
        return "b" if self.active == "a" else "a"


@dataclass(frozen=True, slots=True)
class Result:
    """How a job ended; kept to answer a server that asks again."""

    job_id: str
    state: JobState
    attempt: int = 0
    code: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Saved:
    """What survives a restart (SPEC section 5.2).

    Attributes:
        models: The slots of each model.
        phase: Where the job in hand stands.
        job: The job in hand.
        trials: Trials begun of it, counted before each one.
        target: Slot it goes to, from INSTALLING on.
        candidate: What that slot will hold once the file is in it.
        results: The last jobs' ends.
        quarantine: Digests that failed their trial, and the code.
    """

    models: Mapping[str, ModelSlots] = field(default_factory=dict)
    phase: Phase = Phase.IDLE
    job: Offer | None = None
    trials: int = 0
    target: SlotName = "a"
    candidate: SlotRecord | None = None
    results: tuple[Result, ...] = ()
    quarantine: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class State:
    """Everything `step` knows.

    Attributes:
        saved: On the disk too.
        rev: Of the newest job list.
        offers: What that list still wants.
        missing: Blocks not held, of the job in hand.
        bad_blocks: Blocks that came damaged.
        counts_trials: Whether a bundle is given up after three trials; False when the device does
            that itself (SPEC section 6.4).
    """

    saved: Saved = Saved()
    rev: int = -1
    offers: tuple[Offer, ...] = ()
    missing: frozenset[int] = frozenset()
    bad_blocks: int = 0
    counts_trials: bool = True


@dataclass(frozen=True, slots=True)
class Started:
    """The agent starts; `found` is the digest of each slot file as it lies on the disk."""

    found: Mapping[tuple[str, SlotName], str]


@dataclass(frozen=True, slots=True)
class Runs:
    """A device whose slots we do not hold says what it runs.

    Attributes:
        name: The model's; empty when it runs none.
        record: Its bundle.
        replaced: It is another device than before: what was confirmed or failed there binds it
            not.
    """

    name: str = ""
    record: SlotRecord | None = None
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """The server's list of open jobs."""

    rev: int
    offers: tuple[Offer, ...]


@dataclass(frozen=True, slots=True)
class Reserved:
    """Space is taken; these blocks of the download were there already."""

    present: frozenset[int]


@dataclass(frozen=True, slots=True)
class BlockArrived:
    """A block frame came."""

    sha256_head: bytes
    index: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Timeout:
    """Nothing came for a while, or the connection is back."""


@dataclass(frozen=True, slots=True)
class Verified:
    """Digest, signature and hardware are right; this is what the signed header says."""

    name: str
    version: Version
    model_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The disk or the verifier said no."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Switched:
    """The bundle lies in its slot, durably."""


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """The trial is over.

    Attributes:
        job_id: Whose.
        code: Why it failed; empty when it passed.
        detail: In words.
        again: It may be worth repeating.
        unfit: The device cannot take the bundle as it is now; the bundle did not fail.
    """

    job_id: str
    code: str = ""
    detail: str = ""
    again: bool = False
    unfit: bool = False


Event = (
    Started
    | Runs
    | Listed
    | Reserved
    | BlockArrived
    | Timeout
    | Verified
    | Refused
    | Switched
    | TrialEnded
)


@dataclass(frozen=True, slots=True)
class Save:
    """Write `saved` durably before any later action."""


@dataclass(frozen=True, slots=True)
class Reserve:
    """Take the space of a download and say which blocks are there: Reserved or Refused."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class StoreBlock:
    """Write a checked block into the download; Refused when the disk says no."""

    offer: Offer
    index: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the server for blocks."""

    sha256: str
    blocks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Verify:
    """Sync and verify the download: Verified or Refused."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class Install:
    """Move the download into a slot: Switched or Refused."""

    offer: Offer
    slot: SlotName


@dataclass(frozen=True, slots=True)
class RunTrial:
    """Replay the golden vectors of a slot: TrialEnded."""

    job_id: str
    name: str
    slot: SlotName


@dataclass(frozen=True, slots=True)
class Discard:
    """Remove a download."""

    sha256: str


@dataclass(frozen=True, slots=True)
class Erase:
    """Empty a slot."""

    name: str
    slot: SlotName


@dataclass(frozen=True, slots=True)
class Activate:
    """Answer predictions from the active slot of this model from now on."""

    name: str


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the server how a job stands."""

    result: Result
    done: int = 0
    total: int = 0


Action = (
    Save | Reserve | StoreBlock | Ask | Verify | Install | RunTrial | Discard | Erase | Activate
    | Report
)  # fmt: skip
