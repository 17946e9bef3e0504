"""TFLite Micro's reference kernels, in a process of their own: they abort on what they dislike."""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.process
import multiprocessing
from collections.abc import Sequence
from types import TracebackType

import numpy as np
import numpy.typing as npt

Int8Array = npt.NDArray[np.int8]
ARENA_SIZE = 4 << 20


def _run(model: bytes, batches: Sequence[Sequence[Int8Array]]) -> list[list[Int8Array]]:
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(model, arena_size=ARENA_SIZE)
    results = []
    for inputs in batches:
        for index, codes in enumerate(inputs):
            interpreter.set_input(codes, index)
        interpreter.invoke()
        results.append([np.array(interpreter.get_output(0), copy=True)])
    return results


class Oracle:
    """A worker that runs .tflite files; started at the first call, ended by the context."""

    def __init__(self) -> None:
        self._worker = _start()

    def __enter__(self) -> Oracle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._worker.shutdown()

    def run(self, model: bytes, batches: Sequence[Sequence[Int8Array]]) -> list[list[Int8Array]]:
        """Run a model on several inputs.

        Args:
            model: A .tflite file.
            batches: Per run, the int8 codes of every input, in the file's shapes.

        Returns:
            Per run, the codes of every output.

        Raises:
            RuntimeError: TFLite Micro refused the model or aborted.
        """
        try:
            return self._worker.submit(_run, model, batches).result(timeout=120)
        except concurrent.futures.process.BrokenProcessPool as error:
            self._worker = _start()
            raise RuntimeError("TFLite Micro aborted on this model") from error


def _start() -> concurrent.futures.ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return concurrent.futures.ProcessPoolExecutor(1, mp_context=context)
