"""Handwritten digits: which of ten classes does an image of 8 by 8 pixels show?

The data are scikit-learn's 1797 digits, which come with it. A quarter is held out. The network has one hidden layer of
128 relu units and a softmax output of ten, and sees the pixels as numbers from 0 to 1. Training stops when the cost of
a tenth of the training samples, set aside, has not improved for 10 epochs.

    python examples/digits.py

Needs the extra `sklearn`.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fastbackprop as fb

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.25, stratify=y, random_state=0)

net = fb.Network((64, 128, 10), hidden="relu", output="softmax", seed=0)
history = net.fit(
    X_train,
    y_train,
    epochs=300,
    batch_size=32,
    optimizer=fb.Adam(2e-3),
    validation_fraction=0.1,
    early_stopping=fb.EarlyStopping(patience=10),
    seed=0,
)

probabilities = net.forward(X_test)
predicted = probabilities.argmax(axis=1)
wrong = np.flatnonzero(predicted != y_test)

print(net)
print(f"trained for {len(history.cost)} epochs, {history.steps} steps; parameters of epoch {history.best_epoch}")
print(f"test accuracy {1 - len(wrong) / len(y_test):.2%}: {len(wrong)} of {len(y_test)} are wrong")
for i in wrong[:5]:
    print(f"  a {y_test[i]} taken for a {predicted[i]}, with probability {probabilities[i, predicted[i]]:.2f}")
