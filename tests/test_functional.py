"""The universal functions against the reference, central differences and the network's layers."""

import inspect
import subprocess
import sys

import numpy as np
import pytest
from numba import njit

import fastbackprop as fb
from fastbackprop import functional as F
from fastbackprop import reference
from fastbackprop.activations import ACTIVATIONS

DERIVATIVES = ["d_" + name for name in ACTIVATIONS]
LOSSES = {"identity": F.l2_loss, "sigmoid": F.binary_cross_entropy, "softmax": F.categorical_cross_entropy}
DTYPES = ("float32", "float64")
TOLERANCE = {"float32": 1e-6, "float64": 1e-14}

# Away from 0, where relu and its relatives have a kink.
POINTS = np.array([-30.0, -6.5, -2.0, -1.0, -0.3, -1e-3, 1e-3, 0.2, 0.9, 1.7, 4.0, 9.0, 30.0])
HUGE = np.array([-1e30, -1e18, -1e5, -800.0, -100.0, -20.0, 20.0, 100.0, 800.0, 1e5, 1e18, 1e30])


def targets(name, shape, rng):
    """Such as the output's loss is meant for; for softmax rows that sum to 1."""
    if name == "identity":
        return rng.normal(size=shape)
    Y = rng.uniform(size=shape)
    return Y if name == "sigmoid" else Y / Y.sum(axis=-1, keepdims=True)


# ---- Values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*ACTIVATIONS, *DERIVATIVES])
def test_is_the_reference(name, dtype):
    Z = np.concatenate([POINTS, [0.0], np.linspace(-8, 8, 101)]).astype(dtype)
    got = getattr(F, name)(Z)
    assert got.dtype == dtype
    wanted = getattr(reference, name)(Z.astype("float64"))
    np.testing.assert_allclose(got, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_is_the_derivative(name):
    f, d_f, h = getattr(F, name), getattr(F, "d_" + name), 1e-4
    z = POINTS[~np.isin(POINTS, ACTIVATIONS[name].kinks)]
    np.testing.assert_allclose(d_f(z), (f(z + h) - f(z - h)) / (2 * h), rtol=1e-6, atol=1e-7)


def test_both_conventions_at_zero():
    Z = np.array([-1.0, -0.0, 0.0, 1.0])
    assert F.d_relu(Z).tolist() == [0, 1, 1, 1]  # (1)
    assert F.d_relu0(Z).tolist() == [0, 0, 0, 1]
    assert F.relu_mask(Z).dtype == bool
    np.testing.assert_array_equal(F.relu_mask(Z), F.d_relu(Z))


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_is_the_reference(dtype):
    Z = np.random.default_rng(0).normal(size=(7, 5), scale=4).astype(dtype)
    got = F.softmax(Z)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, reference.softmax(Z.T).T, rtol=10 * TOLERANCE[dtype])
    np.testing.assert_allclose(got.sum(axis=1), 1, rtol=TOLERANCE[dtype])
    np.testing.assert_array_equal(F.softmax(Z.T, axis=0).T, got)


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_jacobian_product_is_eq_39(dtype):
    rng = np.random.default_rng(1)
    z, v = rng.normal(size=(2, 6)).astype(dtype)
    wanted = reference.softmax_jacobian(z) @ v
    np.testing.assert_allclose(F.softmax_jacobian_product(z, v), wanted, rtol=1e-5 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
def test_delta_is_eq_15(dtype):
    rng = np.random.default_rng(2)
    W, d, Z = (rng.normal(size=shape).astype(dtype) for shape in ((4, 6), (9, 4), (9, 6)))
    got = F.delta(W, d, F.d_tanh(Z))
    assert got.dtype == dtype
    wanted = reference.d_tanh(Z) * (d @ W)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=10 * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", LOSSES)
def test_loss_is_the_reference(output, dtype):
    rng = np.random.default_rng(3)
    Z = rng.normal(size=(8, 5), scale=3).astype(dtype)
    Y = targets(output, Z.shape, rng).astype(dtype)
    got = LOSSES[output](Z, Y)
    assert got.shape == (8,)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, reference.losses(Z.T, Y.T, output=output), rtol=20 * TOLERANCE[dtype])


