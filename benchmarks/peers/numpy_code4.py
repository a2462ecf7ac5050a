"""NumPy: the paper's Code 4 with samples as rows, then the update. The baseline the others are judged by.

What is timed is the tuned form, the fastest we could write without leaving NumPy, step by step still Code 4: every Z,
A, dZ, dW, db has its buffer, made once (`out=`), so a step allocates only relu's mask; `np.dot` has less overhead
than `@`; weights are kept (n[l], n[l+1]), where BLAS is faster for dW of a wide first layer; a column sum is a
product with ones. An array X of another dtype is read as it is: each batch is converted when it is gathered. A frame
or a sparse matrix is made an array beforehand. OpenBLAS uses all the threads it is allowed. It chooses its kernels by
a list of processors, and takes slower ones for a processor that it does not know: so `version` says which, and
OPENBLAS_CORETYPE can name others.
"""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_info

from benchmarks.workloads import Problem, flat, layers

BLAS = [
    f"{info['internal_api']} {info['version']}, {info.get('architecture', 'unknown')} kernels"  # only OpenBLAS tells
    for info in threadpool_info()
    if info["user_api"] == "blas"
]
version = f"NumPy {np.__version__} ({'; '.join(BLAS) or 'unknown BLAS'})"


class Engine:
    def __init__(self, problem: Problem, threads: int):
        self.work = work = problem.work
        self.X = np.asarray(problem.X) if isinstance(problem.X, np.ndarray) else problem.cast()
        self.Y, self.rng = problem.Y, np.random.default_rng(0)
        sizes, dtype, N = work.sizes, problem.params.dtype, work.batch
        self.L = L = len(sizes) - 1

        # One vector of parameters and one of gradients, with views of each layer: an optimizer is one loop.
        self.params, self.grads = np.empty(work.parameters, dtype), np.empty(work.parameters, dtype)
        (self.W, self.b), (self.dW, self.db) = self.views(self.params), self.views(self.grads)
        for i, (W, b) in enumerate(zip(*layers(problem.params, sizes)), start=1):
            self.W[i][:], self.b[i][:] = W.T, b
        self.m, self.v, self.t, self.tmp = np.zeros_like(self.grads), np.zeros_like(self.grads), 0, self.grads.copy()

        # As in the paper, index 0 is the input and layers count from 1.
        self.batch_X, self.batch_Y = np.empty((N, sizes[0]), dtype), np.empty((N, sizes[L]), dtype)
        self.read_X = self.batch_X if self.X.dtype == dtype else np.empty((N, sizes[0]), self.X.dtype)
        self.Z, self.A, self.dA, self.dZ = ([np.empty((N, n), dtype) for n in sizes] for _ in range(4))
        self.mask = [np.empty((N, n), bool) for n in sizes]
        self.ones = np.ones(N, dtype)
        # Of the arrays' dtype: a Python float would do, but takes longer to convert than to multiply by.
        self.inv_N, self.rate = dtype.type(1 / N), dtype.type(work.learning_rate)

    def views(self, vector):
        W, b, at = [None], [None], 0
        for i, o in zip(self.work.sizes, self.work.sizes[1:]):
            W.append(vector[at : at + i * o].reshape(i, o))
            b.append(vector[at + i * o : at + (i + 1) * o])
            at += (i + 1) * o
        return W, b

    def forward_propagation(self, X):
        Z, A, W, b, L = self.Z, self.A, self.W, self.b, self.L
        A[0] = X
        for i in range(1, L + 1):
            np.dot(A[i - 1], W[i], out=Z[i])
            Z[i] += b[i]
            if i < L and self.work.hidden == "relu":
                np.maximum(Z[i], 0, out=A[i])
            elif i < L:
                np.tanh(Z[i], out=A[i])
        if self.work.output == "identity":
            A[L] = Z[L]
        else:
            o = A[L]
            np.subtract(Z[L], np.maximum.reduce(Z[L], axis=1, keepdims=True), out=o)
            np.exp(o, out=o)
            o /= np.add.reduce(o, axis=1, keepdims=True)

    def forward(self, X):
        self.forward_propagation(X)
        return self.A[self.L]

    def back_propagation(self, X, Y):
        Z, A, W, dZ, dA, dW, db = self.Z, self.A, self.W, self.dZ, self.dA, self.dW, self.db
        self.forward_propagation(X)
        np.subtract(A[self.L], Y, out=dZ[self.L])
        dZ[self.L] *= self.inv_N
        for i in range(self.L, 0, -1):
            if i < self.L:
                np.dot(dZ[i + 1], W[i + 1].T, out=dA[i])
                if self.work.hidden == "relu":
                    np.greater_equal(Z[i], 0, out=self.mask[i])
                    np.multiply(dA[i], self.mask[i], out=dZ[i])
                else:
                    np.multiply(A[i], A[i], out=dZ[i])
                    np.subtract(1, dZ[i], out=dZ[i])
                    dZ[i] *= dA[i]
            np.dot(A[i - 1].T, dZ[i], out=dW[i])
            np.dot(self.ones, dZ[i], out=db[i])

    def update_params(self):
        if self.work.optimizer == "sgd":
            self.grads *= self.rate
            self.params -= self.grads
        elif self.work.optimizer == "adam":
            g, m, v, tmp = self.grads, self.m, self.v, self.tmp
            self.t += 1
            m *= 0.9
            np.multiply(g, 0.1, out=tmp)
            m += tmp
            g *= g
            g *= 0.001
            v *= 0.999
            v += g
            np.divide(v, 1 - 0.999**self.t, out=tmp)
            np.sqrt(tmp, out=tmp)
            tmp += 1e-8
            np.divide(m, tmp, out=tmp)
            tmp *= self.work.learning_rate / (1 - 0.9**self.t)
            self.params -= tmp

    def inputs(self, rows):
        """The rows of X, a slice or an array of numbers, in the network's dtype."""
        if isinstance(rows, slice) or not self.X.flags.c_contiguous:  # of which take() would copy the whole first
            found = self.X[rows]
        else:  # mode="clip": with the default, take() fills a temporary and copies it to out
            found = self.X.take(rows, 0, self.read_X, "clip")
        if found.dtype != self.batch_X.dtype:
            self.batch_X[...] = found
            return self.batch_X
        return found

    def run(self, epochs: int, shuffle: bool) -> None:
        N, Y = self.work.batch, self.Y
        for _ in range(epochs):
            order = self.rng.permutation(len(Y)) if shuffle else None
            for s in range(0, len(Y), N):
                if order is None:
                    batch = slice(s, s + N)
                    targets = Y[batch]
                else:
                    batch = order[s : s + N]
                    targets = Y.take(batch, 0, self.batch_Y, "clip")
                self.back_propagation(self.inputs(batch), targets)
                self.update_params()

    def result(self) -> np.ndarray:
        W, b = (self.W, self.b) if self.work.optimizer else (self.dW, self.db)
        return flat([w.T for w in W[1:]], b[1:])
