"""Passes are measured, and kept only where they do no harm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from hardtack_converters.compress.settings import Equalise, LowBit, Pass, Prune, WideActivations
from hardtack_converters.convert import Converted, convert, pack_model
from hardtack_runtime.errors import HardtackError
from tests.unit.converters.compress.nets import dense_net, judged

RNG = np.random.default_rng(5)
SAMPLES = RNG.normal(size=(100, 1, 16)).astype(np.float32)
NET = dense_net(RNG)
OPTIONS = judged(NET, SAMPLES)


def compressed(*passes: Pass, **changes: Any) -> Converted:
    return convert(NET.SerializeToString(), replace(OPTIONS, compress=passes, **changes))


def test_a_pass_is_measured_as_the_result_is() -> None:
    (row,) = compressed(Prune(sparsity=0.5)).compressed
    assert OPTIONS.judge is not None
    for prunes, size, accuracy in (
        ((), row.bytes_before, row.accuracy_before),
        ((Prune(sparsity=0.5),), row.bytes_after, row.accuracy_after),
    ):
        made = compressed(*prunes)
        bundle = pack_model(made, None)
        assert (len(bundle), OPTIONS.judge(made, bundle, None)) == (size, accuracy)
    assert row.bytes_after < row.bytes_before
    assert row.accuracy_before is not None
    assert (row.name, row.skipped) == ("prune", "")
    assert "50.0 %" in row.summary


def test_passes_build_on_each_other() -> None:
    first, second = compressed(Prune(sparsity=0.3), Prune(sparsity=0.6)).compressed
    assert (second.bytes_before, second.accuracy_before) == (
        first.bytes_after, first.accuracy_after,
    )  # fmt: skip


def test_a_pass_that_costs_too_much_is_skipped_and_says_so() -> None:
    made = compressed(Prune(sparsity=0.98, max_drop=0.01), Prune(sparsity=0.2, max_drop=0.2))
    harmful, harmless = made.compressed
    assert "1.00 are allowed" in harmful.skipped
    assert harmless.skipped == ""
    assert harmless.bytes_before == harmful.bytes_before
    alone = compressed(Prune(sparsity=0.2, max_drop=0.2))
    assert pack_model(made, None) == pack_model(alone, None)


def test_without_a_limit_of_its_own_the_gate_counts_all_passes() -> None:
    rows = compressed(Prune(sparsity=0.3), Prune(sparsity=0.98), max_drop=0.3).compressed
    assert [bool(row.skipped) for row in rows] == [False, True]
    assert rows[0].accuracy_before is not None
    assert f"({100 * rows[0].accuracy_before:.2f} ->" in rows[1].skipped


def test_more_bytes_must_give_more_accuracy() -> None:
    passes = LowBit(bits=3, method="nearest", max_drop=1.0), Equalise()
    _, row = compressed(*passes, judge=lambda *_: 0.5).compressed
    assert row.bytes_after > 1.1 * row.bytes_before
    assert row.skipped.startswith("it is no better, and makes the bundle larger, ")
    _, row = compressed(*passes, judge=lambda _, bundle, __: len(bundle) / 1e6).compressed
    assert row.skipped.startswith("it gains 0.16 points, and makes the bundle larger, ")
    _, row = compressed(*passes, judge=lambda _, bundle, __: len(bundle) / 1e5).compressed
    assert row.skipped == ""
    allowed = passes[0], Equalise(max_drop=0.0)
    _, row = compressed(*allowed, judge=lambda *_: 0.5).compressed
    assert row.skipped == ""


def test_more_arena_must_give_more_accuracy() -> None:
    (row,) = compressed(WideActivations(), judge=lambda *_: 0.5).compressed
    assert row.arena_after > row.arena_before
    arena = f"the arena larger, {row.arena_before:,} -> {row.arena_after:,} bytes"
    assert row.skipped.startswith("it is no better, and makes ") and row.skipped.endswith(arena)
    told = iter((0.5, 0.51))
    (row,) = compressed(WideActivations(), judge=lambda *_: next(told)).compressed
    assert row.skipped == ""


def test_a_pass_that_is_required_stops_the_conversion() -> None:
    with pytest.raises(HardtackError, match="it costs") as caught:
        compressed(Prune(sparsity=0.98, max_drop=0.01, required=True))
    assert caught.value.code == "HT403"
    assert "[[compress]] 1 (prune)" in caught.value.where


def test_a_pass_that_changes_nothing_is_skipped() -> None:
    _, again = compressed(Prune(sparsity=0.5), Prune(sparsity=0.4)).compressed
    assert again.skipped == "it changed nothing (49.8 % of 3,948 weights are zero)"


def test_without_samples_to_judge_by_there_is_no_accuracy() -> None:
    (row,) = compressed(Prune(sparsity=0.98), judge=None, max_drop=0.0).compressed
    assert (row.accuracy_before, row.accuracy_after, row.skipped) == (None, None, "")


def test_only_the_layers_named_change() -> None:
    made = compressed(Prune(sparsity=0.5, layers=("fc1",)))
    zeros = [
        float((t.data == 0).mean()) for t in made.program.tensors
        if t.data is not None and t.data.dtype == np.int8 and t.data.size > 100
    ]  # fmt: skip
    assert [share > 0.4 for share in zeros] == [False, True, False]


@pytest.mark.parametrize(
    ("pattern", "near"), [("fd1", "fc1"), ("conv*", "fc0"), ("FC0", "fc0")]
)  # fmt: skip
def test_a_name_that_no_layer_has_is_refused(pattern: str, near: str) -> None:
    with pytest.raises(HardtackError) as caught:
        compressed(Prune(sparsity=0.5, layers=(pattern,)))
    assert caught.value.code == "HT110"
    assert near in caught.value.todo


def test_a_model_that_came_quantised_is_refused() -> None:
    quantized = ir.to_proto(compressed().quantized).SerializeToString()
    with pytest.raises(HardtackError) as caught:
        convert(quantized, replace(OPTIONS, compress=(Prune(sparsity=0.5),)))
    assert caught.value.code == "HT230"


def test_progress_is_told_to_the_end() -> None:
    told: list[tuple[str, int, int]] = []
    compressed(Prune(sparsity=0.3), Prune(sparsity=0.5), progress=lambda *now: told.append(now))
    stages = [stage for stage, _, _ in told]
    assert stages == sorted(stages, key=["compress", "calibrate"].index)
    assert max(done / total for stage, done, total in told if stage == "compress") == 1
