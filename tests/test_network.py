"""Network: its parameters, the inputs it accepts, and what it says to those it does not."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref
from fractions import Fraction

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, r2_score

import fastbackprop as fb
from fastbackprop import scores
from fastbackprop.network import OWN_ATTRIBUTES


@pytest.fixture
def net():
    return fb.Network((4, 9, 3), seed=0)


@pytest.fixture
def X():
    return np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)


def test_parameters_are_one_vector_and_its_views(net):
    assert net.params.shape == (4 * 9 + 9 + 9 * 3 + 3,)
    assert [w.shape for w in net.weights] == [(9, 4), (3, 9)]
    assert [b.shape for b in net.biases] == [(9,), (3,)]
    net.params[...] = np.arange(net.params.size)
    parts = [part.ravel() for pair in zip(net.weights, net.biases) for part in pair]
    assert np.array_equal(np.concatenate(parts), np.arange(net.params.size))
    net.weights[1][2, 8] = -5
    assert -5 in net.params
    net.params = np.zeros(net.params.size)
    assert not net.weights[0].any()


def test_views_are_used_at_once(net, X):
    before = net.forward(X)
    net.biases[1][0] += 1
    assert not np.array_equal(net.forward(X), before)


def test_gradient_views(net, X):
    g = net.gradients(X, np.zeros(20, int))
    assert [d.shape for d in g.dW] == [w.shape for w in net.weights]
    assert all(np.shares_memory(d, g.vector) for d in (*g.dW, *g.db))
    assert g.dX is None


def test_seeds(X):
    assert np.array_equal(
        fb.Network((4, 9, 3), seed=7).params, fb.Network((4, 9, 3), seed=np.random.default_rng(7)).params
    )
    assert not np.array_equal(fb.Network((4, 9, 3), seed=7).params, fb.Network((4, 9, 3), seed=8).params)
    single, double = fb.Network((4, 9, 3), seed=7), fb.Network((4, 9, 3), seed=7, dtype="float64")
    np.testing.assert_array_equal(single.params, double.params.astype(np.float32))


def test_initialisation_by_activation():
    relu, tanh = (fb.Network((500, 400, 2), hidden, seed=0, dtype="float64") for hidden in ("relu", "tanh"))
    assert relu.weights[0].std() == pytest.approx(np.sqrt(2 / 500), rel=0.02)  # He
    assert tanh.weights[0].std() == pytest.approx(np.sqrt(2 / 900), rel=0.02)  # Glorot
    assert np.abs(tanh.weights[0]).max() <= np.sqrt(6 / 900)
    assert not relu.biases[0].any()


def test_repr(net):
    assert repr(net) == "Network(4-9-3, hidden=relu, output=softmax, dtype=float32, 75 parameters)"
    assert "hidden=tanh,relu" in repr(fb.Network((2, 3, 3, 1), ["tanh", "relu"], "sigmoid"))
    assert "hidden=none" in repr(fb.Network((2, 1), output="identity"))


def test_call_is_forward_and_softmax_sums_to_one(net, X):
    o = net(X)
    assert np.array_equal(o, net.forward(X))
    assert o.dtype == np.float32
    np.testing.assert_allclose(o.sum(axis=1), 1, rtol=1e-6)


def test_copies_and_pickles_are_independent(net, X):
    for twin in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert np.array_equal(twin.forward(X), net.forward(X))
        assert np.shares_memory(twin.params, twin.weights[0])
        twin.params[...] = 0
        assert net.params.any()
        assert repr(twin) == repr(net)


# ------------------------------------------------------------------ inputs whose meaning is plain


def layouts(X):
    read_only = X.copy()
    read_only.flags.writeable = False
    wide = np.zeros((X.shape[0], 2 * X.shape[1]), X.dtype)
    wide[:, ::2] = X
    unaligned = np.frombuffer(b"x" + X.tobytes(), np.uint8)[1:].view(X.dtype).reshape(X.shape)
    return {
        "fortran": np.asfortranarray(X), "rows reversed": X[::-1].copy()[::-1], "columns strided": wide[:, ::2],
        "rows strided": np.repeat(X, 3, axis=0)[::3], "read-only": read_only, "float64": X.astype(np.float64),
        "list": X.tolist(), "unaligned": unaligned, "big-endian": X.astype(">f4"),
        "column block": np.hstack([X, X])[:, 4:],
    }  # fmt: skip


@pytest.mark.parametrize("layout", sorted(layouts(np.zeros((2, 4), np.float32))))
def test_memory_layouts(net, X, layout):
    given, y = layouts(X)[layout], np.arange(20) % 3
    assert np.array_equal(net.forward(given), net.forward(X))
    assert net.cost(given, y) == net.cost(X, y)
    assert np.array_equal(net.gradients(given, y).vector, net.gradients(X, y).vector)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "bool", "float16"])
def test_number_types(net, dtype):
    X = (np.random.default_rng(0).random((20, 4)) * 2).astype(dtype)
    assert np.array_equal(net.forward(X), net.forward(X.astype(np.float32)))
    net.fit(X, np.arange(20) % 3, epochs=1)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.float32, bool])
def test_class_number_types(net, X, dtype):
    y = (np.arange(20) % 2).astype(dtype)
    assert net.cost(X, y) == net.cost(X, y.astype(np.int64))


def test_vectors():
    one_sample = fb.Network((4, 3), seed=0)
    assert one_sample.forward(np.ones(4)).shape == (1, 3)
    one_feature = fb.Network((1, 5, 1), output="identity", seed=0)
    assert one_feature.forward(np.linspace(0, 1, 7)).shape == (7, 1)
    x = np.linspace(0, 1, 7)
    assert one_feature.cost(x, x) == one_feature.cost(x[:, None], x[:, None])


def test_inputs_of_another_type_are_converted_in_parts():
    """Memory: a large array of bytes is never converted whole."""
    import tracemalloc

    X = np.zeros((400_000, 64), np.uint8)
    net = fb.Network((64, 8, 3), seed=0)

    def work(rows):
        net.cost(X[:rows], np.zeros(rows, np.int64))
        net.fit(X[: min(rows, 30_000)], np.zeros(min(rows, 30_000), np.int64), epochs=1, batch_size=1000, shuffle=False)

    work(10_000)  # compiles
    tracemalloc.start()
    work(len(X))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.size  # converted whole it would be 4 bytes an element


# ------------------------------------------------------------------ bad input

GOOD_X, GOOD_Y = np.zeros((6, 4)), np.zeros(6, int)
NAN, INFINITE = GOOD_X.copy(), GOOD_X.copy()
NAN[2, 1], INFINITE[5, 0] = np.nan, -np.inf


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.zeros((6, 5)), GOOD_Y, r"X must have shape \(N, 4\), one row a sample, got \(6, 5\)"),
        (np.zeros((2, 3, 4)), GOOD_Y, r"X must have shape \(N, 4\).*got \(2, 3, 4\)"),
        (np.zeros(5), GOOD_Y, r"X must have shape \(N, 4\).*got \(5,\)"),
        (np.float32(3), GOOD_Y, r"X must have shape \(N, 4\).*got \(\)"),
        (np.zeros((0, 4)), GOOD_Y[:0], r"X must hold at least one sample, got shape \(0, 4\)"),
        (NAN, GOOD_Y, r"X must be finite, got nan at X\[2, 1\]"),
        (INFINITE, GOOD_Y, r"X must be finite, got -inf at X\[5, 0\]"),
        (GOOD_X.astype(str), GOOD_Y, r"X must be an array of real numbers, got dtype <U"),
        (GOOD_X.astype(complex), GOOD_Y, r"X must be an array of real numbers, got dtype complex128"),
        (GOOD_X.astype(object), GOOD_Y, r"X must be an array of real numbers, got dtype object"),
        ([[1, 2], [3]], GOOD_Y, r"X must be an array of numbers, got a ragged list"),
        (None, GOOD_Y, r"X must be an array of real numbers"),
        (GOOD_X, GOOD_Y[:5], r"[Yy] must have one target for each of the 6 samples, got 5"),
        (GOOD_X, GOOD_Y + 3, r"[Yy] must hold class numbers from 0 to 2, got 3"),
        (GOOD_X, GOOD_Y - 1, r"[Yy] must hold class numbers from 0 to 2, got -1"),
        (GOOD_X, GOOD_Y + 0.5, r"[Yy] must hold class numbers, whole and from 0 to 2, got 0.5"),
        (GOOD_X, np.array(list("abcabc")), r"[Yy] must be an array of real .* <U1; .*MLPClassifier takes any labels"),
        (GOOD_X, np.full((6, 3), 0.5), r"[Yy] must have rows that sum to 1.*got 1.5 in row 0"),
        (GOOD_X, np.eye(3)[GOOD_Y] * 2, r"[Yy] must hold probabilities from 0 to 1, got values from 0.0 to 2.0"),
        (
            GOOD_X,
            np.zeros((6, 2)),
            r"[Yy] must have shape \(N,\), class numbers, or \(N, 3\), probabilities, got \(6, 2\)",
        ),
        (GOOD_X, np.full((6, 3), np.nan), r"[Yy] must be finite, got nan at [Yy]\[0, 0\]"),
    ],
)
def test_bad_data(net, X, y, message):
    before = net.params.copy()
    for call in (net.cost, net.gradients, net.trace, lambda X, y: net.fit(X, y, epochs=1)):
        with pytest.raises((ValueError, TypeError), match=message):
            call(X, y)
    assert np.array_equal(net.params, before)


def test_numbers_that_only_float64_holds(net):
    for call in (net.forward, lambda X: net.cost(X, GOOD_Y), lambda X: net.fit(X, GOOD_Y)):
        with pytest.raises(ValueError, match=r"X must be finite in float32, got 1e\+39 at X\[0, 0\]"):
            call(np.full((6, 4), 1e39))
    assert np.isfinite(fb.Network((4, 3), dtype="float64", seed=0).forward(np.full((6, 4), 1e39))).all()


def test_masked_and_ragged_values_are_refused(net):
    with pytest.raises(TypeError, match="X must be an array without masked values"):
        net.forward(np.ma.masked_array(GOOD_X, mask=GOOD_X == 0))
    with pytest.raises(ValueError, match="Y must be an array of numbers, got a ragged list"):
        net.cost(GOOD_X, [[1, 0, 0], [1]] * 3)
    with pytest.raises(ValueError, match="Y must hold class numbers from 0 to 2, got 9223372036854775809"):
        net.cost(GOOD_X, np.full(6, 2**63 + 1, np.uint64))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sizes": np.array(3)}, ValueError, r"sizes must name at least the inputs and the outputs"),
        ({"dtype": ","}, TypeError, r"dtype must be 'float32' or 'float64', got ','"),
        ({"dtype": None}, TypeError, r"dtype must be 'float32' or 'float64', got None"),
        ({"sizes": (4,)}, ValueError, r"sizes must name at least the inputs and the outputs.*got \(4,\)"),
        ({"sizes": 4}, TypeError, r"sizes must be a sequence of layer sizes.*got 4"),
        ({"sizes": "443"}, TypeError, r"sizes must be a sequence"),
        ({"sizes": (4, 0, 3)}, ValueError, r"sizes\[1\] must be an integer of at least 1, got 0"),
        ({"sizes": (4, -2, 3)}, ValueError, r"sizes\[1\] must be an integer of at least 1, got -2"),
        ({"sizes": (4, 2.5, 3)}, TypeError, r"sizes\[1\] must be an integer of at least 1, got 2.5"),
        ({"hidden": "rellu"}, ValueError, r"hidden must be one of identity, relu, .*got 'rellu'"),
        ({"hidden": ["relu", "tanh"]}, ValueError, r"hidden must be one name or 1, one for each hidden layer, got 2"),
        ({"hidden": 3}, TypeError, r"hidden must be one of"),
        ({"hidden": [3]}, TypeError, r"hidden must be one of"),
        ({"output": "linear"}, ValueError, r"output must be one of identity, sigmoid, softmax, exp, got 'linear'"),
        ({"sizes": (4, 1)}, ValueError, r"output='softmax' needs at least 2 outputs"),
        ({"dtype": "int32"}, ValueError, r"dtype must be 'float32' or 'float64', got 'int32'"),
        ({"dtype": "float16"}, ValueError, r"dtype must be 'float32' or 'float64', got 'float16'"),
        ({"dtype": "no"}, TypeError, r"dtype must be 'float32' or 'float64', got 'no'"),
        ({"seed": -1}, ValueError, r"seed must be an integer of at least 0, got -1"),
        ({"seed": "a"}, TypeError, r"seed must be an integer"),
        ({"threads": 0}, ValueError, r"threads must be an integer of at least 1, got 0"),
        ({"threads": True}, TypeError, r"threads must be an integer of at least 1, got True"),
    ],
)
def test_bad_networks(arguments, error, message):
    sizes = arguments.pop("sizes", (4, 9, 3))
    with pytest.raises(error, match=message):
        fb.Network(sizes, **arguments)


def test_bad_parameters(net):
    before = net.params.copy()
    for values in (np.zeros(3), "abc", None, np.zeros((75, 1))):
        with pytest.raises(ValueError, match="params must be a vector of 75 numbers"):
            net.params = values
    assert np.array_equal(net.params, before)


def test_sigmoid_targets_are_probabilities():
    net = fb.Network((4, 2), output="sigmoid", seed=0)
    with pytest.raises(ValueError, match=r"Y must hold probabilities from 0 to 1, got values from -1.0 to 1.0"):
        net.cost(GOOD_X, np.tile([-1.0, 1.0], (6, 1)))


# ------------------------------------------------------------------ extremes


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
def test_large_outputs_do_not_overflow(output):
    """The losses are computed from Z in stable form: exp(1e4) and log(0) never appear."""
    net = fb.Network((1, 2), output=output, dtype="float64")
    net.params = [1e4, -1e4, 0, 0]
    Y = [[0.0, 1.0]]
    J = net.cost([[1.0]], Y)
    expected = {"identity": 0.5 * (1e8 + (1e4 + 1) ** 2), "sigmoid": 2e4, "softmax": 2e4}[output]
    assert pytest.approx(expected) == J
    assert np.isfinite(net.gradients([[1.0]], Y).vector).all()


def test_single_units_and_many_classes():
    deep = fb.Network((1,) * 40 + (1,), "tanh", "identity", seed=0)
    assert deep.forward(np.ones((3, 1))).shape == (3, 1)
    many = fb.Network((3, 10_000), seed=0)
    y = np.array([0, 9_999, 5_000])
    g = many.gradients(np.eye(3), y)
    o = many.forward(np.eye(3)).astype(np.float64)
    assert g.cost == pytest.approx(-np.log(o[np.arange(3), y]).mean(), rel=1e-5)


def test_a_cost_that_is_not_finite_gives_gradients_that_are_not(net, X):
    net.params[...] = np.inf
    g = net.gradients(X, np.zeros(20, int))
    assert not np.isfinite(g.cost)
    assert np.isnan(g.vector).all()


def test_a_network_may_be_used_by_threads_at_once(net, X):
    y, results = np.arange(20) % 3, []
    expected = net.gradients(X, y).vector.tobytes()

    def work():
        for _ in range(200):
            results.append(net.gradients(X, y).vector.tobytes() == expected)
            net.forward(X)

    workers = [threading.Thread(target=work) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 1200
    assert all(results)


@pytest.mark.parametrize("rows", [1, 5, 16, 17, 700])
def test_inputs_that_are_not_finite_are_named_however_many(rows):
    """Few rows and many take different ways through the engine."""
    net = fb.Network((4, 9, 3), "tanh", seed=0)
    for bad in (np.nan, np.inf, -np.inf):
        X = np.ones((rows, 4), np.float32)
        X[rows // 2, 3] = bad
        for use in (net.forward, lambda x: net.cost(x, [0] * rows), lambda x: net.gradients(x, [0] * rows)):
            with pytest.raises(ValueError, match=rf"X must be finite, got {bad} at X\[{rows // 2}, 3\]"):
                use(X)
        assert net.forward(np.ones((rows, 4), np.float32)).shape == (rows, 3)


def test_outputs_of_few_rows_are_the_callers_own():
    net = fb.Network((4, 9, 3), seed=0)
    X = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    first = net.forward(X[:1])
    second = net.forward(X[1:])
    assert np.array_equal(first[0], net.forward(X)[0])
    net.params = net.params * 2
    assert not np.array_equal(second, net.forward(X[1:]))


def test_outputs_of_few_rows_are_those_of_any_other_call():
    """Few rows take a shorter way; the bits are those of the longer one, of other dtypes."""
    rng = np.random.default_rng(0)
    for sizes in ((4, 9, 3), (64, 128, 10)):
        net = fb.Network(sizes, seed=0)
        most = net._small_forward.most
        for rows in (1, 16, 17, 100, most, most + 1):
            X = rng.standard_normal((rows, sizes[0])).astype(np.float32)
            o = net.forward(X)
            assert o.tobytes() == net.forward(X.astype(np.float64)).tobytes()
            assert o.tobytes() == net.forward(np.asfortranarray(X)).tobytes()
            apart = np.frombuffer(b"x" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(X.shape)
            assert not apart.flags.aligned
            assert o.tobytes() == net.forward(apart).tobytes()


def test_gradients_of_small_batches_are_those_of_any_other_call():
    """Small batches take a shorter way; the bits are those of the longer one, of other dtypes."""
    rng = np.random.default_rng(0)
    for *sizes, output in (
        (5, 7, 3, "softmax"),
        (30, 40, 3, "softmax"),
        (64, 128, 10, "softmax"),
        (5, 7, 2, "identity"),
    ):
        net = fb.Network(sizes, output=output, seed=0)
        for samples in (1, 16, 17, 100, net._small_gradients.most, net._small_gradients.most + 1):
            X = rng.standard_normal((samples, sizes[0])).astype(np.float32)
            y = rng.integers(0, 3, samples)
            other = y.astype(np.int32)
            if output == "identity":
                y = rng.standard_normal((samples, 2)).astype(np.float32)
                other = y.astype(np.float64)
            short, long = net.gradients(X, y), net.gradients(X, other)
            assert short.cost == long.cost
            assert short.vector.tobytes() == long.vector.tobytes()
            again, vector = net.value_and_grad(X, y)
            assert again == short.cost
            assert vector.tobytes() == short.vector.tobytes()
            assert not np.shares_memory(vector, short.vector)


def test_gradients_of_a_small_batch_that_lies_otherwise():
    """Where the engine cannot read it in place, the long way has the same bits; of another shape it is an error."""
    rng = np.random.default_rng(0)
    for output in ("softmax", "identity"):
        net = fb.Network((5, 7, 3), output=output, seed=0)
        X, y = rng.standard_normal((9, 5)).astype("f4"), rng.integers(0, 3, 9)
        if output == "identity":
            y = rng.standard_normal((9, 3)).astype("f4")

        def others(array):
            apart = np.frombuffer(b"x" + array.tobytes(), np.uint8)[1:].view(array.dtype).reshape(array.shape)
            spread = np.repeat(array, 2, axis=0)[::2]
            wide = np.concatenate([array, array], axis=-1)[..., : array.shape[-1]] if array.ndim == 2 else spread
            still = array.copy()
            still.flags.writeable = False
            return apart, spread, wide, np.asfortranarray(array), still, array[::-1].copy()[::-1]

        expected = net.gradients(X, y)
        for a, b in [*((a, y) for a in others(X)), *((X, b) for b in others(y))]:
            g = net.gradients(a, b)
            assert g.cost == expected.cost
            assert g.vector.tobytes() == expected.vector.tobytes()
            assert net.forward(a).tobytes() == net.forward(X).tobytes()
        for a, b in ((X[:, :4], y), (X[:8], y), (X.T.copy(), y), (X, y[:8]), (X, y.reshape(3, -1)), (X[0], y)):
            with pytest.raises(ValueError, match="must"):
                net.gradients(a, b)
        for a in (X[:, :4], X.T.copy()):
            with pytest.raises(ValueError, match="X must"):
                net.forward(a)


def test_small_gradients_of_one_output():
    net = fb.Network((4, 6, 1), output="identity", dtype="float64", seed=0)
    X, y = np.random.default_rng(0).standard_normal((9, 4)), np.arange(9.0)
    vectors = [net.gradients(X, Y).vector.tobytes() for Y in (y, y[:, None], list(y))]
    assert len(set(vectors)) == 1
    y[4] = np.nan
    with pytest.raises(ValueError, match=r"Y must be finite, got nan at Y\[4"):
        net.gradients(X, y)


def test_inputs_are_looked_at_once_where_the_parameters_are_at_fault(monkeypatch):
    net = fb.Network((2, 500, 3), seed=0)
    net.params[0] = np.nan
    X, y = np.zeros((10 * net._block, 2)), np.zeros(10 * net._block, int)  # float64: converted in ten parts
    looks = []
    monkeypatch.setattr("fastbackprop.network.checks.finite", lambda *given: looks.append(given))
    for use in (net.cost, net.gradients):
        looks.clear()
        use(X, y)
        assert len([name for _, name, _ in looks if name == "X"]) == 1


def test_gradients_that_were_copied_or_pickled_have_views_of_their_own(net, X):
    g = net.gradients(X, np.arange(len(X)) % net.sizes[-1])
    g.dW[0][0, 0] = 7.0
    for twin in (copy.deepcopy(g), pickle.loads(pickle.dumps(g))):
        twin.vector[0] += 1.0
        assert twin.dW[0][0, 0] == 8.0
    assert g.dW[0][0, 0] == g.vector[0] == 7.0


@pytest.mark.parametrize(("bad", "word"), [(3, "0 to 2"), (-1, "0 to 2")])
def test_small_batches_are_checked_too(bad, word):
    net = fb.Network((5, 7, 3), seed=0)
    X, y = np.ones((4, 5), np.float32), np.array([0, 1, 2, bad])
    with pytest.raises(ValueError, match=f"Y must hold class numbers from {word}"):
        net.gradients(X, y)
    X[2, 3] = np.nan
    with pytest.raises(ValueError, match=r"X must be finite, got nan at X\[2, 3\]"):
        net.gradients(X, np.array([0, 1, 2, 0]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("output", "bad"), [("sigmoid", 1.5), ("exp", -1.0), ("softmax", 2.0), ("identity", np.inf)])
def test_targets_of_small_batches_are_checked(output, bad, dtype):
    net = fb.Network((5, 7, 3), output=output, dtype=dtype, seed=0)
    Y = np.full((4, 3), 1 / 3, dtype)
    net.gradients(np.ones((4, 5), dtype), Y)
    Y[2, 1] = bad
    for use in (net.gradients, net.value_and_grad):
        with pytest.raises(ValueError, match="Y must"):
            use(np.ones((4, 5), dtype), Y)


def test_what_a_step_reads_and_writes_begins_with_a_line_of_the_cache():
    """However it came about: elsewhere each line of weights would be two of the cache's, and a step slower."""
    for sizes in ((3, 5, 2), (64, 100, 10), (700, 300, 10)):
        net = fb.Network(sizes, seed=0)
        twins = (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net)))
        vectors = [*(twin.params for twin in twins), *fb.Adam().first_state(net.params.size, net.dtype)]
        assert [v.ctypes.data % 64 for v in vectors] == [0] * 5