@pytest.mark.parametrize("output", LOSSES)
def test_gradient_of_the_loss_is_o_minus_y(output):
    """Theorem 6.1."""
    rng = np.random.default_rng(4)
    z = rng.normal(size=5)
    y, h = targets(output, 5, rng), 1e-5
    loss, step = LOSSES[output], h * np.eye(5)
    o = {"identity": F.identity, "sigmoid": F.sigmoid, "softmax": F.softmax}[output](z)
    np.testing.assert_allclose((loss(z + step, y) - loss(z - step, y)) / (2 * h), o - y, atol=1e-9)


# ---- The same bits as the engine -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_hidden_layers_have_the_same_bits(name, dtype):
    n = 40
    net = fb.Network((n, n, n), hidden=name, output="identity", dtype=dtype)
    for W in net.weights:
        W[...] = np.eye(n)  # sums of one term are exact: Z is X, o is A
    X = np.random.default_rng(5).normal(size=(8, n), scale=4).astype(dtype)
    A = getattr(F, name)(X)
    np.testing.assert_array_equal(net.forward(X), A)
    dX = net.gradients(X, np.zeros_like(A), input_gradient=True).dX
    np.testing.assert_array_equal(dX, A / 8 * getattr(F, "d_" + name)(X))  # (30), (22), (23); 8 samples


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", LOSSES)
def test_heads_have_the_same_bits(output, dtype):
    net = fb.Network((6, 6), output=output, dtype=dtype)
    net.weights[0][...] = np.eye(6)
    rng = np.random.default_rng(6)
    Z = rng.normal(size=(20, 6), scale=4).astype(dtype)
    Y = targets(output, Z.shape, rng).astype(dtype)
    o = {"identity": F.identity, "sigmoid": F.sigmoid, "softmax": F.softmax}[output](Z)
    np.testing.assert_array_equal(net.forward(Z), o)
    for z, y in zip(Z, Y, strict=True):
        assert net.cost(z[None], y[None]) == LOSSES[output](z, y)


# ---- As NumPy's own --------------------------------------------------------------------------------------------------


def test_broadcasts():
    rng = np.random.default_rng(7)
    W, d, s = rng.normal(size=(3, 1, 4, 5)), rng.normal(size=(2, 4)), rng.normal(size=5)
    got = F.delta(W, d, s)
    assert got.shape == (3, 2, 5)
    np.testing.assert_allclose(got, np.einsum("aimn,im,n->ain", W[:, [0, 0]], d, s))
    assert F.l2_loss(np.zeros((3, 1, 4)), np.ones((2, 4))).shape == (3, 2)
    assert F.softmax_jacobian_product(np.zeros((3, 1, 4)), np.ones(4)).shape == (3, 1, 4)


def test_reads_any_layout():
    Z = np.random.default_rng(8).normal(size=(12, 10))
    Z.flags.writeable = False
    for view in (Z.T, Z[::2, 1::3], Z[::-1], np.asfortranarray(Z)):
        for f in (F.sigmoid, F.softmax):
            np.testing.assert_array_equal(f(view), f(np.ascontiguousarray(view)))


@pytest.mark.parametrize("f", [F.gelu, F.relu, F.softmax])
def test_out(f):
    Z = np.random.default_rng(9).normal(size=(4, 3)).astype("float32")
    wanted = f(Z)
    out = np.empty_like(Z)
    assert f(Z, out=out) is out
    np.testing.assert_array_equal(out, wanted)
    wide = np.empty(Z.shape)
    np.testing.assert_array_equal(f(Z, out=wide), wanted)
    np.testing.assert_array_equal(f(Z, Z), wanted)
    np.testing.assert_array_equal(Z, wanted)  # in place
    with pytest.raises(TypeError, match="Cannot cast"):
        f(Z, out=np.empty(Z.shape, int))


