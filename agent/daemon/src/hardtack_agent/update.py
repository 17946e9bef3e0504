"""The update state machine: events in, next state and actions out; no IO.

    IDLE --offered--> FETCHING --all blocks--> VERIFYING --verified--> INSTALLING
    INSTALLING --switched--> TRIAL
    TRIAL --passed--> IDLE (confirmed: the new slot is active)
    TRIAL --failed--> IDLE (rolled back: the old slot never stopped being active; quarantined)
    TRIAL --unfit--> IDLE (failed: the device cannot take it as it is; not quarantined)
    any   --refused, no space, cancelled--> IDLE (failed or cancelled)

What `Saved` holds is on the disk before the actions after `Save` run, so a restart at any moment
finds one of these states and goes on from it. A trial is counted before it begins: a bundle that
kills the agent three times is rolled back.

Source: SPEC section 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

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
    Result,
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
from hardtack_agent.messages import JobState, Offer, block_hash

MAX_TRIALS = 3
MAX_BAD_BLOCKS = 32
ASK_WINDOW = 4
_REMEMBERED = 256

Step = tuple[State, list[Action]]


def step(state: State, event: Event) -> Step:
    """Return the next state and what is to be done, in order.

    An event the state does not expect changes nothing: brokers redeliver.
    """
    result: Step = state, []
    match event, state.saved.phase:
        case Started(), _:
            result = _started(state, event.found)
        case Listed(), _:
            result = _listed(state, event)
        case Runs(), _:
            result = _runs(state, event)
        case TrialEnded(), Phase.TRIAL:
            result = _trial_ended(state, event)
        case Refused(), Phase.FETCHING | Phase.VERIFYING | Phase.INSTALLING:
            result = _end(state, "failed", event.code, event.detail)
        case Verified(), Phase.VERIFYING:
            result = _verified(state, event)
        case Switched(), Phase.INSTALLING:
            result = _switched(state)
        case Reserved() | BlockArrived() | Timeout(), Phase.FETCHING:
            result = _fetching(state, event)
    return result


def admit(saved: Saved, offer: Offer) -> tuple[str, str] | None:
    """Say why a bundle must not be fetched, as (code, detail); None when it may."""
    if offer.sha256 in saved.quarantine:
        return (
            "HT705",
            f"in quarantine since it failed its trial ({saved.quarantine[offer.sha256]})",
        )
    slots = saved.models.get(offer.name)
    if slots is None or slots.floor is None:
        return None
    version, sha256 = slots.floor
    if offer.version < version or (offer.version == version and offer.sha256 != sha256):
        offered, floor = (".".join(map(str, one)) for one in (offer.version, version))
        return (
            "HT703",
            f"{offer.name} {offered} offered, {floor} was confirmed: a device never goes back",
        )
    return None


def _started(state: State, found: Mapping[tuple[str, SlotName], str]) -> Step:
    """Believe only slots whose file has the recorded digest, then take up the job in hand."""
    trying = state.saved.job.name if state.saved.job and state.saved.phase is Phase.TRIAL else ""
    saved = replace(
        state.saved,
        models={
            name: _intact(name, pair, found, fall_back=name != trying)
            for name, pair in state.saved.models.items()
        },
    )
    actions: list[Action] = [Save()] if saved != state.saved else []
    state = replace(state, saved=saved)
    job = saved.job
    if job is None:
        return state, actions
    slots = saved.models.get(job.name, ModelSlots())
    if saved.phase is Phase.INSTALLING and found.get((job.name, saved.target)) == job.sha256:
        after, more = _switched(state)
    elif saved.phase is Phase.TRIAL and slots.get(saved.target) is not None:
        after, more = _try_again(state, "HT607", "the agent died during each trial")
    else:
        fetching = replace(saved, phase=Phase.FETCHING, candidate=None)
        after, more = replace(state, saved=fetching), [Save(), Reserve(job)]
    return after, [*actions, *more]


def _intact(
    name: str, pair: ModelSlots, found: Mapping[tuple[str, SlotName], str], *, fall_back: bool
) -> ModelSlots:
    slots: tuple[SlotName, SlotName] = ("a", "b")
    for slot in slots:
        record = pair.get(slot)
        if record is not None and found.get((name, slot)) != record.sha256:
            pair = pair.put(slot, None)
    if pair.active is not None and pair.get(pair.active) is None:
        # A slot still on trial is nothing to fall back on: it was never confirmed.
        other = pair.inactive if fall_back and pair.get(pair.inactive) is not None else None
        pair = replace(pair, active=other)
    return pair


def _runs(state: State, event: Runs) -> Step:
    """Take over what the device says; a slot that a job in hand fills is left to it."""
    before, job = state.saved, state.saved.job
    saved = replace(before, quarantine={}) if event.replaced else before
    models = {name: replace(pair, active=None) for name, pair in saved.models.items()}
    if event.replaced:
        models = {name: replace(pair, floor=None) for name, pair in models.items()}
    if event.record is not None:
        pair = models.get(event.name, ModelSlots())
        slots: tuple[SlotName, SlotName] = ("a", "b")
        free = saved.models.get(event.name, ModelSlots()).active or "a"
        if job is not None and job.name == event.name and saved.phase is not Phase.FETCHING:
            free = "a" if saved.target == "b" else "b"
        holds = (slot for slot in slots if _same(pair.get(slot), event.record))
        slot = next(holds, free)
        models[event.name] = replace(pair.put(slot, event.record), active=slot)
    saved = replace(saved, models=models)
    return (replace(state, saved=saved), [Save()]) if saved != before else (state, [])


def _same(held: SlotRecord | None, record: SlotRecord) -> bool:
    return held is not None and held.sha256 == record.sha256


def _listed(state: State, event: Listed) -> Step:
    if event.rev < state.rev:
        return state, []
    state = replace(state, rev=event.rev, offers=event.offers)
    known = {result.job_id: result for result in state.saved.results}
    actions: list[Action] = [
        Report(known[offer.job_id]) for offer in event.offers if offer.job_id in known
    ]
    job = state.saved.job
    if job is not None and job.job_id not in {offer.job_id for offer in event.offers}:
        after, more = _end(state, "cancelled", "", "cancelled by the server")
    else:
        after, more = _take_next(state)
    return after, [*actions, *more]


def _take_next(state: State) -> Step:
    """Begin the first offer without a result, refusing those that must not be fetched."""
    if state.saved.phase is not Phase.IDLE:
        return state, []
    actions: list[Action] = []
    for offer in state.offers:
        if offer.job_id in {result.job_id for result in state.saved.results}:
            continue
        result = _answer_now(state.saved, offer)
        if result is None:
            saved = replace(state.saved, phase=Phase.FETCHING, job=offer, trials=0)
            state = replace(state, saved=saved, missing=frozenset(), bad_blocks=0)
            begun = Report(Result(offer.job_id, "fetching"), 0, len(offer.block_hashes))
            return state, [*actions, Save(), begun, Reserve(offer)]
        state = replace(state, saved=_remember(state.saved, result))
        actions += [Save(), Report(result)]
    return state, actions


def _answer_now(saved: Saved, offer: Offer) -> Result | None:
    refusal = admit(saved, offer)
    if refusal is not None:
        return Result(offer.job_id, "failed", 0, *refusal)
    slots = saved.models.get(offer.name, ModelSlots())
    active = slots.get(slots.active) if slots.active is not None else None
    if active is not None and active.sha256 == offer.sha256:
        return Result(offer.job_id, "confirmed", 0, "", "runs already")
    return None


def _fetching(state: State, event: Reserved | BlockArrived | Timeout) -> Step:
    job = state.saved.job
    if job is None:
        return state, []
    match event:
        case Reserved():
            state = replace(state, missing=frozenset(range(len(job.block_hashes))) - event.present)
            return _ask_or_verify(state, job)
        case Timeout():
            return state, [_ask(state, job)] if state.missing else [Reserve(job)]
        case BlockArrived():
            return _block(state, job, event)


def _block(state: State, job: Offer, event: BlockArrived) -> Step:
    """Keep a right block; ask again for a damaged one, which is all it costs."""
    ours = event.sha256_head == bytes.fromhex(job.sha256)[:16] and event.index in state.missing
    if not ours:
        return state, []
    right_size = len(event.data) == job.block_length(event.index)
    if not right_size or block_hash(event.data) != job.block_hashes[event.index]:
        state = replace(state, bad_blocks=state.bad_blocks + 1)
        if state.bad_blocks > MAX_BAD_BLOCKS:
            return _end(state, "failed", "HT702", f"{state.bad_blocks} blocks came damaged")
        return state, [Ask(job.sha256, (event.index,))]
    state = replace(state, missing=state.missing - {event.index})
    total = len(job.block_hashes)
    done = total - len(state.missing)
    actions: list[Action] = [StoreBlock(job, event.index, event.data)]
    if done % ASK_WINDOW == 0 or not state.missing:
        actions.append(Report(Result(job.job_id, "fetching"), done, total))
        state, more = _ask_or_verify(state, job)
        actions += more
    return state, actions


def _ask_or_verify(state: State, job: Offer) -> Step:
    if state.missing:
        return state, [_ask(state, job)]
    return replace(state, saved=replace(state.saved, phase=Phase.VERIFYING)), [Verify(job)]


def _ask(state: State, job: Offer) -> Ask:
    return Ask(job.sha256, tuple(sorted(state.missing)[:ASK_WINDOW]))


def _verified(state: State, event: Verified) -> Step:
    saved, job = state.saved, state.saved.job
    if job is None:
        return state, []
    if (event.name, event.version) != (job.name, job.version):
        said = f"{event.name} {'.'.join(map(str, event.version))}"
        return _end(state, "failed", "HT212", f"the signed header says {said}, the offer does not")
    slots = saved.models.get(job.name, ModelSlots())
    slot = slots.inactive
    saved = replace(
        saved, phase=Phase.INSTALLING, target=slot,
        models={**saved.models, job.name: slots.put(slot, None)},
        candidate=SlotRecord(job.sha256, event.version, event.model_id),
    )  # fmt: skip
    return replace(state, saved=saved), [Save(), Install(job, slot)]


def _switched(state: State) -> Step:
    saved, job = state.saved, state.saved.job
    if job is None:
        return state, []
    slots = saved.models.get(job.name, ModelSlots())
    models = {**saved.models, job.name: slots.put(saved.target, saved.candidate)}
    saved = replace(saved, phase=Phase.TRIAL, models=models, candidate=None)
    after, actions = _try_again(
        replace(state, saved=saved), "HT607", "the agent died in each trial"
    )
    total = len(job.block_hashes)
    installed = Report(Result(job.job_id, "installed", saved.trials), total, total)
    return after, [*actions[:1], installed, *actions[1:]]


def _try_again(state: State, code: str, detail: str) -> Step:
    """Begin a trial, counted on the disk before it runs; or give the bundle up."""
    saved, job = state.saved, state.saved.job
    if job is None:
        return state, []
    if state.counts_trials and saved.trials >= MAX_TRIALS:
        return _roll_back(state, "rolled_back", code, detail)
    saved = replace(saved, phase=Phase.TRIAL, trials=saved.trials + 1)
    return replace(state, saved=saved), [
        Save(),
        Report(Result(job.job_id, "trial", saved.trials)),
        RunTrial(job.job_id, job.name, saved.target),
    ]


def _trial_ended(state: State, event: TrialEnded) -> Step:
    saved, job = state.saved, state.saved.job
    if saved.phase is not Phase.TRIAL or job is None or job.job_id != event.job_id:
        return state, []
    if event.code and event.again:
        return _try_again(state, event.code, event.detail)
    if event.code:
        ended: JobState = "failed" if event.unfit else "rolled_back"
        return _roll_back(state, ended, event.code, event.detail)
    slots = saved.models[job.name]
    slots = replace(slots, active=saved.target, floor=(job.version, job.sha256))
    state = replace(state, saved=replace(saved, models={**saved.models, job.name: slots}))
    return _end(state, "confirmed", "", "", Activate(job.name))


def _roll_back(state: State, ended: JobState, code: str, detail: str) -> Step:
    """Give the candidate up; the active slot was never touched."""
    saved, job = state.saved, state.saved.job
    if job is None:
        return state, []
    slots, slot = saved.models.get(job.name, ModelSlots()), saved.target
    if slots.active == slot:  # a board runs it already, though the end of its trial is yet to come
        return _end(state, ended, code, detail, Activate(job.name))
    quarantine = dict(saved.quarantine)
    if ended == "rolled_back":
        quarantine[job.sha256] = code
    saved = replace(
        saved, models={**saved.models, job.name: slots.put(slot, None)},
        quarantine=dict(list(quarantine.items())[-_REMEMBERED:]),
    )  # fmt: skip
    return _end(replace(state, saved=saved), ended, code, detail, Erase(job.name, slot))


def _end(state: State, ended: JobState, code: str, detail: str, *first: Action) -> Step:
    """Close the job in hand with a result, durably, and take up the next one."""
    saved, job = state.saved, state.saved.job
    if job is None:
        return state, []
    if ended == "cancelled" and saved.phase is Phase.TRIAL and not first:
        return _roll_back(state, ended, code, detail)
    result = Result(job.job_id, ended, saved.trials, code, detail)
    saved = replace(_remember(saved, result), phase=Phase.IDLE, job=None, trials=0, candidate=None)
    actions: list[Action] = [Save(), *first, Discard(job.sha256), Report(result)]
    after, more = _take_next(replace(state, saved=saved, missing=frozenset(), bad_blocks=0))
    return after, [*actions, *more]


def _remember(saved: Saved, result: Result) -> Saved:
    return replace(saved, results=(*saved.results, result)[-_REMEMBERED:])
