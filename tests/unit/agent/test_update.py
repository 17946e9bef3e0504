"""The update state machine: single facts by table, then every state it can reach."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import pytest

from hardtack_agent.events import (
    Action,
    Activate,
    Ask,
    BlockArrived,
    Discard,
    Erase,
    Event,
    Install,
    Listed,
    ModelSlots,
    Phase,
    Refused,
    Report,
    Reserve,
    Reserved,
    Runs,
    RunTrial,
    Save,
    Saved,
    SlotName,
    SlotRecord,
    Started,
    State,
    StoreBlock,
    Switched,
    Timeout,
    TrialEnded,
    Verified,
    Verify,
)
from hardtack_agent.messages import Offer, make_offer
from hardtack_agent.update import MAX_BAD_BLOCKS, MAX_TRIALS, step

DATA = bytes(range(256)) * 4
NEW = make_offer("0000000a", "digits", (2, 0, 0), DATA, block_size=512)
OTHER = make_offer("0000000b", "digits", (3, 0, 0), DATA[::-1], block_size=512)
OLD = SlotRecord("11" * 32, (1, 0, 0), "22" * 16)
RUNNING = Saved(models={"digits": ModelSlots(a=OLD, active="a", floor=((1, 0, 0), "11" * 32))})
HEAD = bytes.fromhex(NEW.sha256)[:16]
GOOD = Verified("digits", (2, 0, 0), "33" * 16)


def block(offer: Offer, data: bytes, index: int) -> BlockArrived:
    size = offer.block_size
    head = bytes.fromhex(offer.sha256)[:16]
    return BlockArrived(head, index, data[index * size : (index + 1) * size])


def after(*events: Event, start: Saved = RUNNING) -> tuple[State, list[Action]]:
    state = State(saved=start)
    actions: list[Action] = []
    for event in events:
        state, more = step(state, event)
        actions = more
    return state, actions


LISTED = Listed(1, (NEW,))
FETCHED = (LISTED, Reserved(frozenset()), block(NEW, DATA, 0), block(NEW, DATA, 1))
ON_TRIAL = (*FETCHED, GOOD, Switched())


def kinds(actions: list[Action]) -> list[type]:
    return [type(action) for action in actions]


def test_the_straight_way_confirms_the_new_slot() -> None:
    state, actions = after(*ON_TRIAL, TrialEnded(NEW.job_id))
    slots = state.saved.models["digits"]
    assert (slots.active, slots.a, slots.b and slots.b.sha256) == ("b", OLD, NEW.sha256)
    assert kinds(actions) == [Save, Activate, Discard, Report]
    assert state.saved.results[-1].state == "confirmed"


def test_a_failed_trial_leaves_the_old_slot_active_and_quarantines_the_bundle() -> None:
    state, actions = after(*ON_TRIAL, TrialEnded(NEW.job_id, "HT606", "layer 3 differs"))
    slots = state.saved.models["digits"]
    assert (slots.active, slots.a, slots.b) == ("a", OLD, None)
    assert state.saved.quarantine == {NEW.sha256: "HT606"}
    assert kinds(actions) == [Save, Erase, Discard, Report]
    again, _ = step(state, Listed(2, (NEW.model_copy(update={"job_id": "0000000c"}),)))
    assert again.saved.results[-1].code == "HT705"


def test_a_device_that_cannot_take_a_bundle_as_it_is_does_not_quarantine_it() -> None:
    state, actions = after(*ON_TRIAL, TrialEnded(NEW.job_id, "HT502", "no such", unfit=True))
    assert (state.saved.results[-1].state, state.saved.quarantine) == ("failed", {})
    assert kinds(actions) == [Save, Erase, Discard, Report]
    again, _ = step(state, Listed(2, (NEW.model_copy(update={"job_id": "0000000c"}),)))
    assert again.saved.phase is Phase.FETCHING


def test_a_trial_is_counted_on_disk_before_it_runs() -> None:
    state, actions = after(*ON_TRIAL)
    assert state.saved.trials == 1
    assert kinds(actions).index(Save) < kinds(actions).index(RunTrial)


def test_a_bundle_that_kills_the_agent_is_given_up() -> None:
    state, _ = after(*ON_TRIAL)
    for _ in range(MAX_TRIALS):
        found = {("digits", "a"): OLD.sha256, ("digits", "b"): NEW.sha256}
        state, actions = step(State(saved=state.saved), Started(found))  # type: ignore[arg-type]
    assert state.saved.phase is Phase.IDLE
    assert state.saved.results[-1].code == "HT607"
    assert Erase in kinds(actions)


def test_only_missing_blocks_are_asked_after_a_restart() -> None:
    state, actions = after(LISTED, Reserved(frozenset({0})))
    assert actions == [Ask(NEW.sha256, (1,))]
    assert state.missing == {1}


def test_a_damaged_block_costs_itself_only() -> None:
    damaged = replace(block(NEW, DATA, 1), data=bytes(512))
    state, actions = after(*FETCHED[:3], damaged)
    assert actions == [Ask(NEW.sha256, (1,))]
    assert state.missing == {1}


def test_endless_damage_ends_the_job() -> None:
    damaged = replace(block(NEW, DATA, 1), data=bytes(512))
    state, _ = after(*FETCHED[:3], *[damaged] * (MAX_BAD_BLOCKS + 1))
    assert state.saved.results[-1].code == "HT702"


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(replace(block(NEW, DATA, 0), sha256_head=bytes(16)), id="of another bundle"),
        pytest.param(replace(block(NEW, DATA, 0), index=2), id="beyond the end"),
        pytest.param(block(NEW, DATA, 0), id="held already"),
        pytest.param(TrialEnded(NEW.job_id), id="trial of another phase"),
        pytest.param(GOOD, id="verified too early"),
        pytest.param(Listed(0, ()), id="an older list"),
    ],
)
def test_what_is_not_expected_changes_nothing(event: Event) -> None:
    state, _ = after(*FETCHED[:3])
    assert step(state, event) == (state, [])


@pytest.mark.parametrize(
    ("offer", "code"),
    [
        pytest.param(make_offer("0000000d", "digits", (0, 9, 0), DATA), "HT703", id="older"),
        pytest.param(make_offer("0000000d", "digits", (1, 0, 0), DATA), "HT703", id="same, other"),
    ],
)
def test_going_back_is_refused_before_the_download(offer: Offer, code: str) -> None:
    state, actions = after(Listed(1, (offer,)))
    assert state.saved.results[-1].code == code
    assert Reserve not in kinds(actions)


def test_a_header_that_differs_from_the_offer_is_refused() -> None:
    state, _ = after(*FETCHED, Verified("digits", (9, 0, 0), ""))
    assert state.saved.results[-1].code == "HT212"


def test_no_space_is_final() -> None:
    state, actions = after(LISTED, Refused("HT603", "full"))
    assert state.saved.results[-1].code == "HT603"
    assert Ask not in kinds(actions)


@pytest.mark.parametrize("so_far", range(1, len(ON_TRIAL) + 1))
def test_the_server_can_cancel_at_every_step(so_far: int) -> None:
    state, _ = after(*ON_TRIAL[:so_far])
    state, actions = step(state, Listed(2, ()))
    assert state.saved.results[-1].state == "cancelled"
    assert Discard in kinds(actions)
    assert state.saved.models["digits"].active == "a"
    assert not state.saved.quarantine


def test_a_result_is_told_again_when_the_server_asks_again() -> None:
    state, _ = after(*ON_TRIAL, TrialEnded(NEW.job_id))
    _, actions = step(state, LISTED)
    assert [a.result.state for a in actions if isinstance(a, Report)] == ["confirmed"]


def test_a_rotten_active_slot_falls_back_to_the_other() -> None:
    state, _ = after(*ON_TRIAL, TrialEnded(NEW.job_id))
    state, _ = step(State(saved=state.saved), Started({("digits", "a"): OLD.sha256}))
    assert state.saved.models["digits"].active == "a"


def test_nothing_falls_back_to_a_slot_on_trial() -> None:
    state, _ = after(*ON_TRIAL)
    state, _ = step(State(saved=state.saved), Started({("digits", "b"): NEW.sha256}))
    slots = state.saved.models["digits"]
    assert (slots.active, state.saved.phase) == (None, Phase.TRIAL)
    state, _ = step(state, TrialEnded(NEW.job_id))
    assert state.saved.models["digits"].active == "b"


def events_for(state: State) -> Iterator[Event]:
    """Return everything that may come, whether it fits or not."""
    yield from (Listed(1, offers) for offers in ((), (NEW,), (OTHER,), (NEW, OTHER)))
    yield from (Reserved(frozenset()), Reserved(frozenset({0})), Reserved(frozenset({0, 1})))
    for offer, data in ((NEW, DATA), (OTHER, DATA[::-1])):
        yield from (block(offer, data, index) for index in (0, 1))
        yield Verified("digits", offer.version, "33" * 16)
        yield TrialEnded(offer.job_id)
        yield TrialEnded(offer.job_id, "HT606", "differs")
        yield TrialEnded(offer.job_id, "HT607", "hung", again=True)
    yield from (Refused("HT701", "no"), Switched(), Timeout(), Verified("else", (1, 0, 0), ""))
    found: dict[tuple[str, SlotName], str] = {}
    for slot in ("a", "b"):
        record = state.saved.models["digits"].get(slot)
        if record is not None:
            found["digits", slot] = record.sha256
    yield Started(found)
    if state.saved.job is not None and state.saved.phase is Phase.INSTALLING:
        yield Started({**found, ("digits", state.saved.target): state.saved.job.sha256})


def check(before: State, event: Event, state: State, actions: list[Action]) -> None:
    """What must hold after any step from any state."""
    slots = state.saved.models["digits"]
    assert slots.active is not None
    assert slots.get(slots.active) is not None, "the active slot is always complete"
    assert state.saved.trials <= MAX_TRIALS
    assert (state.saved.job is None) == (state.saved.phase is Phase.IDLE)
    if state.saved != before.saved and state.saved.phase is not Phase.VERIFYING:
        assert Save in kinds(actions), "what changed is saved"
    ended = [result.job_id for result in state.saved.results]
    assert len(ended) == len(set(ended)), "a job ends once"
    for action in actions:
        if isinstance(action, Install | Erase | RunTrial):
            assert before.saved.models["digits"].active != action.slot
        if isinstance(action, Reserve):
            assert action.offer.sha256 not in state.saved.quarantine
        if isinstance(action, RunTrial | Install | Activate):
            place = kinds(actions).index(type(action))
            assert Save in kinds(actions)[:place]
    if slots.active != before.saved.models["digits"].active:
        assert isinstance(event, TrialEnded)
        assert not event.code


def test_every_reachable_state_keeps_the_promises() -> None:
    start = State(saved=RUNNING)
    seen, queue, steps = {repr(start)}, deque([start]), 0
    while queue:
        before = queue.popleft()
        for event in events_for(before):
            state, actions = step(before, event)
            steps += 1
            check(before, event, state, actions)
            state = replace(state, bad_blocks=0)
            if repr(state) not in seen:
                seen.add(repr(state))
                queue.append(state)
    assert len(seen) > 200
    assert steps > 4000


FOUND = SlotRecord("44" * 32, (5, 0, 0), "55" * 16)
ON_BOARD = (OLD, SlotRecord(NEW.sha256, NEW.version, "33" * 16), FOUND)


def check_board(before: State, event: Event, state: State, actions: list[Action]) -> None:
    """What must hold for a board, which says itself what it runs."""
    pair = state.saved.models["digits"]
    assert pair.active is None or pair.get(pair.active) is not None, "what runs is known"
    if isinstance(event, Runs):
        running = pair.get(pair.active) if pair.active is not None else None
        assert (running and running.sha256) == (event.record and event.record.sha256)
        assert (state.saved.phase, state.saved.job) == (before.saved.phase, before.saved.job)
    assert (state.saved.job is None) == (state.saved.phase is Phase.IDLE)
    if state.saved.phase is Phase.TRIAL:
        assert pair.get(state.saved.target) is not None, "what is on trial is kept"
    for action in actions:
        if isinstance(action, Install | Erase):
            assert before.saved.models["digits"].active != action.slot


def test_every_reachable_state_of_a_board_keeps_the_promises() -> None:
    start = State(saved=RUNNING, counts_trials=False)
    seen, queue = {repr(start)}, deque([start])
    while queue:
        before = queue.popleft()
        told = [Runs("digits", record) for record in ON_BOARD]
        one_job = (event for event in events_for(before) if OTHER.job_id not in repr(event))
        for event in (*one_job, *told, Runs(), Runs(replaced=True)):
            state, actions = step(before, event)
            check_board(before, event, state, actions)
            saved = replace(state.saved, trials=min(state.saved.trials, 2), quarantine={})
            saved = replace(saved, results=tuple(replace(one, attempt=0) for one in saved.results))
            state = replace(state, bad_blocks=0, saved=saved)
            if repr(state) not in seen:
                seen.add(repr(state))
                queue.append(state)
    assert len(seen) > 500


def test_storing_comes_before_verifying() -> None:
    _, actions = after(*FETCHED)
    assert kinds(actions) == [StoreBlock, Report, Verify]


def test_what_a_board_runs_is_believed_whoever_put_it_there() -> None:
    state, actions = step(State(saved=RUNNING), Runs("words", FOUND))
    assert kinds(actions) == [Save]
    assert state.saved.models["words"].get(state.saved.models["words"].active or "a") == FOUND
    assert state.saved.models["digits"].active is None
    assert step(state, Runs("words", FOUND)) == (state, [])
    state, _ = step(state, Runs("digits", OLD))
    assert (state.saved.models["digits"].active, state.saved.models["words"].active) == ("a", None)


def test_another_board_is_not_bound_by_the_floor_of_the_one_before() -> None:
    older = make_offer("0000000c", "digits", (0, 9, 0), DATA, block_size=512)
    refused, _ = step(State(saved=RUNNING), Listed(1, (older,)))
    assert refused.saved.results[-1].code == "HT703"
    state, _ = step(State(saved=RUNNING), Runs(replaced=True))
    assert state.saved.models["digits"].active is None
    state, _ = step(state, Listed(1, (older,)))
    assert state.saved.phase is Phase.FETCHING


def test_another_board_is_not_bound_by_the_quarantine_of_the_one_before() -> None:
    start = replace(RUNNING, quarantine={NEW.sha256: "HT606"}, models={})
    refused, _ = step(State(saved=start), Listed(1, (NEW,)))
    assert refused.saved.results[-1].code == "HT705"
    state, actions = step(State(saved=start), Runs(replaced=True))
    assert kinds(actions) == [Save]
    state, _ = step(state, Listed(1, (NEW,)))
    assert state.saved.phase is Phase.FETCHING


def test_what_a_board_runs_never_takes_the_slot_of_the_job_in_hand() -> None:
    trying = replace(RUNNING, phase=Phase.TRIAL, job=NEW, target="b", trials=1)
    candidate = SlotRecord(NEW.sha256, NEW.version, "33" * 16)
    trying = replace(trying, models={"digits": RUNNING.models["digits"].put("b", candidate)})
    state, _ = step(State(saved=trying), Runs("digits", FOUND))
    pair = state.saved.models["digits"]
    assert (pair.active, pair.a, pair.b and pair.b.sha256) == ("a", FOUND, NEW.sha256)


def test_a_board_that_counts_its_trials_is_tried_as_often_as_we_start() -> None:
    trying = replace(RUNNING, phase=Phase.TRIAL, job=NEW, target="b", trials=MAX_TRIALS)
    candidate = SlotRecord(NEW.sha256, NEW.version, "33" * 16)
    trying = replace(trying, models={"digits": RUNNING.models["digits"].put("b", candidate)})
    found = {("digits", "a"): OLD.sha256, ("digits", "b"): NEW.sha256}
    for counts, kind in ((True, Erase), (False, RunTrial)):
        _, actions = step(State(saved=trying, counts_trials=counts), Started(found))  # type: ignore[arg-type]
        assert kind in kinds(actions)