def test_a_network_takes_its_memory_with_it():
    """Not only when Python looks for cycles: a thousand small networks would hold 500 megabytes until then."""
    X, y = np.zeros((300, 6), np.float32), np.zeros(300, np.int64)
    gc.disable()
    try:
        net = fb.Network((6, 40, 3), seed=0)
        net.fit(X, y, epochs=1)
        net.forward(X)
        net.gradients(X, y, input_gradient=True)
        plans = [weakref.ref(plan) for kept in net._plans.values() for plan in kept]
        assert len(plans) >= 2
        del net
        assert not any(plan() for plan in plans)
    finally:
        gc.enable()


# ---------------------------------------------------------------- predictions, scores, outputs into an array


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity", "exp"])
def test_predictions_and_scores_are_scikit_learns(output, outputs):
    if (output, outputs) == ("softmax", 1):
        return
    rng = np.random.default_rng(1)
    X = rng.standard_normal((50, 4))
    net = fb.Network((4, 7, outputs), "tanh", output, dtype="float64", seed=0)
    o, weights = net.forward(X), rng.uniform(size=50)
    predicted = net.predict(X)
    if output == "softmax":
        y, expected, measure = rng.integers(0, 3, 50), o.argmax(axis=1), accuracy_score
    elif output == "sigmoid":
        y, expected, measure = rng.integers(0, 2, (50, outputs)), (o > 0.5).astype(int), accuracy_score
        expected = expected[:, 0] if outputs == 1 else expected
    else:
        y, expected, measure = np.abs(o + rng.standard_normal(o.shape)), o, r2_score
    assert predicted.tolist() == expected.tolist()
    assert predicted.dtype == (np.int64 if output in ("softmax", "sigmoid") else np.float64)
    assert net.score(X, y) == pytest.approx(measure(y, predicted))
    assert net.score(X, y, weights) == pytest.approx(measure(y, predicted, sample_weight=weights))
    assert net.score(X, y, sample_weight=1e-300 * weights) == pytest.approx(net.score(X, y, weights))
    if output == "softmax":
        assert net.score(X, np.eye(3)[y]) == net.score(X, y)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("power", [-600, -60, 60, 600, 1020])
