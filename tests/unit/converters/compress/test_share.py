"""Few values for many weights."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hardtack_converters.compress.clusters import (
    BINS,
    FloatArray,
    centroids,
    codebook_bits,
    nearest,
)
from hardtack_converters.compress.settings import Prune, Share
from hardtack_converters.compress.share import shared_weights
from hardtack_converters.convert import convert
from hardtack_converters.ranges import grid_step
from tests.unit.converters.compress.nets import dense_net, judged

VALUES = st.floats(-100, 100, width=32)


def loss(values: FloatArray, book: FloatArray) -> float:
    return float(((values - book[nearest(values, book)]) ** 2).sum())


def least_loss(values: FloatArray, count: int) -> float:
    """Try every way to cut the sorted values into clusters."""
    line = np.sort(values)
    cuts = combinations(range(1, len(line)), count - 1)
    return min(
        sum(float(((part - part.mean()) ** 2).sum()) for part in np.split(line, cut))
        for cut in cuts
    )  # fmt: skip


def test_the_example_of_deep_compression_takes_160_bits() -> None:
    weights = np.array(
        [[2.09, -0.98, 1.48, 0.09], [0.05, -0.14, -1.08, 2.12],
         [-0.91, 1.92, 0.0, -1.03], [1.87, 0.0, 1.53, 1.49]],
    )  # fmt: skip
    book = centroids(weights.ravel(), 4)
    assert book == pytest.approx([-1.0, 0.0, 1.5, 2.0], abs=1e-9)
    indices = [[3, 0, 2, 1], [1, 1, 0, 3], [0, 3, 1, 0], [3, 1, 2, 2]]
    assert nearest(weights, book).tolist() == indices
    assert codebook_bits(weights.size, len(book)) == 16 * 2 + 4 * 32 == 160
    assert 32 * weights.size / 160 == 3.2


@given(hnp.arrays(np.float64, st.integers(1, 9), elements=VALUES), st.integers(1, 5))
def test_no_other_clusters_are_nearer(values: FloatArray, count: int) -> None:
    book = centroids(values, count)
    assert len(book) <= count
    assert (np.diff(book) > 0).all()
    best = least_loss(values, min(count, len(values)))
    assert loss(values, book) <= best + 1e-6 * (1 + best)


def test_more_values_than_bins_lose_little() -> None:
    values = np.random.default_rng(0).normal(size=10 * BINS)
    book = centroids(values, 16)
    # Lloyd's iteration from there finds nothing better.
    owner = nearest(values, book)
    lloyd = np.array([values[owner == k].mean() for k in range(16)])
    assert loss(values, book) == pytest.approx(loss(values, lloyd), rel=1e-3)
    assert loss(values, book) / values.size == pytest.approx(0.00949, rel=0.04)
    # Max 1960: the least mean squared error of 16 levels on a normal distribution is 0.009497.


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=VALUES),
    st.integers(1, 8),
)
def test_shared_weights_lie_on_one_grid_and_zeros_stay(weights: FloatArray, bits: int) -> None:
    weights = np.where(np.abs(weights) < 1e-3, 0, weights).astype(np.float64)
    shared = shared_weights(weights, bits)
    assert len(np.unique(shared)) <= 2**bits
    assert ((shared == 0) == (weights == 0)).all()
    if shared.any():
        step = grid_step(shared.astype(np.float32))
        assert step is not None
        codes = shared / step
        assert np.abs(codes).max() < 127.5
        assert np.abs(codes - np.rint(codes)).max() < 0.02


def test_one_value_for_weights_that_sum_to_zero_is_a_value() -> None:
    shared = shared_weights(np.array([[1.0, -1.0, 0.0]]), 1)
    assert shared[0, :2] == pytest.approx([1, 1])
    assert shared[0, 2] == 0


def test_a_device_has_no_more_codes_than_values() -> None:
    rng = np.random.default_rng(3)
    net, samples = dense_net(rng), rng.normal(size=(60, 1, 16)).astype(np.float32)
    options = judged(net, samples)
    passes = (Prune(sparsity=0.3), Share(bits=3))
    made = convert(net.SerializeToString(), replace(options, compress=passes))
    weights = [
        t.data for t in made.program.tensors
        if t.data is not None and t.data.dtype == np.int8 and t.data.size > 100
    ]  # fmt: skip
    assert [len(np.unique(codes)) <= 8 for codes in weights] == [True] * 3
    pruned, shared = made.compressed
    assert shared.bytes_after < 0.7 * pruned.bytes_after
    assert shared.summary == "3 layers of at most 8 values: 2.6x by indices alone"
