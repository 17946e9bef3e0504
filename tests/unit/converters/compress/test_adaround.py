"""Rounding that is learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hardtack_converters.compress.adaround import RATE, Adam, Places, learnt
from hardtack_converters.compress.layers import weighted_layers
from hardtack_converters.compress.round import round_weights
from hardtack_converters.compress.settings import LARGEST_CODE, LowBit, Round
from hardtack_converters.convert import Options, open_bench
from hardtack_converters.passes.linear import set_linear
from tests.unit.converters.compress.nets import answers, dense_net


@pytest.fixture
def rng() -> np.random.Generator:
    """Draws of each test's own, whichever others run."""
    return np.random.default_rng(3)


def off(codes: Any, bias: Any, places: Places) -> float:
    outputs = np.clip(codes @ places.inputs + bias, places.low, places.high)
    return float(((outputs - places.wanted) ** 2).mean())


@pytest.mark.parametrize("low", [-np.inf, 0.0])
def test_no_random_way_to_round_is_as_good(low: float, rng: np.random.Generator) -> None:
    shared = rng.normal(size=(1, 1, 400))
    inputs = (shared + 0.3 * rng.normal(size=(1, 30, 400))).astype(np.float32)
    real = rng.uniform(-2.9, 2.9, size=(1, 2, 30)).astype(np.float32)
    wanted = np.maximum(real @ inputs, low).astype(np.float32)
    places = Places(inputs, wanted, low, np.inf)
    unit, none = np.ones((1, 2, 1), np.float32), np.zeros((1, 2, 1), np.float32)
    codes, bias = learnt(real, unit, none, places, LowBit(bits=3, iterations=500))
    assert set(np.unique(codes - np.floor(real))) <= {0, 1}
    ways = (np.floor(real) + rng.integers(0, 2, real.shape) for _ in range(300))
    assert off(codes, bias, places) < min(off(way, none, places) for way in ways)
    assert off(codes, bias, places) < 0.9 * off(np.rint(real), none, places)


def test_codes_stay_within_their_range(rng: np.random.Generator) -> None:
    real = rng.normal(size=(1, 8, 5)).astype(np.float32) * 6
    inputs = rng.normal(size=(1, 5, 50)).astype(np.float32)
    places = Places(inputs, real @ inputs, -np.inf, np.inf)
    unit = np.ones((1, 8, 1), np.float32)
    codes, _ = learnt(real, unit, 0 * unit, places, LowBit(bits=3, iterations=30))
    assert np.abs(codes).max() == 3


def test_the_first_step_of_adam_is_the_rate() -> None:
    """Kingma 2015, section 2.1: |step| is the rate when a gradient has one sign."""
    step = Adam((2,)).step(np.array([3.0, -0.001], np.float32))
    assert step == pytest.approx([-RATE, RATE], rel=1e-3)


def test_eight_bits_learnt_keep_more_than_the_nearest_codes(rng: np.random.Generator) -> None:
    mix = rng.normal(size=(4, 16))
    samples = (rng.normal(size=(100, 1, 4)) @ mix).astype(np.float32)
    net = dense_net(rng).SerializeToString()
    model, bench = open_bench(net, Options(calibration=samples))
    before, nearest = model.clone(), model.clone()
    assert round_weights(model, Round(method="adaround", iterations=300), bench).layers == 3
    for layer in weighted_layers(nearest):
        scale = np.abs(layer.weights).max(axis=1, keepdims=True) / LARGEST_CODE
        set_linear(nearest.graph, layer, np.rint(layer.weights / scale) * scale, layer.bias)
    learnt_off, nearest_off = (
        sum(float(((answers(one, x) - answers(before, x)) ** 2).sum()) for x in samples)
        for one in (model, nearest)
    )
    assert learnt_off < 0.7 * nearest_off
