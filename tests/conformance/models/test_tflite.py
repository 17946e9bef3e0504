"""Real int8 models: the same bits as TFLite Micro, in less memory, without a transposition."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from hardtack_converters.convert import convert, pack_model
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.program import Transpose
from tests.conformance.oracle import Oracle
from tests.data import data_path

RUNS = 200

MODELS = [
    # file, most bytes of working memory: what TFLite Micro's arena head takes, or less
    pytest.param("mlperf_tiny/kws_ref_model", 16_000, id="keyword spotting"),
    pytest.param("mlperf_tiny/pretrainedResnet_quant", 49_152, id="ResNet-8"),
    pytest.param(
        "mlperf_tiny/pretrainedResnet_large_int8", 122_880, id="wide ResNet-8",
        marks=pytest.mark.slow,
    ),
    pytest.param("mlperf_tiny/vww_96_int8", 55_296, id="visual wake words"),
    pytest.param("mlperf_tiny/ad01_int8", 768, id="anomaly detection"),
    pytest.param("mlperf_tiny/str_ww_ref_model", 6_656, id="streaming wake word"),
    pytest.param("tflite_micro/micro_speech_quantized", 5_968, id="micro speech"),
    pytest.param("tflite_micro/hello_world_int8", 32, id="hello world"),
    pytest.param("tflite_micro/person_detect", 55_296, id="person detection"),
]  # fmt: skip


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with Oracle() as worker:
        yield worker


@pytest.mark.parametrize(("name", "arena"), MODELS)
def test_model_gives_the_bits_of_tflite_micro(name: str, arena: int, oracle: Oracle) -> None:
    path = data_path(f"{name}.tflite")
    converted = convert(path)
    interpreter = Interpreter(pack_model(converted, None))
    shape = converted.manifest.inputs[0].shape
    rng = np.random.default_rng(1)
    batches = [[rng.integers(-128, 128, shape).astype(np.int8)] for _ in range(RUNS)]
    expected = oracle.run(path.read_bytes(), batches)
    differing = 0
    for (codes,), (wanted,) in zip(batches, expected, strict=True):
        (found,) = interpreter.run(codes)
        differing += int(np.count_nonzero(found.ravel() != wanted.ravel()))
    assert differing == 0


@pytest.mark.parametrize(("name", "arena"), MODELS)
def test_model_fits_its_arena_without_transposition(name: str, arena: int) -> None:
    program = convert(data_path(f"{name}.tflite")).program
    assert program.arena_size <= arena
    assert not [op for op in program.ops if isinstance(op, Transpose)]


@pytest.mark.parametrize(
    ("name", "operator"),
    [
        ("tflite_micro/keyword_scrambled_8bit", "QUANTIZE|SVDF|int16"),
        ("tflite_micro/trained_lstm", "UNIDIRECTIONAL_SEQUENCE_LSTM"),
        ("tflite_micro/trained_lstm_int8", "UNIDIRECTIONAL_SEQUENCE_LSTM"),
        ("tflite_micro/dtln_noise_suppression", "UNIDIRECTIONAL_SEQUENCE_LSTM"),
        ("tflite_micro/audio_preprocessor_int8", "int16"),
    ],
)
def test_unsupported_model_is_refused_by_name(name: str, operator: str) -> None:
    from hardtack_runtime.errors import HardtackError

    with pytest.raises(HardtackError, match=operator) as caught:
        convert(data_path(f"{name}.tflite"))
    assert caught.value.code in {"HT208", "HT301", "HT302"}


def test_16x8_is_refused_for_its_sums_have_64_bits() -> None:
    """Its arithmetic is another one than ours of int16 (SPEC section 2.2)."""
    from hardtack_runtime.errors import ModelImportError
    from tests.conformance.tflite_file import FileTensor, SingleOp, write

    wide = FileTensor((1, 4), (0.01,), dtype=np.int16)
    weights = FileTensor((3, 4), (0.02,), data=np.ones((3, 4), np.int8))
    out = FileTensor((1, 3), (0.01,), dtype=np.int16)
    with pytest.raises(ModelImportError, match="values of type int16") as caught:
        convert(write(SingleOp("FULLY_CONNECTED", (wide, weights, None), out)))
    assert caught.value.code == "HT208"


@pytest.mark.parametrize("picture", ["person", "no_person"])
@pytest.mark.parametrize(
    ("name", "channels"),
    [("tflite_micro/person_detect", 1), ("mlperf_tiny/vww_96_int8", 3)],
    ids=["person detection", "visual wake words"],
)
def test_a_real_picture_gives_the_bits_of_tflite_micro(
    name: str, channels: int, picture: str, oracle: Oracle
) -> None:
    bitmap = data_path(f"tflite_micro/{picture}.bmp").read_bytes()
    start = int.from_bytes(bitmap[10:14], "little")
    gray = np.frombuffer(bitmap, np.uint8, 96 * 96, start).reshape(96, 96)[::-1]
    codes = np.repeat((gray.astype(int) - 128).astype(np.int8)[None, :, :, None], channels, 3)
    path = data_path(f"{name}.tflite")
    ((wanted,),) = oracle.run(path.read_bytes(), [[codes]])
    (found,) = Interpreter(pack_model(convert(path), None)).run(codes)
    assert np.array_equal(found.ravel(), wanted.ravel())
