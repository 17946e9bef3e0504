"""A training keeps its limit, says why it cannot, and survives being killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from hardtack_converters.compress.settings import Share
from hardtack_converters.convert import convert, pack_model
from hardtack_converters.importers import import_model, read_source
from hardtack_converters.passes import prepare
from hardtack_runtime.errors import ConfigError, ModelImportError, UnsupportedOpError
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.signing import SigningKey
from tests.conformance.models.nets import model_of, node
from tests.unit.converters.training import digits

torch = pytest.importorskip("torch", reason="training needs torch: make .venv/torch")

from hardtack_converters.training.average import Average  # noqa: E402
from hardtack_converters.training.checkpoint import (  # noqa: E402
    read_state,
    replacing,
    write_state,
)
from hardtack_converters.training.course import SETTLED, fastest_growth  # noqa: E402
from hardtack_converters.training.options import Epoch, Progress, Trained, TrainOptions  # noqa: E402
from hardtack_converters.training.size import bundle_sizer  # noqa: E402
from hardtack_converters.training.train import train  # noqa: E402

FEW = TrainOptions(epochs=3, batch=64, shift=1, mixup=0.2, teacher=0.5, average=0.9)
UNMOVED = replace(FEW, shift=0)
ROOT = Path(__file__).parents[4]


def weights_of(model: ir.Model) -> list[bytes]:
    constants = sorted(model.graph.initializers.items())
    return [v.const_value.tobytes() for _, v in constants if v.const_value is not None]


def test_a_bundle_keeps_the_limit_and_still_knows_the_digits() -> None:
    x, y = digits.samples()
    options = TrainOptions(epochs=25, size=3600, rate=2e-5, batch=32)
    trained = train(digits.model(), x[:500], y[:500], options, bundle_sizer(digits.OPTIONS))
    file = ir.to_proto(trained.model).SerializeToString()
    bundle = pack_model(convert(file, digits.OPTIONS), SigningKey.generate(), smallest=True)
    assert len(bundle) == trained.best.bytes <= 3600
    assert trained.best.number > 15
    device = Interpreter(bundle)
    raw = x[500:] * np.float32(digits.STD) + np.float32(digits.MEAN)
    answers = [np.argmax(device.run_float(one[None])[0]) for one in raw]
    assert np.mean(answers == y[500:]) > 0.9
    whole = pack_model(convert(digits.DEMO_DATA / "digits.onnx", digits.OPTIONS), None)
    assert len(bundle) < len(whole)


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    x, y = digits.samples()
    whole = train(digits.model(), x, y, FEW, digits.codes_bytes)
    checkpoint = tmp_path / "checkpoint"
    program = f"""
import os, signal
from pathlib import Path
from typing import Any
from tests.unit.converters.training import digits
from tests.unit.converters.training.test_train import FEW, train
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
train(digits.model(), *digits.samples(), FEW, digits.codes_bytes,
      checkpoint=Path({str(checkpoint)!r}), progress=die)