def test_r2_of_numbers_of_any_size(power):
    """Times a power of two, which changes no bit of a float but the exponent: scikit-learn's value for those before."""
    rng = np.random.default_rng(2)
    o, y, weights = rng.standard_normal((40, 3)), rng.standard_normal((40, 3)), rng.random(40)
    for w in (None, weights):
        expected = r2_score(y, o, sample_weight=w)
        assert scores.score("identity", np.ldexp(o, power), np.ldexp(y, power), w) == pytest.approx(expected)
    y[7] = np.ldexp(1.5, power)
    values, outputs = ([Fraction(v) for v in numbers[:, 0].tolist()] for numbers in (y, o))
    errors = sum((v - g) ** 2 for v, g in zip(values, outputs))
    totals = sum((v - sum(values) / 40) ** 2 for v in values)
    assert scores.score("identity", o[:, :1], y[:, :1]) == pytest.approx(float(1 - errors / totals))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e200, 5e-324, 0.0])
def test_r2_of_constant_targets_whose_mean_is_rounded(value):
    y = np.full((10, 1), value)
    assert scores.score("identity", y, y) == 1.0
    assert scores.score("identity", y + 1.0, y + 0.0) == (1.0 if value == 1e200 else 0.0)
    assert scores.score("identity", y, y, np.arange(10.0)) == 1.0
    seen = np.where(np.arange(10)[:, None] < 5, y, 2.0)  # constant where a sample counts
    weights = np.where(np.arange(10) < 5, 0.3, 0.0)
    assert scores.score("identity", np.full((10, 1), 0.7), seen, weights) == 0.0
    assert scores.score("identity", y, seen, weights) == 1.0
    net = fb.Network((2, 1), output="identity", dtype="float64", seed=0)
    net.params = [0, 0, value]
    assert net.score(np.ones((10, 2)), y) == 1.0


