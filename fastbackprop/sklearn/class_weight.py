"""The weight of a sample by its class, as scikit-learn's other classifiers find it."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight


def weights_by_class(class_weight: Any, y: Any, classes: np.ndarray) -> np.ndarray:
    """The weight of each sample: that of its class, or with several labels the product of its labels'.

    ``class_weight`` is looked at beside all ``classes``, of which the samples of a ``partial_fit`` may be some. Keys
    that are no class are the errors of scikit-learn's ``compute_class_weight``.
    """
    if y.ndim == 1:
        weights: np.ndarray = compute_class_weight(class_weight, classes=classes, y=y)[np.searchsorted(classes, y)]
        return weights
    labels = y.toarray() if sparse.issparse(y) else y
    if isinstance(class_weight, list) and len(class_weight) == labels.shape[1] and np.isin(labels, (0, 1)).all():
        columns = zip(class_weight, labels.T.astype(np.int64))
        each = [compute_class_weight(of, classes=np.arange(2), y=column)[column] for of, column in columns]
        return np.prod(each, axis=0)
    weights = compute_sample_weight(class_weight, y)
    return weights
