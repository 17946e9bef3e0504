"""A real model on real samples, the whole way: 4,890 spoken words through agent and broker."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hardtack.fleet.controller import Controller
from hardtack.fleet.store import Store
from hardtack_converters.convert import Options, convert, pack_model
from tests.conformance.oracle import Oracle
from tests.data import data_path
from tests.digit_bundles import KEY
from tests.end_to_end.fleet import AgentProcess, until

CLIPS, RIGHT = 4890, 4489
"""The test set of Speech Commands v0.02, and how many TFLite Micro gets right: 91.80 %.
LiteRT's fast path rounds once, in floating point, and gets 4,492 (91.86 %)."""


@pytest.mark.slow
def test_keyword_spotting_reports_the_accuracy_of_the_reference_and_its_bits(
    controller: Controller, store: Store, new_agent: Callable[..., AgentProcess]
) -> None:
    model = data_path("mlperf_tiny/kws_ref_model.tflite")
    with np.load(data_path("speech_commands/mfcc10_int8.npz")) as data:
        codes = data["x"].reshape(-1, 1, 49, 10, 1)
        labels, names = data["y"].astype(int), tuple(map(str, data["names"]))
    converted = convert(model, Options(name="kws", task="classify", labels=names))
    bundle = pack_model(converted, KEY, hardware="linux")
    agent = new_agent()
    (job,) = controller.wait(controller.push(bundle, ["pi-1"]), 30)
    assert job.state == "confirmed"
    source, result = converted.manifest.inputs[0], converted.manifest.outputs[0]
    real = (codes.astype(np.float32) - source.zero_point) * np.float32(source.scale)
    with agent.client() as client:
        outputs = [
            client.predict("kws", [sample], label=int(truth)).outputs[0].ravel()
            for sample, truth in zip(real, labels, strict=True)
        ]
    until(lambda: sum(w.samples for _, w in store.windows("pi-1")) == CLIPS, why="telemetry")
    (window,) = store.totals().values()
    assert (window.samples, window.labelled, window.correct) == (CLIPS, CLIPS, RIGHT)

    with Oracle() as oracle:
        expected = oracle.run(model.read_bytes(), [[clip] for clip in codes])
    found = np.rint(np.stack(outputs) / result.scale).astype(int) + result.zero_point
    assert np.array_equal(found, np.stack([out[0].ravel() for out in expected]))
