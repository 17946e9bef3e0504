"""Calibration samples from arrays, files, folders or callables, checked before anything runs."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hardtack_runtime.errors import ModelImportError

FloatArray = npt.NDArray[np.float32]
Shapes = Mapping[str, tuple[int, ...]]
Data = (
    Path
    | npt.NDArray[Any]
    | Mapping[str, npt.NDArray[Any]]
    | Callable[[], Iterable[npt.NDArray[Any]]]
)
"""Where samples come from: .npz, .npy, a folder of .npy, an array, arrays by input name, or a
callable that yields samples."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples ready to be fed.

    Attributes:
        arrays: float32 [count, *input shape] per input, the model's own batch of 1 included.
        count: Number of samples, >= 1.
        notices: What was done to the data, for people.
        sha256: Of all values, in hex.
    """

    arrays: dict[str, FloatArray]
    count: int
    notices: tuple[str, ...]
    sha256: str


def load_samples(
    data: Data, shapes: Shapes, *, key: str | None = None, limit: int = 512
) -> Samples:
    """Read at most `limit` samples and check them.

    Args:
        data: Where they are.
        shapes: Shape of each input of the model.
        key: Array of an .npz to take; default the one named like the input, else the first.
        limit: Largest number of samples, > 0.

    Raises:
        ModelImportError: HT221 unreadable or empty, HT222 NaN or infinity, HT223 wrong shape.
    """
    where = str(data) if isinstance(data, Path) else "calibration data"
    raw = _by_input(data, shapes, key, limit, where)
    notices: list[str] = []
    arrays = {
        name: _checked(f"{where}: {name}", array, shapes[name], limit, notices)
        for name, array in raw.items()
    }
    counts = {array.shape[0] for array in arrays.values()}
    if len(counts) != 1:
        raise ModelImportError(
            "HT223", where, f"inputs have different numbers of samples: {counts}"
        )
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(arrays[name].tobytes())
    return Samples(arrays, counts.pop(), tuple(dict.fromkeys(notices)), digest.hexdigest())


def _by_input(
    data: Data, shapes: Shapes, key: str | None, limit: int, where: str
) -> dict[str, npt.NDArray[Any]]:
    names = list(shapes)
    if isinstance(data, Path):
        data = _read(data, key, shapes, limit)
    elif callable(data):
        data = _stack([s for s, _ in zip(data(), range(limit), strict=False)], shapes, where)
    if isinstance(data, Mapping):
        missing = [name for name in names if name not in data]
        if missing:
            raise ModelImportError(
                "HT221", where, f"no array for input {missing[0]}", f"it has: {', '.join(data)}"
            )
        return {name: np.asarray(data[name]) for name in names}
    if len(names) != 1:
        raise ModelImportError(
            "HT221", where, f"one array for {len(names)} inputs",
            f"use an .npz with arrays named {', '.join(names)}",
        )  # fmt: skip
    return {names[0]: np.asarray(data)}


def _read(
    path: Path, key: str | None, shapes: Shapes, limit: int
) -> npt.NDArray[Any] | dict[str, npt.NDArray[Any]]:
    try:
        if path.is_dir():
            files = sorted(path.glob("*.npy"))[:limit]
            return _stack([np.load(f, allow_pickle=False) for f in files], shapes, str(path))
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            if key is None and all(name in loaded.files for name in shapes):
                return {name: loaded[name] for name in shapes}
            if not loaded.files:
                raise ModelImportError("HT221", str(path), "it holds no arrays")
            chosen = key if key is not None else loaded.files[0]
            if chosen not in loaded.files:
                raise ModelImportError(
                    "HT221", str(path), f"it has no array '{chosen}'",
                    f"it has: {', '.join(loaded.files)}",
                )  # fmt: skip
            return np.asarray(loaded[chosen])
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelImportError(
            "HT221", str(path), _unreadable(error),
            "samples come as .npz, .npy or a folder of .npy files",
        ) from error  # fmt: skip


def _unreadable(error: Exception) -> str:
    """Say in our words what numpy met; its own advice would be to run pickled code."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    if text.startswith("Object arrays"):
        return "it holds Python objects, not numbers"
    if "pickled" in text:
        return "it is neither .npz nor .npy"
    if isinstance(error, zipfile.BadZipFile):
        return "truncated or damaged: it does not open as .npz"
    return f"cannot be read: {text.splitlines()[0] if text else type(error).__name__}"


def _stack(samples: list[npt.NDArray[Any]], shapes: Shapes, where: str) -> npt.NDArray[Any]:
    """Join samples of a folder or callable along a new first axis."""
    if not samples:
        raise ModelImportError("HT221", where, "it holds no samples")
    want = next(iter(shapes.values()))
    arrays = [np.asarray(sample) for sample in samples]
    for index, array in enumerate(arrays):
        if array.shape not in (want, want[1:]):
            raise _wrong_shape(f"{where}: sample {index}", array.shape, want)
    return np.stack([array.reshape(want) for array in arrays])


def _wrong_shape(where: str, got: tuple[int, ...], want: tuple[int, ...]) -> ModelImportError:
    return ModelImportError(
        "HT223", where, f"shape {list(got)} does not fit the input's {list(want)}",
        f"samples are [count, {', '.join(map(str, want[1:]))}]",
    )  # fmt: skip


def _checked(
    where: str,
    array: npt.NDArray[Any],
    shape: tuple[int, ...],
    limit: int,
    notices: list[str],
) -> FloatArray:
    if array.dtype.kind not in "fiub" or array.size == 0:
        met = "it is empty" if array.size == 0 else f"values of type {array.dtype}"
        raise ModelImportError("HT221", where, met, "samples are numbers")
    batched = _with_batch(where, array, shape)[:limit]
    if batched.dtype != np.float32:
        notices.append(f"{where}: {array.dtype} values are read as float32")
    with np.errstate(over="ignore"):
        real = np.ascontiguousarray(batched, np.float32)
    bad = np.flatnonzero(~np.isfinite(real.reshape(real.shape[0], -1)).all(axis=1))
    if bad.size:
        raise ModelImportError(
            "HT222", f"{where}, sample {int(bad[0])}",
            f"NaN or infinity; in {bad.size} of {real.shape[0]} samples",
            "drop or repair them: they would ruin every range",
        )  # fmt: skip
    return real


def _with_batch(where: str, array: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return the array as [count, *shape]; the model's own batch of 1 may be left out."""
    if array.shape == shape:
        return array[None]
    if array.shape[1:] == shape:
        return array
    if shape[:1] == (1,) and array.shape[1:] == shape[1:]:
        return array[:, None]
    if shape[:1] == (1,) and array.shape == shape[1:]:
        return array[None, None]
    raise _wrong_shape(where, array.shape, shape)
