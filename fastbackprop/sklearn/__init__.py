"""``MLPClassifier`` and ``MLPRegressor``: scikit-learn's estimators of the same names, trained by the engine.

Parameters, attributes, warnings and errors are scikit-learn's; what is added comes after scikit-learn's parameters. See
``docs/sklearn.md`` for what differs.
"""

from __future__ import annotations

try:
    from fastbackprop.sklearn.classifier import MLPClassifier
    from fastbackprop.sklearn.regressor import MLPRegressor
except ImportError as error:
    if (error.name or "").split(".")[0] not in ("sklearn", "scipy"):
        raise
    raise ImportError("fastbackprop.sklearn needs scikit-learn 1.6: pip install 'fastbackprop[sklearn]'") from error

__all__ = ["MLPClassifier", "MLPRegressor"]