@pytest.mark.filterwarnings("error")
def test_r2_of_outputs_that_are_not_finite():
    y = np.arange(6.0).reshape(3, 2)
    assert scores.score("identity", np.where(y == 2, np.inf, y), y) == -np.inf
    assert np.isnan(scores.score("identity", np.where(y == 2, np.nan, y), y))


@pytest.mark.parametrize("rows", [1, 5, 700])
def test_outputs_go_where_they_are_wanted(net, rows):
    X = np.random.default_rng(2).standard_normal((rows, 4))
    memory = np.full((rows + 2, 3), 7.0, np.float32)
    out = memory[1:-1]
    for inputs in (X, X.astype(np.float32), np.asfortranarray(X), X.tolist()):
        out[...] = 0
        assert net.forward(inputs, out=out) is out
        assert out.tobytes() == net.forward(inputs).tobytes()
    assert (memory[0] == memory[-1]).all()  # nothing beside it was written to
    assert (memory[0] == 7).all()


def read_only(shape):
    out = np.zeros(shape, np.float32)
    out.flags.writeable = False
    return out


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda X: np.zeros((6, 3)), ValueError, "got shape .6, 3. of <f8"),
        (lambda X: np.zeros((5, 3), np.float32), ValueError, "got shape .5, 3."),
        (lambda X: np.zeros(18, np.float32), ValueError, "got shape .18,."),
        (lambda X: np.zeros((6, 3), ">f4"), ValueError, "got shape .6, 3. of >f4"),
        (lambda X: np.zeros((3, 6), np.float32).T, ValueError, "not in C order"),
        (lambda X: np.zeros((6, 6), np.float32)[:, ::2], ValueError, "not in C order"),
        (lambda X: read_only((6, 3)), ValueError, "got one that is read-only"),
        (lambda X: np.zeros(73, np.uint8)[1:].view(np.float32).reshape(6, 3), ValueError, "not aligned"),
        (lambda X: X.reshape(-1)[:18].reshape(6, 3), ValueError, "must not share memory with what is read"),
        (lambda X: [[0.0] * 3] * 6, TypeError, "out must be a writable array of shape .6, 3. and dtype float32"),
        (lambda X: np.ma.zeros((6, 3), np.float32), None, ""),
    ],
)
def test_an_out_that_cannot_be_written_to_stays_as_it_was(net, make, error, message):
    X = np.arange(24, dtype=np.float32).reshape(6, 4)
    out, given = make(X), X.copy()
    before = np.array(out)
    if error is None:
        net.forward(X, out=out)
        return
    with pytest.raises(error, match=message):
        net.forward(X, out=out)
    assert np.array_equal(out, before)
    assert np.array_equal(X, given)