@pytest.mark.parametrize("dtype", DTYPES)
def test_where(dtype):
    """As NumPy's own: what is not chosen stays as it was, and is 0 where there was nothing."""
    Z = np.linspace(-2, 2, 12).reshape(3, 4).astype(dtype)
    chosen = np.array([True, False, True, False])
    wanted = F.sigmoid(Z)
    got = F.sigmoid(Z, where=chosen)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, wanted * chosen)
    out = np.full((2, 3, 4), 7, dtype)
    assert F.sigmoid(Z, out=out, where=chosen) is out
    np.testing.assert_array_equal(out, np.where(chosen, np.stack([wanted] * 2), 7))
    assert F.sigmoid(Z, (Z > 0) * 1.0, where=False).max() == 1  # out by position
    inside = Z.copy()
    np.testing.assert_array_equal(
        F.sigmoid(inside, out=inside[:, ::-1], where=chosen), np.where(chosen, wanted, inside[:, ::-1])
    )
    assert F.relu_mask(3.0, where=np.True_) is np.True_
    assert F.relu(3.0, where=False) == 0
    np.testing.assert_array_equal(F.relu(Z, where=np.ones((5, 1, 1), bool)), np.stack([F.relu(Z)] * 5))
    with pytest.raises(TypeError, match="where must be booleans, got dtype int64"):
        F.relu(Z, where=[1, 0, 1, 0])
    with pytest.raises(TypeError, match="softmax works on whole vectors and takes no where="):
        F.softmax(Z, where=chosen)


@pytest.mark.parametrize("f", [F.silu, F.softmax])
def test_out_of_any_kind_of_memory(f):
    """Overlapping, strided, unaligned, of the other order of bytes: the right result; read-only: refused."""
    rng = np.random.default_rng(20)
    memory = rng.normal(size=(9, 9))
    for view in (memory.T, memory[::-1], memory[:, ::-1]):
        before = memory.copy()
        wanted = f(before)
        assert f(memory, out=view) is view
        np.testing.assert_array_equal(view, wanted)
    Z = rng.normal(size=(4, 5))
    wanted = f(Z)
    unaligned = np.zeros(Z.nbytes + 3, np.uint8)[3:].view("f8").reshape(Z.shape)
    for out in (unaligned, np.zeros(Z.shape, ">f8"), np.zeros((4, 10))[:, ::2], np.zeros(Z.shape, order="F")):
        f(Z, out=out)
        np.testing.assert_array_equal(out, wanted)
    read_only = np.zeros(Z.shape)
    read_only.flags.writeable = False
    refused = [(read_only, ValueError), (np.zeros((5, 4)), ValueError), (np.zeros(Z.shape, int), TypeError)]
    for out, error in [*refused, *((out[:, ::-1], error) for out, error in refused)]:
        with pytest.raises(error, match=r"read-only|mismatch|broadcast|Cannot cast"):
            f(Z, out=out)
        assert not out.any()


@pytest.mark.parametrize("name", [*ACTIVATIONS, "relu_mask", "softmax"])
def test_nothing_is_written_beside_out(name):
    """Steps between its elements, backwards, columns, other shapes than the inputs': Numba's loops write there."""
    f, Z = getattr(F, name), np.random.default_rng(22).normal(size=(6, 5))
    for make in (
        lambda memory: memory[3:9, 4:14:2], lambda memory: memory[8:2:-1, 4:9], lambda memory: memory[3:9, 8:3:-1],
        lambda memory: memory[4:9, 3:9].T, lambda memory: memory[3:15:2, 4:9], lambda memory: memory[3:9, 4:9],
    ):  # fmt: skip
        for inputs in (Z, np.asfortranarray(Z), Z[:1], Z[:, :1] if name != "softmax" else Z, Z[0]):
            memory = np.full((20, 20), 7, bool if name == "relu_mask" else float)
            out = make(memory)
            f(inputs, out=out)
            expected = np.full_like(memory, 7)
            make(expected)[...] = f(np.broadcast_to(inputs, Z.shape).copy())
            np.testing.assert_array_equal(memory, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_class_numbers(dtype):
    rng = np.random.default_rng(21)
    Z, y = rng.normal(size=(7, 4)).astype(dtype) * 5, rng.integers(0, 4, 7)
    wanted = F.categorical_cross_entropy(Z, np.eye(4, dtype=dtype)[y])
    out = np.empty(7, dtype)
    for got in (
        F.categorical_cross_entropy(Z, y), F.categorical_cross_entropy(Z, y.astype("uint8"), out=out),
        F.categorical_cross_entropy(Z.T, y, axis=0), F.categorical_cross_entropy(Z, y.tolist()),
        F.categorical_cross_entropy(np.stack([Z, Z]), np.stack([y, y]))[1],
    ):  # fmt: skip
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, wanted)
    assert F.categorical_cross_entropy(Z[0], y[0]) == wanted[0]
    for bad in (4, -1):
        with pytest.raises(ValueError, match=f"Y must hold class numbers from 0 to 3, got {bad}"):
            F.categorical_cross_entropy(Z[:2], [0, bad])
    with pytest.raises(ValueError, match="broadcast"):
        F.categorical_cross_entropy(Z, y[:3])


