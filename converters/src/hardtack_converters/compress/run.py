"""Runs the passes that are asked for, measures each, and leaves out those that do harm."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import onnx_ir as ir

from hardtack_converters.compress.bench import Bench, Changed, Measured
from hardtack_converters.compress.bias_correction import bias_correction
from hardtack_converters.compress.equalise import equalise
from hardtack_converters.compress.factorise import factorise
from hardtack_converters.compress.low_bit import low_bit
from hardtack_converters.compress.mixed_precision import mixed_precision
from hardtack_converters.compress.outliers import outliers
from hardtack_converters.compress.prune import prune
from hardtack_converters.compress.round import round_weights
from hardtack_converters.compress.settings import (
    AccuracyPass,
    BiasCorrection,
    Equalise,
    Factorise,
    LowBit,
    MixedPrecision,
    Outliers,
    Pass,
    Prune,
    Round,
    Share,
    WideActivations,
)
from hardtack_converters.compress.share import share
from hardtack_converters.compress.wide_activations import wide_activations
from hardtack_converters.passes.drop_dead import drop_dead
from hardtack_converters.report import PassRow
from hardtack_runtime.errors import ConfigError, GateError

Apply = Callable[[ir.Model, Any, Bench], Changed]
PASSES: dict[type[Pass], Apply] = {
    Prune: prune,
    Share: share,
    LowBit: low_bit,
    MixedPrecision: mixed_precision,
    Factorise: factorise,
    Equalise: equalise,
    BiasCorrection: bias_correction,
    Round: round_weights,
    Outliers: outliers,
    WideActivations: wide_activations,
}
"""Each pass by its settings; it changes the model in place."""


def compress(
    model: ir.Model, passes: Sequence[Pass], bench: Bench, max_drop: float | None = None
) -> tuple[ir.Model, tuple[PassRow, ...]]:
    """Run passes in order, each on a copy that is kept only if it does no harm.

    A pass does harm when it makes the bundle larger, or costs more accuracy than it may: its own
    `max_drop` against the model it was given, else `max_drop` against the model before all passes.
    Passes for accuracy may take bytes and arena for a gain, but no accuracy; with a `max_drop` of
    their own, they may take bytes and arena in any case.

    Args:
        model: Prepared float model; not changed.
        passes: Settings of each.
        bench: Where models are measured.
        max_drop: Share of right answers that all passes together may cost; None: any.

    Returns:
        The model that is left, and a row per pass.

    Raises:
        ConfigError: HT104, HT110: settings that do not fit the model.
        GateError: HT403, a pass that is required does harm.
    """
    if not passes:
        return model, ()
    first = before = bench.measure(model, None)
    rows: list[PassRow] = []
    for index, wanted in enumerate(passes):
        started = time.monotonic()
        draft = model.clone()
        changed = _apply(draft, wanted, _part(bench, index, len(passes)), index)
        drop_dead(draft)
        after = bench.measure(draft, None)
        harm = _harm(wanted, changed, (first, before, after), max_drop)
        rows.append(
            PassRow(
                _name(wanted), changed.summary, before.bytes, after.bytes, before.arena,
                after.arena, before.accuracy, after.accuracy, time.monotonic() - started, harm,
            )
        )  # fmt: skip
        if harm and wanted.required:
            raise GateError(
                "HT403", _place(wanted, index), harm,
                "ask for less, allow more with `max_drop`, or drop `required`",
            )  # fmt: skip
        if not harm:
            model, before = draft, after
        bench.progress((index + 1) * _PARTS, len(passes) * _PARTS)
    return model, tuple(rows)


DEARER = 1.01
"""What a pass that is there for accuracy may make of bytes and arena without any gain."""
MUCH_DEARER = 1.1
"""Of bytes: above, it has taken weights off the grids that a pass before it has put them on."""
EQUAL = 1e-9
"""Accuracies that differ by less are of as many right answers."""
WORTH_IT = 0.005
"""Gain in accuracy that makes up for that: what one sample more says is chance."""
_PARTS = 1000
"""Steps that progress within one pass is told in."""


def _apply(draft: ir.Model, wanted: Pass, bench: Bench, index: int) -> Changed:
    try:
        return PASSES[type(wanted)](draft, wanted, bench)
    except ConfigError as error:
        place = f"{_place(wanted, index)}, {error.where}"
        raise ConfigError(error.code, place, error.met, error.todo) from error


def _part(bench: Bench, index: int, count: int) -> Bench:
    """Return the bench with the progress of one pass as a part of the whole."""

    def told(done: int, total: int) -> None:
        bench.progress(index * _PARTS + done * _PARTS // max(total, 1), count * _PARTS)

    return replace(bench, progress=told)


def _name(wanted: Pass) -> str:
    return str(wanted.model_dump()["pass_"])


def _place(wanted: Pass, index: int) -> str:
    return f"[[compress]] {index + 1} ({_name(wanted)})"


def _harm(
    wanted: Pass,
    changed: Changed,
    measured: tuple[Measured, Measured, Measured],
    max_drop: float | None,
) -> str:
    """Return why a pass is not worth its price; empty if it is."""
    first, before, after = measured
    limit: float | None
    if not changed.layers and not changed.satisfied:
        return f"it changed nothing ({changed.summary})"
    own, base = wanted.max_drop, before
    if isinstance(wanted, AccuracyPass):
        limit = own or 0.0
        if own is None and (no_gain := _no_gain(before, after)):
            return no_gain
    elif after.bytes > before.bytes:
        return f"it makes the bundle larger: {before.bytes:,} -> {after.bytes:,} bytes"
    elif own is not None:
        limit = own
    else:
        limit, base = max_drop, first
    if limit is None or base.accuracy is None or after.accuracy is None:
        return ""
    drop = base.accuracy - after.accuracy
    if drop <= limit + EQUAL:
        return ""
    return (
        f"it costs {100 * drop:.2f} points of accuracy, {100 * limit:.2f} are allowed "
        f"({100 * base.accuracy:.2f} -> {100 * after.accuracy:.2f} %)"
    )


def _no_gain(before: Measured, after: Measured) -> str:
    """Return why a pass that is there for accuracy is not worth what it takes; empty if it is."""
    if before.accuracy is None or after.accuracy is None:
        return ""
    gain = after.accuracy - before.accuracy
    is_much_dearer = after.bytes > MUCH_DEARER * before.bytes
    if gain > (WORTH_IT - EQUAL if is_much_dearer else EQUAL):
        return ""
    larger = [
        f"{what} larger, {was:,} -> {now:,} bytes"
        for what, was, now in (
            ("bundle", before.bytes, after.bytes), ("arena", before.arena, after.arena),
        )
        if now > DEARER * was
    ]  # fmt: skip
    gained = "is no better"
    if abs(gain) > EQUAL:
        gained = f"{'gains' if gain > 0 else 'loses'} {100 * abs(gain):.2f} points"
    return f"it {gained}, and makes the {' and the '.join(larger)}" if larger else ""
