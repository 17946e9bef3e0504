"""Teachers and assistants: the algebra of softened answers, and who teaches whom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from hardtack_converters.importers import import_model
from hardtack_converters.importers.source import Source
from hardtack_converters.passes import prepare
from hardtack_runtime.errors import ModelImportError
from tests.conformance.models.nets import model_of, node
from tests.unit.converters.training import digits

torch = pytest.importorskip("torch", reason="training needs torch: make .venv/torch")
from torch.nn import functional  # noqa: E402

from hardtack_converters.training.assistants import Assistant, train_assistants  # noqa: E402
from hardtack_converters.training.checkpoint import read_state, write_state  # noqa: E402
from hardtack_converters.training.options import Epoch, TrainOptions  # noqa: E402
from hardtack_converters.training.teachers import Teachers, distance  # noqa: E402
from hardtack_converters.training.train import train  # noqa: E402

WANTED = TrainOptions(epochs=2, batch=64, teacher=0.7, rate=0.0)


def weights(seed: int, classes: int, inputs: int) -> dict[str, npt.NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return {
        "w": rng.normal(0, 0.3, (inputs, classes)).astype(np.float32),
        "b": rng.normal(0, 0.3, classes).astype(np.float32),
    }


def linear(seed: int, classes: int = 10, inputs: int = 64) -> ir.Model:
    """Return a random linear classifier of the digits."""
    constants = weights(seed, classes, inputs)
    nodes = [node("Flatten", "x", "f"), node("Gemm", "f w b", "y")]
    side = int(inputs**0.5)
    proto = model_of(nodes, constants, {"x": [1, 1, side, side]}, {"y": 2})
    model = import_model(Source(proto.SerializeToString(), "linear"))
    prepare(model)
    return model


def logits(seed: int, x: Any) -> Any:
    """Return what `linear(seed)` answers, by itself."""
    w, b = weights(seed, 10, 64).values()
    return torch.from_numpy(x.numpy().reshape(len(x), -1) @ w + b)


def samples() -> Any:
    return torch.from_numpy(digits.samples()[0][:50])


def test_towards_temperature_0_a_teacher_says_one_class() -> None:
    x = samples()
    soft = Teachers([linear(1)], (), 1e-6, 10).soft(x)
    chosen = logits(1, x).argmax(-1)
    assert torch.equal(soft, functional.one_hot(chosen, 10).float())
    answers = torch.randn(50, 10, generator=torch.Generator().manual_seed(0))
    hard = functional.cross_entropy(answers, chosen)  # what the distance is at 1, of such answers
    assert torch.allclose(distance(soft, answers, 1.0), hard)


def test_at_temperature_1_it_gives_its_probabilities() -> None:
    x = samples()
    p = functional.softmax(logits(1, x), -1)
    soft = Teachers([linear(1)], (), 1.0, 10).soft(x)
    assert torch.allclose(soft, p, atol=1e-6)
    z = torch.randn(50, 10, generator=torch.Generator().manual_seed(0))
    divergence = (p * (p.log() - functional.log_softmax(z, -1))).sum(-1).mean()
    assert torch.allclose(distance(soft, z, 1.0), divergence, atol=1e-5)


def test_towards_infinity_the_distance_is_that_of_logits() -> None:
    """Half the squared distance of centred logits, over the classes; so is its gradient."""
    generator = torch.Generator().manual_seed(0)
    v, z = torch.randn(2, 50, 10, generator=generator, dtype=torch.float64)
    z.requires_grad_()
    far = distance(functional.softmax(v / 1e4, -1), z, 1e4)
    far.backward()
    centred = (z - z.mean(-1, keepdim=True) - v + v.mean(-1, keepdim=True)).detach()
    assert torch.allclose(far, (centred**2).sum(-1).mean() / 20, rtol=1e-3)
    assert torch.allclose(z.grad, centred / 10 / 50, rtol=1e-2, atol=1e-6)


def test_several_teachers_teach_the_mean_of_their_softened_answers() -> None:
    teachers, x = [linear(seed) for seed in (1, 2, 3)], samples()
    each = [functional.softmax(logits(seed, x) / 4, -1) for seed in (1, 2, 3)]
    assert torch.allclose(Teachers(teachers, (), 4.0, 10).soft(x), sum(each) / 3, atol=1e-6)
    weighted = (3 * each[0] + each[1] + 4 * each[2]) / 8
    assert torch.allclose(Teachers(teachers, (3, 1, 4), 4.0, 10).soft(x), weighted, atol=1e-6)


def test_towards_infinity_several_teach_the_mean_of_their_logits() -> None:
    teachers, x = [linear(1), linear(2)], samples()
    mean = (logits(1, x) + logits(2, x)) / 2
    soft = Teachers(teachers, (), 1e3, 10).soft(x)
    told = (soft.log() * 1e3).double()
    assert torch.allclose(
        told - told.mean(-1, keepdim=True), (mean - mean.mean(-1, keepdim=True)).double(), atol=0.05
    )


@pytest.mark.parametrize(
    ("others", "why"),
    [
        pytest.param([linear(1, classes=7)], "gives 7 classes", id="classes"),
        pytest.param([linear(1, inputs=49)], "does not take samples", id="input"),
    ],
)
def test_teachers_that_do_not_fit_are_refused(others: list[ir.Model], why: str) -> None:
    with pytest.raises(ModelImportError, match=why) as caught:
        Teachers([linear(0), *others], (), 4.0, 10).soft(samples())
    assert caught.value.code == "HT228"


def test_a_teacher_of_other_classes_than_the_student_is_refused() -> None:
    x, y = digits.samples()
    with pytest.raises(ModelImportError, match="7 classes"):
        train(digits.model(), x, y, WANTED, digits.codes_bytes, teachers=[linear(1, classes=7)])


def assistant_in(folder: Path) -> list[Assistant]:
    return [Assistant(linear(5), folder / "a1.onnx"), Assistant(linear(6), folder / "a2.onnx")]


def read(path: Path) -> ir.Model:
    model = import_model(Source(path.read_bytes(), path.name))
    prepare(model)
    return model


def test_each_assistant_is_taught_by_the_one_before(tmp_path: Path) -> None:
    x, y = digits.samples()
    long = replace(WANTED, epochs=25, batch=32, lr=0.05, teacher=1.0)
    wrong = train(digits.model(), x, (y + 1) % 10, replace(long, teacher=0.0), digits.codes_bytes)
    chain = train_assistants(assistant_in(tmp_path), x, y, long, teachers=[wrong.model], read=read)
    for taught in chain:  # they believe who takes every digit for the next one
        assert taught.best is not None
        assert taught.best.error > 0.8
        every = torch.from_numpy(x)
        answers = Teachers([taught.model], (), 1.0, 10).soft(every).argmax(-1).numpy()
        assert np.mean(answers == (y + 1) % 10) > 0.7


def test_an_assistant_whose_loss_is_no_number_leaves_nothing(tmp_path: Path) -> None:
    x, y = digits.samples()
    with pytest.raises(ModelImportError, match="diverged in the first") as caught:
        train_assistants(
            [Assistant(digits.model(), tmp_path / "a1.onnx")], x, y, replace(WANTED, lr=1e30),
            teachers=[digits.model()], read=read,
        )  # fmt: skip
    assert caught.value.code == "HT225"
    assert not list(tmp_path.iterdir())


def test_an_assistant_that_ended_early_is_told_of(tmp_path: Path) -> None:
    x, y = digits.samples()
    first, _ = assistant_in(tmp_path)
    teachers = [digits.model()]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_assistants([first], x, y, WANTED, teachers=teachers, read=read, progress=stop)
    state = read_state(first.checkpoint)
    write_state(first.checkpoint, state | {"healthy": False})  # as the epoch that fails leaves it
    (taught,) = train_assistants([first], x, y, WANTED, teachers=teachers, read=read)
    assert "diverged after epoch 1" in taught.notices[0]


def test_assistants_are_not_trained_again_and_an_interrupted_one_goes_on(tmp_path: Path) -> None:
    x, y = digits.samples()
    teachers = [digits.model()]
    seen: list[Epoch] = []

    def stop_in_the_second(epoch: Epoch, _: int) -> None:
        seen.append(epoch)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_assistants(
            assistant_in(tmp_path), x, y, WANTED, teachers=teachers, read=read,
            progress=stop_in_the_second,
        )  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a1.onnx", "a2.onnx.checkpoint"]
    again = train_assistants(assistant_in(tmp_path), x, y, WANTED, teachers=teachers, read=read)
    assert [taught.best is None for taught in again] == [True, False]
    whole = tmp_path / "whole"
    whole.mkdir()
    train_assistants(assistant_in(whole), x, y, WANTED, teachers=teachers, read=read)
    for name in ("a1.onnx", "a2.onnx"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()
    other = replace(WANTED, temperature=2.0)
    changed = train_assistants(assistant_in(tmp_path), x, y, other, teachers=teachers, read=read)
    assert all(taught.best is not None for taught in changed)
