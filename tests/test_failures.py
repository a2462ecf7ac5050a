"""Errors leave the state as it was: public calls that are made to fail at each of their steps.

A step is a line of the package, the first time that it is run. What a call may change is looked at before and after:
networks, optimizers, estimators, the caller's arrays and generators, files. After the error all is as before, or as
after the call, or as after a whole number of the training's steps; then the same call gives what it always gives.
"""

from __future__ import annotations

import copy
import errno
import functools
import pickle
import tempfile
import warnings
from dataclasses import asdict, astuple, dataclass, is_dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse

import fastbackprop as fb
from fastbackprop import functional, schedules
from fastbackprop.network import Gradients
from fastbackprop.sklearn import MLPClassifier, MLPRegressor
from fastbackprop.training import State, Training
from tests.failing import call_failing, lines_of

BATCH, SAMPLES, EPOCHS = 4, 12, 2
STEPS = SAMPLES // BATCH * EPOCHS
TRIED, MORE = 12, 50  # lines of each call, for each error; more of them are slow, and all take half an hour
rng = np.random.default_rng(20)
X, y = rng.standard_normal((SAMPLES, 4)).astype("f4"), rng.permutation(np.arange(SAMPLES) % 3)
TRAINING = {"epochs": EPOCHS, "batch_size": BATCH, "shuffle": False}
ESTIMATOR = {
    "hidden_layer_sizes": 5, "batch_size": BATCH, "shuffle": False, "random_state": 0, "max_iter": EPOCHS, "tol": 0.0,
}  # fmt: skip


# ------------------------------------------------------------------ what is looked at


def frozen(value):
    """What can be compared: bytes in the place of arrays."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.flags.writeable, value.tobytes()
    if sparse.issparse(value):
        return value.shape, frozen(value.data), frozen(value.indices), frozen(value.indptr)
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return repr(value.get_state())
    if isinstance(value, fb.Network):
        return value.sizes, value.hidden, value.threads, value.params.tobytes()
    if isinstance(value, (MLPClassifier, MLPRegressor)):
        return {name: frozen(part) for name, part in vars(value).items() if name not in ("_kept", "_label_binarizer")}
    if isinstance(value, Training):
        return value.net.params.tobytes(), frozen(value.state)
    if isinstance(value, fb.History):
        return frozen(asdict(value) | {"seconds": None})
    if isinstance(value, Path):
        return {path.name: path.read_bytes() for path in value.iterdir()}
    if isinstance(value, State):
        return value.steps, frozen(value.vectors), frozen(value.schedule)
    if isinstance(value, Gradients):
        return value.cost, frozen(value.vector), frozen(value.dX)
    if is_dataclass(value) and not isinstance(value, type):
        return frozen(astuple(value))
    if isinstance(value, dict):
        return {name: frozen(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [frozen(part) for part in value]
    return value if isinstance(value, (int, float, str, bytes, type(None))) else type(value).__name__


@dataclass(frozen=True)
class Call:
    """A public call, and what there is around it.

    ``make`` gives what there is before, by name; ``call`` is made with it. ``between``: names to functions, each of
    whether something is as after a whole number of steps. ``again`` puts back what a call begins with.
    """

    make: object
    call: object
    between: dict | None = None
    again: object = lambda world: None
    errors: tuple = (MemoryError, KeyboardInterrupt)


def outcome(call, world):
    """What a call returns, or the kind of error that it always raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call(world)
        except (ValueError, TypeError, FloatingPointError) as error:
            return type(error).__name__


def looked_at(world):
    return {name: frozen(value) for name, value in vars(world).items()}


# ------------------------------------------------------------------ networks


def network(**options):
    return fb.Network((4, 5, 3), seed=0, **options)


def world(tmp_path, **more):
    return SimpleNamespace(net=network(), X=X.copy(), y=y.copy(), directory=tmp_path, **more)


