"""Regression: how far will a patient's diabetes have progressed after a year?

The data are the 442 patients that come with scikit-learn: ten measurements each, and a score from 25 to 346. They are
few and noisy, so a linear model is hard to beat, and a network learns them by heart if nothing holds it back. The mean
over five folds shows three cases: the linear model, a network that is left alone, and the same network with an L2
penalty, dropout and early stopping.

The targets are standardised with the training samples' mean and deviation; predictions are scaled back.

    python examples/diabetes.py

Needs the extra `sklearn`.
"""

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

import fastbackprop as fb

X, y = load_diabetes(return_X_y=True)


def network_error(X_train, y_train, X_test, y_test, **options):
    """Root of the mean squared error on the test samples, in the score's units."""
    inputs = StandardScaler().fit(X_train)
    mean, deviation = y_train.mean(), y_train.std()
    net = fb.Network((10, 64, 1), hidden="tanh", output="identity", seed=0)
    net.fit(inputs.transform(X_train), (y_train - mean) / deviation, optimizer=fb.Adam(3e-3), seed=0, **options)
    predicted = net.forward(inputs.transform(X_test))[:, 0] * deviation + mean
    return np.sqrt(np.mean((predicted - y_test) ** 2))


restrained = {
    "epochs": 300,
    "l2": 0.01,
    "dropout": 0.2,
    "validation_fraction": 0.15,
    "early_stopping": fb.EarlyStopping(patience=20),
}
errors = {"always the mean": [], "linear model": [], "network, left alone": [], "network, restrained": []}
for train, test in KFold(5, shuffle=True, random_state=0).split(X):
    fold = X[train], y[train], X[test], y[test]
    linear = LinearRegression().fit(X[train], y[train]).predict(X[test])
    errors["always the mean"].append(np.sqrt(np.mean((y[train].mean() - y[test]) ** 2)))
    errors["linear model"].append(np.sqrt(np.mean((linear - y[test]) ** 2)))
    errors["network, left alone"].append(network_error(*fold, epochs=300))
    errors["network, restrained"].append(network_error(*fold, **restrained))

print("root mean squared error of five folds, in points of the score")
for name, values in errors.items():
    print(f"  {name:20s} {np.mean(values):5.1f}  (from {min(values):.1f} to {max(values):.1f})")
