"""Weights of few codes: scales, codes that reach the device, outputs that stay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hardtack_converters.compress.layers import weighted_layers
from hardtack_converters.compress.low_bit import grid_scales, low_bit, snapped
from hardtack_converters.compress.settings import Bits, LowBit, Pass, Prune, Round, largest_code
from hardtack_converters.convert import Converted, convert, open_bench
from hardtack_converters.passes.linear import FloatArray
from hardtack_runtime.errors import HardtackError
from hardtack_runtime.program import FullyConnected
from tests.unit.converters.compress.nets import answers, dense_net, judged

SAMPLES = np.random.default_rng(7).normal(size=(100, 1, 16)).astype(np.float32)
NET = dense_net(np.random.default_rng(8))
OPTIONS = judged(NET, SAMPLES)
VALUES = st.floats(-100, 100, width=32)
BITS: tuple[Bits, ...] = ("binary", "ternary", 3, 4, 7)


def compressed(*passes: Pass) -> Converted:
    return convert(NET.SerializeToString(), replace(OPTIONS, compress=passes))


def codes_of(made: Converted) -> list[Any]:
    ops = [op for op in made.program.ops if isinstance(op, FullyConnected)]
    return [made.program.tensors[op.weights].data for op in ops]


def squares(rows: FloatArray, scales: FloatArray, bits: Bits) -> float:
    return float(((snapped(rows, scales, bits) - rows) ** 2).sum())


@given(
    hnp.arrays(np.float64, st.tuples(st.just(1), st.integers(4, 20)), elements=VALUES),
    st.sampled_from(BITS),
)
def test_no_other_scale_is_much_nearer(row: FloatArray, bits: Bits) -> None:
    row = np.where(np.abs(row) < 1e-3, 0, row)
    found = grid_scales(row, bits)
    assert (found > 0).all()
    peak = max(float(np.abs(row).max()), 1e-9)
    tried = np.linspace(0.01, 1.2, 600) * peak / (1 if bits == "binary" else largest_code(bits))
    best = min(squares(row, np.array([scale]), bits) for scale in tried)
    assert squares(row, found, bits) <= 1.1 * best + 2e-3 * float((row**2).sum())


def test_binary_is_the_mean_magnitude_and_ternary_the_mean_of_the_large_ones() -> None:
    row = np.array([[0.1, -0.2, 1.0, -1.2, 0.0]])
    assert grid_scales(row, "binary") == pytest.approx([2.5 / 4])
    assert snapped(row, np.array([2.0]), "binary").tolist() == [[2, -2, 2, -2, 0]]
    assert grid_scales(row, "ternary") == pytest.approx([1.1])
    assert snapped(row, np.array([1.1]), "ternary").tolist() == [[0, 0, 1.1, -1.1, 0]]


WAYS = [(b, m) for b in BITS for m in ("nearest", "gptq", "adaround")]


@pytest.mark.parametrize(("bits", "method"), [w for w in WAYS if w != ("binary", "adaround")])
def test_a_device_has_the_codes_asked_for(bits: Bits, method: Any) -> None:
    made = compressed(LowBit(bits=bits, method=method, iterations=20))
    for codes in codes_of(made):
        used = set(np.unique(codes).tolist())
        assert used <= set(range(-largest_code(bits), largest_code(bits) + 1))
        assert bits != "binary" or used == {-1, 1}
    (row,) = made.compressed
    assert row.bytes_after < row.bytes_before


def test_one_output_has_one_grid() -> None:
    made = compressed(LowBit(bits=4))
    scales = [
        node.inputs[1] for node in made.quantized.graph
        if node.op_type == "DequantizeLinear" and "weights" in str(node.name)
    ]  # fmt: skip
    sizes = [value.const_value.size for value in scales if value and value.const_value]
    assert sizes == [64, 48, 4]


def test_zeros_stay_zeros() -> None:
    made = compressed(Prune(sparsity=0.5), LowBit(bits=3))
    assert [float((codes == 0).mean()) >= 0.45 for codes in codes_of(made)] == [True] * 3


@pytest.mark.parametrize(("method", "part"), [("gptq", 0.5), ("adaround", 0.8)])
def test_outputs_stay_better_than_by_the_nearest_codes(method: Any, part: float) -> None:
    lost = []
    for way in ("nearest", method):
        model, bench = open_bench(NET.SerializeToString(), OPTIONS)
        before = model.clone()
        low_bit(model, LowBit(bits=3, method=way, iterations=500), bench)
        lost.append(
            sum(float(((answers(model, x) - answers(before, x)) ** 2).sum()) for x in SAMPLES)
        )
    assert lost[1] < part * lost[0]


def test_round_leaves_low_bit_layers_alone() -> None:
    _, rounded = compressed(LowBit(bits=4), Round()).compressed
    assert (
        rounded.skipped
        == "it changed nothing (no layer whose weights have no grid of their own yet)"
    )


def test_only_the_layers_named_change() -> None:
    made = compressed(LowBit(bits=3, layers=("fc1",)))
    assert [int(np.abs(codes).max()) for codes in codes_of(made)] == [127, 3, 127]


def test_nearest_needs_no_samples_and_the_others_do() -> None:
    model, _ = open_bench(NET.SerializeToString(), OPTIONS)
    assert low_bit(model, LowBit(method="nearest")).layers == 3
    assert len(np.unique(weighted_layers(model)[2].weights[0])) <= 15
    with pytest.raises(HardtackError) as caught:
        low_bit(model, LowBit())
    assert caught.value.code == "HT104"