def test_an_out_stays_as_it_was_where_the_inputs_are_wrong(net):
    out = np.full((900, 3), 5.0, np.float32)
    X = np.ones((900, 4))
    X[899, 2] = np.nan
    with pytest.raises(ValueError, match=r"X must be finite, got nan at X\[899, 2\]"):
        net.forward(X, out=out)
    with pytest.raises(ValueError, match="must not share memory"):
        net.forward(np.ones((9, 4)), out=net.params[:27].reshape(9, 3))
    assert (out == 5).all()


def test_no_rows_give_no_rows(net):
    from scipy.sparse import csr_array

    for X in (np.zeros((0, 4)), np.zeros((0, 4), np.float32), np.zeros((9, 4))[:0], csr_array((0, 4))):
        assert net.forward(X).shape == (0, 3)
        assert net.forward(X).dtype == np.float32
        assert net.predict(X).shape == (0,)
        assert net.forward(X, out=np.empty((0, 3), np.float32)).shape == (0, 3)
        for use in (net.cost, net.gradients, net.score, net.fit):
            with pytest.raises(ValueError, match=r"X must hold at least one sample, got shape \(0, 4\)"):
                use(X, np.zeros(0, int))
    assert fb.Network((1, 2), output="identity", seed=0).predict([]).shape == (0, 2)
    with pytest.raises(ValueError, match="X must have shape"):
        net.forward(np.zeros((0, 5)))


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("thread", "Network has no attribute 'thread' to assign to; did you mean 'threads'?"),
        ("param", "did you mean 'params'?"),
        ("learning_rate", "Network has no attribute 'learning_rate' to assign to$"),
        ("forward", "Network has no attribute 'forward' to assign to"),
    ],
)
def test_a_name_that_is_none_is_refused(net, name, message):
    with pytest.raises(AttributeError, match=message):
        setattr(net, name, 1)
    for copied in (copy.copy(net), pickle.loads(pickle.dumps(net))):
        with pytest.raises(AttributeError, match=message):
            setattr(copied, name, 1)
    net.threads = 2
    assert net.threads == 2
    for fixed in ("sizes", "weights"):
        with pytest.raises(AttributeError):
            setattr(net, fixed, 1)


