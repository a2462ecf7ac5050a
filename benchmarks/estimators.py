"""The estimators beside scikit-learn's: how well they learn, and how fast.

Scores: each data set is split and learned with 10 seeds, by both with the same settings; printed are the mean test
scores, their standard errors, and the mean difference of the pairs. Times: both live in processes of their own and take
turns; medians of the turns. `fit` is timed for X as people have it: what is neither float32 nor float64 in C order is
converted, or read as it lies.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import time
import timeit
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn import datasets, neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler, scale

from fastbackprop import sklearn as ours

DATA = ("digits", "breast_cancer", "wine", "iris", "diabetes")
MODULES = {"scikit-learn": neural_network, "fastbackprop": ours}
# X as it may be given. Both libraries learn in float32 of float32, in float64 of all else.
INPUTS: dict[str, Callable[[np.ndarray], Any]] = {
    "float64": lambda X: X,
    "float32": lambda X: X.astype(np.float32),
    "Fortran": np.asfortranarray,
    "frame": pd.DataFrame,
    "CSR": sparse.csr_matrix,
}
QUIET = 0.3  # seconds between turns: idle threads of OpenBLAS spin for 0.12


def score(library: str, data: str, seed: int, max_iter: int) -> float:
    """Accuracy, or R^2 for diabetes, on a quarter of the data that was held out."""
    X, y = getattr(datasets, f"load_{data}")(return_X_y=True)
    name = "MLPClassifier"
    if data == "diabetes":
        name, y = "MLPRegressor", scale(y)
    X, X_test, y, y_test = train_test_split(X, y, random_state=seed, stratify=None if data == "diabetes" else y)
    scaler = StandardScaler().fit(X)
    model = getattr(MODULES[library], name)(random_state=seed, max_iter=max_iter)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(scaler.transform(X), y)
    return float(model.score(scaler.transform(X_test), y_test))


def mean_and_error(values: np.ndarray) -> str:
    return f"{values.mean():.4f} ± {values.std(ddof=1) / np.sqrt(len(values)):.4f}"


def scores(names: Sequence[str], seeds: int, max_iter: int) -> dict[str, dict[str, np.ndarray]]:
    """By data set and library, the scores of the seeds; printed as they come."""
    found: dict[str, dict[str, np.ndarray]] = {}
    print("| data | " + " | ".join(MODULES) + " | difference |\n|---|" + "---:|" * (len(MODULES) + 1))
    for data in names:
        found[data] = {lib: np.array([score(lib, data, s, max_iter) for s in range(seeds)]) for lib in MODULES}
        each = [*found[data].values(), found[data]["fastbackprop"] - found[data]["scikit-learn"]]
        print(f"| {data} | " + " | ".join(map(mean_and_error, each)) + " |", flush=True)
    return found


def per_call(function: Callable[[np.ndarray], Any], row: np.ndarray, calls: int = 200) -> float:
    """Seconds, the median of ten runs of so many calls."""
    return statistics.median(timeit.repeat(lambda: function(row), number=calls, repeat=10)) / calls


def fitted(library: str, X: Any, y: np.ndarray, seed: int, max_iter: int) -> tuple[Any, float]:
    """A model at the defaults, and the seconds of its fit."""
    model = MODULES[library].MLPClassifier(random_state=seed, max_iter=max_iter)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        start = time.perf_counter()
        model.fit(X, y)
        return model, time.perf_counter() - start


def turn(library: str, seed: int, inputs: Sequence[str], max_iter: int = 200) -> dict[str, float]:
    """On digits, seconds and epochs of `fit` by the form of X, and seconds of predicting one row."""
    X, y = datasets.load_digits(return_X_y=True)
    X, found = X / 16, {}
    for form in inputs:
        model, found[f"fit, {form}"] = fitted(library, INPUTS[form](X), y, seed, max_iter)
        found[f"epochs, {form}"] = float(model.n_iter_)
    model, _ = fitted(library, X, y, seed, 2)
    for name in ("predict", "predict_proba"):
        found[name] = per_call(getattr(model, name), X[:1])
    return found


def times(rounds: int, inputs: Sequence[str], max_iter: int = 200) -> dict[str, dict[str, float]]:
    """By library, the medians over the rounds of what `turn` measures."""
    context = multiprocessing.get_context("spawn")
    workers = {library: ProcessPoolExecutor(1, mp_context=context) for library in MODULES}
    turns: dict[str, list[dict[str, float]]] = {library: [] for library in MODULES}
    try:
        for library, worker in workers.items():
            worker.submit(turn, library, 0, inputs, 2).result()  # imports and compiles
        for seed in range(rounds):
            for library, worker in workers.items():
                time.sleep(QUIET)
                turns[library].append(worker.submit(turn, library, seed, inputs, max_iter).result())
    finally:
        for worker in workers.values():
            worker.shutdown()
    return {lib: {key: statistics.median(t[key] for t in of) for key in of[0]} for lib, of in turns.items()}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimators", description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="*", choices=DATA, default=list(DATA), help="(default: all)")
    parser.add_argument("--seeds", type=int, default=10, help="of splits and weights, 2 or more (default: 10)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each library; 0: no times (default: 7)")
    parser.add_argument("--inputs", nargs="+", choices=INPUTS, default=list(INPUTS), help="forms of X (default: all)")
    parser.add_argument("--max-iter", type=int, default=300, help="for the scores (default: 300)")
    args = parser.parse_args(argv)
    for name, least in (("seeds", 2), ("rounds", 0), ("max_iter", 1)):
        if getattr(args, name) < least:
            flag = name.replace("_", "-")
            parser.error(f"argument --{flag}: got {getattr(args, name)}, accepted is {least} or more")
    if args.data:
        scores(args.data, args.seeds, args.max_iter)
    if args.rounds:
        measured = times(args.rounds, args.inputs)
        theirs, own = measured["scikit-learn"], measured["fastbackprop"]
        print("\n| digits, at the defaults | scikit-learn | fastbackprop | ratio |\n|---|---:|---:|---:|")
        for name in theirs:
            if not name.startswith("epochs"):
                unit, factor = ("s", 1.0) if name.startswith("fit") else ("us", 1e6)
                a, b = theirs[name] * factor, own[name] * factor
                print(f"| {name} | {a:.4g} {unit} | {b:.4g} {unit} | {a / b:.1f}x |")
        epochs = "; ".join(
            f"{form} {theirs[f'epochs, {form}']:.0f} and {own[f'epochs, {form}']:.0f}" for form in args.inputs
        )
        print(f"\nBy the form of X; predict is of one row. Epochs: {epochs}. Medians of {args.rounds} turns each.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
