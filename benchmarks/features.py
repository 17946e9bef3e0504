"""Feature pruning on HAPT: fewer statistics of fewer axes, beside as many drawn at random.

Activities of 24 people from 30 statistics of an accelerometer and a gyroscope, windows of 128
samples at 50 Hz, told by an MLP that was trained on 6 other people.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.neural_network import MLPClassifier

from benchmarks.harness import DATA, Report, run
from hardtack_converters.convert import Options, convert, pack_model
from hardtack_converters.features import PrunedFeatures, prune_features
from hardtack_converters.importers.sklearn import sklearn_to_onnx
from hardtack_runtime.interpreter import Interpreter

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
WINDOW, STEP = 128, 64
TRAINED_ON = (1, 3, 5, 6, 7, 8)
STATISTICS = ("mean", "std", "min", "max", "jerk")
KEPT = (20, 15, 10, 6)
AXES = (4, 3, 2)
"""Whole axes that are kept, of 6."""
SEEDS = 5
"""Of the net, and of what is drawn; bundles are those of the first."""


def measure(report: Report, quick: bool) -> None:
    """Keep fewer and fewer features; score float and int8, count the bundle's bytes."""
    features, classes, persons, axes = windows()
    ours = np.isin(persons, TRAINED_ON)
    mean, std = features[ours].mean(0), features[ours].std(0)
    x = ((features - mean) / std).astype(np.float32)
    train, aside = (x[ours], classes[ours]), (x[~ours], classes[~ours])
    names = [f"{axis}.{statistic}" for axis in axes for statistic in STATISTICS]
    sensors = [axis for axis in axes for _ in STATISTICS]
    nets = [MLPClassifier((32, 32), max_iter=200, random_state=s) for s in range(SEEDS)]
    nets = nets[:1] if quick else nets
    fitted = [clone(net).fit(*train) for net in nets]
    report.add("features_30.accuracy", [float(net.score(*aside)) for net in fitted])
    add_bundle(report, "features_30", fitted[0], train[0], aside)
    wanted = {f"features_{keep}": {"keep": keep} for keep in KEPT}
    wanted |= {f"axes_{count}": {"keep_sensors": count} for count in AXES}
    for key in list(wanted)[:2] if quick else wanted:
        found = [
            prune_features(net, train, aside, names=names, sensors=sensors, **wanted[key])
            for net in nets
        ]
        pruned = found[0]
        report.add(f"{key}.accuracy", [one.after for one in found])
        report.add(f"{key}.axes_spared", len(pruned.spared))
        kept = pruned.columns(aside[0]), aside[1]
        add_bundle(report, key, pruned.estimator, pruned.columns(train[0]), kept)
        draws = (pick(sensors, len(pruned.kept), seed, "axes" in key) for seed in range(len(nets)))
        scores = [score(net, train, aside, chosen) for net, chosen in zip(nets, draws, strict=True)]
        report.add(f"{key}.accuracy", scores, "random_choice")
        print_kept(pruned)


def windows() -> tuple[FloatArray, IntArray, IntArray, list[str]]:
    """Return statistics [count, 30], classes 0..5, the person of each window, and the axes."""
    with np.load(DATA / "hapt" / "hapt_raw.npz") as file:
        x = file["x"] * file["scale"]
        label, offsets, users = file["label"], file["off"], file["user"]
        axes = [str(name) for name in file["columns"]]
    rows, classes, persons = [], [], []
    for start, end, user in zip(offsets[:-1], offsets[1:], users, strict=True):
        for at in range(int(start), int(end) - WINDOW + 1, STEP):
            here = label[at : at + WINDOW]
            if 1 <= here[0] <= 6 and (here == here[0]).all():
                rows.append(statistics(x[at : at + WINDOW]))
                classes.append(int(here[0]) - 1)
                persons.append(int(user))
    return np.array(rows, np.float32), np.array(classes), np.array(persons), axes


def statistics(window: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return [axes * 5]: of each axis what STATISTICS names."""
    jerk = np.abs(np.diff(window, axis=0)).mean(0)
    each = (window.mean(0), window.std(0), window.min(0), window.max(0), jerk)
    return np.stack(each, axis=1).reshape(-1)


def pick(sensors: list[str], keep: int, seed: int, whole_axes: bool) -> IntArray:
    """Return as many columns, or all columns of as many axes, as a seed chooses."""
    rng = np.random.default_rng(seed)
    if not whole_axes:
        return np.sort(rng.permutation(len(sensors))[:keep])
    axes = rng.permutation(list(dict.fromkeys(sensors)))[: keep // len(STATISTICS)]
    return np.flatnonzero(np.isin(sensors, axes))


def score(
    net: MLPClassifier, train: tuple[FloatArray, IntArray], aside: tuple[FloatArray, IntArray],
    chosen: IntArray,
) -> float:  # fmt: skip
    """Return the share of right answers of a net trained on these columns."""
    fitted = clone(net).fit(train[0][:, chosen], train[1])
    return float(fitted.score(aside[0][:, chosen], aside[1]))


def add_bundle(
    report: Report, key: str, net: MLPClassifier, calibration: FloatArray,
    aside: tuple[FloatArray, IntArray],
) -> None:  # fmt: skip
    """Report what the bundle comes to, and how the C runtime scores with it."""
    file = sklearn_to_onnx(net).SerializeToString()
    options = Options(task="classify", calibration=calibration[:, None], strip_softmax=True)
    bundle = pack_model(convert(file, options), None, smallest=True)
    device = Interpreter(bundle)
    answers = [int(np.argmax(device.run_float(one[None])[0])) for one in aside[0]]
    report.add(f"{key}.bytes", len(bundle))
    report.add(f"{key}.int8_accuracy", float(np.mean(np.array(answers) == aside[1])))


def print_kept(pruned: PrunedFeatures) -> None:
    kept = ", ".join(pruned.names[at] for at in pruned.kept)
    print(f"{len(pruned.kept)} kept: {kept}; not needed: {', '.join(pruned.spared) or 'none'}")


if __name__ == "__main__":
    run("features", measure)