@pytest.mark.parametrize("sizes", [(10**30, 2), (2**32, 2**32), (2, 2**40, 2**40)])
def test_a_network_beyond_all_addresses(sizes):
    with pytest.raises(ValueError, match=r"sizes must make at most 2\^59 parameters, got \("):
        fb.Network(sizes)


class Named(fb.Network):
    """A network with a name."""

    def __init__(self, name, *args, **options):
        super().__init__(*args, **options)
        self.name = name


def test_a_subclass_may_have_names_of_its_own(X):
    net = Named("it", (4, 3), seed=0)
    net.note = 3
    assert (net.name, net.note) == ("it", 3)
    net.fit(X, np.arange(20) % 3, epochs=1)
    assert weakref.ref(net)() is net


@pytest.mark.parametrize("asked", [False, True])
def test_a_copy_has_the_names_of_a_subclass(X, asked):
    net = Named("it", (4, 3), seed=0)
    net.notes, net._seen = ["a"], {1}
    if asked:  # what a network makes for itself is not copied with them
        net.gradients(X, np.arange(20) % 3)
        net.fit(X, np.arange(20) % 3, epochs=1)
    for copied in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert type(copied) is Named
        assert (copied.name, copied.notes, copied._seen) == ("it", ["a"], {1})
        assert copied.params.tobytes() == net.params.tobytes()
        copied.fit(X, np.arange(20) % 3, epochs=1)
        assert not np.array_equal(copied.params, net.params)
    assert copy.copy(net).notes is net.notes
    assert copy.deepcopy(net).notes is not net.notes
    assert set(vars(copy.copy(net))) <= set(vars(net))
    plain = fb.Network((4, 3), seed=0)
    plain.gradients(X, np.arange(20) % 3)
    assert set(vars(plain)) == OWN_ATTRIBUTES


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": "ReLU"}, "got 'ReLU'; did you mean 'relu'?"),
        ({"hidden": "leaky-relu"}, "got 'leaky-relu'; did you mean 'leaky_relu'?"),
        ({"hidden": ["tahn"]}, "got 'tahn'; did you mean 'tanh'?"),
        ({"output": "Softmax"}, "got 'Softmax'; did you mean 'softmax'?"),
        ({"output": "cosine"}, "got 'cosine'$"),
        ({"output": "x" * 10**6}, r"got 'xxx.*\.\.\.$"),
        ({"threads": -(10**5000)}, "threads must be an integer of at least 1, got one int$"),
    ],
)
def test_a_name_that_is_nearly_one(options, message):
    with pytest.raises(ValueError, match=message) as error:
        fb.Network((4, 5, 3), **options)
    assert len(str(error.value)) < 500


def test_gradients_have_the_numbers_of_their_parameters(net, X):
    y = np.arange(20) % 3
    g, t = net.gradients(X, y), net.trace(X, y)
    assert len(t.dW) == len(t.db) == len(net.weights)
    for i, (W, b) in enumerate(zip(net.weights, net.biases)):
        assert g.dW[i].shape == t.dW[i].shape == W.shape
        assert g.db[i].shape == t.db[i].shape == b.shape
        assert np.array_equal(g.dW[i], t.dW[i])
        assert np.array_equal(g.db[i], t.db[i])
