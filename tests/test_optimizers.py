"""Optimizers and schedules: PyTorch's and scikit-learn's where names agree."""

from __future__ import annotations

import numpy as np
import pytest

import fastbackprop as fb
from fastbackprop import schedules
from fastbackprop.plan import sample_shards_of
from fastbackprop.training import State, Training

SIZES, BATCH, STEPS = (5, 12, 9, 3), 50, 50


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    y = np.arange(500) % 3
    return (3 * rng.standard_normal((3, 5)))[y] + rng.standard_normal((500, 5)), y


def torch_or_skip():
    return pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'fastbackprop[peers]'")


def torch_training(torch, net, X, y, make, *, penalty=lambda weights: 0.0, clip_norm=None, weights=None, batch=BATCH):
    """50 steps by PyTorch in the order of the samples; returns the parameters and the mean cost of each epoch.

    ``make(weights, biases)`` gives the optimizer.
    """
    functional = torch.nn.functional
    W = [torch.tensor(v.copy(), requires_grad=True) for v in net.weights]
    b = [torch.tensor(v.copy(), requires_grad=True) for v in net.biases]
    theirs = make(W, b)
    costs = []
    for step in range(STEPS):
        rows = slice(step * batch % len(X), step * batch % len(X) + batch)
        a = torch.tensor(X[rows])
        for l in range(len(W) - 1):
            a = torch.tanh(a @ W[l].T + b[l])
        each = functional.cross_entropy(a @ W[-1].T + b[-1], torch.tensor(y[rows]), reduction="none")
        if weights is None:
            cost = each.mean()
        else:
            w = torch.tensor(weights[rows])
            cost = (each * w).sum() / w.sum()
        cost = cost + penalty(W)
        costs.append(cost.item())
        theirs.zero_grad()
        cost.backward()
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_([*W, *b], clip_norm)
        theirs.step()
    parameters = np.concatenate([p.detach().numpy().ravel() for pair in zip(W, b) for p in pair])
    return parameters, np.reshape(costs, (-1, len(X) // batch)).mean(axis=1)


def by_name(optimizer, torch):
    """PyTorch's optimizer with the same hyperparameters: biases, which decay only when asked, are a group."""
    names = ("momentum", "nesterov", "eps", "alpha", "lr_decay")
    given = {name: getattr(optimizer, name) for name in names if hasattr(optimizer, name)}
    given["lr"] = optimizer.learning_rate
    if hasattr(optimizer, "initial_accumulator_value"):
        given["initial_accumulator_value"] = optimizer.initial_accumulator_value
    if hasattr(optimizer, "beta1"):
        given["betas"] = (optimizer.beta1, optimizer.beta2)

    def make(W, b):
        groups = [
            {"params": W, "weight_decay": optimizer.weight_decay},
            {"params": b, "weight_decay": optimizer.weight_decay if optimizer.decay_biases else 0.0},
        ]
        return getattr(torch.optim, type(optimizer).__name__)(groups, **given)

    return make


OPTIMIZERS = [
    fb.SGD(0.1), fb.SGD(0.05, momentum=0.9), fb.SGD(0.05, momentum=0.9, nesterov=True),
    fb.SGD(0.1, weight_decay=0.1), fb.SGD(0.1, weight_decay=0.1, decay_biases=True, clip_norm=0.3),
    fb.SGD(0.05, momentum=0.8, weight_decay=0.02, clip_norm=0.5),
    fb.RMSprop(), fb.RMSprop(0.003, alpha=0.9, eps=1e-6), fb.RMSprop(0.003, momentum=0.9, weight_decay=0.05),
    fb.Adagrad(), fb.Adagrad(0.05, lr_decay=0.1, initial_accumulator_value=0.2, eps=1e-8, weight_decay=0.03),
    fb.Adam(0.01), fb.Adam(0.01, beta1=0.8, beta2=0.95, eps=1e-6, weight_decay=0.1, decay_biases=True),
    fb.AdamW(0.01), fb.AdamW(0.02, weight_decay=0.3, clip_norm=0.2),
    fb.AdamW(0.01, weight_decay=0.3, decay_biases=True),
]  # fmt: skip


@pytest.mark.peers
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_optimizers_are_those_of_pytorch(blobs, optimizer):
    torch = torch_or_skip()
    X, y = blobs
    net = fb.Network(SIZES, "tanh", dtype="float64", seed=0)
    for b in net.biases:
        b[...] = 0.3
    expected, costs = torch_training(torch, net, X, y, by_name(optimizer, torch), clip_norm=optimizer.clip_norm)
    history = net.fit(X, y, epochs=5, batch_size=BATCH, optimizer=optimizer, shuffle=False)
    assert history.steps == STEPS
    np.testing.assert_allclose(net.params, expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(history.cost, costs, rtol=1e-9)


@pytest.mark.peers
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_batch_in_parts_with_penalties(blobs, optimizer):
    """The sum of the parts' gradients, the penalties, clipping and the optimizer: one pass over the parameters."""
    torch = torch_or_skip()
    X, y = blobs
    l1, l2 = 1e-3, 1e-2
    net = fb.Network(SIZES, "tanh", dtype="float64", seed=0, threads=2)
    assert sample_shards_of(SIZES, net.dtype, len(X)) > 1
    expected, costs = torch_training(
        torch, net, X, y, by_name(optimizer, torch), clip_norm=optimizer.clip_norm, batch=len(X),
        penalty=lambda W: sum(l1 * w.abs().sum() + l2 / 2 * (w * w).sum() for w in W),
    )  # fmt: skip
    history = net.fit(X, y, epochs=STEPS, batch_size=len(X), optimizer=optimizer, shuffle=False, l1=l1, l2=l2)
    np.testing.assert_allclose(net.params, expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(history.cost, costs, rtol=1e-9)


@pytest.mark.peers
def test_defaults_are_those_of_pytorch():
    torch = torch_or_skip()
    parameter = [torch.zeros(1, requires_grad=True)]
    for ours in (fb.RMSprop(), fb.Adagrad(), fb.Adam(), fb.AdamW()):
        theirs = getattr(torch.optim, type(ours).__name__)(parameter).defaults
        assert ours.learning_rate == theirs["lr"]
        assert ours.weight_decay == theirs["weight_decay"]
        for name in ("eps", "alpha", "momentum", "lr_decay", "initial_accumulator_value"):
            assert getattr(ours, name, theirs.get(name)) == theirs.get(name)
        assert (getattr(ours, "beta1", None), getattr(ours, "beta2", None)) == theirs.get("betas", (None, None))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_any_number_of_threads(blobs, optimizer):
    """Clipping is a third phase: the same bits all the same."""
    X, y = blobs
    results = []
    for threads in (1, 2, 4):
        net = fb.Network((5, 96, 64, 3), "relu", seed=0)
        net.fit(X, y, epochs=3, batch_size=384, optimizer=optimizer, seed=0, l2=1e-3, dropout=0.2, threads=threads)
        results.append(net.params.tobytes())
    assert len(set(results)) == 1


def test_clipping_in_a_batch_of_several_blocks(blobs):
    """The gradient is clipped once it is whole: as the same gradient, taken whole and clipped here."""
    X, y = np.tile(blobs[0], (40, 1)), np.tile(blobs[1], 40)
    net = fb.Network(SIZES, "tanh", dtype="float64", seed=0)
    g, start = net.gradients(X, y).vector, net.params.copy()
    assert np.linalg.norm(g) > 0.01
    net.fit(X, y, epochs=1, batch_size=len(X), optimizer=fb.SGD(1.0, clip_norm=0.01), shuffle=False)
    np.testing.assert_allclose(start - net.params, g * 0.01 / np.linalg.norm(g), rtol=1e-3)


def test_names_are_defaults(blobs):
    X, y = blobs
    for name, optimizer in (("adam", fb.Adam()), ("adamw", fb.AdamW()), ("rmsprop", fb.RMSprop())):
        nets = [fb.Network(SIZES, seed=0) for _ in range(2)]
        for net, given in zip(nets, (name, optimizer)):
            net.fit(X, y, epochs=2, optimizer=given, seed=0)
        assert np.array_equal(nets[0].params, nets[1].params)


# ---------------------------------------------------------------- schedules


@pytest.mark.peers
@pytest.mark.parametrize(
    ("schedule", "theirs"),
    [
        (schedules.Step(0.1, every=3, factor=0.3), lambda t, o: t.StepLR(o, 3, 0.3)),
        (schedules.Cosine(0.1, epochs=8, final=0.01), lambda t, o: t.CosineAnnealingLR(o, 8, 0.01)),
    ],
    ids=repr,
)
def test_schedules_are_those_of_pytorch(schedule, theirs):
    """PyTorch changes the rate once an epoch: an epoch of one step here."""
    torch = torch_or_skip()
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    scheduler = theirs(torch.optim.lr_scheduler, optimizer)
    expected = []
    for _ in range(8):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(schedule.rates(np.arange(8), 1, 100, {}), expected, rtol=1e-12)


def test_a_schedule_is_used_step_by_step(blobs):
    """Against steps of one epoch each with the rate set by hand."""
    X, y = blobs
    schedule = schedules.WarmUp(2, schedules.Cosine(0.5, epochs=3))
    net, by_hand = (fb.Network(SIZES, dtype="float64", seed=0) for _ in range(2))
    history = net.fit(X, y, epochs=6, batch_size=200, optimizer=fb.SGD(schedule), shuffle=False)
    rates = schedule.rates(np.arange(18), 3, 500, {})
    assert history.learning_rate == rates[2::3].tolist()
    for step, rate in enumerate(rates):
        rows = slice(step % 3 * 200, step % 3 * 200 + 200)
        by_hand.fit(X[rows], y[rows], epochs=1, batch_size=200, optimizer=fb.SGD(rate), shuffle=False)
    assert np.array_equal(net.params, by_hand.params)


def test_a_function_is_called_once_an_epoch(blobs):
    X, y = blobs
    asked = []

    def rate(epoch):
        asked.append(epoch)
        return 0.1 / (1 + epoch)

    net = fb.Network(SIZES, seed=0)
    history = net.fit(X, y, epochs=4, optimizer=fb.SGD(rate), callbacks=[lambda record: None])
    assert history.learning_rate == [0.1, 0.05, 0.1 / 3, 0.025]
    assert asked == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"learning_rate\(0\) must be a number of at least 0, got -1"):
        net.fit(X, y, epochs=1, optimizer=fb.Adam(lambda epoch: -1))


@pytest.mark.parametrize("options", [{}, {"batch_size": 500}, {"batch_size": 3, "threads": 1}, {"callbacks": [print]}])
@pytest.mark.parametrize("kind", ["f4", "f8", "sparse"])
def test_it_is_asked_when_its_epoch_begins(blobs, options, kind, capsys):
    """However many steps and calls of the engine an epoch has."""
    from scipy.sparse import csr_array

    X, y = blobs
    X = csr_array(X) if kind == "sparse" else X.astype(kind)
    net, asked, seen = fb.Network(SIZES, seed=0), [], []

    def rate(epoch):
        asked.append(epoch)
        seen.append(net.params.copy())
        return 0.05 * (epoch + 1)

    net.fit(X, y, epochs=3, optimizer=fb.SGD(rate, momentum=0.5), seed=0, **options)
    assert asked == [0, 1, 2]
    for epochs, params in enumerate(seen):
        other = fb.Network(SIZES, seed=0)
        other.fit(X, y, epochs=epochs, optimizer=fb.SGD(lambda e: 0.05 * (e + 1), momentum=0.5), seed=0, **options)
        assert np.array_equal(other.params, params)


def test_it_is_asked_once_also_where_a_step_is_searched_for(blobs):
    """Where a parameter becomes infinite, the steps of the epoch are repeated."""
    X, y = blobs
    net, asked = fb.Network(SIZES, output="identity", seed=0), []

    def rate(epoch):
        asked.append(epoch)
        return 0.001 if epoch == 0 else 1e38

    with pytest.raises(FloatingPointError, match="in epoch 2 at learning_rate 1e\\+38"):
        net.fit(X, np.eye(3)[y] if SIZES[-1] == 3 else np.ones((len(X), SIZES[-1])), epochs=9, optimizer=fb.SGD(rate))
    assert asked == [0, 1]


class Given(schedules.Schedule):
    """Whatever the test says."""

    def __init__(self, rates):
        self.given = rates

    def rates(self, steps, per_epoch, samples, state):
        return self.given(steps)


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        (lambda steps: np.full(len(steps) + 1, 0.1), r"must give a learning rate for each of \d+ steps, got shape"),
        (lambda steps: [0.1] * (len(steps) - 1), "must give a learning rate for each"),
        (lambda steps: np.full((len(steps), 1), 0.1), "must give a learning rate for each"),
        (lambda steps: 0.1, r"got shape \(\)"),
        (lambda steps: np.where(steps == 3, np.nan, 0.1), "must give finite learning rates of at least 0, got nan"),
        (lambda steps: np.where(steps == 3, -1e-9, 0.1), "of at least 0, got -1e-09"),
        (lambda steps: np.where(steps == 3, np.inf, 0.1), "of at least 0, got inf"),
    ],
)
def test_schedules_of_ones_own_are_checked(blobs, rates, message):
    X, y = blobs
    net = fb.Network(SIZES, seed=0)
    with pytest.raises(ValueError, match=message):
        net.fit(X, y, batch_size=100, epochs=1, optimizer=fb.Adam(Given(rates)))
    assert np.isfinite(net.params).all()


def test_schedules_that_leave_the_range_of_floats():
    with np.errstate(all="raise"):
        assert schedules.Step(1.0, 1, 1e200).rates(np.arange(3), 1, 1, {}).tolist() == [1.0, 1e200, np.inf]
        assert schedules.InverseScaling(1.0, 1e308).rates(np.arange(2), 1, 9, {}).tolist() == [1.0, 0.0]
    endless = schedules.Adaptive(1.0, factor=1e200, patience=1, minimum=0.0)
    state = endless.first_state()
    assert [endless.epoch_ends(state, 1.0) for _ in range(9)] == [False] * 6 + [True] * 3
    assert endless.rates(np.arange(2), 1, 1, state).tolist() == [0.0, 0.0]


def test_adaptive_does_not_take_what_is_not_a_number_for_the_best():
    rule = schedules.Adaptive(1.0, patience=1, minimum=1.0)
    state = rule.first_state()
    nan = float("nan")
    assert [rule.epoch_ends(state, cost) for cost in (nan, 3.0, nan, 2.0, 2.0, nan)] == [False] * 5 + [True]
    assert state["best"] == 2.0


def test_vectors_that_are_not_the_optimizers(blobs, tmp_path):
    """The engine writes to their addresses: they fit, or are refused; memory of others is copied, not written to."""
    X, y = blobs
    net = fb.Network(SIZES, seed=0)
    size = net.params.size

    def training(vectors):
        return Training(net, X, y, batch_size=50, optimizer=fb.Adam(), state=State(3, vectors=vectors))

    zeros = np.zeros(size, np.float32)
    for vectors, message in (
        ([zeros], "Adam keeps 2 vectors, got 1"),
        ([zeros] * 3, "Adam keeps 2 vectors, got 3"),
        ([zeros, zeros[:-1]], f"must have {size} elements of float32, got shape"),
        ([zeros.astype(float), zeros], "got shape .* of float64"),
        ([zeros, zeros - 1], "its squares at least 0"),
        ([zeros + np.nan, zeros], "must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            training(vectors)
    unaligned = np.zeros(4 * size + 1, np.uint8)[1:].view(np.float32)
    fixed = np.frombuffer(bytes(4 * size), np.float32)
    mapped = np.memmap(tmp_path / "moments", np.float32, "w+", shape=size)  # may be written to, but is a file
    for vector in (unaligned, fixed, zeros.astype(">f4"), np.zeros((size, 2), np.float32)[:, 0], mapped, mapped[:]):
        before = fb.Network(SIZES, seed=0).params
        net.params[...] = before
        training([vector, np.zeros(size, np.float32)]).run(1)
        assert not vector.any()
        expected = fb.Network(SIZES, seed=0)
        Training(expected, X, y, batch_size=50, optimizer=fb.Adam(), state=State(3)).run(1)
        assert np.array_equal(net.params, expected.params)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([500], "from 0 to 499, got some from 500 to 500"), ([-1, 3], "got some from -1 to 3"),
        ([], "a vector of row numbers"), ([0.5], "a vector of row numbers"), ([[1, 2]], "a vector of row numbers"),
        ([True], "a vector of row numbers"),
    ],
)  # fmt: skip
def test_rows_that_are_none(blobs, rows, message):
    X, y = blobs
    with pytest.raises(ValueError, match=message):
        Training(fb.Network(SIZES, seed=0), X, y, batch_size=1, optimizer=fb.SGD(), rows=np.array(rows))


def test_adaptive_divides_and_ends(blobs):
    X, y = blobs
    net = fb.Network(SIZES, seed=0)
    rule = schedules.Adaptive(0.01, tol=10.0, patience=2, minimum=1e-3)
    history = net.fit(X, y, epochs=50, optimizer=fb.SGD(rule))
    assert history.learning_rate == pytest.approx([0.01] * 4 + [0.002] * 3 + [0.0004] * 3)
    assert history.stopped == "the schedule of the learning rate has ended"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fb.SGD(-0.1), ValueError, "learning_rate must be a number of at least 0, got -0.1"),
        (lambda: fb.SGD(schedules.Cosine), TypeError, "a schedule or a function, got the class Cosine"),
        (lambda: fb.SGD(weight_decay=-1), ValueError, "weight_decay must be a number of at least 0, got -1"),
        (lambda: fb.SGD(decay_biases=1), TypeError, "decay_biases must be True or False, got 1"),
        (lambda: fb.Adam(clip_norm=0), ValueError, "clip_norm must be a number above 0, got 0"),
        (lambda: fb.RMSprop(alpha=1), ValueError, "alpha must be a number of at least 0 and below 1, got 1"),
        (lambda: fb.Adagrad(lr_decay="x"), TypeError, "lr_decay must be a number of at least 0, got 'x'"),
        (lambda: fb.LBFGS(history_size=0), ValueError, "history_size must be an integer of at least 1, got 0"),
        (lambda: schedules.Step(0.1, every=0), ValueError, "every must be an integer of at least 1, got 0"),
        (lambda: schedules.Cosine(0.1, 0), ValueError, "epochs must be an integer of at least 1, got 0"),
        (lambda: schedules.WarmUp(1, "x"), TypeError, "after must be a number of at least 0, got 'x'"),
        (lambda: schedules.Adaptive(0.1, factor=1), ValueError, "factor must be a number above 1, got 1"),
        (lambda: schedules.InverseScaling(0.1, -1), ValueError, "power must be a number of at least 0, got -1"),
    ],
)
def test_bad_values(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ---------------------------------------------------------------- L-BFGS


def test_lbfgs_finds_what_scikit_learn_finds():
    """A convex problem, logistic regression with an L2 penalty, has one minimum."""
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    X, y = load_iris(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    net = fb.Network((4, 3), dtype="float64", seed=0)
    weights = np.linspace(0.5, 1.5, len(X))
    seen = []
    history = net.fit(
        X,
        y,
        optimizer=fb.LBFGS(tolerance=1e-9, ftol=1e-14),
        epochs=500,
        l2=0.1,
        sample_weight=weights,
        callbacks=[seen.append],
    )
    theirs = LogisticRegression(C=1 / (0.1 * weights.sum()), tol=1e-9, max_iter=1000).fit(X, y, weights)
    np.testing.assert_allclose(net.forward(X), theirs.predict_proba(X), atol=1e-6)
    assert history.cost == [record["cost"] for record in seen]
    assert all(a >= b for a, b in zip(history.cost, history.cost[1:]))
    assert history.cost[-1] == pytest.approx(net.value_and_grad(X, y, sample_weight=weights, l2=0.1)[0], rel=1e-12)


def test_lbfgs_stops_and_says_what_it_cannot_do(blobs, tmp_path):
    X, y = blobs
    net = fb.Network(SIZES, dtype="float64", seed=0)
    history = net.fit(X, y, optimizer="lbfgs", epochs=50, callbacks=[lambda record: record["epoch"] == 3])
    assert len(history.cost) == 3
    assert history.cost[-1] == pytest.approx(net.cost(X, y), rel=1e-12)
    before = net.params.copy()
    for options in ({"l1": 0.1}, {"dropout": 0.5}, {"checkpoint": tmp_path / "x"}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} is not available with LBFGS"):
            net.fit(X, y, optimizer="lbfgs", **options)
    assert np.array_equal(net.params, before)