@functools.cache
def after_steps(optimizer):
    """The parameters after each number of steps: one epoch of so many batches takes them in the same order."""
    found = {}
    for k in range(STEPS + 1):
        net = network()
        if k:
            rows = np.arange(k * BATCH) % SAMPLES
            net.fit(X[rows], y[rows], epochs=1, batch_size=BATCH, shuffle=False, optimizer=optimizer)
        found[net.params.tobytes()] = k
    return found


def whole_steps(optimizer):
    return {"net": lambda world: world.net.params.tobytes() in after_steps(optimizer)}


def from_the_start(world):
    world.net.params = network().params


def fits(optimizer, with_files=False, **options):
    """A training."""

    def call(world):
        given = {name: value(world) if callable(value) else value for name, value in options.items()}
        return world.net.fit(world.X, world.y, optimizer=optimizer, **TRAINING | given)

    return Call(world, call, whole_steps(optimizer), from_the_start)


def checkpointed(world):
    """Whether the file is not there, or a whole checkpoint from which the training ends as ever."""
    path = world.directory / "training"
    if not path.exists():
        return not list(world.directory.iterdir())
    other = network()
    other.fit(X, y, optimizer="adam", resume=path, **TRAINING)
    return list(world.directory.iterdir()) == [path] and after_steps("adam")[other.params.tobytes()] == STEPS


def iterations(count):
    net = network()
    net.fit(X, y, epochs=count, optimizer="lbfgs")
    return net.params.tobytes()


@functools.cache
def checkpoint():
    """The content of a checkpoint after the first epoch."""
    with tempfile.TemporaryDirectory() as path:
        network().fit(X, y, optimizer="adam", checkpoint=f"{path}/training", **TRAINING | {"epochs": 1})
        return Path(path, "training").read_bytes()


def with_checkpoint(tmp_path):
    (tmp_path / "training").write_bytes(checkpoint())
    return world(tmp_path)


def with_broken_checkpoint(tmp_path):
    (tmp_path / "training").write_bytes(checkpoint()[:-9])
    return world(tmp_path)


def with_model(tmp_path):
    network().save(tmp_path / "model")
    made = world(tmp_path)
    made.net.params[...] += 1
    return made


def trainings(tmp_path):
    net = network()
    training = Training(net, X, y, batch_size=BATCH, optimizer=fb.Adam(), shuffle=False, seed=0)
    return SimpleNamespace(training=training)


@functools.cache
def states_after_steps():
    found = set()
    for k in range(STEPS + 1):
        rows = np.arange(max(k, 1) * BATCH) % SAMPLES
        training = Training(network(), X[rows], y[rows], batch_size=BATCH, optimizer=fb.Adam(), shuffle=False, seed=0)
        training.run(min(k, 1))
        found.add(repr(frozen(training)))
    return found


