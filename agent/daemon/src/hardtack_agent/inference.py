"""Predictions from the installed models; also usable as a library, without the socket."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hardtack_agent.prediction import FloatArray, Prediction
from hardtack_agent.telemetry import Outcome, Window
from hardtack_runtime.bundle import Contract, read_contract
from hardtack_runtime.errors import DeviceError
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.manifest import Manifest

Recorder = Callable[[Window, Outcome], None]


class _Loaded:
    """A bundle ready to run; one arena, so one caller at a time."""

    def __init__(self, data: bytes) -> None:
        contract = read_contract(data)
        self.manifest: Manifest = contract.manifest
        self.version = contract.header.version
        self.model_id = contract.header.model_id
        self.interpreter = Interpreter(data)
        require_ports(contract, self.interpreter)
        self.lock = threading.Lock()


def require_ports(contract: Contract, interpreter: Interpreter) -> None:
    """Check that a bundle's contract is that of its program.

    Raises:
        BundleError: HT212, it has other inputs or outputs.
    """
    inputs, outputs = (
        [(math.prod(info.shape), info.dtype) for info in infos]
        for infos in (interpreter.inputs, interpreter.outputs)
    )
    contract.manifest.require_ports(inputs, outputs)


class Models:
    """The models that answer, by name; safe to use from several threads.

    Args:
        record: Told of every answer, and of every request that could not be answered, before
            the caller hears of it.
    """

    def __init__(self, record: Recorder) -> None:
        self._record = record
        self._loaded: dict[str, _Loaded] = {}

    def load(self, name: str, data: bytes) -> None:
        """Answer for `name` from this bundle from now on; requests under way finish on the old.

        Raises:
            HardtackError: the runtime refuses the bundle; the old one stays.
        """
        self._loaded[name] = _Loaded(data)

    def names(self) -> list[str]:
        """Return the models that can answer."""
        return sorted(self._loaded)

    def manifest(self, name: str) -> Manifest:
        """Return the contract of a model.

        Raises:
            DeviceError: HT611, no such model is installed.
        """
        return self._find(name).manifest

    def predict(
        self, model: str, inputs: Sequence[npt.ArrayLike], label: int | str | None = None
    ) -> Prediction:
        """Run a model once.

        Args:
            model: Its name.
            inputs: One array per input of the manifest, real values, of its shape (an axis of
                length 1 in front may be left out).
            label: The truth, as class index or label text, when it is known.

        Raises:
            DeviceError: HT611 no such model, HT610 an input or label that does not fit.
        """
        loaded = self._find(model)
        try:
            arrays = _fit(loaded.manifest, inputs)
            truth = _class_index(loaded.manifest, label)
        except DeviceError:
            self._record(_empty_window(loaded), Outcome(failed=True))
            raise
        with loaded.lock:
            begin = time.perf_counter_ns()
            outputs = loaded.interpreter.run_float(*arrays)
            latency_us = (time.perf_counter_ns() - begin) // 1000
        index = int(np.argmax(outputs[0])) if loaded.manifest.task == "classify" else None
        right = None if truth is None or index is None else truth == index
        self._record(_empty_window(loaded), Outcome(latency_us, index, right))
        shaped = tuple(
            np.asarray(array, np.float32).reshape(port.shape)
            for array, port in zip(outputs, loaded.manifest.outputs, strict=True)
        )
        labels = loaded.manifest.labels
        text = labels[index] if index is not None and index < len(labels) else None
        return Prediction(model, loaded.version, shaped, index, text, latency_us)

    def _find(self, name: str) -> _Loaded:
        loaded = self._loaded.get(name)
        if loaded is None:
            known = ", ".join(self.names()) or "none"
            raise DeviceError("HT611", name, f"no such model is installed (there is: {known})")
        return loaded


def _empty_window(loaded: _Loaded) -> Window:
    now = int(time.time())
    return Window(loaded.manifest.name, loaded.version, loaded.model_id, now, now)


def _fit(manifest: Manifest, inputs: Sequence[npt.ArrayLike]) -> list[FloatArray]:
    if len(inputs) != len(manifest.inputs):
        raise _wrong(manifest.name, f"{len(inputs)} inputs given, it has {len(manifest.inputs)}")
    return [
        _fit_one(manifest.name, port.name, port.shape, value)
        for port, value in zip(manifest.inputs, inputs, strict=True)
    ]


def _fit_one(model: str, name: str, shape: tuple[int, ...], value: Any) -> FloatArray:
    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise _wrong(model, f"input {name} holds something else than float32 numbers") from error
    if shape not in (array.shape, (1, *array.shape)):
        raise _wrong(model, f"input {name} has shape {list(array.shape)}, not {list(shape)}")
    if not np.isfinite(array).all():
        raise _wrong(model, f"input {name} holds NaN or infinity")
    return np.ascontiguousarray(array.reshape(shape))


def _class_index(manifest: Manifest, label: int | str | None) -> int | None:
    if label is None:
        return None
    if isinstance(label, str):
        if label not in manifest.labels:
            raise _wrong(manifest.name, f"{label!r} is none of its labels")
        return manifest.labels.index(label)
    last = manifest.outputs[0].shape[-1] if manifest.outputs[0].shape else 1
    if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < last:
        raise _wrong(manifest.name, f"label {label!r} is no class index below {last}")
    return label


def _wrong(model: str, met: str) -> DeviceError:
    return DeviceError("HT610", model, met)
