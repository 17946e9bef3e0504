"""The last samples judge: those must be samples of all classes, as those trained on must."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hardtack_runtime.errors import ModelImportError
from tests.unit.converters.training import digits

pytest.importorskip("torch", reason="training needs torch: make .venv/torch")

from hardtack_converters.training.options import TrainOptions
from hardtack_converters.training.train import _check_order, train

FEW = TrainOptions(epochs=1, batch=64, teacher=0.5)


def test_samples_in_the_order_of_their_classes_are_refused() -> None:
    x, y = digits.samples()
    order = np.argsort(y, kind="stable")
    last = np.concatenate([np.flatnonzero(y == c)[:n] for c, n in enumerate((45, 60, 15))])
    few = np.concatenate([np.setdiff1d(order, last), last])
    for some, met in (
        (order, "class 9 is among the first 480, which are trained on"),
        (few, "class 3 is among the last 120, which are held out"),
        (np.flatnonzero(y == 3), "all samples are of class 3"),
    ):
        with pytest.raises(ModelImportError, match=met) as caught:
            train(digits.model(), x[some], y[some], FEW, digits.codes_bytes)
        assert caught.value.code == "HT227"


def test_classes_that_nothing_judges_are_told_of() -> None:
    x, y = digits.samples()
    early = np.argsort(y != 1, kind="stable")
    once = replace(FEW, epochs=1)
    trained = train(digits.model(), x[early], y[early], once, digits.codes_bytes)
    assert trained.notices[0].startswith("nothing judges class 1: ")


def test_many_classes_are_not_taken_for_sorted() -> None:
    x, _ = digits.samples()
    many = np.random.default_rng(2).permutation(np.arange(24_000) % 600)
    for seed in range(40):
        assert _check_order(np.random.default_rng(seed).permutation(many), 19_200) == []
    ours = replace(FEW, epochs=1, teacher=1.0)  # then nobody needs to know the classes
    assert train(digits.model(), x, np.zeros(len(x), int), ours, digits.codes_bytes).epochs
