"""Sessions: any sequence of public calls, against a model in NumPy. Nothing crashes, and nothing goes wrong in silence.

    python -m tests.sessions --steps 100000            # as long as one likes; --seed for another run
    python -m tests.sessions --steps 20000 --guard     # arrays of the engine and the caller beside unreadable pages

A crash of compiled code ends the process, so the tests run this in a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import os
import pickle
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from scipy import sparse

import fastbackprop as fb
from fastbackprop import functional
from tests.guarded import copied

SIZES = [(4, 3), (3, 5, 2), (4, 16, 16, 2), (7, 33, 1), (20, 40, 3)]
KINDS = ["f4", "f8", "f2", "u1", "i4", "?", ">f8"]
BAD = [
    None,
    "text",
    b"bytes",
    object(),
    [],
    [[]],
    {},
    np.nan,
    -1,
    1.5,
    True,
    10**30,
    np.array(["a"]),
    1j,
    np.datetime64("2020"),
]
done = {"steps": 0}
guard = {"on": False}


class Stopped(Exception):
    """Raised by a callback."""


# ------------------------------------------------------------------ the model: the paper's formulas in float64


def model_forward(W, b, X, hidden, output):
    """All A[l] and Z[l], rows are samples."""
    A, Z = [X], [None]
    for l, (w, v) in enumerate(zip(W, b)):
        z = A[-1] @ w.T + v
        Z.append(z)
        if l < len(W) - 1:
            A.append(np.maximum(z, 0) if hidden == "relu" else np.tanh(z))
        elif output == "softmax":
            e = np.exp(z - z.max(axis=1, keepdims=True))
            A.append(e / e.sum(axis=1, keepdims=True))
        else:
            A.append(1 / (1 + np.exp(-z)) if output == "sigmoid" else z)
    return A, Z


def model_gradient(W, b, X, Y, hidden, output, weights):
    """The gradient of the weighted mean loss, in the order of ``params``."""
    A, Z = model_forward(W, b, X, hidden, output)
    delta = (A[-1] - Y) * (weights / weights.sum())[:, None]
    parts = []
    for l in range(len(W) - 1, -1, -1):
        parts = [np.r_[(delta.T @ A[l]).ravel(), delta.sum(axis=0)], *parts]
        if l:
            delta = (delta @ W[l]) * (Z[l] >= 0 if hidden == "relu" else 1 - np.tanh(Z[l]) ** 2)
    return np.concatenate(parts)


class Known:
    """A network, and what is known of it: its parameters' bits."""

    def __init__(self, net: fb.Network) -> None:
        self.net = net
        self.keep()

    def keep(self) -> None:
        """The parameters are now what they should be."""
        self.bits = self.net.params.tobytes()

    def is_tame(self) -> bool:
        """Whether a sum's roundings, which are other ones in the model, cannot decide what a unit's slope is."""
        return float(np.abs(self.net.params).max()) < 1e3

    def layers(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """W and b in float64."""
        return [w.astype("f8") for w in self.net.weights], [v.astype("f8") for v in self.net.biases]


def own(array: np.ndarray, order: str = "C") -> np.ndarray:
    """The caller's array, which begins or ends at a page that must not be touched where that is asked for."""
    return copied(array, order=order, at_end=array.size % 2 == 0) if guard["on"] else np.array(array, order=order)


class Session(RuleBasedStateMachine):
    """A user at work."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.known: list[Known] = []
        self.models: list[Any] = []

    def teardown(self) -> None:
        self.directory.cleanup()

    @invariant()
    def parameters_are_what_they_should_be(self) -> None:
        done["steps"] += 1
        for known in self.known:
            assert known.net.params.tobytes() == known.bits
            assert np.shares_memory(known.net.weights[0], known.net.params)

    # -------------------------------------------------------------- data

    def samples(
        self, data: st.DataObject, net: fb.Network, most: int = 120
    ) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
        """X of any kind, the same as float64, targets as the network takes them, and as rows."""
        rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
        count, kind = data.draw(st.integers(1, most)), data.draw(st.sampled_from(KINDS))
        dense = (rng.random((count, net.sizes[0])) * 3 - (kind not in ("u1", "?"))).astype(kind)
        way = data.draw(st.sampled_from(["C", "F", "strided", "backwards", "read-only", "CSR", "list", "frame"]))
        X: Any = own(dense, "F" if way == "F" else "C")
        if way == "strided":
            X = own(np.repeat(np.repeat(dense, 2, axis=0), 2, axis=1))[::2, ::2]
        elif way == "backwards":
            X = own(dense[::-1])[::-1]
        elif way == "read-only":
            X.flags.writeable = False
        elif way == "CSR" and kind not in ("f2", ">f8"):
            X = sparse.csr_array(dense)
        elif way == "list":
            X = dense.tolist()
        elif way == "frame" and kind[0] != ">":
            import pandas as pd

            X = pd.DataFrame(dense)
        m = net.sizes[-1]
        if net.output == "softmax":
            y = rng.integers(0, m, count)
            return X, dense.astype("f8"), own(y), np.eye(m)[y]
        Y = rng.random((count, m)).astype(data.draw(st.sampled_from(["f4", "f8"])))
        return X, dense.astype("f8"), own(Y), Y.astype("f8")

    def tolerance(self, net: fb.Network, Z: list[Any], expected: np.ndarray) -> dict[str, float]:
        """Roundings grow with the numbers on the way and with the result."""
        base = 2e-4 if net.dtype == np.float32 else 1e-9
        largest = [float(np.abs(z).max(initial=1.0)) for z in (*Z[1:], expected)]
        return {"rtol": base, "atol": base * max(largest[:-1]) * largest[-1]}

    def pick(self, data: st.DataObject) -> Known:
        """One of the networks."""
        return self.known[data.draw(st.integers(0, len(self.known) - 1))]

    # -------------------------------------------------------------- networks

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self.make(data)

    @rule(data=st.data())
    def make(self, data: st.DataObject) -> None:
        sizes = data.draw(st.sampled_from(SIZES))
        output = data.draw(
            st.sampled_from(["softmax", "identity", "sigmoid"] if sizes[-1] > 1 else ["identity", "sigmoid"])
        )
        net = fb.Network(
            sizes, data.draw(st.sampled_from(["relu", "tanh"])), output, seed=data.draw(st.integers(0, 99)),
            dtype=data.draw(st.sampled_from(["float32", "float64"])),
            threads=data.draw(st.sampled_from([None, 1, 2, 3])),
        )  # fmt: skip
        self.known = [*self.known[-3:], Known(net)]

    @rule(data=st.data())
    def assign(self, data: st.DataObject) -> None:
        known, rng = self.pick(data), np.random.default_rng(data.draw(st.integers(0, 99)))
        net, way = known.net, data.draw(st.integers(0, 2))
        values = rng.uniform(-1, 1, net.params.size)
        if way == 0:
            net.params = values
        elif way == 1:
            net.params[...] = values
        else:
            for array in (*net.weights, *net.biases):
                array[...] = rng.uniform(-1, 1, array.shape)
        known.keep()

    @rule(data=st.data(), bad=st.sampled_from(BAD))
    def assign_nonsense(self, data: st.DataObject, bad: Any) -> None:
        net = self.pick(data).net
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            net.params = bad
            raise AssertionError(f"params = {bad!r} was accepted")

    @rule(data=st.data())
    def turn_views(self, data: st.DataObject) -> None:
        """What the caller does to the arrays that it was given is its own affair."""
        net = self.pick(data).net
        views = [net.params, *net.weights, *net.biases]
        view = views[data.draw(st.integers(0, len(views) - 1))]
        with contextlib.suppress(ValueError, TypeError, AttributeError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            way = data.draw(st.integers(0, 2))
            if way == 0:
                view.shape = (view.size, 1)
            elif way == 1:
                view.dtype = "u1"
            else:
                view.flags.writeable = False

    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        """forward and cost."""
        known = self.pick(data)
        net = known.net
        X, dense, y, Y = self.samples(data, net)
        W, b = known.layers()
        A, Z = model_forward(W, b, dense, net.hidden[0] if net.hidden else "relu", net.output)
        o, cost = net.forward(X), net.cost(X, y)
        if max(float(np.abs(z).max(initial=0.0)) for z in Z[1:]) > np.sqrt(np.finfo(net.dtype).max) / 1e3:
            return  # it may overflow, which the model, in float64, does not
        np.testing.assert_allclose(o, A[-1], **self.tolerance(net, Z, A[-1]))
        if net.output == "identity":
            expected = 0.5 * np.mean(np.sum((A[-1] - Y) ** 2, axis=1))
            np.testing.assert_allclose(cost, expected, **self.tolerance(net, Z, np.array(expected)))

    @rule(data=st.data())
    def differentiate(self, data: st.DataObject) -> None:
        known = self.pick(data)
        net = known.net
        X, dense, y, Y = self.samples(data, net)
        weights = np.random.default_rng(0).random(len(dense)) + 0.1
        given = data.draw(st.sampled_from([None, weights, weights.astype("f4")]))
        W, b = known.layers()
        expected = model_gradient(
            W, b, dense, Y, net.hidden[0] if net.hidden else "relu", net.output,
            np.ones(len(dense)) if given is None else given.astype("f8"),
        )  # fmt: skip
        g = net.gradients(X, y, sample_weight=given, input_gradient=data.draw(st.booleans()))
        at_a_kink = net.dtype == np.float32 and "relu" in net.hidden  # float32 may be on the other side
        if known.is_tame() and not at_a_kink:
            _, Z = model_forward(W, b, dense, net.hidden[0] if net.hidden else "relu", net.output)
            np.testing.assert_allclose(g.vector, expected, **self.tolerance(net, Z, expected))
        same = net.value_and_grad(X, y, sample_weight=given)[1]
        assert np.array_equal(same, g.vector, equal_nan=True)  # of huge parameters all of it is NaN

    @rule(data=st.data())
    def learn(self, data: st.DataObject) -> None:
        """One epoch of gradient descent in order, step by step as the model does it."""
        known = self.pick(data)
        net = known.net
        X, dense, y, Y = self.samples(data, net)
        batch, hidden = data.draw(st.integers(1, 50)), net.hidden[0] if net.hidden else "relu"
        theta, is_tame = net.params.astype("f8"), known.is_tame()
        try:
            net.fit(X, y, epochs=1, batch_size=batch, shuffle=False, optimizer=fb.SGD(1e-4))
        except FloatingPointError:
            known.keep()
            return
        for start in range(0, len(dense), batch):
            W, b = net.split(theta)
            part = slice(start, start + batch)
            theta = theta - 1e-4 * model_gradient(
                W, b, dense[part], Y[part], hidden, net.output, np.ones(len(dense[part]))
            )
        if net.dtype == np.float64 and is_tame:
            np.testing.assert_allclose(net.params, theta, rtol=1e-6, atol=1e-6 * np.abs(theta).max(initial=1.0))
        known.keep()

    @rule(
        data=st.data(),
        optimizer=st.sampled_from(["sgd", "adam", "adamw", "rmsprop", "adagrad", "lbfgs", fb.Adam(clip_norm=1.0)]),
        options=st.fixed_dictionaries(
            {},
            optional={
                "batch_size": st.integers(1, 200), "l2": st.sampled_from([0.0, 0.1]),
                "threads": st.sampled_from([1, 2, 4]),
                "dropout": st.sampled_from([0.0, 0.5]), "validation_fraction": st.sampled_from([0.0, 0.4]),
                "early_stopping": st.just(fb.EarlyStopping(patience=1, monitor="cost")), "shuffle": st.booleans(),
            },
        ),
    )  # fmt: skip
    def fit(self, data: st.DataObject, optimizer: Any, options: dict[str, Any]) -> None:
        """Any training; what is refused changes nothing."""
        known = self.pick(data)
        X, _, y, _ = self.samples(data, known.net)
        try:
            known.net.fit(X, y, epochs=data.draw(st.integers(0, 3)), optimizer=optimizer, seed=0, **options)
        except (ValueError, TypeError):
            assert known.net.params.tobytes() == known.bits
        except FloatingPointError:
            pass
        assert np.isfinite(known.net.params).all()
        known.keep()

    @rule(data=st.data(), error=st.sampled_from([KeyboardInterrupt, Stopped, MemoryError]), after=st.integers(1, 3))
    def interrupt(self, data: st.DataObject, error: type[BaseException], after: int) -> None:
        known = self.pick(data)
        X, _, y, _ = self.samples(data, known.net)

        def callback(record: dict[str, Any]) -> None:
            if record["epoch"] == after:
                raise error

        with contextlib.suppress(error, FloatingPointError):
            known.net.fit(X, y, epochs=4, callbacks=[callback], seed=0)
        assert np.isfinite(known.net.params).all()
        known.keep()

    @rule(data=st.data(), name=st.sampled_from(["epochs", "batch_size", "optimizer", "l1", "dropout", "sample_weight",
          "class_weight", "validation_data", "validation_fraction", "early_stopping", "callbacks", "threads", "seed"]),
          bad=st.sampled_from(BAD))  # fmt: skip
    def fit_nonsense(self, data: st.DataObject, name: str, bad: Any) -> None:
        known = self.pick(data)
        X, _, y, _ = self.samples(data, known.net, 30)
        with contextlib.suppress(ValueError, TypeError, FloatingPointError, MemoryError):
            known.net.fit(X, y, **({"epochs": 1} | ({} if name == "epochs" and bad == 10**30 else {name: bad})))
            known.keep()  # some of it is sense
        known.keep() if np.isfinite(known.net.params).all() else None

    @rule(data=st.data(), bad=st.sampled_from(BAD), where=st.integers(0, 4))
    def ask_nonsense(self, data: st.DataObject, bad: Any, where: int) -> None:
        net = self.pick(data).net
        X, _, y, _ = self.samples(data, net, 30)
        calls = [
            lambda: net.forward(bad), lambda: net.cost(bad, y), lambda: net.cost(X, bad), lambda: net.gradients(X, bad),
            lambda: net.gradients(X, y, sample_weight=bad),
        ]  # fmt: skip
        with contextlib.suppress(ValueError, TypeError):
            calls[where]()

    # -------------------------------------------------------------- copies and files

    @rule(data=st.data(), way=st.integers(0, 4))
    def duplicate(self, data: st.DataObject, way: int) -> None:
        known = self.pick(data)
        if way == 0:
            other = copy.deepcopy(known.net)
        elif way == 1:
            other = copy.copy(known.net)
        elif way == 2:
            other = pickle.loads(pickle.dumps(known.net, data.draw(st.integers(2, 5))))
        elif way == 3:
            buffers: list[pickle.PickleBuffer] = []
            content = pickle.dumps(known.net, 5, buffer_callback=buffers.append)
            other = pickle.loads(content, buffers=[bytes(buffer.raw()) for buffer in buffers])
        else:
            path = Path(self.directory.name) / "net.safetensors"
            known.net.save(path)
            other = fb.load(path)
        assert other.params.tobytes() == known.bits
        other.params[...] += 1
        assert known.net.params.tobytes() == known.bits
        self.known = [*self.known[-3:], Known(other)]

    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        """Two epochs, a checkpoint, two more: as four."""
        known = self.pick(data)
        X, _, y, _ = self.samples(data, known.net)
        options = {"batch_size": 16, "seed": 3, "optimizer": "adam"}
        path, first, second = Path(self.directory.name) / "checkpoint", *(copy.deepcopy(known.net) for _ in range(2))
        with contextlib.suppress(FloatingPointError):
            first.fit(X, y, epochs=4, **options)
            second.fit(X, y, epochs=2, checkpoint=path, **options)
            again = copy.deepcopy(known.net)
            again.fit(X, y, epochs=4, resume=path, **options)
            assert again.params.tobytes() == first.params.tobytes()

    @rule(data=st.data(), cut=st.floats(0, 1), flip=st.integers(0, 10**6))
    def damage_a_file(self, data: st.DataObject, cut: float, flip: int) -> None:
        known = self.pick(data)
        path = Path(self.directory.name) / "damaged.safetensors"
        known.net.save(path)
        content = bytearray(path.read_bytes())
        content[flip % len(content)] ^= 1 << flip % 8
        path.write_bytes(content[: int(len(content) * max(cut, 0.5))])
        with contextlib.suppress(ValueError, TypeError, MemoryError):
            fb.load(path).forward(np.zeros((1, known.net.sizes[0])))

    @rule(data=st.data())
    def share_between_threads(self, data: st.DataObject) -> None:
        known = self.pick(data)
        X, _, y, _ = self.samples(data, known.net)
        expected, errors = known.net.forward(X).tobytes(), []

        def work() -> None:
            try:
                for _ in range(3):
                    assert known.net.forward(X).tobytes() == expected
                    known.net.gradients(X, y)
                    with contextlib.suppress(FloatingPointError):  # an earlier training left huge parameters
                        copy.deepcopy(known.net).fit(X, y, epochs=1, optimizer=fb.SGD(1e-6))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors, errors

    # -------------------------------------------------------------- estimators

    @rule(data=st.data(), solver=st.sampled_from(["adam", "sgd", "lbfgs"]), hidden=st.sampled_from([(5,), (16, 8)]))
    def estimate(self, data: st.DataObject, solver: str, hidden: tuple[int, ...]) -> None:
        from fastbackprop.sklearn import MLPClassifier, MLPRegressor

        rng = np.random.default_rng(data.draw(st.integers(0, 99)))
        X = own(rng.standard_normal((40, 3)).astype(data.draw(st.sampled_from(["f4", "f8"]))))
        kind = data.draw(st.sampled_from([MLPClassifier, MLPRegressor]))
        y = rng.integers(0, 3, 40) if kind is MLPClassifier else rng.random(40)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = kind(hidden_layer_sizes=hidden, solver=solver, max_iter=3, random_state=0).fit(X, y)
        self.models = [*self.models[-1:], (model, X, y)]

    @precondition(lambda self: self.models)
    @rule(data=st.data(), way=st.integers(0, 7))
    def go_on(self, data: st.DataObject, way: int) -> None:
        """Copies, maps, assigned coefficients and partial_fit of an estimator."""
        import joblib

        model, X, y = self.models[data.draw(st.integers(0, len(self.models) - 1))]
        rng, before = np.random.default_rng(way), copy.deepcopy(model).predict(X)
        refused = (ValueError, TypeError, AttributeError, RuntimeError)
        with warnings.catch_warnings(), contextlib.suppress(*refused):
            warnings.simplefilter("ignore")
            other = model
            if way == 0:
                other = copy.copy(model)
            elif way == 1:
                other = pickle.loads(pickle.dumps(model))
            elif way == 2:
                buffers: list[pickle.PickleBuffer] = []
                content = pickle.dumps(model, 5, buffer_callback=buffers.append)
                other = pickle.loads(content, buffers=[bytes(buffer.raw()) for buffer in buffers])
            elif way == 3:
                path = Path(self.directory.name) / "model.joblib"
                joblib.dump(model, path)
                content = path.read_bytes()
                other = joblib.load(path, mmap_mode=data.draw(st.sampled_from(["r", "r+", "c"])))
                other.partial_fit(X, y)
                assert path.read_bytes() == content
            elif way == 4:
                other = copy.deepcopy(model)
                other.coefs_ = [rng.random(c.shape) for c in other.coefs_]
            elif way == 5:
                other = copy.deepcopy(model)
                other.coefs_ = [rng.random((c.shape[0] + 1, c.shape[1])) for c in other.coefs_]
            elif way == 6:
                other = copy.deepcopy(model)
                other.intercepts_ = [np.float32(1)] * len(other.intercepts_)
            else:
                other = copy.deepcopy(model)
                other.coefs_[0].flags.writeable = False
            if other is not model:
                other.partial_fit(X, y)
                assert np.isfinite(other.predict(X).astype("f8")).all()
        assert np.array_equal(model.predict(X), before)

    # -------------------------------------------------------------- functional

    @rule(data=st.data(), name=st.sampled_from(["relu", "tanh", "sigmoid", "gelu", "softplus", "d_elu", "softmax"]))
    def apply(self, data: st.DataObject, name: str) -> None:
        rng = np.random.default_rng(data.draw(st.integers(0, 99)))
        z = own(
            rng.standard_normal((data.draw(st.integers(0, 40)), 5)).astype(
                data.draw(st.sampled_from(["f4", "f8", "f2", "i4"]))
            )
        )
        if name == "softmax" and not z.size:
            return
        z = data.draw(st.sampled_from([z, z[::2], z[:, ::-1], z.T.copy().T]))
        before, function = z.copy(), getattr(functional, name)
        value = function(z)
        assert np.array_equal(z, before)
        out = own(np.empty(value.shape, value.dtype))
        with contextlib.suppress(ValueError, TypeError):
            bad = data.draw(
                st.sampled_from([out, out[:, ::-1], np.empty((1, 1), value.dtype), np.empty(value.shape, "i1")])
            )
            given = function(z, out=bad)
            assert np.array_equal(given, value)


def run(steps: int, start: int, seconds: float = np.inf) -> None:
    """Sessions of 50 steps until there were so many steps, or so many seconds have gone."""
    end = time.monotonic() + seconds
    number = start
    options = settings(
        max_examples=5, stateful_step_count=50, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    while done["steps"] < steps and time.monotonic() < end:
        machine = seed(number)(type("Session", (Session,), {}))
        with contextlib.redirect_stdout(io.StringIO()):
            run_state_machine_as_test(machine, settings=options)
        number += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=np.inf, help="stop after so many, too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--guard", action="store_true", help="arrays of the engine and of the caller beside unreadable pages"
    )
    arguments = parser.parse_args()
    if arguments.guard:
        from fastbackprop import memory
        from tests.guarded import guarded

        guard["on"] = True
        memory.zeros = lambda elements, dtype: guarded(elements, dtype, align=64)  # type: ignore[assignment]
    os.fsync = lambda descriptor: None  # which takes a while, and no disk is tried here
    try:
        run(arguments.steps, arguments.seed, arguments.seconds)
    finally:
        sys.stdout.write(f"{done['steps']} steps\n")


if __name__ == "__main__":
    main()
