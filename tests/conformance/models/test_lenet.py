"""LeNet-5 on all of MNIST: what int8 costs in accuracy."""

from __future__ import annotations

import numpy as np
import pytest

from hardtack_converters.convert import Options, convert, pack_model
from hardtack_runtime.interpreter import Interpreter
from tests.conformance.models.nets import lenet5
from tests.conformance.models.runtimes import open_onnx
from tests.data import data_path


@pytest.mark.slow
@pytest.mark.parametrize("method", ["min-max", "percentile", "entropy"])
def test_int8_loses_at_most_a_tenth_of_a_point_on_mnist(method: str) -> None:
    proto = lenet5(data_path("lenet/lenet5.pt"))
    with np.load(data_path("mnist/mnist.npz")) as mnist:
        train, images, labels = mnist["x_train"], mnist["x_test"], mnist["y_test"]
    scaled = (images[:, None] / np.float32(255)).astype(np.float32)
    options = Options(
        task="classify",
        labels=tuple("0123456789"),
        calibration=(train[:512, None] / np.float32(255)).astype(np.float32),
        method=method,  # type: ignore[arg-type]
    )
    interpreter = Interpreter(pack_model(convert(proto.SerializeToString(), options), None))
    session = open_onnx(proto)
    logits = [session.run(None, {"image": image[None]})[0] for image in scaled]
    float_errors = np.mean(np.argmax(np.concatenate(logits), 1) != labels)
    codes = [interpreter.run_float(image)[0].ravel() for image in scaled]
    int8_errors = np.mean(np.argmax(np.stack(codes), 1) != labels)
    assert float_errors < 0.01
    assert int8_errors - float_errors <= 0.001
