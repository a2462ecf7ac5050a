"""The flat vector of parameters: for each layer W[l], row-major, then b[l]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def parameter_count(sizes: Sequence[int]) -> int:
    """Elements of the flat vector of all W[l] and b[l]."""
    return sum(n_out * (n_in + 1) for n_in, n_out in zip(sizes, sizes[1:], strict=False))


def split(vector: np.ndarray, sizes: Sequence[int]) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Views of a flat vector as the weights and the biases of each layer."""
    weights, biases, start = [], [], 0
    for n_in, n_out in zip(sizes, sizes[1:], strict=False):
        weights.append(vector[start : start + n_out * n_in].reshape(n_out, n_in))
        start += n_out * n_in
        biases.append(vector[start : start + n_out])
        start += n_out
    return tuple(weights), tuple(biases)
