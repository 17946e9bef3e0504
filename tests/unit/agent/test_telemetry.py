"""Windows add up exactly, whatever the order; frames survive the wire; junk is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardtack_agent.telemetry import (
    LATENCY_EDGES_US,
    Note,
    Outcome,
    Window,
    decode_batch,
    encode_batch,
    latency_bucket,
    latency_quantile_us,
    merge,
    record,
)
from hardtack_runtime.errors import DeviceError

EMPTY = Window("digits", (1, 2, 3), bytes(range(16)), 1000, 1000)
outcomes = st.builds(
    Outcome,
    latency_us=st.integers(0, 10**9),
    predicted=st.none() | st.integers(0, 9),
    correct=st.none() | st.booleans(),
    failed=st.booleans(),
)


def counts(window: Window) -> Window:
    return replace(window, latency=dict(sorted(window.latency.items())),
                   classes=dict(sorted(window.classes.items())))  # fmt: skip


@given(st.lists(outcomes), st.integers(0, 20), st.integers(0, 20))
def test_merging_parts_gives_the_window_of_the_whole(
    all_of_them: list[Outcome], first: int, second: int
) -> None:
    cut, other = sorted((first, second))
    parts = [
        record(EMPTY, all_of_them[a:b], 1007) for a, b in ((0, cut), (cut, other), (other, None))
    ]
    whole = record(EMPTY, all_of_them, 1007)
    assert counts(merge(merge(parts[0], parts[1]), parts[2])) == counts(whole)
    assert counts(merge(parts[2], merge(parts[1], parts[0]))) == counts(whole)


@given(st.lists(outcomes), st.integers(1, 2**40))
def test_a_batch_survives_the_wire(some: list[Outcome], seq: int) -> None:
    window = record(EMPTY, some, 1060)
    assert decode_batch(encode_batch(bytes(16), [(seq, window)])) == (bytes(16), [(seq, window)])


def test_a_clock_before_1970_does_not_block_the_way() -> None:
    early = replace(EMPTY, start_s=-5, end_s=-5)
    window = record(early, [Outcome(9)], -3)
    assert (window.start_s, window.end_s) == (0, 0)
    assert decode_batch(encode_batch(bytes(16), [(1, window)])) == (bytes(16), [(1, window)])


def test_a_class_beyond_the_histogram_does_not_stop_the_window() -> None:
    window = record(EMPTY, [Outcome(9, 4095), Outcome(9, 4096)], 1060)
    assert (window.samples, window.classes) == (2, {4095: 1})
    assert decode_batch(encode_batch(bytes(16), [(1, window)])) == (bytes(16), [(1, window)])


@given(st.binary(max_size=200))
def test_junk_is_refused_not_raised(junk: bytes) -> None:
    with pytest.raises(DeviceError, match=r".") as caught:
        decode_batch(junk)
    assert caught.value.code == "HT613"


@given(st.integers(0, 10**9))
def test_a_latency_lies_between_its_buckets_edges(latency: int) -> None:
    bucket = latency_bucket(latency)
    assert bucket == 0 or LATENCY_EDGES_US[bucket - 1] <= latency
    assert bucket == len(LATENCY_EDGES_US) or latency < LATENCY_EDGES_US[bucket]


def test_edges_are_the_pinned_ones() -> None:
    assert LATENCY_EDGES_US[:6] == (8, 11, 16, 22, 32, 45)
    assert LATENCY_EDGES_US[-1] == 94906265


def test_windows_of_different_models_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="do not add up"):
        merge(EMPTY, replace(EMPTY, model_id=bytes(16)))


def test_quantile_is_an_upper_bound() -> None:
    window = record(EMPTY, [Outcome(latency_us=n) for n in (10, 20, 30, 1000)], 1000)
    assert latency_quantile_us(window.latency, 0.5) == 22
    assert latency_quantile_us({}, 0.5) is None


def test_a_typical_window_is_small() -> None:
    some = [Outcome(latency_us=40 + n, predicted=n % 10, correct=True) for n in range(200)]
    assert len(encode_batch(bytes(16), [(1, record(EMPTY, some, 1060))])) <= 400


def test_a_note_survives_the_wire_beside_a_window() -> None:
    note = Note("layers", 1000, {"model": "digits@1.2.3", "ticks_per_s": 1, "ticks": [1, 2]})
    batch = encode_batch(bytes(16), [(1, note), (2, EMPTY)])
    assert decode_batch(batch) == (bytes(16), [(1, note), (2, EMPTY)])


FAULT = dict.fromkeys(("pc", "lr", "psr", "cause", "operator", "count"), 1)


def test_a_record_that_cannot_be_read_does_not_hold_up_those_beside_it() -> None:
    good, bad = Note("fault", 1, FAULT), Note("fault", 1, {})
    batch = encode_batch(bytes(16), [(1, bad), (2, good)])
    refused: dict[int, DeviceError] = {}
    assert decode_batch(batch, refused) == (bytes(16), [(2, good)])
    assert {seq: error.code for seq, error in refused.items()} == {1: "HT613"}


@pytest.mark.parametrize(
    "note",
    [
        pytest.param(Note("gossip", 1, {}), id="an unknown kind"),
        pytest.param(Note("log", -1, {}), id="a time before 1970"),
        pytest.param(Note("log", 1, {"text": 1.5}), id="a fraction"),
        pytest.param(Note("log", 1, {"text": {"a": 1}}), id="a map"),
        pytest.param(Note("log", 1, {1: "a"}), id="a key that is no text"),  # type: ignore[dict-item]
        pytest.param(Note("log", 1, {"text": "x" * 40_000}), id="too long"),
        pytest.param(Note("fault", 1, {}), id="a fault of nothing"),
        pytest.param(Note("fault", 1, {**FAULT, "pc": "0"}), id="a program counter in words"),
        pytest.param(Note("fault", 1, {**FAULT, "operator": [1]}), id="a list of operators"),
        pytest.param(Note("log", 1, {"text": 7}), id="a text that is none"),
        pytest.param(Note("health", 1, {"chip": "00"}), id="half a health"),
        pytest.param(
            Note("layers", 1, {"model": "a", "ticks_per_s": 1, "ticks": ["1"]}), id="ticks in words"
        ),
        pytest.param(Note(["log"], 1, {"text": "a"}), id="a list of kinds"),  # type: ignore[arg-type]
    ],
)
def test_a_note_that_is_none_is_refused(note: Note) -> None:
    with pytest.raises(DeviceError) as refused:
        decode_batch(encode_batch(bytes(16), [(1, note)]))
    assert refused.value.code == "HT613"
