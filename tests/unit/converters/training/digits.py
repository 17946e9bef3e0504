"""The demo's digits for trainings that take seconds: 600 labelled pictures of 8 x 8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack_converters.convert import Options
from hardtack_converters.importers import import_model, read_source
from hardtack_converters.passes import prepare

DEMO_DATA = Path(__file__).parents[4] / "sdk/src/hardtack/demo_data"
MEAN, STD = 4.884, 6.017
OPTIONS = Options(
    name="digits", mean=(MEAN,), std=(STD,), calibration=DEMO_DATA / "calibration.npz",
    calibration_limit=64,
)  # fmt: skip


def model() -> ir.Model:
    """Return the demo's classifier, prepared."""
    graph = import_model(read_source(DEMO_DATA / "digits.onnx"))
    prepare(graph)
    return graph


def samples() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return [600, 1, 8, 8], normalised, and their classes."""
    with np.load(DEMO_DATA / "test.npz") as arrays:
        x = (arrays["x"].astype(np.float32).reshape(-1, 1, 8, 8) - MEAN) / STD
        return np.asarray(x, np.float32), arrays["y"].astype(np.int64)


def codes_bytes(graph: ir.Model) -> int:
    """Count weights that are not zero: a size that is known at once."""
    numbers = [v.const_value for v in graph.graph.initializers.values()]
    return sum(int(np.count_nonzero(n.numpy())) for n in numbers if n is not None)
