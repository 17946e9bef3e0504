"""Which weights stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hardtack_converters.compress.masks import FloatArray, block_masks, n_of_m_mask

WEIGHTS = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=2, max_dims=4, max_side=9),
    elements=st.floats(-1e3, 1e3, width=16),
)  # fmt: skip
SHARE = st.floats(0, 0.99)


@given(WEIGHTS, SHARE)
def test_the_share_goes_and_no_kept_weight_is_smaller_than_one_that_went(
    weights: FloatArray, share: float
) -> None:
    (mask,) = block_masks([weights], share)
    assert int((~mask).sum()) == round(share * weights.size)
    if mask.any() and not mask.all():
        assert np.abs(weights[mask]).min() >= np.abs(weights[~mask]).max()


@given(WEIGHTS, SHARE, st.integers(2, 5))
def test_vectors_go_whole(weights: FloatArray, share: float, size: int) -> None:
    (mask,) = block_masks([weights], share, size=size)
    rows = np.moveaxis(mask, 1, -1).reshape(-1, weights.shape[1])
    for start in range(0, weights.shape[1], size):
        part = rows[:, start : start + size]
        assert (part.all(axis=1) | ~part.any(axis=1)).all()
    assert int((~mask).sum()) <= round(share * weights.size)


@given(WEIGHTS, st.sampled_from([(1, 2), (2, 4), (1, 4), (3, 8)]))
def test_n_of_m_stay_and_they_are_the_largest(
    weights: FloatArray, pattern: tuple[int, int]
) -> None:
    kept, block = pattern
    mask = n_of_m_mask(weights, kept, block)
    rows = np.moveaxis(mask, 1, -1).reshape(-1, weights.shape[1])
    sizes = np.abs(np.moveaxis(weights, 1, -1).reshape(-1, weights.shape[1]))
    for start in range(0, weights.shape[1], block):
        part, size = rows[:, start : start + block], sizes[:, start : start + block]
        assert (part.sum(axis=1) == min(kept, part.shape[1])).all()
        least = np.where(part, size, np.inf).min(axis=1)
        assert (least >= np.where(part, -1, size).max(axis=1)).all()


@given(st.lists(WEIGHTS, min_size=1, max_size=4), SHARE)
def test_together_the_share_is_that_of_all_layers(tensors: list[FloatArray], share: float) -> None:
    masks = block_masks(tensors, share, together=True)
    total = sum(tensor.size for tensor in tensors)
    assert sum(int((~mask).sum()) for mask in masks) == round(share * total)


def test_together_does_not_depend_on_the_scale_of_a_layer() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(8, 8)), rng.normal(size=(9, 7))
    plain = block_masks([first, second], 0.6, together=True)
    scaled = block_masks([first * 100, second], 0.6, together=True)
    for one, other in zip(plain, scaled, strict=True):
        assert (one == other).all()


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_of_equal_weights_the_first_go(share: float) -> None:
    (mask,) = block_masks([np.ones((2, 4))], share)
    assert mask.ravel().tolist() == [False] * int(8 * share) + [True] * (8 - int(8 * share))
