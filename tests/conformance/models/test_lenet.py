"""LeNet-5 on all of MNIST: what int8 costs in accuracy."""

from __future__ import annotations

import numpy as np
import pytest

from hardtack_converters.calibrate import Method
from hardtack_converters.convert import Options, convert, pack_model
from hardtack_runtime.interpreter import Interpreter
from tests.conformance.models.nets import lenet5
from tests.conformance.models.runtimes import open_onnx
from tests.data import data_path

MEAN, STD = 0.1307 * 255, 0.3081 * 255


@pytest.mark.slow
@pytest.mark.parametrize("method", ["min-max", "percentile", "entropy"])
def test_int8_loses_at_most_a_tenth_of_a_point_on_mnist(method: Method) -> None:
    proto = lenet5(data_path("lenet/lenet5.pt"))
    with np.load(data_path("mnist/mnist.npz")) as mnist:
        train, images, labels = mnist["x_train"], mnist["x_test"], mnist["y_test"]
    options = Options(
        task="classify",
        labels=tuple("0123456789"),
        mean=(MEAN,),
        std=(STD,),
        calibration=train[:512, None],
        method=method,
    )
    interpreter = Interpreter(pack_model(convert(proto.SerializeToString(), options), None))
    session = open_onnx(proto)
    scaled = ((images - np.float32(MEAN)) / np.float32(STD)).astype(np.float32)
    logits = [session.run(None, {"image": image[None, None]})[0] for image in scaled]
    float_errors = np.mean(np.argmax(np.concatenate(logits), 1) != labels)
    # The bundle takes raw bytes of the camera: the scaling lies in its first layer.
    codes = [interpreter.run_float(image)[0].ravel() for image in images]
    int8_errors = np.mean(np.argmax(np.stack(codes), 1) != labels)
    assert float_errors < 0.0075
    assert int8_errors - float_errors <= 0.001