OS_ERROR = OSError(errno.EIO, "of the test")
FILES = (*Call.errors, OS_ERROR)
NETWORK = {
    "Network": Call(
        lambda tmp_path: SimpleNamespace(seed=np.random.default_rng(5)), lambda w: fb.Network((4, 5, 3), seed=w.seed)
    ),
    "initialize": Call(
        lambda tmp_path: world(tmp_path, seed=np.random.default_rng(5)), lambda w: w.net.initialize(w.seed)
    ),
    "params": Call(
        lambda tmp_path: world(tmp_path, new=np.arange(43.0)), lambda w: setattr(w.net, "params", w.new)
    ),
    "forward": Call(world, lambda w: w.net.forward(w.X)),
    "forward of float64": Call(world, lambda w: w.net.forward(np.tile(w.X.astype("f8"), (40, 1)))),
    "forward into an array": Call(
        lambda tmp_path: world(tmp_path, out=np.zeros((SAMPLES, 3), "f4")), lambda w: w.net.forward(w.X, out=w.out)
    ),
    "forward of NaN": Call(world, lambda w: w.net.forward(np.where(w.X > 0, np.nan, w.X))),
    "predict": Call(world, lambda w: w.net.predict(sparse.csr_array(w.X))),
    "score": Call(world, lambda w: w.net.score(w.X, w.y, sample_weight=np.arange(SAMPLES))),
    "cost": Call(world, lambda w: w.net.cost(w.X.tolist(), w.y)),
    "gradients": Call(world, lambda w: w.net.gradients(w.X, w.y)),
    "gradients by X": Call(
        world, lambda w: w.net.gradients(w.X, w.y, input_gradient=True, sample_weight=np.arange(SAMPLES) + 0.5)
    ),
    "value_and_grad": Call(world, lambda w: w.net.value_and_grad(w.X, w.y, l1=0.1, l2=0.1)),
    "jacobian": Call(world, lambda w: w.net.jacobian(w.X)),
    "trace": Call(world, lambda w: w.net.trace(w.X, w.y)),
    "fit": fits("sgd"),
    "fit with moments": fits(fb.Adam(), callbacks=[lambda record: None]),
    "fit of long doubles": Call(
        world, lambda w: w.net.fit(w.X.astype("g"), w.y, optimizer="sgd", **TRAINING), whole_steps("sgd"),
        from_the_start,
    ),
    "fit with all options": Call(
        lambda tmp_path: world(tmp_path, seed=np.random.default_rng(5), weights=np.arange(1.0, SAMPLES + 1)),
        lambda w: w.net.fit(
            w.X, w.y, seed=w.seed, sample_weight=w.weights, class_weight="balanced", validation_fraction=0.4,
            early_stopping=fb.EarlyStopping(patience=1), l2=0.1, dropout=0.3, callbacks=[lambda record: None],
            epochs=EPOCHS, optimizer=fb.Adam(schedules.Cosine(0.1, EPOCHS), clip_norm=1.0),
        ),
        {"net": lambda w: np.isfinite(w.net.params).all(), "seed": lambda w: False}, from_the_start,
    ),
    "fit with a checkpoint": Call(
        world,
        lambda w: w.net.fit(w.X, w.y, optimizer="adam", checkpoint=w.directory / "training", **TRAINING),
        whole_steps("adam") | {"directory": checkpointed}, from_the_start, FILES,
    ),
    "fit from a checkpoint": Call(
        with_checkpoint, lambda w: w.net.fit(w.X, w.y, optimizer="adam", resume=w.directory / "training", **TRAINING),
        whole_steps("adam"), from_the_start, FILES,
    ),
    "fit from a broken checkpoint": Call(
        with_broken_checkpoint,
        lambda w: w.net.fit(w.X, w.y, optimizer="adam", resume=w.directory / "training", **TRAINING), errors=FILES,
    ),
    "fit by L-BFGS": Call(
        world, lambda w: w.net.fit(w.X, w.y, epochs=2, optimizer="lbfgs", threads=1),
        {"net": lambda w: w.net.threads is None and w.net.params.tobytes() in map(iterations, range(3))},
        from_the_start,
    ),
    "fit that diverges": Call(
        world, lambda w: w.net.fit(w.X * 1e15, w.y, optimizer=fb.SGD(1e30), **TRAINING),
        {"net": lambda w: np.isfinite(w.net.params).all()}, from_the_start,
    ),
    "fit of NaN": Call(world, lambda w: w.net.fit(np.where(w.X > 2, np.nan, w.X), w.y, **TRAINING)),
    "Training.run": Call(
        trainings, lambda w: w.training.run(EPOCHS),
        {"training": lambda w: repr(frozen(w.training)) in states_after_steps()},
        lambda w: vars(w).update(vars(trainings(None))),
    ),
    "save": Call(world, lambda w: w.net.save(w.directory / "model"), errors=FILES),
    "save over another": Call(with_model, lambda w: w.net.save(w.directory / "model"), errors=FILES),
    "interop.save to C": Call(world, lambda w: fb.interop.save(w.net, w.directory / "net.c"), errors=FILES),
    "interop.save to ONNX": Call(world, lambda w: fb.interop.save(w.net, w.directory / "net.onnx"), errors=FILES),
    "interop.save to Keras": Call(world, lambda w: fb.interop.save(w.net, w.directory / "net.keras"), errors=FILES),
    "interop.from_onnx": Call(world, lambda w: fb.interop.from_onnx(fb.interop.to_onnx(w.net)), errors=FILES),
    "load": Call(with_model, lambda w: fb.load(w.directory / "model"), errors=FILES),
    "copy": Call(world, lambda w: copy.copy(w.net)),
    "deepcopy": Call(world, lambda w: copy.deepcopy(w.net)),
    "pickle": Call(world, lambda w: pickle.loads(pickle.dumps(w.net))),
}  # fmt: skip