def test_out_of_vectors_may_be_an_input():
    rng = np.random.default_rng(10)
    W, d, s = rng.normal(size=(3, 3)), rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    wanted = F.delta(W, d, s)
    np.testing.assert_array_equal(F.delta(W, d, s, out=d), wanted)
    Z, V = rng.normal(size=(2, 5, 3))
    wanted = F.softmax_jacobian_product(Z, V)
    np.testing.assert_array_equal(F.softmax_jacobian_product(Z, V, out=V), wanted)
    losses = np.empty(5)
    assert F.l2_loss(Z, V, out=losses) is losses
    np.testing.assert_array_equal(losses, F.l2_loss(Z, V))


@pytest.mark.parametrize("f", [F.silu, F.softmax])
@pytest.mark.parametrize(
    ("given", "result"),
    [("float16", "float32"), ("int16", "float32"), ("int64", "float64"), ("uint64", "float64"), (">f4", "float32")],
)
def test_converts_as_numpy_does(f, given, result):
    Z = np.array([0, 1, 5])
    got = f(Z.astype(given))
    assert got.dtype == result
    np.testing.assert_array_equal(got, f(Z.astype(result)))


def test_python_numbers_do_not_widen():
    W, s = np.ones((2, 3), "float32"), np.ones(3, "float32")
    assert F.delta(W, np.ones(2, "float32"), s).dtype == "float32"
    assert F.delta(W, np.ones(2), s).dtype == "float64"
    assert F.sigmoid(np.float32(1)).dtype == "float32"


