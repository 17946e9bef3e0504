"""What each layer can spare, and shares that follow from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardtack_converters.compress.sensitivity import (
    LEVELS,
    Sensitivity,
    measure_sensitivity,
    shares_for,
)
from hardtack_converters.compress.settings import Prune
from hardtack_converters.convert import convert, open_bench
from hardtack_runtime.errors import HardtackError
from tests.unit.converters.compress.nets import dense_net, judged

RNG = np.random.default_rng(17)
SAMPLES = RNG.normal(size=(200, 1, 16)).astype(np.float32)
NET = dense_net(RNG, (16, 64, 64, 4))
OPTIONS = judged(NET, SAMPLES)
DROPS = st.lists(st.floats(0, 1), min_size=len(LEVELS), max_size=len(LEVELS))


def sensitivity_of(drops: list[list[float]], weights: list[int]) -> Sensitivity:
    accuracy = 1 - np.array(drops)
    names = tuple(f"layer{i}" for i in range(len(drops)))
    lost = np.tile(np.array(LEVELS) ** 2, (len(drops), 1))
    return Sensitivity(names, tuple(weights), LEVELS, accuracy, lost, 1.0)


@given(
    st.lists(st.tuples(DROPS, st.integers(10, 10**6)), min_size=1, max_size=5), st.floats(0, 0.97)
)
def test_shares_come_to_the_one_asked_for(
    layers: list[tuple[list[float], int]], share: float
) -> None:
    drops, weights = [list(one) for one in zip(*layers, strict=True)]
    found = shares_for(sensitivity_of(drops, weights), share)
    gone = sum(found[f"layer{i}"] * count for i, count in enumerate(weights))
    assert gone == pytest.approx(share * sum(weights), abs=1e-6 * sum(weights))
    assert all(0 <= one <= LEVELS[-1] for one in found.values())


def test_a_layer_that_can_spare_weights_loses_more() -> None:
    flat, steep = [0.0] * len(LEVELS), list(np.linspace(0.1, 0.9, len(LEVELS)))
    found = shares_for(sensitivity_of([flat, steep], [1000, 1000]), 0.45)
    assert found["layer0"] == pytest.approx(0.9)
    assert found["layer1"] == 0


def test_each_layer_is_pruned_alone() -> None:
    model, bench = open_bench(NET.SerializeToString(), OPTIONS)
    found = measure_sensitivity(model, Prune(sparsity=0.5), bench, (0.5, 0.9))
    assert found.layers == ("fc0", "fc1", "fc2")
    assert found.weights == (1024, 4096, 256)
    for row, name in enumerate(found.layers):
        prune = Prune(sparsity=0.9, layers=(name,), reconstruct=False)
        made = convert(NET.SerializeToString(), replace(OPTIONS, compress=(prune,)))
        assert made.compressed[0].accuracy_after == found.accuracy[row, 1]


def test_sensitivity_beats_the_same_share_for_all() -> None:
    plain, chosen = (
        convert(
            NET.SerializeToString(),
            replace(
                OPTIONS,
                compress=(Prune(sparsity=0.5, sensitivity=sensitivity, reconstruct=False),),
            ),
        ).compressed[0]
        for sensitivity in (False, True)
    )
    assert chosen.summary == plain.summary
    assert chosen.accuracy_after is not None
    assert plain.accuracy_after is not None
    assert chosen.accuracy_after > plain.accuracy_after


def test_it_needs_something_to_judge_by() -> None:
    options = replace(OPTIONS, judge=None, compress=(Prune(sparsity=0.5, sensitivity=True),))
    with pytest.raises(HardtackError, match="nothing to measure accuracy on") as caught:
        convert(NET.SerializeToString(), options)
    assert caught.value.code == "HT104"
