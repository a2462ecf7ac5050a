"""scikit-learn's bundled data sets as plain arrays; nothing is downloaded. Needs the extra ``sklearn``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastbackprop import checks


class _Source(NamedTuple):
    loader: str  # in sklearn.datasets
    task: str
    divisor: float = 1.0
    scaling: str = "as scikit-learn gives it"
    image_shape: tuple[int, int] | None = None


_SOURCES: dict[str, _Source] = {
    "breast_cancer": _Source("load_breast_cancer", "classification"),
    "diabetes": _Source("load_diabetes", "regression"),
    "digits": _Source("load_digits", "classification", 16.0, "pixels, 0 to 16, divided by 16", (8, 8)),
    "iris": _Source("load_iris", "classification"),
    "linnerud": _Source("load_linnerud", "regression"),
    "wine": _Source("load_wine", "classification"),
}
NAMES = tuple(_SOURCES)


@dataclass(frozen=True)
class Dataset:
    """A data set, one row a sample.

    Attributes
    ----------
    name : str
    task : str
        "classification" or "regression".
    X : ndarray (N, features)
        float64.
    y : ndarray
        Class numbers (N,) of int64 for classification; (N,) or (N, targets) of float64 for regression.
    class_names : tuple of str
        By class number; empty for regression.
    scaling : str
        What was done to scikit-learn's numbers, for those who use a model trained on X. Nothing is estimated from the
        data.
    image_shape : (int, int) or None
        Rows and columns, where a sample is an image.
    divisor : float
        What scikit-learn's numbers were divided by.
    """

    name: str
    task: str
    X: np.ndarray
    y: np.ndarray
    class_names: tuple[str, ...]
    scaling: str
    image_shape: tuple[int, int] | None = None
    divisor: float = 1.0


class Split(NamedTuple):
    """Samples to learn from and samples held out."""

    X_train: np.ndarray
    X_test: np.ndarray
    y_train: np.ndarray
    y_test: np.ndarray


def load(name: str) -> Dataset:
    """One of the data sets that come with scikit-learn.

    Parameters
    ----------
    name : str
        breast_cancer, diabetes, digits, iris, linnerud or wine.

    Raises
    ------
    ImportError
        Where scikit-learn is not installed (the extra ``sklearn``).
    ValueError, TypeError
        Where there is no such set.

    Examples
    --------
    >>> digits = load("digits")
    >>> digits.X.shape, float(digits.X.max()), digits.task
    ((1797, 64), 1.0, 'classification')
    """
    source = _SOURCES[checks.one_of(name, "name", NAMES)]
    bunch = getattr(_scikit_learn("datasets"), source.loader)()
    classes = source.task == "classification"
    return Dataset(
        name=name,
        task=source.task,
        X=np.asarray(bunch.data, np.float64) / source.divisor,
        y=np.asarray(bunch.target, np.int64 if classes else np.float64),
        class_names=tuple(str(c) for c in bunch.target_names) if classes else (),
        scaling=source.scaling,
        image_shape=source.image_shape,
        divisor=source.divisor,
    )


def load_frame(name: str) -> tuple[Any, list[str]]:
    """One of these data sets as a table, with scikit-learn's numbers and the classes by name.

    Parameters
    ----------
    name : str
        As for :func:`load`.

    Returns
    -------
    frame : pandas.DataFrame
    targets : list of str
        The columns to predict.

    Raises
    ------
    ImportError
        Where scikit-learn or pandas is not installed (the extra ``cli``).
    ValueError, TypeError
        Where there is no such set.

    Examples
    --------
    >>> frame, targets = load_frame("iris")
    >>> frame.columns[0], targets, frame["target"].iloc[0]
    ('sepal length (cm)', ['target'], 'setosa')
    """
    source = _SOURCES[checks.one_of(name, "name", NAMES)]
    sets = _scikit_learn("datasets")
    try:
        bunch = getattr(sets, source.loader)(as_frame=True)
    except ImportError:
        raise ImportError("tables need pandas: pip install 'fastbackprop[cli]'") from None
    targets = [column for column in bunch.frame.columns if column not in bunch.data.columns]
    if source.task == "classification":
        bunch.frame["target"] = np.array([str(c) for c in bunch.target_names], object)[bunch.target]
    return bunch.frame, targets


def split(X: Any, y: Any, test_size: float = 0.2, seed: Any = 0, stratify: bool = False) -> Split:
    """Shuffle the samples and hold some out.

    Parameters
    ----------
    X, y : arrays of N rows
    test_size : float in (0, 1)
        The part of the samples held out.
    seed : int, 0 to 2**32 - 1, or a numpy.random.SeedSequence, Generator or RandomState
        The same seed, the same split.
    stratify : bool
        Keep the shares of the classes in both parts.

    Returns
    -------
    Split
        X_train, X_test, y_train, y_test.

    Examples
    --------
    >>> iris = load("iris")
    >>> parts = split(iris.X, iris.y, test_size=0.2, stratify=True)
    >>> parts.X_train.shape, np.bincount(parts.y_test)
    ((120, 4), array([10, 10, 10]))
    """
    test_size = checks.real_number(test_size, "test_size", 0, 1, open_low=True)
    seed = checks.seed_number(seed)
    if seed >= 1 << 32:
        raise ValueError(f"seed must be at most {(1 << 32) - 1}, got {seed}")
    model_selection = _scikit_learn("model_selection")
    parts = model_selection.train_test_split(
        X, y, test_size=test_size, random_state=int(seed), stratify=y if stratify else None
    )
    return Split(*parts)


def _scikit_learn(module: str) -> Any:
    try:
        import sklearn
    except ImportError:
        raise ImportError("the data sets need scikit-learn: pip install 'fastbackprop[sklearn]'") from None
    import importlib

    return importlib.import_module(f"{sklearn.__name__}.{module}")
