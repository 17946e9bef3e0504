"""Samples changed at random: what is moved, what is mixed, and what the loss makes of it."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: make .venv/torch")

from torch.nn import functional  # noqa: E402

from hardtack_converters.training.augment import (  # noqa: E402
    Mixture,
    cross_entropy,
    mixed,
    moved,
    picture_axes,
)
from tests.conformance.models.nets import model_of, node  # noqa: E402


def dice() -> Any:
    return torch.Generator().manual_seed(3)


def test_pictures_move_by_as_much_as_is_said_along_each_axis() -> None:
    x = torch.zeros(400, 1, 9, 9)
    x[:, :, 4, 4] = 1
    _, _, rows, columns = torch.nonzero(moved(x, (3, 0), (2, 3), dice()), as_tuple=True)
    assert set(rows.tolist()) == set(range(1, 8))
    assert set(columns.tolist()) == {4}
    _, _, rows, columns = torch.nonzero(moved(x, 1, (2, 3), dice()), as_tuple=True)
    assert set(rows.tolist()) == set(columns.tolist()) == {3, 4, 5}
    assert moved(x, 0, (2, 3), dice()) is x


def test_channels_may_come_last() -> None:
    x = torch.rand(20, 1, 9, 7, generator=dice())
    wanted = moved(x, (2, 1), (2, 3), dice())
    assert torch.equal(
        moved(x.permute(0, 2, 3, 1), (2, 1), (1, 2), dice()).permute(0, 3, 1, 2), wanted
    )
    nodes = [node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Relu", "t", "y")]
    last = model_of(nodes, {}, {"x": [1, 9, 7, 1]}, {"y": 4})
    first = model_of([node("Relu", "x", "y")], {}, {"x": [1, 1, 9, 7]}, {"y": 4})
    found = [picture_axes(ir.from_proto(model)) for model in (last, first)]
    assert found == [(1, 2), (2, 3)]


def test_a_mixture_holds_each_sample_and_its_partner_by_their_shares() -> None:
    x = torch.eye(50)
    found, mixture = mixed(x, 0.4, dice())
    assert 0 <= float(mixture.share.min()) < 0.1
    assert 0.3 < float(mixture.share.max()) <= 0.4
    assert sorted(mixture.partner.tolist()) == list(range(50))
    for at, row in enumerate(found):
        wanted = (1 - mixture.share[at]) * x[at] + mixture.share[at] * x[mixture.partner[at]]
        assert torch.allclose(row, wanted)


def test_the_loss_counts_both_classes_of_a_mixture() -> None:
    answers, classes = torch.randn(20, 5, generator=dice()), torch.arange(20) % 5
    alone = functional.cross_entropy(answers, classes)
    backwards = torch.arange(20).flip(0)
    other = functional.cross_entropy(answers, classes[backwards])
    for share, wanted in ((0.0, alone), (1.0, other), (0.25, 0.75 * alone + 0.25 * other)):
        mixture = Mixture(torch.full((20,), share), backwards)
        assert torch.allclose(cross_entropy(answers, classes, mixture), wanted)
    assert torch.equal(cross_entropy(answers, classes, None), alone)
