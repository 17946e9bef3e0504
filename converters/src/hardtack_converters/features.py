"""Feature pruning for tabular models: fewer inputs, fewer sensors, a smaller model.

The features that a forest finds least important are dropped, and the model is trained again on the
others. The model itself need not be a forest: an MLP that is baked has its inputs judged by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hardtack_converters.importers.sklearn import require_sklearn

Labelled = tuple[Any, Any]
"""Samples [count, features] and what is right for each [count]: arrays, or frames with names."""


@dataclass(frozen=True, slots=True)
class PrunedFeatures:
    """A model of fewer features.

    Attributes:
        estimator: Trained on the features kept.
        kept: int64 [k], their columns, ascending.
        importances: float64 [features], of all of them; they sum to 1.
        names: Of all features, in order.
        before: Score on the samples set aside, of the same estimator with all features.
        after: Score with those kept.
        spared: Sensors of which no feature is left, in order.
    """

    estimator: Any
    kept: npt.NDArray[np.int64]
    importances: npt.NDArray[np.float64]
    names: tuple[str, ...]
    before: float
    after: float
    spared: tuple[str, ...]

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names of the features that the model does without."""
        kept = set(self.kept.tolist())
        return tuple(name for at, name in enumerate(self.names) if at not in kept)

    def columns(self, x: Any) -> npt.NDArray[Any]:
        """Return the features that the model takes, [count, k], from samples with all of them."""
        return np.asarray(x)[:, self.kept]


def prune_features(
    estimator: Any,
    train: Labelled,
    evaluate: Labelled,
    *,
    keep: int | None = None,
    threshold: float | str | None = None,
    keep_sensors: int | None = None,
    judge: Any = None,
    names: Sequence[str] = (),
    sensors: Sequence[str] = (),
    seed: int = 0,
) -> PrunedFeatures:
    """Drop the least important features and train the estimator again on the others.

    Args:
        estimator: A scikit-learn classifier or regressor; it is cloned and never changed.
        train: What the estimator, and the judge, are trained on.
        evaluate: Samples set aside, on which both models are scored.
        keep: At most so many features are kept, the most important ones.
        threshold: Features of a lower importance are dropped: a share of the sum of all, or as
            `SelectFromModel` reads it, "mean" or "0.5*median".
        keep_sensors: Instead of these: keep every feature of so many sensors, those whose features
            matter most together; the others need not be there at all.
        judge: Estimator whose `feature_importances_` count; none: the estimator itself if it has
            them, else a random forest.
        names: Of the features; none: those of the frame's columns, or their numbers.
        sensors: The sensor that each feature is computed from.
        seed: Of the forest.

    Raises:
        ValueError: nothing that says what to keep, or one that keeps nothing or more than there
            is; or another number of names or sensors than of features.
        ConfigError: HT105, scikit-learn is missing.

    Source: Guyon and Elisseeff, "An introduction to variable and feature selection", 2003.
    """
    require_sklearn()
    from sklearn.base import clone

    (x, y), (x_aside, y_aside) = ((np.asarray(a), np.asarray(b)) for a, b in (train, evaluate))
    told = _names(train[0], x.shape[1], names)
    _check(x.shape[1], keep, threshold, keep_sensors, sensors)
    whole = clone(estimator).fit(x, y)
    judging = _judge(whole, judge, x, y, seed)
    importances = np.asarray(judging.feature_importances_, np.float64)
    if keep_sensors is None:
        kept = _best_features(judging, keep, threshold)
    else:
        kept = _of_best_sensors(importances, sensors, keep_sensors)
    fewer = clone(estimator).fit(x[:, kept], y)
    left = {sensors[at] for at in kept.tolist()} if sensors else set()
    return PrunedFeatures(
        fewer, kept, importances / importances.sum(), told,
        float(whole.score(x_aside, y_aside)), float(fewer.score(x_aside[:, kept], y_aside)),
        tuple(sensor for sensor in dict.fromkeys(sensors) if sensor not in left),
    )  # fmt: skip


def _names(x: Any, count: int, names: Sequence[str]) -> tuple[str, ...]:
    told = tuple(map(str, names if names else getattr(x, "columns", list(range(count)))))
    if len(told) != count:
        raise ValueError(f"{len(told)} names for {count} features")
    return told


def _best_features(
    judging: Any, keep: int | None, threshold: float | str | None
) -> npt.NDArray[np.int64]:
    from sklearn.feature_selection import SelectFromModel

    least = -np.inf if threshold is None else threshold
    chosen = SelectFromModel(judging, threshold=least, max_features=keep, prefit=True)
    kept = np.flatnonzero(chosen.get_support())
    if not len(kept):
        raise ValueError(f"no feature is as important as {threshold}: nothing would be kept")
    return kept


def _of_best_sensors(
    importances: npt.NDArray[np.float64], sensors: Sequence[str], count: int
) -> npt.NDArray[np.int64]:
    owners = np.asarray(sensors)
    each = {str(name): importances[owners == name].sum() for name in dict.fromkeys(sensors)}
    best = sorted(each, key=lambda name: -each[name])[:count]
    return np.flatnonzero(np.isin(owners, best))


def _check(
    count: int, keep: int | None, threshold: float | str | None, keep_sensors: int | None,
    sensors: Sequence[str],
) -> None:  # fmt: skip
    by_feature = keep is not None or threshold is not None
    if by_feature == (keep_sensors is not None):
        raise ValueError("say what to keep: features (`keep`, `threshold`) or `keep_sensors`")
    if keep_sensors is not None and not 0 < keep_sensors <= len(set(sensors)):
        raise ValueError(f"keep_sensors is {keep_sensors} of {len(set(sensors))} sensors")
    if keep is not None and not 0 < keep <= count:
        raise ValueError(f"keep is {keep}, and there are {count} features")
    if sensors and len(sensors) != count:
        raise ValueError(f"{len(sensors)} sensors for {count} features")


def _judge(whole: Any, judge: Any, x: npt.NDArray[Any], y: npt.NDArray[Any], seed: int) -> Any:
    """Return a fitted estimator with importances."""
    from sklearn.base import clone, is_classifier
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    if judge is None and hasattr(whole, "feature_importances_"):
        return whole
    if judge is None:
        forest = RandomForestClassifier if is_classifier(whole) else RandomForestRegressor
        judge = forest(n_estimators=200, random_state=seed)
    fitted = clone(judge).fit(x, y)
    if not hasattr(fitted, "feature_importances_"):
        raise ValueError(f"{type(judge).__name__} has no feature_importances_: give a forest")
    return fitted