"""
    killed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    told: list[Epoch] = []
    resumed = train(
        digits.model(), x, y, FEW, digits.codes_bytes,
        checkpoint=checkpoint, progress=lambda epoch, _: told.append(epoch),
    )  # fmt: skip
    assert tuple(told) == resumed.epochs == whole.epochs
    assert weights_of(resumed.model) == weights_of(whole.model)


@pytest.mark.parametrize(
    "new",
    [
        pytest.param({"size": 10_000, "rate": 1e-4}, id="zeros that stay"),
        pytest.param({"share": Share(bits=3), "average": 0.0}, id="shared values"),
        pytest.param({"binary": ("/3/Conv",), "activations": True}, id="a binary layer"),
    ],
)
def test_an_interrupted_training_goes_on_to_the_same_bits(
    new: dict[str, Any], tmp_path: Path
) -> None:
    x, y = digits.samples()
    wanted = replace(FEW, epochs=5, **new)
    whole = train(digits.model(), x, y, wanted, digits.codes_bytes)
    checkpoint = tmp_path / "checkpoint"

    def stop(epoch: Epoch, _: int) -> None:
        if epoch.number == 4:  # the first after LATE
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(
            digits.model(), x, y, wanted, digits.codes_bytes, checkpoint=checkpoint, progress=stop
        )
    again = train(digits.model(), x, y, wanted, digits.codes_bytes, checkpoint=checkpoint)
    assert again.epochs == whole.epochs
    assert weights_of(again.model) == weights_of(whole.model)


def test_the_rate_grows_slowly_where_there_is_time() -> None:
    assert fastest_growth(200) == 1.12
    assert fastest_growth(20) == pytest.approx(300 ** (1 / 10))
    x, y = digits.samples()
    wanted = replace(FEW, epochs=6, size=60, rate=1e-6, teacher=0.0)
    told: list[Epoch] = []
    with pytest.raises(ModelImportError, match="kept to 60 bytes"):
        train(
            digits.model(), x, y, wanted, digits.codes_bytes,
            progress=lambda epoch, _: told.append(epoch),
        )  # fmt: skip
    grown = 1e-6 * fastest_growth(6) ** np.arange(6)
    assert np.allclose([epoch.rate for epoch in told], grown)


def test_what_is_zero_late_stays_zero() -> None:
    x, y = digits.samples()
    wanted = replace(FEW, epochs=10, size=10_000, rate=1e-4, average=0.0, mixup=0.0)
    told: list[Epoch] = []
    train(
        digits.model(), x, y, wanted, digits.codes_bytes,
        progress=lambda epoch, _: told.append(epoch),
    )  # fmt: skip
    late = [epoch.nonzero for epoch in told[5:]]
    assert late == sorted(late, reverse=True)
    assert told[-1].rate < SETTLED * told[5].rate


def test_zeros_stay_once_the_size_leaves_room_for_that() -> None:
    x, y = digits.samples()
    sizes = iter([1000, 990, 980, 970, 960, 950, 800, 790, 780, 770])
    told: list[Epoch] = []
    train(
        digits.model(), x, y, replace(FEW, epochs=10, size=900, average=0.0),
        lambda _: next(sizes), progress=lambda epoch, _: told.append(epoch),
    )  # fmt: skip
    rates = np.array([epoch.rate for epoch in told])
    fell = np.flatnonzero(rates[1:] < 0.5 * rates[:-1]) + 1
    assert fell.tolist() == [7]  # 800 of 900 bytes, after the seventh; six are 60 %


def test_a_rate_that_still_works_is_not_raised() -> None:
    x, y = digits.samples()
    sizes = iter([1000, 800, 640, 640])
    told: list[Epoch] = []
    train(
        digits.model(), x, y, replace(FEW, epochs=4, size=700, average=0.0), lambda _: next(sizes),
        progress=lambda epoch, _: told.append(epoch),
    )  # fmt: skip
    rates = [epoch.rate for epoch in told]
    assert rates[1] > rates[0]  # 1,000 bytes, and nothing is known of where they go
    assert rates[2] < rates[1]  # 800, but two epochs on they will be 512
    assert rates[3] < rates[2]


def test_an_average_follows_and_comes_back() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(1.0)
    average = Average(module, 0.75)
    with torch.no_grad():
        module.weight.fill_(5.0)
    average.follow()
    average.swap()
    assert module.weight.item() == 2.0
    average.swap()
    assert module.weight.item() == 5.0


def test_the_average_is_what_is_judged_and_returned() -> None:
    """One that keeps all of itself stays what training began with."""
    x, y = digits.samples()
    begin = train(digits.model(), x, y, replace(FEW, lr=1e-12), digits.codes_bytes)
    still = train(digits.model(), x, y, replace(FEW, average=1.0), digits.codes_bytes)
    moved = train(digits.model(), x, y, FEW, digits.codes_bytes)
    assert {e.error for e in still.epochs} == {e.error for e in begin.epochs}
    assert weights_of(still.model) != weights_of(moved.model)


def test_a_teacher_may_be_another_model() -> None:
    """One that takes every digit for the next one is believed where nothing else is listened to."""
    x, y = digits.samples()
    astray = replace(FEW, epochs=8, teacher=0.0)
    wrong = train(digits.model(), x, (y + 1) % 10, astray, digits.codes_bytes)
    options = replace(FEW, epochs=12, teacher=1.0, shift=0, rate=0.0)
    taught = train(digits.model(), x, y, options, digits.codes_bytes, teachers=(wrong.model,))
    assert taught.best.error > 0.5
    alone = train(digits.model(), x, y, options, digits.codes_bytes)
    assert alone.best.error < 0.2


def test_a_checkpoint_of_another_teacher_is_refused(tmp_path: Path) -> None:
    x, y = digits.samples()
    checkpoint, once = tmp_path / "checkpoint", replace(FEW, epochs=1)
    other = train(digits.model(), x, y, once, digits.codes_bytes, checkpoint=checkpoint)
    with pytest.raises(ModelImportError, match="of another training"):
        train(
            digits.model(), x, y, once, digits.codes_bytes,
            checkpoint=checkpoint, teachers=(other.model,),
        )  # fmt: skip


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    x, y = digits.samples()
    checkpoint = tmp_path / "checkpoint"
    train(digits.model(), x, y, replace(FEW, epochs=1), digits.codes_bytes, checkpoint=checkpoint)
    for options, classes in ((replace(FEW, epochs=1, seed=7), y), (replace(FEW, epochs=1), 9 - y)):
        with pytest.raises(ModelImportError, match="of another training") as caught:
            train(digits.model(), x, classes, options, digits.codes_bytes, checkpoint=checkpoint)
        assert caught.value.code == "HT226"
    checkpoint.write_bytes(b"no checkpoint")
    with pytest.raises(ModelImportError, match="is no checkpoint"):
        train(digits.model(), x, y, FEW, digits.codes_bytes, checkpoint=checkpoint)


def test_a_changed_bit_of_a_checkpoint_is_found(tmp_path: Path) -> None:
    write_state(tmp_path / "checkpoint", {"rate": 1.5})
    whole = (tmp_path / "checkpoint").read_bytes()
    for at in range(0, len(whole), 37):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        (tmp_path / "checkpoint").write_bytes(damaged)
        with pytest.raises(ModelImportError, match="damaged") as caught:
            read_state(tmp_path / "checkpoint")
        assert caught.value.code == "HT226"


def test_weights_beyond_int8_are_a_divergence() -> None:
    sizes = iter([100, 90])

    def sizer(_: object) -> int:
        try:
            return next(sizes)
        except StopIteration:
            raise UnsupportedOpError("HT303", "Conv", "multiplier 8e12", "") from None

    trained = train(digits.model(), *digits.samples(), replace(FEW, epochs=5), sizer)
    assert len(trained.epochs) == 2
    assert "diverged after epoch 2" in trained.notices[0]


def test_a_training_that_strays_is_told_of() -> None:
    trained = train(
        digits.model(), *digits.samples(), replace(FEW, lr=0.3, average=0.0), digits.codes_bytes
    )
    assert trained.before < 0.05
    assert trained.best.error > 0.15
    assert any("a lower learning rate" in notice for notice in trained.notices)


def test_a_training_that_comes_to_mere_guesses_stops_and_gives_nothing() -> None:
    seen: list[int] = []
    options = replace(FEW, lr=30.0, epochs=12, average=0.0)
    with pytest.raises(ModelImportError, match="no better than guessing") as caught:
        train(
            digits.model(), *digits.samples(), options, digits.codes_bytes,
            progress=lambda epoch, _: seen.append(epoch.number),
        )  # fmt: skip
    assert caught.value.code == "HT225"
    assert len(seen) < 12


@pytest.mark.parametrize(
    ("shape", "met"), [((1, 8, 8), "8 x 8 pixels"), ((64,), "no rows and columns")]
)
def test_a_shift_that_leaves_no_picture_is_refused(shape: tuple[int, ...], met: str) -> None:
    x, y = digits.samples()
    with pytest.raises(ModelImportError, match=met) as caught:
        train(
            digits.model(), x.reshape(-1, *shape), y, replace(FEW, shift=(0, 8)),
            digits.codes_bytes,
        )  # fmt: skip
    assert caught.value.code == "HT227"


def test_a_model_that_guesses_from_the_start_is_told_of() -> None:
    x, y = digits.samples()
    trained = train(digits.model(), x, (y + 1) % 10, replace(FEW, epochs=1), digits.codes_bytes)
    assert "look at their scale and classes" in trained.notices[-1]


def test_a_limit_that_no_epoch_keeps_is_said() -> None:
    with pytest.raises(ModelImportError, match="kept to 3 bytes: the least was ") as caught:
        train(digits.model(), *digits.samples(), replace(FEW, size=3), digits.codes_bytes)
    assert caught.value.code == "HT225"


def test_a_training_that_diverges_at_once_is_said() -> None:
    with pytest.raises(ModelImportError, match="in the first epoch; set a lower") as caught:
        train(digits.model(), *digits.samples(), replace(FEW, lr=1e30), digits.codes_bytes)
    assert caught.value.code == "HT225"


def test_a_training_that_diverges_later_gives_its_last_good_state(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"

    def spoil(_epoch: Epoch, _in_all: int) -> None:
        write_state(checkpoint, read_state(checkpoint) | {"rate": 1e38})
        raise InterruptedError

    def course(progress: Progress) -> Trained:
        return train(
            digits.model(), *digits.samples(), FEW, digits.codes_bytes,
            checkpoint=checkpoint, progress=progress,
        )  # fmt: skip

    with pytest.raises(InterruptedError):
        course(spoil)
    trained = course(lambda *_: None)
    assert trained.best.number == len(trained.epochs) == 1
    assert "training stopped there" in trained.notices[0]
    values = trained.model.graph.initializers.values()
    assert all(np.isfinite(v.const_value.numpy()).all() for v in values if v.const_value)


def test_data_that_cannot_be_used_is_said() -> None:
    x, y = digits.samples()
    for given, classes in ((x, y[:-1]), (x[:9], y[:9]), (x, y + 1), (x, y - 1)):
        with pytest.raises(ModelImportError) as caught:
            train(digits.model(), given, classes, FEW, digits.codes_bytes)
        assert caught.value.code == "HT227"


def test_a_graph_that_mixes_its_batch_is_refused() -> None:
    nodes = [node("Transpose", "x", "t", perm=[1, 0]), node("Mul", "t t", "m"),
             node("ReduceMean", "m axes", "s"), node("Add", "x s", "a"),
             node("Add", "a c", "y")]  # fmt: skip
    constants: dict[str, npt.NDArray[Any]] = {
        "axes": np.array([0], np.int64),
        "c": np.ones(4, np.float32),
    }
    proto = model_of(nodes, constants, {"x": ["N", 4]}, {"y": 2})
    model = import_model(read_source(proto.SerializeToString()))
    prepare(model)
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    with pytest.raises(ModelImportError, match="mixes the samples") as caught:
        train(model, x, np.zeros(20, np.int64), UNMOVED, digits.codes_bytes)
    assert caught.value.code == "HT228"


def test_a_graph_without_weights_is_refused() -> None:
    proto = model_of([node("Relu", "x", "y")], {}, {"x": ["N", 4]}, {"y": 2})
    model = import_model(read_source(proto.SerializeToString()))
    with pytest.raises(ModelImportError, match="no weights") as caught:
        x = np.ones((20, 4), np.float32)
        train(model, x, np.zeros(20, np.int64), UNMOVED, digits.codes_bytes)
    assert caught.value.code == "HT228"


def test_without_torch_the_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.startswith("hardtack_converters.training")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match=r"hardtack\[train\]") as caught:
        __import__("hardtack_converters.training.train")
    assert caught.value.code == "HT105"


def test_a_file_whose_writing_fails_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with replacing(path) as file:
        file.write(b"whole")
    with pytest.raises(OSError, match="disk"), replacing(path) as file:
        file.write(b"half")
        raise OSError("disk")
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]
