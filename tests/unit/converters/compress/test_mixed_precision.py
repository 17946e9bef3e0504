"""Bits for each layer under a number of bytes."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardtack_converters.compress.low_bit import changeable, low_bit
from hardtack_converters.compress.mixed_precision import (
    Choices,
    cheapest,
    measure_choices,
    mixed_precision,
)
from hardtack_converters.compress.outliers import outliers
from hardtack_converters.compress.settings import (
    Bits,
    LowBit,
    MixedPrecision,
    Outliers,
    largest_code,
)
from hardtack_converters.convert import convert, open_bench, pack_model
from hardtack_runtime.errors import HardtackError
from hardtack_runtime.program import FullyConnected
from tests.unit.converters.compress.nets import answers, dense_net, judged

SAMPLES = np.random.default_rng(7).normal(size=(100, 1, 16)).astype(np.float32)
NET = dense_net(np.random.default_rng(8))
OPTIONS = judged(NET, SAMPLES)
BITS: tuple[Bits, ...] = (6, 4, "ternary")


def choices_of(costs: list[list[int]], savings: list[list[int]]) -> Choices:
    names = tuple(f"layer{index}" for index in range(len(costs)))
    return Choices(names, BITS, np.array(costs, float), np.array(savings), 1000)


TABLES = st.integers(1, 4).flatmap(
    lambda layers: st.tuples(
        *(
            st.lists(
                st.lists(st.integers(low, 30), min_size=3, max_size=3),
                min_size=layers, max_size=layers,
            )
            for low in (0, -5)
        )
    )
)  # fmt: skip


@given(TABLES, st.integers(1, 60))
def test_no_other_choice_saves_as_much_for_less(
    tables: tuple[list[list[int]], list[list[int]]], need: int
) -> None:
    costs, savings = tables
    wanted = cheapest(choices_of(costs, savings), need)
    columns = [
        BITS.index(wanted[f"layer{row}"]) if f"layer{row}" in wanted else None
        for row in range(len(costs))
    ]

    def total(table: list[list[int]], way: tuple[int | None, ...]) -> int:
        return sum(
            row[column] for row, column in zip(table, way, strict=True) if column is not None
        )

    ways = list(product((None, 0, 1, 2), repeat=len(costs)))
    enough = [way for way in ways if total(savings, way) >= need]
    if enough:
        assert total(savings, tuple(columns)) >= need
        if max(total(savings, way) for way in ways) > need:
            assert total(costs, tuple(columns)) == min(total(costs, way) for way in enough)
    else:
        assert total(savings, tuple(columns)) == max(total(savings, way) for way in ways)


def test_the_bundle_has_the_bytes_asked_for_and_layers_differ() -> None:
    plain = len(pack_model(convert(NET.SerializeToString(), OPTIONS), None))
    size = plain * 6 // 10
    wanted = MixedPrecision(size=size, choices=("ternary", 4, 6), samples=100)
    made = convert(NET.SerializeToString(), replace(OPTIONS, compress=(wanted,)))
    assert 0.85 * size < len(pack_model(made, None)) <= size
    (row,) = made.compressed
    bits = row.summary.partition(": ")[2].split()
    peaks = [
        int(np.abs(np.asarray(made.program.tensors[op.weights].data)).max())
        for op in made.program.ops if isinstance(op, FullyConnected)
    ]  # fmt: skip
    known: dict[str, Bits] = {"ternary": "ternary", "4": 4, "6": 6}
    assert [str(one.bits) for one in made.rows if one.macs] == bits
    assert peaks == [127 if b == "8" else largest_code(known[b]) for b in bits]
    assert row.accuracy_after is not None
    assert row.accuracy_before is not None
    assert row.accuracy_after > row.accuracy_before - 0.15


def test_a_size_that_is_there_already_is_kept_and_no_error() -> None:
    wanted = MixedPrecision(size=10**6, required=True)
    made = convert(NET.SerializeToString(), replace(OPTIONS, compress=(wanted,)))
    (row,) = made.compressed
    assert not row.skipped
    assert row.summary == "the limit of 1,000,000 bytes was kept already"
    assert row.bytes_after == row.bytes_before


def test_a_size_out_of_reach_is_refused_and_the_least_is_told() -> None:
    wanted = MixedPrecision(size=100, choices=(4,), samples=50)
    with pytest.raises(HardtackError, match="the bundle keeps") as caught:
        convert(NET.SerializeToString(), replace(OPTIONS, compress=(wanted,)))
    assert caught.value.code == "HT104"
    assert caught.value.where == "[[compress]] 1 (mixed_precision), size"
    least = int(caught.value.todo.split("less than ")[1].split(" B")[0])
    wanted = MixedPrecision(size=least, choices=(4,), samples=50)
    made = convert(NET.SerializeToString(), replace(OPTIONS, compress=(wanted,)))
    assert len(pack_model(made, None)) == least


def test_a_size_is_not_given_up_where_no_layer_can_have_fewer_bits() -> None:
    model, bench = open_bench(NET.SerializeToString(), OPTIONS)
    outliers(model, Outliers(share=0.05))
    assert changeable(model, ()) == []
    with pytest.raises(HardtackError, match="the bundle keeps") as caught:
        mixed_precision(model, MixedPrecision(size=100, samples=50), bench)
    assert caught.value.code == "HT104"


def test_bits_go_where_they_keep_the_outputs() -> None:
    model, bench = open_bench(NET.SerializeToString(), OPTIONS)
    settings = MixedPrecision(size=1000, choices=("ternary", 4, 6))
    found = measure_choices(model, settings, bench)
    assert found.bits == (6, 4, "ternary")
    assert (np.diff(found.costs, axis=1) > 0).all()
    assert (np.diff(found.savings, axis=1) > 0).all()
    for few, cost in zip(found.bits, found.costs[1], strict=True):
        draft = model.clone()
        low_bit(draft, LowBit(bits=few, layers=("fc1",)), bench)
        off = sum(float(((answers(draft, x) - answers(model, x)) ** 2).sum()) for x in SAMPLES)
        whole = np.concatenate([answers(model, x) for x in SAMPLES])
        assert cost == pytest.approx(off / ((whole - whole.mean()) ** 2).sum(), rel=1e-3)


def test_it_needs_no_classes() -> None:
    options = replace(OPTIONS, judge=None)
    plain = len(pack_model(convert(NET.SerializeToString(), options), None))
    wanted = (MixedPrecision(size=plain * 7 // 10),)
    made = convert(NET.SerializeToString(), replace(options, compress=wanted))
    assert len(pack_model(made, None)) <= plain * 7 // 10
