"""Training of the keyword spotter with activations rounded in the last epochs, and without.

MLPerf Tiny's float net is trained on for ten epochs, three seeds, the speakers of training, choice
and test being others. Errors are those of the float net in ONNX Runtime and of its bundle in int8,
on the same test clips. `--quick` does one seed.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from benchmarks.compression_tiny import SUBJECTS, Samples
from benchmarks.harness import DATA, Report, run
from hardtack_converters.calibrate import open_session
from hardtack_converters.convert import Options, convert, pack_model
from hardtack_converters.importers import import_model, read_source
from hardtack_converters.passes import prepare
from hardtack_runtime.interpreter import Interpreter

SEEDS = 3
EPOCHS = 10
CALIBRATION = 256


def measure(report: Report, quick: bool) -> None:
    """Train with each seed both ways."""
    seen, choice, test = SUBJECTS["kws"].samples()
    start = prepared()
    report.add("kws.untrained_float_error_pct", float_error(start, test))
    report.add("kws.untrained_int8_error_pct", int8_error(start, seen, test))
    for rounds in (True, False):
        nets = [trained(seen, choice, seed, rounds) for seed in range(1 if quick else SEEDS)]
        peer = None if rounds else "not_rounded"
        floats = [float_error(net, test) for net in nets]
        codes = [int8_error(net, seen, test) for net in nets]
        report.add("kws.float_error_pct", floats, peer=peer)
        report.add("kws.int8_error_pct", codes, peer=peer)
        lost = [one - other for one, other in zip(codes, floats, strict=True)]
        report.add("kws.lost_by_int8_pct", lost, peer=peer)


def prepared() -> ir.Model:
    """Return the net as training takes it."""
    model = import_model(read_source(DATA / SUBJECTS["kws"].model))
    prepare(model)
    return model


def trained(seen: Samples, choice: Samples, seed: int, rounds: bool) -> ir.Model:
    """Return the net trained on, an epoch chosen on `choice`."""
    from hardtack_converters.training.options import TrainOptions
    from hardtack_converters.training.train import train

    wanted = TrainOptions(
        epochs=EPOCHS, batch=64, lr=0.005, rate=0.0, seed=seed, activations=rounds,
        held_out=len(choice.x),
    )  # fmt: skip
    x, y = np.concatenate([seen.x, choice.x]), np.concatenate([seen.y, choice.y])
    return train(prepared(), x, y, wanted, lambda _: 0).model


def float_error(model: ir.Model, test: Samples) -> float:
    """Return the wrong answers of the float net, in percent."""
    session = open_session(model)
    name = session.get_inputs()[0].name
    return _percent([session.run(None, {name: one[None]})[0] for one in test.x], test)


def int8_error(model: ir.Model, seen: Samples, test: Samples) -> float:
    """Return the wrong answers of its bundle, in percent."""
    file = ir.to_proto(model).SerializeToString()
    options = Options(name="kws", task="classify", calibration=seen.x[:CALIBRATION])
    device = Interpreter(pack_model(convert(file, options), None))
    return _percent([device.run_float(one[None])[0] for one in test.x], test)


def _percent(outputs: list[np.ndarray], test: Samples) -> float:
    answers = np.array([int(np.argmax(one)) for one in outputs])
    return 100 * float(np.mean(answers != test.y))


if __name__ == "__main__":
    run("activations", measure)