# ------------------------------------------------------------------ estimators


def estimator(**options):
    return MLPClassifier(**ESTIMATOR | options)


def unfitted(**options):
    return lambda tmp_path: SimpleNamespace(model=estimator(**options), X=X.copy(), y=y.copy())


def quietly(function):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function()


def fitted(**options):
    return lambda tmp_path: SimpleNamespace(
        model=quietly(lambda: estimator(**options).fit(X, y)), X=X.copy(), y=y.copy()
    )


def learned(model):
    return [part.tobytes() for part in (*model.coefs_, *model.intercepts_)], frozen(model._state)


def models_after_steps(begin):
    """What estimators have learned after some more steps, on batches in their order."""
    found = []
    for k in range(1, STEPS + 1):
        model, rows = begin().set_params(max_iter=1), np.arange(k * BATCH) % SAMPLES
        quietly(functools.partial(model.fit, X[rows], y[rows]))
        found.append(learned(model))
    return found


def are_whole_epochs(model, before):
    """Whether the records are those of whole epochs: each of them, and as many."""
    n = len(model.loss_curve_) - before
    assert model.n_iter_ == n
    assert model.t_ == SAMPLES * len(model.loss_curve_)
    assert model.best_loss_ == min([*model.loss_curve_, np.inf])
    assert n == 0 or model.loss_ == model.loss_curve_[-1]
    return True


def is_between(begin, before=0):
    after = functools.cache(lambda: models_after_steps(begin))

    def check(world):
        model = world.model
        return (model._state.steps == 0 or learned(model) in after()) and are_whole_epochs(model, before)

    return {"model": check}


@functools.cache
def after_iterations():
    """The first weights after each number of iterations of L-BFGS."""
    models = [estimator(solver="lbfgs", max_iter=count) for count in range(1, EPOCHS + 1)]
    return [quietly(functools.partial(model.fit, X, y)).coefs_[0].tobytes() for model in models]


def anew(**options):
    def again(world):
        world.model = estimator(**options)

    return again


def fit_anew(world):
    return world.model.fit(world.X, world.y)


def refit(**options):
    def again(world):
        world.model = fitted(**options)(None).model

    return again


def put_coefs(tmp_path):
    made = fitted()(tmp_path)
    made.coefs = [W + 1.0 for W in made.model.coefs_]
    return made


def put_and_predict(world):
    world.model.coefs_ = world.coefs
    return world.model.predict_proba(world.X)


