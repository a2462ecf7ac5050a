"""A surrogate for a formula of physics: the exponential of 2 by 2 matrices.

x(t) = exp(A t) x(0) solves x' = A x. The network learns exp(A) from 10 000 matrices with entries between -1 and 1, and
their exponentials by SciPy's `expm`: four numbers in, four numbers out, each standardised. Adam's learning rate falls
along half a cosine to zero. The targets are smooth and exact, so there is no noise to learn by heart, and nothing else
holds the network back.

The error is that on 2000 other matrices, relative to the size of their exponentials. Two things that were not in the
samples are looked at as well: the determinant, for det exp(A) = exp(trace A), and the derivative at A = 0, where
exp(A) = 1 + A + ... makes it the identity.

    python examples/matrix_exponential.py

Needs the extra `sklearn`, which brings SciPy.
"""

import time

import numpy as np
from scipy.linalg import expm
from threadpoolctl import threadpool_limits

import fastbackprop as fb

rng = np.random.default_rng(0)
A = rng.uniform(-1, 1, (12_000, 2, 2))
with threadpool_limits(1):  # on matrices so small the threads of a BLAS are in each other's way, sometimes for a minute
    X, Y = A.reshape(-1, 4), expm(A).reshape(-1, 4)
X_train, X_test, Y_train, Y_test = X[:10_000], X[10_000:], Y[:10_000], Y[10_000:]
mean, deviation = Y_train.mean(axis=0), Y_train.std(axis=0)

net = fb.Network((4, 32, 32, 4), hidden="tanh", output="identity", dtype="float64", seed=0)
rate = fb.schedules.Cosine(5e-3, epochs=500)
history = net.fit(X_train, (Y_train - mean) / deviation, epochs=500, batch_size=100, optimizer=fb.Adam(rate), seed=0)

start = time.perf_counter()
predicted = net.forward(X_test) * deviation + mean
network_seconds = time.perf_counter() - start
start = time.perf_counter()
with threadpool_limits(1):
    expm(A[10_000:])
scipy_seconds = time.perf_counter() - start

error = predicted - Y_test
print(net)
print(f"trained for {history.steps:,} steps in {history.seconds:.1f} s, compilation included")
print(f"relative error {np.linalg.norm(error) / np.linalg.norm(Y_test):.1e}")
print(f"largest error of an entry {np.abs(error).max():.1e}; entries of exp(A) reach {np.abs(Y_test).max():.1f}")
print(f"time for {len(X_test)} matrices: network {network_seconds * 1e3:.2f} ms, expm {scipy_seconds * 1e3:.2f} ms")

determinants = np.linalg.det(predicted.reshape(-1, 2, 2))
exact = np.exp(np.trace(A[10_000:], axis1=1, axis2=2))
print(f"det exp(A) = exp(trace A) holds to {np.median(np.abs(determinants / exact - 1)):.1e} (median)")

derivative = deviation[:, None] * net.jacobian(np.zeros((1, 4)))[0]
print(f"the derivative at A = 0 differs from the identity by at most {np.abs(derivative - np.eye(4)).max():.1e}")
