"""Calibration data in every form, and every way it can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardtack_converters.samples import Data, load_samples
from hardtack_runtime.errors import ModelImportError

SHAPES = {"x": (1, 2, 3)}
GOOD = np.arange(24, dtype=np.float32).reshape(4, 2, 3)


def _folder(path: Path) -> Path:
    for index, sample in enumerate(GOOD):
        np.save(path / f"{index}.npy", sample)
    return path


def _npz(path: Path) -> Path:
    np.savez(path / "data.npz", x=GOOD, y=np.zeros(4))
    return path / "data.npz"


def _npy(path: Path) -> Path:
    np.save(path / "data.npy", GOOD)
    return path / "data.npy"


@pytest.mark.parametrize("make", [_folder, _npz, _npy, lambda _: GOOD, lambda _: lambda: GOOD])
def test_every_form_gives_the_same_samples(make: Any, tmp_path: Path) -> None:
    samples = load_samples(make(tmp_path), SHAPES)
    assert samples.count == 4
    assert np.array_equal(samples.arrays["x"], GOOD[:, None])
    assert samples.notices == ()


@pytest.mark.parametrize("dtype", [np.float64, np.uint8, np.int16])
def test_other_numbers_are_cast_with_a_notice(dtype: type) -> None:
    samples = load_samples(GOOD.astype(dtype), SHAPES)
    assert samples.arrays["x"].dtype == np.float32
    assert "read as float32" in samples.notices[0]


def test_at_most_limit_samples_are_read() -> None:
    assert load_samples(GOOD, SHAPES, limit=2).count == 2


def _with(value: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    bad = GOOD.copy()
    bad[2, 1, 1] = value
    return bad


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        pytest.param(_with(np.nan), "HT222", "sample 2", id="NaN"),
        pytest.param(_with(np.inf), "HT222", "sample 2", id="infinity"),
        pytest.param(GOOD.astype(np.float64) * 1e300, "HT222", "sample 0", id="beyond float32"),
        pytest.param(GOOD[:, :1], "HT223", r"\[4, 1, 3\].*\[1, 2, 3\]", id="wrong shape"),
        pytest.param(lambda: [GOOD[0].T], "HT223", r"\[3, 2\].*\[1, 2, 3\]", id="wrong sample"),
        pytest.param(GOOD[:0], "HT221", "empty", id="empty"),
        pytest.param(lambda: [], "HT221", "no samples", id="callable without samples"),
        pytest.param(GOOD.astype(complex), "HT221", "complex", id="no real numbers"),
        pytest.param({"z": GOOD}, "HT221", "input x", id="other name"),
        pytest.param(Path("/nowhere.npz"), "HT221", "cannot be read", id="missing file"),
    ],
)
def test_bad_data_is_refused(data: Data, code: str, words: str) -> None:
    with pytest.raises(ModelImportError, match=words) as caught:
        load_samples(data, SHAPES)
    assert caught.value.code == code


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04nonsense", b"\x93NUMPY\x01\x00"])
def test_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(ModelImportError) as caught:
        load_samples(path, SHAPES)
    assert caught.value.code == "HT221"


def test_pickled_objects_are_not_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(ModelImportError, match="Python objects"):
        load_samples(tmp_path / "data.npy", SHAPES)


def test_unknown_key_lists_those_there(tmp_path: Path) -> None:
    with pytest.raises(ModelImportError, match="x, y"):
        load_samples(_npz(tmp_path), SHAPES, key="images")
