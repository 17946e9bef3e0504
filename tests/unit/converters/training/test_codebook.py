"""Weights of few values that are learnt, and layers reshaped before they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: make .venv/torch")

from hardtack_converters.compress.settings import Share  # noqa: E402
from hardtack_converters.compress.share import share, shared_weights  # noqa: E402
from hardtack_converters.convert import convert  # noqa: E402
from hardtack_converters.training.codebook import Codebook  # noqa: E402
from hardtack_converters.training.module import GraphModule  # noqa: E402
from hardtack_converters.training.options import TrainOptions  # noqa: E402
from hardtack_converters.training.train import train  # noqa: E402
from hardtack_runtime.errors import ConfigError  # noqa: E402
from tests.unit.converters.training import digits  # noqa: E402

OPTIONS = TrainOptions(epochs=8, batch=32, lr=0.02, share=Share(bits=2), held_out=120)


def weights() -> Any:
    drawn = torch.randn(6, 20, generator=torch.Generator().manual_seed(1))
    drawn[:, ::3] = 0
    return drawn


def test_it_begins_where_the_pass_share_ends() -> None:
    book = Codebook(weights(), 3)
    wanted = shared_weights(weights().double().numpy(), 3)
    assert np.allclose(book().detach().numpy(), wanted, rtol=1e-6)
    assert len(np.unique(book.codes().detach().numpy())) <= 8


def test_the_gradient_of_a_value_is_the_sum_of_those_of_its_weights() -> None:
    book = Codebook(weights(), 2)
    far = torch.randn(6, 20, generator=torch.Generator().manual_seed(2))
    (book() * far).sum().backward()
    alive = np.where(book.mask.numpy() == 1, book.places.numpy(), -1)
    for place in range(len(book.values)):
        wanted = book.spread * float(far[torch.from_numpy(alive == place)].sum())
        assert float(book.values.grad[place]) == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_what_is_zero_stays_zero_and_a_layer_of_zeros_too() -> None:
    book = Codebook(weights(), 2)
    with torch.no_grad():
        book.values += 0.5
    assert torch.equal(book() == 0, weights() == 0)
    assert not Codebook(torch.zeros(3, 4), 2)().any()


def test_learnt_values_err_less_and_convert_keeps_them() -> None:
    x, y = digits.samples()
    untrained = digits.model()
    share(untrained, Share(bits=2))
    judged = GraphModule(untrained, exact=True)
    with torch.no_grad():
        before = (judged(torch.from_numpy(x[-120:])).argmax(-1).numpy() != y[-120:]).mean()
    done = train(digits.model(), x, y, OPTIONS, digits.codes_bytes)
    assert done.best.error < before
    file = ir.to_proto(done.model).SerializeToString()
    program = convert(file, digits.OPTIONS).program
    for op in program.ops:
        if hasattr(op, "weights"):
            codes = program.tensors[op.weights].data
            assert codes is not None
            assert len(np.unique(codes)) <= 4


def test_layers_by_name_or_near_matches() -> None:
    x, y = digits.samples()
    wrong = replace(OPTIONS, share=Share(bits=2, layers=("nonsense",)))
    with pytest.raises(ConfigError, match="/9/Gemm") as caught:
        train(digits.model(), x, y, wrong, digits.codes_bytes)
    assert caught.value.code == "HT110"
