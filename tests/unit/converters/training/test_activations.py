"""Activations rounded in training as devices round them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from hardtack_converters.calibrate import open_session
from hardtack_converters.quantize import quantize
from hardtack_converters.ranges import Range
from tests.unit.converters.training import digits

torch = pytest.importorskip("torch", reason="training needs torch: make .venv/torch")

from hardtack_converters.training.activations import Activation, coded_values  # noqa: E402
from hardtack_converters.training.assistants import Assistant, train_assistants  # noqa: E402
from hardtack_converters.training.course import Course  # noqa: E402
from hardtack_converters.training.module import GraphModule  # noqa: E402
from hardtack_converters.training.options import Epoch, TrainOptions  # noqa: E402
from hardtack_converters.training.train import train  # noqa: E402

FEW = TrainOptions(epochs=5, batch=64, activations=True)


def test_a_value_is_rounded_to_256_codes_and_its_gradient_is_not() -> None:
    module = Activation()
    module.limits.copy_(torch.tensor([-1.0, 4.1]))  # 0.02 a code, 0 is code -78
    module.eval()
    x = torch.tensor([-3.0, -0.011, 0.0, 1.234, 4.099, 9.0], requires_grad=True)
    made = module(x, rounds=True)
    assert torch.allclose(made, torch.tensor([-1.0, -0.02, 0.0, 1.24, 4.1, 4.1]), atol=1e-5)
    made.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 0]
    assert module(x, rounds=False) is x


def test_limits_are_learnt_in_training_alone_and_hold_zero() -> None:
    module = Activation()
    module(torch.tensor([2.0, 5.0]), rounds=False)
    assert module.limits.tolist() == [0, 5]
    module(torch.tensor([-1.0, 6.0]), rounds=True)
    assert torch.allclose(module.limits, torch.tensor([-0.01, 5.01]))
    before = module.limits.clone()
    module.eval()
    module(torch.tensor([-90.0, 90.0]), rounds=True)
    assert torch.equal(module.limits, before)


def test_a_fixed_grid_sees_nothing() -> None:
    module = Activation((1 / 256, -128))
    made = module(torch.tensor([0.0, 0.5, 0.999, 1.7]), rounds=True)
    assert made.tolist() == [0, 0.5, 255 / 256, 255 / 256]
    assert not module.limits.any()


def test_a_rounded_net_answers_as_its_quantised_form() -> None:
    """Weights and activations on the same grids, in torch and in ONNX Runtime."""
    model = digits.model()
    x, _ = digits.samples()
    module = GraphModule(model, activations=True)
    module(torch.from_numpy(x[:200]))
    module.write_back()
    ranges = {}
    for value, (name, _) in coded_values(model).items():
        activation = module.activations[name]
        assert isinstance(activation, Activation)
        ranges[str(value.name)] = Range(*activation.limits.tolist())
    for node in model.graph:  # those that share the grid of their input
        if node.op_type in ("MaxPool", "Reshape"):
            ranges[str(node.outputs[0].name)] = ranges[str(node.inputs[0].name)]  # type: ignore[union-attr]
    session = open_session(quantize(model, ranges))
    name = session.get_inputs()[0].name
    expected = np.concatenate([session.run(None, {name: one[None]})[0] for one in x[:100]])
    module.eval()
    with torch.no_grad():
        plain = module(torch.from_numpy(x[:100])).numpy()
        module.rounds = True
        found = module(torch.from_numpy(x[:100])).numpy()
    assert np.abs(found - expected).max() <= 2 / 256
    assert np.abs(plain - expected).max() > 2 / 256


def test_a_training_rounds_them_in_its_last_epochs() -> None:
    x, y = digits.samples()
    data = torch.from_numpy(x), torch.from_numpy(y)
    for options, expected in (
        (FEW, [False, False, False, True, True]),
        (replace(FEW, activations=False), [False] * 5),
    ):
        course = Course(digits.model(), data, options, digits.codes_bytes)
        seen = []
        for _ in range(5):
            course.run_epoch()
            seen.append(course.module.rounds)
        assert seen == expected


def test_an_interrupted_training_of_rounded_activations_goes_on_to_the_same_bits(
    tmp_path: Path,
) -> None:
    x, y = digits.samples()
    whole = train(digits.model(), x, y, FEW, digits.codes_bytes)
    checkpoint = tmp_path / "checkpoint"

    def stop(epoch: Epoch, _: int) -> None:
        if epoch.number == 4:  # the first that rounds
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(digits.model(), x, y, FEW, digits.codes_bytes, checkpoint=checkpoint, progress=stop)
    again = train(digits.model(), x, y, FEW, digits.codes_bytes, checkpoint=checkpoint)
    assert again.epochs == whole.epochs


def test_what_a_teacher_is_asked_before_sets_no_limits() -> None:
    x, y = digits.samples()
    data = torch.from_numpy(x), torch.from_numpy(y)
    course = Course(digits.model(), data, replace(FEW, teacher=0.5), digits.codes_bytes)
    course.listen([digits.model()])
    limits = [v for name, v in course.module.state_dict().items() if name.endswith("limits")]
    assert limits
    assert not any(bool(one.any()) for one in limits)
    assert course.module.training


def test_assistants_are_not_rounded(tmp_path: Path) -> None:
    written = []
    for rounds in (True, False):
        wanted = replace(FEW, epochs=1, teacher=0.5, activations=rounds)
        one = Assistant(digits.model(), tmp_path / f"{rounds}.onnx")
        train_assistants([one], *digits.samples(), wanted, teachers=[digits.model()], read=ir.load)
        written.append(one.file.read_bytes())
    assert written[0] == written[1]
