"""Reading scikit-learn: a fitted MLP or linear model, as an object, becomes float ONNX.

Objects and not files: a pickle runs code when it is read. Who keeps estimators in files can keep
them with skops, which loads none of it unseen, and give what `skops.io.load` returns.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hardtack_runtime.errors import ConfigError, UnsupportedOpError

if TYPE_CHECKING:
    import onnx

FloatArray = npt.NDArray[np.float64]
Layers = list[tuple[FloatArray, FloatArray]]
_ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid", "identity": ""}
_FUNCTIONS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "": lambda v: v,
    "Relu": lambda v: np.maximum(v, 0),
    "Tanh": np.tanh,
    "Sigmoid": lambda v: 1 / (1 + np.exp(-v)),
}
_PROBES = 64
"""Random samples on which the graph must answer as the estimator does."""


def require_sklearn() -> None:
    """Say what to install where scikit-learn is missing.

    Raises:
        ConfigError: HT105.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise ConfigError(
            "HT105", "scikit-learn", "it is not installed",
            "pip install 'hardtack-converters[sklearn]'",
        )  # fmt: skip


def sklearn_to_onnx(estimator: Any) -> onnx.ModelProto:
    """Return a float model of one input `features`, float32 [1, features].

    A classifier's output is a row of classes, in the order of `estimator.classes_`: probabilities
    where they are a softmax, else scores. A regressor's is a row of what it predicts.

    The input has one scale on a device: give the estimator features of like spread, scaled before
    it and not inside a pipeline, and do the same there.

    Args:
        estimator: A fitted MLP, or a model with `coef_` and `intercept_`.

    Raises:
        UnsupportedOpError: HT301, no model of matrices; HT302, one that answers otherwise than its
            matrices do, by a link function say.
        ConfigError: HT105, scikit-learn is missing.
    """
    require_sklearn()
    from sklearn.base import is_classifier
    from sklearn.utils.validation import check_is_fitted

    layers, activation = _layers(estimator)
    check_is_fitted(estimator)
    if is_classifier(estimator) and layers[-1][0].shape[1] == 1:
        layers[-1] = _two_columns(*layers[-1])
    softmax = _probe(estimator, layers, activation, is_classifier(estimator))
    return _graph(layers, activation, softmax)


def _layers(estimator: Any) -> tuple[Layers, str]:
    """Return weights [in, out] and biases [out] of each layer, and what lies between them."""
    name = type(estimator).__name__
    if hasattr(estimator, "coefs_"):
        pairs = zip(estimator.coefs_, estimator.intercepts_, strict=True)
        layers = [(np.asarray(w, np.float64), np.asarray(b, np.float64)) for w, b in pairs]
        return layers, _ACTIVATIONS[estimator.activation]
    if not hasattr(estimator, "coef_") or not hasattr(estimator, "intercept_"):
        raise UnsupportedOpError(
            "HT301", name, "is no fitted MLP and no linear model",
            "give the last step of a pipeline; trees can say which features matter: prune_features",
        )  # fmt: skip
    coefficients = estimator.coef_
    if hasattr(coefficients, "toarray"):  # after `sparsify()`
        coefficients = coefficients.toarray()
    weights = np.atleast_2d(np.asarray(coefficients, np.float64)).T
    biases = np.broadcast_to(np.asarray(estimator.intercept_, np.float64), weights.shape[1:])
    return [(weights, biases)], ""


def _two_columns(weights: FloatArray, biases: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Give the first of two classes a score of 0: softmax is then the logistic of the other."""
    return np.hstack([np.zeros_like(weights), weights]), np.append(np.zeros_like(biases), biases)


def _probe(estimator: Any, layers: Layers, activation: str, classifies: bool) -> bool:
    """Compare matrices and estimator; return whether its probabilities are a softmax."""
    spread = 2 * np.random.default_rng(0).standard_normal((_PROBES, layers[0][0].shape[0]))
    probes = spread.astype(np.float32)
    scores = _scores(layers, activation, probes.astype(np.float64))
    if not classifies:
        told = np.asarray(estimator.predict(probes)).reshape(_PROBES, -1)
        same = told.shape == scores.shape and np.allclose(told, scores, 1e-3, 1e-3)
    else:
        classes = estimator.classes_
        known = isinstance(classes, np.ndarray) and scores.shape[1] == len(classes)
        same = known and bool((estimator.predict(probes) == classes[scores.argmax(1)]).all())
    if not same:
        raise UnsupportedOpError(
            "HT302", type(estimator).__name__, "does not answer as its coefficients alone do"
        )
    if not classifies or not hasattr(estimator, "predict_proba"):
        return False
    shifted = np.exp(scores - scores.max(1, keepdims=True))
    odds = shifted / shifted.sum(1, keepdims=True)
    return bool(np.allclose(estimator.predict_proba(probes), odds, 1e-3, 1e-4))


def _scores(layers: Layers, activation: str, x: FloatArray) -> FloatArray:
    between = _FUNCTIONS[activation]
    for index, (weights, biases) in enumerate(layers):
        x = (between(x) if index else x) @ weights + biases
    return x


def _graph(layers: Layers, activation: str, softmax: bool) -> onnx.ModelProto:
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, value = [], [], "features"
    for index, (weights, biases) in enumerate(layers):
        if index and activation:
            nodes.append(helper.make_node(activation, [value], [f"h{index}"], name=f"act{index}"))
            value = f"h{index}"
        named = {f"w{index}": weights, f"b{index}": biases}
        constants += [
            numpy_helper.from_array(v.astype(np.float32), name) for name, v in named.items()
        ]
        nodes.append(helper.make_node("Gemm", [value, *named], [f"z{index}"], name=f"fc{index}"))
        value = f"z{index}"
    if softmax:
        nodes.append(helper.make_node("Softmax", [value], ["odds"], name="softmax", axis=-1))
        value = "odds"
    ports = {"features": layers[0][0].shape[0], value: layers[-1][0].shape[1]}
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width])
        for name, width in ports.items()
    ]
    graph = helper.make_graph(nodes, "estimator", infos[:1], infos[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
