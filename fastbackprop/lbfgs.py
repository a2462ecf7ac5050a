"""L-BFGS: SciPy's, on the cost of all samples and its gradient by the flat vector of parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbackprop.penalty import Penalty

if TYPE_CHECKING:
    from fastbackprop.network import Network
    from fastbackprop.optimizers import LBFGS


def minimize(
    net: Network, X: Any, Y: np.ndarray, weights: np.ndarray | None, penalty: Penalty, optimizer: LBFGS,
    iterations: int, iteration_ends: Callable[[float], bool], threads: int | None = None,
) -> Any:  # fmt: skip
    """Bring ``net.params`` to a minimum of the cost with its penalty.

    ``X`` and ``Y`` have been checked. ``iteration_ends`` is called with the cost after each iteration, the parameters
    being those of the iteration; it returns whether to stop. Whatever ends the training, Ctrl-C too, the parameters are
    those after the last finished iteration: what is tried in between is put into a copy. Returns SciPy's
    OptimizeResult, None where ``iterations`` is 0.

    Raises
    ------
    ImportError
        Where SciPy is not installed.
    FloatingPointError
        Where the cost is not finite at the start.
    """
    try:
        from scipy.optimize import OptimizeResult
        from scipy.optimize import minimize as scipy_minimize
    except ImportError:
        raise ImportError("LBFGS needs SciPy: pip install 'fastbackprop[sklearn]'") from None
    if iterations == 0:
        return None
    trial = copy.copy(net)
    if threads is not None:
        trial.threads = threads

    @np.errstate(over="ignore", under="ignore")
    def value_and_grad(theta: np.ndarray) -> tuple[float, np.ndarray]:
        trial.params[...] = theta
        value, vector = trial._value_and_grad(X, Y, weights, penalty)
        return (value, vector.astype(np.float64)) if np.isfinite(value) else (np.inf, np.zeros(len(theta)))

    @np.errstate(under="ignore")
    def after_iteration(intermediate_result: OptimizeResult) -> None:
        net.params[...] = intermediate_result.x
        if iteration_ends(float(intermediate_result.fun)):
            raise StopIteration

    if not np.isfinite(trial._value_and_grad(X, Y, weights, penalty)[0]):
        raise FloatingPointError("the cost is not finite before the first iteration; scaled inputs may help")
    options = {"maxiter": iterations, "maxfun": optimizer.max_evaluations, "gtol": optimizer.tolerance}
    options |= {"maxcor": optimizer.history_size, "ftol": optimizer.ftol}
    return scipy_minimize(
        value_and_grad, net.params.astype(np.float64), jac=True, method="L-BFGS-B", callback=after_iteration,
        options=options,
    )  # fmt: skip