def test_scalars_and_empty_arrays():
    assert F.sigmoid(0) == 0.5
    assert isinstance(F.sigmoid(0.0), np.float64)
    assert F.sigmoid(np.array(0.0)) == 0.5
    assert F.sigmoid(np.empty((0, 3))).shape == (0, 3)
    assert F.softmax(np.empty((0, 3))).shape == (0, 3)
    assert F.softmax(np.empty((3, 0))).shape == (3, 0)
    assert F.l2_loss(np.empty((0, 3)), np.empty(3)).shape == (0,)
    for loss in LOSSES.values():
        assert loss(np.empty((2, 0)), np.empty((2, 0))).tolist() == [0, 0]
    assert F.delta(np.empty((0, 3)), np.empty(0), np.ones(3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("f", [F.relu, F.softmax])
@pytest.mark.parametrize("bad", [[1j], ["a"], [None], np.ones(2, "longdouble")])
def test_other_types_are_refused(f, bad):
    with pytest.raises(TypeError, match=r"^Z: got .*; accepted: (an array of numbers|real numbers up to float64)$"):
        f(bad)


# ---- Extremes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*ACTIVATIONS, *DERIVATIVES])
@pytest.mark.filterwarnings("error")
def test_huge_arguments(name, dtype):
    """Each has reached its limit by |z| = 100, or is a multiple of z."""
    Z = HUGE.astype(dtype)
    points = ACTIVATIONS[name.removeprefix("d_")].points
    (below, slope_below), (above, slope_above) = points[-np.inf], points[np.inf]
    slope = np.where(Z > 0, slope_above, slope_below)
    value = np.where(Z > 0, above, below)
    limit = slope if name.startswith("d_") else np.where(np.isinf(value), slope * Z, value)
    np.testing.assert_allclose(getattr(F, name)(Z), limit, rtol=1e-6, atol=5e-8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.filterwarnings("error")
def test_huge_vectors(dtype):
    Z = np.array([[1e30, -1e30, 0], [-1e30, -1e30, -1e30], [800, 0, -800], [0, 1e30, 1e30]], dtype)
    third, half = 1 / 3, 1 / 2
    wanted = [[1, 0, 0], [third, third, third], [1, 0, 0], [0, half, half]]
    np.testing.assert_allclose(F.softmax(Z), wanted, rtol=1e-6)
    Y = np.array([0, 1, 0], dtype)
    np.testing.assert_allclose(F.categorical_cross_entropy(Z, Y), [2e30, np.log(3), 800, np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(F.binary_cross_entropy(Z[:, :1], Y[1:2]), [0, 1e30, 0, np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(F.binary_cross_entropy(Z[:, :1], Y[:1]), [1e30, 0, 800, np.log(2)], rtol=1e-6)
    assert F.softmax_jacobian_product(Z, np.array([1e30, 1, -1e30], dtype)).tolist()[0] == [0, 0, 0]
    assert np.isfinite(F.l2_loss(Z[2], -Z[2]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.filterwarnings("error")
def test_nan_passes_through(dtype):
    Z = np.array([np.nan, 1.0], dtype)
    for name in (*ACTIVATIONS, *(name for name in DERIVATIVES if name != "d_identity")):
        assert np.isnan(getattr(F, name)(Z)).tolist() == [True, False], name
    for f in (F.softmax, *(lambda Z, loss=loss: loss(Z, np.ones_like(Z)) for loss in LOSSES.values())):
        assert np.isnan(f(Z)).all()


# ---- As Numba's own --------------------------------------------------------------------------------------------------


def test_in_compiled_code():
    @njit
    def both(Z, out, losses):
        F.softmax(F.silu(Z) + F.relu(Z[2]), out)
        F.l2_loss(Z, Z + 1, losses)

    for dtype in DTYPES:
        Z = np.arange(3).astype(dtype)
        out, losses = np.empty_like(Z), np.empty(1, dtype)
        both(Z, out, losses)
        np.testing.assert_allclose(out, F.softmax(F.silu(Z)), rtol=1e-6)
        assert losses == 1.5


def test_first_calls_from_several_threads():
    source = (
        "import threading, warnings; warnings.simplefilter('error');"
        "from fastbackprop import functional as F; results = [];"
        "call = lambda: results.append((F.elu(1.0), F.softmax([0.0, 0.0])[0]));"
        "threads = [threading.Thread(target=call) for _ in range(4)];"
        "[t.start() for t in threads]; [t.join() for t in threads];"
        "assert results == [(1.0, 0.5)] * 4, results"
    )
    subprocess.run([sys.executable, "-c", source], check=True)


def test_import_compiles_nothing():
    source = (
        "from numba.core import event; listener = event.RecordingListener();"
        "event.register('numba:run_pass', listener);"
        "from fastbackprop import functional;"
        "assert not listener.buffer, listener.buffer; functional.relu(1.0); assert listener.buffer"
    )
    subprocess.run([sys.executable, "-c", source], check=True)


def test_each_documents_itself():
    functions = {name for name, f in vars(F).items() if isinstance(f, (F.Elementwise, F.Generalized))}
    assert set(F.__all__) == {name for name in functions if not name.startswith("_")}
    for name in F.__all__:
        f = getattr(F, name)
        assert f.__name__ == name
        assert ">>> " + name in f.__doc__
        assert next(iter(inspect.signature(f).parameters)) in "ZW"
