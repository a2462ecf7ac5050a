"""The estimators beside scikit-learn's: how well they learn, and how fast.

Scores: each data set is split and learned with 10 seeds, by both with the same settings; printed are the mean test
scores, their standard errors, and the mean difference of the pairs. Times: both live in processes of their own and take
turns; medians of the turns.
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
from sklearn import datasets, neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler, scale

from fastbackprop import sklearn as ours

DATA = ("digits", "breast_cancer", "wine", "iris", "diabetes")
MODULES = {"scikit-learn": neural_network, "fastbackprop": ours}
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


def turn(library: str, seed: int, max_iter: int = 200) -> dict[str, float]:
    """Seconds of fits at the defaults on digits in both dtypes, epochs, and seconds of predicting one row."""
    X, y = datasets.load_digits(return_X_y=True)
    X = X / 16
    seconds = {}
    for dtype in ("float32", "float64"):  # both libraries learn in the dtype of X
        model = MODULES[library].MLPClassifier(random_state=seed, max_iter=max_iter)
        inputs = X.astype(dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            start = time.perf_counter()
            model.fit(inputs, y)
            seconds[dtype] = time.perf_counter() - start
    row = X[:1]
    return {
        "fit": seconds["float64"],
        "fit32": seconds["float32"],
        "epochs": float(model.n_iter_),
        "predict": per_call(model.predict, row),
        "predict_proba": per_call(model.predict_proba, row),
    }


def times(rounds: int, max_iter: int = 200) -> dict[str, dict[str, float]]:
    """By library, the medians over the rounds of what `turn` measures."""
    context = multiprocessing.get_context("spawn")
    workers = {library: ProcessPoolExecutor(1, mp_context=context) for library in MODULES}
    turns: dict[str, list[dict[str, float]]] = {library: [] for library in MODULES}
    try:
        for library, worker in workers.items():
            worker.submit(turn, library, 0, 2).result()  # imports and compiles
        for seed in range(rounds):
            for library, worker in workers.items():
                time.sleep(QUIET)
                turns[library].append(worker.submit(turn, library, seed, max_iter).result())
    finally:
        for worker in workers.values():
            worker.shutdown()
    return {lib: {key: statistics.median(t[key] for t in of) for key in of[0]} for lib, of in turns.items()}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimators", description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="*", choices=DATA, default=list(DATA), help="(default: all)")
    parser.add_argument("--seeds", type=int, default=10, help="of splits and weights, 2 or more (default: 10)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each library; 0: no times (default: 7)")
    parser.add_argument("--max-iter", type=int, default=300, help="for the scores (default: 300)")
    args = parser.parse_args(argv)
    for name, least in (("seeds", 2), ("rounds", 0), ("max_iter", 1)):
        if getattr(args, name) < least:
            flag = name.replace("_", "-")
            parser.error(f"argument --{flag}: got {getattr(args, name)}, accepted is {least} or more")
    if args.data:
        scores(args.data, args.seeds, args.max_iter)
    if args.rounds:
        measured = times(args.rounds)
        theirs, own = measured["scikit-learn"], measured["fastbackprop"]
        print("\n| digits, at the defaults | scikit-learn | fastbackprop | ratio |\n|---|---:|---:|---:|")
        for name, key, unit, factor in (
            ("fit", "fit", "s", 1.0),
            ("fit of float32 X", "fit32", "s", 1.0),
            ("predict of one row", "predict", "us", 1e6),
            ("predict_proba of one row", "predict_proba", "us", 1e6),
        ):
            a, b = theirs[key] * factor, own[key] * factor
            print(f"| {name} | {a:.4g} {unit} | {b:.4g} {unit} | {a / b:.1f}x |")
        print(f"\nEpochs of fit: {theirs['epochs']:.0f} and {own['epochs']:.0f}. Medians of {args.rounds} turns each.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
