"""The way of a model file: .tflite -> converter -> bundle -> C, against TFLite Micro."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from hardtack_converters.importers import import_model, read_source
from hardtack_converters.lower import lower
from hardtack_runtime.bundle import pack
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.manifest import Manifest, PortSpec
from tests.conformance.cases import Case, all_cases, random_inputs
from tests.conformance.oracle import Oracle
from tests.conformance.tflite_file import write

RUNS = 200


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with Oracle() as worker:
        yield worker


def bundle_of(model: bytes) -> bytes:
    """Convert a .tflite file as it is: no passes, no labels."""
    program = lower(import_model(read_source(model))).program
    inputs, outputs = (
        tuple(
            PortSpec(
                name=f"{prefix}_{index}",
                shape=program.tensors[port.tensor].dims,
                scale=port.scale,
                zero_point=port.zero_point,
            )
            for index, port in enumerate(ports)
        )
        for prefix, ports in (("input", program.inputs), ("output", program.outputs))
    )
    manifest = Manifest(name="conformance", version="1.0.0", inputs=inputs, outputs=outputs)
    return pack(program, manifest, key=None)


@pytest.mark.parametrize("case", [pytest.param(c, id=c.name) for c in all_cases()])
def test_every_bit_is_tflite_micros(case: Case, oracle: Oracle) -> None:
    model = write(case.op)
    batches = random_inputs(case.op, RUNS, seed=7)
    expected = oracle.run(model, batches)
    interpreter = Interpreter(bundle_of(model))
    differing = 0
    for inputs, (wanted,) in zip(batches, expected, strict=True):
        (found,) = interpreter.run(*inputs)
        differing += int(np.count_nonzero(found.ravel() != wanted.ravel()))
    assert differing == 0, f"{differing} codes of {RUNS * wanted.size} differ"
