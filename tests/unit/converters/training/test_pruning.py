"""Zeros that come while a model trains, and stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from hardtack_converters.compress.layers import weighted_layers
from hardtack_converters.compress.prune_weights import zero_weights
from hardtack_converters.compress.settings import Prune
from hardtack_converters.convert import convert
from hardtack_runtime.errors import ModelImportError
from tests.unit.converters.training import digits

torch = pytest.importorskip("torch", reason="training needs torch: make .venv/torch")

from hardtack_converters.training.module import GraphModule  # noqa: E402
from hardtack_converters.training.options import Epoch, TrainOptions  # noqa: E402
from hardtack_converters.training.pruning import Pruning  # noqa: E402
from hardtack_converters.training.train import train  # noqa: E402

PRUNE = Prune(sparsity=0.8)
SHORT = TrainOptions(epochs=6, batch=32, rate=0.0, prune=PRUNE)


def zeros(model: ir.Model) -> list[float]:
    return [float((layer.weights == 0).mean()) for layer in weighted_layers(model)]


def error_of(model: ir.Model) -> float:
    x, y = digits.samples()
    with torch.no_grad():
        answers = GraphModule(model, exact=True).logits(torch.from_numpy(x)).argmax(-1)
    return float((answers.numpy() != y).mean())


def test_zeros_rise_to_what_was_asked_for_and_training_makes_up_for_them() -> None:
    trained = train(digits.model(), *digits.samples(), SHORT, digits.codes_bytes)
    shares = [epoch.pruned for epoch in trained.epochs]
    assert shares == pytest.approx([0.4625, 0.7, 0.7875, 0.8, 0.8, 0.8])
    assert trained.best.number > 3
    assert min(zeros(trained.model)) >= 0.79
    at_once = digits.model()
    zero_weights(at_once, PRUNE)
    assert error_of(trained.model) < 0.5 * error_of(at_once)


def test_a_bundle_has_the_zeros() -> None:
    trained = train(digits.model(), *digits.samples(), SHORT, digits.codes_bytes)
    converted = convert(ir.to_proto(trained.model).SerializeToString(), digits.OPTIONS)
    codes = [
        tensor.data for tensor in converted.program.tensors
        if tensor.data is not None and tensor.data.dtype == np.int8 and tensor.data.size > 100
    ]  # fmt: skip
    assert min(float((data == 0).mean()) for data in codes) >= 0.75


def test_what_came_as_zero_stays_zero() -> None:
    model = digits.model()
    zero_weights(model, Prune(sparsity=0.5))
    before = [layer.weights == 0 for layer in weighted_layers(model)]
    options = replace(SHORT, epochs=2, prune=Prune(sparsity=0.0))
    trained = train(model, *digits.samples(), options, digits.codes_bytes)
    for layer, zero in zip(weighted_layers(trained.model), before, strict=True):
        assert not layer.weights[zero].any()
        assert layer.weights.any()


@pytest.mark.parametrize(
    "settings",
    [Prune(pattern="1:4"), Prune(sparsity=0.7, pattern="vector", size=2),
     Prune(sparsity=0.7, scope="global")],
    ids=lambda s: f"{s.pattern}-{s.scope}",
)  # fmt: skip
def test_patterns_hold_after_training(settings: Prune) -> None:
    options = replace(SHORT, epochs=4, prune=settings)
    trained = train(digits.model(), *digits.samples(), options, digits.codes_bytes)
    again = trained.model.clone()
    assert zero_weights(again, settings) == 0  # pruning once more finds nothing left to do


def test_it_stops_where_accuracy_does_not_come_back() -> None:
    module = GraphModule(digits.model())
    pruning = Pruning(module, Prune(sparsity=0.9, max_drop=0.02), epochs=10, unpruned=0.05)
    epochs: list[Epoch] = []
    shares = []
    for number, error in enumerate([0.05, 0.06, 0.2, 0.1, 0.06, 0.3, 0.3], 1):
        shares.append(pruning.share_after(epochs))
        epochs.append(Epoch(number, 0.0, error, 0, 0, 0.0, shares[-1]))
    assert shares == sorted(shares)
    assert shares[2] == shares[3] == shares[4] < shares[5] == shares[6]


def test_the_best_epoch_is_the_sparsest_that_kept_to_the_limit() -> None:
    options = replace(SHORT, epochs=10, prune=Prune(sparsity=0.99, max_drop=0.02))
    trained = train(digits.model(), *digits.samples(), options, digits.codes_bytes)
    kept = [epoch for epoch in trained.epochs if epoch.error <= trained.best.error]
    assert trained.best.pruned == max(epoch.pruned for epoch in kept)
    assert trained.best.pruned < 0.99
    assert error_of(trained.model) < 0.06


def test_a_limit_that_nothing_keeps_to_is_an_error() -> None:
    model = digits.model()
    options = replace(SHORT, epochs=1, lr=1e-9, prune=Prune(sparsity=0.97, max_drop=0.0))
    with pytest.raises(ModelImportError, match="no epoch kept to the limits") as caught:
        train(model, *digits.samples(), options, digits.codes_bytes)
    assert caught.value.code == "HT225"


def test_an_interrupted_training_goes_on_to_the_same_zeros(tmp_path: Path) -> None:
    def stop(epoch: Epoch, _: int) -> None:
        if epoch.number == 3:
            raise KeyboardInterrupt

    whole = train(digits.model(), *digits.samples(), SHORT, digits.codes_bytes)
    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        train(digits.model(), *digits.samples(), SHORT, digits.codes_bytes,
              checkpoint=checkpoint, progress=stop)  # fmt: skip
    resumed = train(digits.model(), *digits.samples(), SHORT, digits.codes_bytes,
                    checkpoint=checkpoint)  # fmt: skip
    assert resumed.epochs == whole.epochs
    pairs = zip(weighted_layers(resumed.model), weighted_layers(whole.model), strict=True)
    assert all(np.array_equal(one.weights, other.weights) for one, other in pairs)
