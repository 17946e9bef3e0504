"""Training under a limit of bytes: the loss counts what the weights will cost in a bundle.

The weight of that cost is steered after each epoch by the real size, so that `size` is a limit and
not an outcome. What is returned is the best epoch that keeps the limit, judged on samples held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from hardtack_converters.training.augment import picture_axes
from hardtack_converters.training.checkpoint import identity_of, resume, save
from hardtack_converters.training.course import Course, trained_on
from hardtack_converters.training.module import untrainable
from hardtack_converters.training.options import Epoch, Progress, Sizer, Trained, TrainOptions
from hardtack_runtime.errors import ModelImportError

__all__ = ["Epoch", "TrainOptions", "Trained", "train"]

FloatArray = npt.NDArray[np.float32]
SURELY = 9
"""Samples expected on a side, of which chance leaves none once in exp(9) times."""
SEVERAL = 3
"""Samples that must give the same answers in one batch as one by one."""


def train(
    model: ir.Model,
    samples: FloatArray,
    classes: npt.NDArray[np.int64],
    options: TrainOptions,
    sizer: Sizer,
    *,
    teachers: Sequence[ir.Model] = (),
    checkpoint: Path | None = None,
    progress: Progress = lambda *_: None,
) -> Trained:
    """Train a prepared float classifier; the same inputs give the same bits.

    Args:
        model: From `passes.prepare`; not changed.
        samples: float32 [count, *input shape without its batch], as the model is fed.
        classes: int64 [count].
        options: How.
        sizer: Counts bytes after every epoch: `size.bundle_sizer`.
        teachers: Prepared float models of the same input and classes; none: `model` as it is.
        checkpoint: File that keeps the state after every epoch, and is gone on from if it is there.
        progress: Told after every epoch.

    Raises:
        ConfigError: HT110, `binary` names no layer, or one that cannot be.
        ModelImportError: HT225, no epoch kept the limit, or the loss was never a number; HT226,
            the checkpoint is of another training; HT227, samples and classes that no training
            can use; HT228, a model that cannot be trained.
    """
    _check_data(model, samples, classes)
    _check_shift(model, samples, options.shift)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums over threads would give other bits on other machines
    try:
        course = Course(
            model.clone(), (torch.from_numpy(samples), torch.from_numpy(classes)), options, sizer
        )
        _check_batches(course, samples)
        notices = []
        if options.teacher < 1:  # who follows teachers alone may have no classes to give
            notices = _check_order(classes, trained_on(len(samples), options))
        if options.teacher:
            course.listen(teachers or (model,))
        identity = identity_of((model, *teachers), samples, classes, options)
        if checkpoint is not None and checkpoint.exists():
            resume(course, checkpoint, identity)
            for epoch in course.epochs:
                progress(epoch, options.epochs)
        while len(course.epochs) < options.epochs and course.healthy:
            course.run_epoch()
            if checkpoint is not None:
                save(course, checkpoint, identity)
            if course.healthy:
                progress(course.epochs[-1], options.epochs)
        done = _outcome(course, checkpoint)
        return replace(done, notices=(*notices, *done.notices))
    finally:
        torch.set_num_threads(threads)


def _outcome(course: Course, checkpoint: Path | None) -> Trained:
    try:
        return course.outcome()
    except ModelImportError:  # HT225: it ended, and there is nothing to go on with
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
        raise


def _check_data(model: ir.Model, samples: FloatArray, classes: npt.NDArray[np.int64]) -> None:
    outputs = model.graph.outputs[0].shape
    width = outputs[-1] if outputs is not None and len(outputs) else None
    if len(samples) != len(classes):
        met = f"{len(samples)} samples and {len(classes)} classes"
    elif len(samples) < 10:
        met = f"{len(samples)} samples"
    elif classes.min() < 0 or (isinstance(width, int) and classes.max() >= width):
        met = f"classes from {classes.min()} to {classes.max()} for {width} outputs"
    else:
        return
    raise ModelImportError(
        "HT227", "training data", met, "give each of at least 10 samples the number of its output"
    )


def _check_order(classes: npt.NDArray[np.int64], kept: int) -> list[str]:
    """Refuse samples of one class, or sorted: the last ones are held out; return what to tell."""
    names, counts = np.unique(classes, return_counts=True)
    if len(names) < 2:
        met, todo = f"all samples are of class {names[0]}", "give samples of every class"
        raise ModelImportError("HT227", "training data", met, todo)
    expected = counts * kept / len(classes)
    surely = SURELY + np.log(len(names))  # of any of so many classes
    is_trained, is_judged = np.isin(names, classes[:kept]), np.isin(names, classes[kept:])
    untrained = names[(expected >= surely) & ~is_trained]
    if len(untrained):
        raise _sorted(untrained[0], f"the first {kept:,}, which are trained on")
    usual = counts - expected >= surely
    unjudged = names[usual & ~is_judged]
    if len(unjudged) > 0.5 * usual.sum():
        raise _sorted(unjudged[0], f"the last {len(classes) - kept:,}, which are held out")
    if len(unjudged):
        return [f"nothing judges class {unjudged[0]}: no sample held out, the last ones, is of it"]
    return []


def _sorted(missing: int, where: str) -> ModelImportError:
    return ModelImportError(
        "HT227", "training data", f"no sample of class {missing} is among {where}",
        "shuffle samples and classes together",
    )  # fmt: skip


def _check_shift(model: ir.Model, samples: FloatArray, shift: int | tuple[int, int]) -> None:
    most = (shift, shift) if isinstance(shift, int) else shift
    if not any(most):
        return
    sides = [samples.shape[axis] for axis in picture_axes(model)] if samples.ndim == 4 else [0, 0]
    if any(far >= side for far, side in zip(most, sides, strict=True)):
        size = f"{sides[0]} x {sides[1]} pixels" if all(sides) else "no rows and columns"
        raise ModelImportError(
            "HT227", "training data", f"has {size}, and shift is {shift}",
            "shift by less than the pictures are large, or not at all",
        )  # fmt: skip


def _check_batches(course: Course, samples: FloatArray) -> None:
    """Refuse a graph whose batch of 1 is part of its arithmetic.

    In float64: sums in another order must not change the sign of what is nearly zero.
    """
    few = torch.from_numpy(samples[:SEVERAL]).double()
    try:
        course.module.double().eval()
        with torch.no_grad():
            single = torch.cat([course.module(few[at : at + 1]) for at in range(len(few))])
            together = course.module(few)
        alike = single.dim() == 2 and torch.allclose(single, together, 1e-3, 1e-3)
    except RuntimeError:  # of torch: sizes that do not go together
        alike = False
    finally:
        course.module.float().train()
    if not alike:
        raise untrainable("model", "it mixes the samples of a batch, or gives no row of classes")
