"""The algebra of layouts."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hardtack_converters.lower import order

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@st.composite
def shape_and_axes(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    shape = draw(SHAPES)
    return shape, draw(st.permutations(range(len(shape))))


def test_channels_last_is_nhwc() -> None:
    image = np.arange(2 * 3 * 4).reshape(1, 2, 3, 4)
    buffer = np.empty(image.size, int)
    buffer[order.channels_last(image.shape)] = image.ravel()
    assert np.array_equal(buffer.reshape(1, 3, 4, 2), image.transpose(0, 2, 3, 1))


@given(shape_and_axes())
def test_buffer_axes_finds_the_permutation(case: tuple[list[int], list[int]]) -> None:
    shape, axes = case
    made = order.permuted(shape, axes)
    found = order.buffer_axes(made, shape)
    assert found is not None
    assert np.array_equal(order.permuted(shape, found), made)


@given(shape_and_axes())
def test_transposition_replays_any_permutation(case: tuple[list[int], list[int]]) -> None:
    shape, axes = case
    old = order.identity(math.prod(shape)).reshape(shape)
    mapping = old.transpose(axes).ravel()
    loops = order.digits(mapping)
    assert loops is not None
    plan = order.transposition(loops)
    assert plan is not None
    dims, perm = plan
    assert np.array_equal(old.reshape(dims).transpose(perm).ravel(), mapping)


def test_a_reversal_is_no_transposition() -> None:
    assert order.digits(order.identity(6)[::-1].copy()) is None
