"""scikit-learn: estimators become graphs that answer as they do, with fewer features if asked."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import onnxruntime
import pytest

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn import datasets, discriminant_analysis, linear_model, neural_network, svm  # noqa: E402
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.tree import DecisionTreeRegressor  # noqa: E402

from hardtack_converters.convert import Options, convert, pack_model  # noqa: E402
from hardtack_converters.features import PrunedFeatures, prune_features  # noqa: E402
from hardtack_converters.importers.sklearn import sklearn_to_onnx  # noqa: E402
from hardtack_runtime.errors import ConfigError, UnsupportedOpError  # noqa: E402
from hardtack_runtime.interpreter import Interpreter  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")


def wine() -> tuple[Any, Any, list[str]]:
    data = datasets.load_wine()
    return StandardScaler().fit_transform(data.data), data.target, list(data.feature_names)


def answers(estimator: Any, x: Any) -> Any:
    """Return what the graph says to each sample, by ONNX Runtime."""
    file = sklearn_to_onnx(estimator).SerializeToString()
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    rows = (session.run(None, {"features": one[None].astype(np.float32)})[0] for one in x)
    return np.concatenate(list(rows))


CLASSIFIERS = {
    "mlp": neural_network.MLPClassifier((20, 10), max_iter=60, random_state=0),
    "mlp tanh": neural_network.MLPClassifier((8,), "tanh", max_iter=60, random_state=0),
    "mlp logistic": neural_network.MLPClassifier((8,), "logistic", max_iter=60, random_state=0),
    "mlp without hidden layers": neural_network.MLPClassifier((), max_iter=60, random_state=0),
    "logistic regression": linear_model.LogisticRegression(),
    "discriminant analysis": discriminant_analysis.LinearDiscriminantAnalysis(),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_are_those_of_the_estimator(name: str, classes: int) -> None:
    x, y, _ = wine()
    chosen = y < classes
    labels = np.array(["barbera", "barolo", "grignolino"])[y[chosen]]
    estimator = sklearn.base.clone(CLASSIFIERS[name]).fit(x[chosen], labels)
    odds = estimator.predict_proba(x[chosen])
    assert np.allclose(answers(estimator, x[chosen]), odds, atol=1e-4)


@pytest.mark.parametrize(
    "estimator",
    [linear_model.RidgeClassifier(), svm.LinearSVC(), linear_model.SGDClassifier(random_state=0)],
    ids=["ridge", "svc", "sgd"],
)
def test_scores_choose_the_class_of_the_estimator(estimator: Any) -> None:
    x, y, _ = wine()
    estimator.fit(x, y)
    assert (answers(estimator, x).argmax(1) == estimator.predict(x)).all()


@pytest.mark.parametrize(
    "estimator",
    [
        linear_model.LinearRegression(),
        linear_model.Ridge(),
        neural_network.MLPRegressor(hidden_layer_sizes=(12,), max_iter=60, random_state=0),
    ],
    ids=["linear", "ridge", "mlp"],
)
@pytest.mark.parametrize("outputs", [1, 2])
def test_a_regressor_predicts_the_same(estimator: Any, outputs: int) -> None:
    x, y, _ = wine()
    target = np.stack([y + x[:, 0], x[:, 1] - 2 * x[:, 2]], axis=1)[:, :outputs]
    estimator.fit(x, target.squeeze())
    told = answers(estimator, x)
    assert np.allclose(told, estimator.predict(x).reshape(len(x), -1), atol=1e-3)


def test_coefficients_made_sparse_are_read() -> None:
    x, y, _ = wine()
    estimator = linear_model.SGDClassifier(penalty="l1", alpha=0.02, random_state=0).fit(x, y)
    before = answers(estimator, x)
    assert np.array_equal(answers(estimator.sparsify(), x), before)


def test_an_mlp_runs_on_a_device() -> None:
    x, y, _ = wine()
    estimator = neural_network.MLPClassifier((16,), max_iter=150, random_state=0).fit(x, y)
    options = Options(task="classify", calibration=x[:, None].astype(np.float32))
    file = sklearn_to_onnx(estimator).SerializeToString()
    device = Interpreter(pack_model(convert(file, options), None))
    told = [int(np.argmax(device.run_float(one[None].astype(np.float32))[0])) for one in x]
    assert np.mean(told == estimator.predict(x)) > 0.97


@pytest.mark.parametrize(
    ("estimator", "code"),
    [
        pytest.param(RandomForestClassifier(5, random_state=0), "HT301", id="forest"),
        pytest.param(make_pipeline(StandardScaler(), svm.LinearSVC()), "HT301", id="pipeline"),
        pytest.param(svm.SVC(kernel="linear"), "HT302", id="one against one"),
        pytest.param(linear_model.PoissonRegressor(), "HT302", id="link function"),
    ],
)
def test_what_no_matrices_say_is_refused(estimator: Any, code: str) -> None:
    x, y, _ = wine()
    with pytest.raises(UnsupportedOpError) as caught:
        sklearn_to_onnx(estimator.fit(x, y))
    assert caught.value.code == code


def test_an_estimator_that_was_not_fitted_is_refused() -> None:
    with pytest.raises(UnsupportedOpError, match="no fitted"):
        sklearn_to_onnx(linear_model.LogisticRegression())


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"hardtack-converters\[sklearn\]") as caught:
        sklearn_to_onnx(None)
    assert caught.value.code == "HT105"


def noisy() -> tuple[Any, Any, list[str], list[str]]:
    """Return wine with as many columns of noise between its own."""
    x, y, names = wine()
    noise = np.random.default_rng(0).normal(size=x.shape)
    both = np.stack([x, noise], axis=2).reshape(len(x), -1)
    named = [word for name in names for word in (name, f"noise {name}")]
    return both, y, named, ["wine", "noise"] * len(names)


def pruned(**asked: Any) -> PrunedFeatures:
    x, y, names, sensors = noisy()
    train, aside = np.arange(len(x)) % 3 > 0, np.arange(len(x)) % 3 == 0
    net = neural_network.MLPClassifier((16,), max_iter=150, random_state=0)
    told = {"names": names, "sensors": sensors} | asked
    return prune_features(net, (x[train], y[train]), (x[aside], y[aside]), **told)


def test_noise_is_dropped_and_its_sensor_is_spared() -> None:
    found = pruned(keep=10)
    assert len(found.kept) == 10
    assert found.spared == ("noise",)
    assert {name for name in found.names if name.startswith("noise")} <= set(found.dropped)
    assert found.after >= found.before > 0.85
    assert found.importances.sum() == pytest.approx(1)
    least_kept = found.importances[found.kept].min()
    assert (np.delete(found.importances, found.kept) <= least_kept).all()


def test_the_smaller_model_takes_the_columns_kept() -> None:
    x, y, _, _ = noisy()
    found = pruned(keep=6)
    aside = np.arange(len(x)) % 3 == 0
    assert found.estimator.n_features_in_ == 6
    assert found.estimator.score(found.columns(x[aside]), y[aside]) == found.after
    shape = sklearn_to_onnx(found.estimator).graph.input[0].type.tensor_type.shape
    assert [d.dim_value for d in shape.dim] == [1, 6]


def test_a_threshold_is_a_share_of_all_importance() -> None:
    found = pruned(threshold=0.05)
    assert 0 < len(found.kept) < 26
    assert (found.importances[found.kept] >= 0.05).all()
    both = pruned(threshold="mean", keep=3)
    assert len(both.kept) == 3


def test_whole_sensors_are_kept() -> None:
    found = pruned(keep_sensors=1)
    assert found.kept.tolist() == list(range(0, 26, 2))
    assert found.spared == ("noise",)


def test_a_judge_is_who_the_caller_says_and_a_forest_judges_itself() -> None:
    x, y, _, _ = noisy()
    data = (x[::2], y[::2]), (x[1::2], y[1::2])
    trees = ExtraTreesClassifier(30, random_state=3)
    given = prune_features(linear_model.LogisticRegression(), *data, keep=4, judge=trees)
    itself = prune_features(trees, *data, keep=4)
    expected = sklearn.base.clone(trees).fit(*data[0]).feature_importances_
    assert np.allclose(given.importances, expected)
    assert np.allclose(itself.importances, expected)
    assert given.names[:2] == ("0", "1")
    assert given.spared == ()


def test_regressors_are_judged_by_a_forest_of_regressors() -> None:
    x, _, _, _ = noisy()
    target = 3 * x[:, 4] - x[:, 10]
    data = (x[::2], target[::2]), (x[1::2], target[1::2])
    found = prune_features(linear_model.Ridge(), *data, keep=2)
    assert found.kept.tolist() == [4, 10]
    assert found.after > 0.99
    tree = prune_features(DecisionTreeRegressor(random_state=0), *data, keep=2)
    assert 4 in tree.kept
    fitted = DecisionTreeRegressor(random_state=0).fit(*data[0])
    assert np.allclose(tree.importances, fitted.feature_importances_)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({}, "say what to keep"),
        ({"keep": 3, "keep_sensors": 1}, "say what to keep"),
        ({"keep_sensors": 3}, "3 of 2 sensors"),
        ({"sensors": ("gyro",), "keep": 3}, "1 sensors for 26 features"),
        ({"names": ("a", "b"), "keep": 3}, "2 names for 26 features"),
        ({"keep": 0}, "keep is 0"),
        ({"keep": 27}, "there are 26 features"),
        ({"threshold": 0.9}, "nothing would be kept"),
        ({"keep": 3, "judge": linear_model.Ridge()}, "no feature_importances_"),
    ],
    ids=[
        "neither",
        "both",
        "sensors",
        "of sensors",
        "names",
        "none",
        "too many",
        "too important",
        "no judge",
    ],
)
def test_what_cannot_be_kept_is_said(asked: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        pruned(**asked)