ESTIMATORS = {
    "fit": Call(unfitted(), fit_anew, is_between(lambda: estimator()), anew()),
    "fit by SGD": Call(
        unfitted(solver="sgd"), fit_anew, is_between(lambda: estimator(solver="sgd")), anew(solver="sgd")
    ),
    "fit again": Call(fitted(), fit_anew, is_between(lambda: estimator()), refit()),
    "fit from the last": Call(
        fitted(warm_start=True), fit_anew,
        {"model": lambda w: are_whole_epochs(w.model, EPOCHS)}, refit(warm_start=True),
    ),
    "fit with early stopping": Call(
        unfitted(early_stopping=True, validation_fraction=0.5), fit_anew,
        {"model": lambda w: w.model.n_iter_ == len(w.model.loss_curve_) == len(w.model.validation_scores_)},
        anew(early_stopping=True, validation_fraction=0.5),
    ),
    "fit by L-BFGS": Call(
        unfitted(solver="lbfgs"), fit_anew, {"model": lambda w: w.model.coefs_[0].tobytes() in after_iterations()},
        anew(solver="lbfgs"),
    ),
    "partial_fit": Call(
        fitted(), lambda w: w.model.partial_fit(w.X, w.y), {"model": lambda w: are_whole_epochs(w.model, EPOCHS)},
        refit(),
    ),
    "first partial_fit": Call(
        unfitted(), lambda w: w.model.partial_fit(w.X, w.y, classes=[0, 1, 2]),
        is_between(lambda: estimator()), anew(),
    ),
    "fit of wrong targets": Call(fitted(), lambda w: w.model.fit(w.X, w.y[:-1])),
    "predict": Call(fitted(), lambda w: w.model.predict(w.X)),
    "score": Call(fitted(), lambda w: w.model.score(w.X, w.y)),
    "predict_log_proba": Call(fitted(), lambda w: w.model.predict_log_proba(w.X.tolist())),
    "coefs_": Call(
        put_coefs, put_and_predict, {"model": lambda w: all(map(np.array_equal, w.model.coefs_, w.coefs))}, refit()
    ),
    "copy": Call(fitted(), lambda w: copy.copy(w.model)),
    "pickle": Call(fitted(), lambda w: pickle.loads(pickle.dumps(w.model))),
}  # fmt: skip


def into_an_array(function):
    return Call(
        lambda tmp_path: SimpleNamespace(z=np.linspace(-2, 2, 12).reshape(3, 4), out=np.zeros((3, 4))),
        lambda w: function(w.z, out=w.out),
    )


FUNCTIONS = {name: into_an_array(getattr(functional, name)) for name in ("tanh", "d_elu", "softmax")}

CALLS = {
    f"{kind}: {name}": call
    for kind, calls in (("network", NETWORK), ("estimator", ESTIMATORS), ("functional", FUNCTIONS))
    for name, call in calls.items()
}


# ------------------------------------------------------------------ the test


def directory(tmp_path, k):
    path = tmp_path / str(k)
    path.mkdir()
    return path


def assert_failing_leaves(call, tmp_path, most):
    """For some of its lines, at most so many: each time the first time that it is run."""
    whole = call.make(directory(tmp_path, "whole"))
    before = looked_at(whole)
    value = frozen(outcome(call.call, whole))
    after = looked_at(whole)
    now = call.make(directory(tmp_path, "lines"))
    lines = lines_of(lambda: outcome(call.call, now))
    steps = [k for k, line in enumerate(lines) if line not in lines[:k]]
    order = np.random.default_rng(len(steps))
    for error in call.errors:
        for k in order.permutation(steps)[:most]:
            where = f"{error!r} at {lines[k]}, step {k}"
            now = call.make(directory(tmp_path, f"{k}-{error!r}"))
            raised = None
            try:
                got = frozen(call_failing(functools.partial(outcome, call.call, now), k, error))
            except BaseException as caught:  # scikit-learn makes an AttributeError of one that asks for a method
                raised = caught
            kind = error if isinstance(error, type) else type(error)
            assert raised is None or isinstance(raised.__cause__ or raised, kind), where
            for name, state in looked_at(now).items():
                if state not in (before[name], after[name]):
                    is_good = (call.between or {}).get(name, lambda world: False)(now)
                    assert is_good, f"{name} changed: {where}"
            if raised is None:  # dealt with: never as an error of another kind
                assert got == value or (looked_at(now) != after and not isinstance(got, str)), where
            call.again(now)
            assert frozen(outcome(call.call, now)) == value, f"not the same again: {where}"


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_fails_leaves_the_state_as_it_was(name, tmp_path):
    assert_failing_leaves(CALLS[name], tmp_path, TRIED)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_fails_at_many_lines_leaves_the_state_as_it_was(name, tmp_path):
    """``MORE = None`` tries all."""
    assert_failing_leaves(CALLS[name], tmp_path, MORE)
