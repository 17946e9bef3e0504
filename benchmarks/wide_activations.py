"""Activations of 16 bits against 8, the weights int8 both times: noise, bytes, memory, time.

Noise is that of a bundle's outputs, run by the C runtime, against the float model in ONNX Runtime:
power of the outputs about their mean by power of the difference. Inputs are int8; so are outputs,
but in rows with `outputs`. Rows with `round` have their weights rounded by that pass, for then they
are not what limits. The anomaly detector sees log-mel frames of speech, not of machines: only its
arithmetic is judged. The classifiers are judged by their logits. Instructions are those of an
inference in QEMU, Cortex-M4 and Cortex-M55, by those of int8.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.cifar10 import cifar10
from benchmarks.harness import DATA, Report, run, time_call
from benchmarks.microcontroller import run_once
from hardtack_converters.calibrate import open_session
from hardtack_converters.compress.settings import Pass, Round, WideActivations
from hardtack_converters.convert import Options, convert, open_bench, pack_model
from hardtack_runtime.interpreter import Interpreter
from tests.digit_bundles import KEY
from tests.firmware.qemu import BOARDS, Machine

Array = npt.NDArray[Any]

RECIPES: dict[str, tuple[Pass, ...]] = {
    "int8": (),
    "int16x8": (WideActivations(),),
    "int16x8_outputs": (WideActivations(outputs=True),),
    "round_int8": (Round(),),
    "round_int16x8": (Round(), WideActivations()),
    "round_int16x8_outputs": (Round(), WideActivations(outputs=True)),
}
"""Passes by the name of their rows."""
MEASURED = ("int8", "int16x8")
"""Those whose bytes and time are reported, too."""
JUDGED = 300
"""Samples that outputs are compared on, none of which calibration has seen."""
BOARDS_BY_NAME = {"mps2-an386": "m4", "mps3-an547": "m55"}


@dataclass(frozen=True, slots=True)
class Subject:
    """A float model and its samples, [count, *shape]; `options` besides calibration."""

    model: Path
    samples: Array
    options: dict[str, Any] = field(default_factory=dict)


def measure(report: Report, quick: bool) -> None:
    """Report every subject."""
    for name, subject in subjects(quick):
        seen, unseen = subject.samples[::2], subject.samples[1::2][:JUDGED]
        source = subject.model.read_bytes()
        options = {"calibration": seen, **subject.options}
        graph, _ = open_bench(source, Options(**options))
        session = open_session(graph)
        feed = session.get_inputs()[0].name
        wanted = np.array([session.run(None, {feed: x})[0].ravel() for x in unseen], np.float64)
        plain: dict[str, int] = {}
        for recipe, passes in RECIPES.items():
            made = convert(source, Options(compress=passes, **options))
            bundle = pack_model(made, KEY)
            device = Interpreter(bundle)
            found = np.array([device.run_float(x)[0].ravel() for x in unseen], np.float64)
            report.add(f"{name}.{recipe}_sqnr_db", decibels(wanted, found))
            if recipe not in MEASURED:
                continue
            report.add(f"{name}.{recipe}_bytes", len(bundle))
            report.add(f"{name}.{recipe}_arena_bytes", made.program.arena_size)
            codes = np.zeros(device.input_shapes[0], np.int8)
            report.add(f"{name}.{recipe}_us", time_call(lambda: device.run(codes), 0.7))  # noqa: B023
            for board, processor in BOARDS_BY_NAME.items():
                with tempfile.TemporaryDirectory() as folder:
                    ran = run_once(Machine(BOARDS[board], Path(folder)), bundle)
                if ran is not None and board in plain:
                    ratio = ran.ticks / plain[board]
                    report.add(f"{name}.{recipe}_{processor}_instructions_per_int8", ratio)
                elif ran is not None:
                    plain[board] = ran.ticks


def decibels(wanted: Array, found: Array) -> float:
    """Return the signal-to-noise ratio of outputs."""
    signal = ((wanted - wanted.mean()) ** 2).sum()
    return float(10 * np.log10(signal / ((wanted - found) ** 2).sum()))


def subjects(quick: bool) -> Iterator[tuple[str, Subject]]:
    """Yield names and subjects."""
    turn = np.linspace(0, 2 * np.pi, 1000, dtype=np.float32)
    turn = np.random.default_rng(1).permutation(turn)
    hello = DATA / "tflite_micro/hello_world_float.tflite"
    yield "hello_world", Subject(hello, turn.reshape(-1, 1, 1))
    if quick:
        return
    tiny = DATA / "mlperf_tiny"
    yield "ad", Subject(tiny / "ad01_fp32.tflite", log_mel_frames())
    with np.load(DATA / "speech_commands/mfcc10_int8.npz") as data:
        real = (data["x"].astype(np.float32) - data["zero_point"]) * data["scale"]
    clips = real.astype(np.float32).reshape(-1, 1, 49, 10, 1)[: 2 * JUDGED]
    logits = {"strip_softmax": True}
    yield "kws", Subject(tiny / "kws_ref_model_float32.tflite", clips, logits)
    images = cifar10(0)[0][: 2 * JUDGED].astype(np.float32)
    yield "resnet", Subject(tiny / "pretrainedResnet.tflite", images[:, None], logits)


def log_mel_frames() -> Array:
    """Return float32 [clips, 1, 640]: 5 frames of 128 bands in dB, as the anomaly detector has."""
    with np.load(DATA / "speech_commands/audio480_int16.npz") as data:
        audio = data["audio"].astype(np.float64) / 32768
    mel = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 130)
    edges = 700 * (10 ** (mel / 2595) - 1)
    hertz = np.fft.rfftfreq(1024, 1 / 16000)
    rising = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    bank = np.maximum(0, np.minimum(rising, falling))
    frames = np.stack([audio[:, at : at + 1024] for at in range(4000, 4000 + 5 * 512, 512)], axis=1)
    power = np.abs(np.fft.rfft(frames * np.hanning(1024))) ** 2 @ bank.T
    decibel = 10 * np.log10(power + 1e-10) - 20
    return decibel.reshape(-1, 1, 640).astype(np.float32)


if __name__ == "__main__":
    run("wide_activations", measure)
