"""The engine's own exp, log and relatives against NumPy's in extended precision."""

import numpy as np
import pytest
from numba import njit

from fastbackprop.engine import elementary
from fastbackprop.engine.simd import itemsize, lanes, load, store

NAMES = ("exp", "expm1", "log", "log1p", "tanh", "sigmoid", "softplus", "sqrt", "Phi", "phi")
COUNT = 1 << 15
# Units in the last place, where they are more than 2: of tanh the worst of all float32 and of 900 million float64.
WITHIN = {
    ("tanh", "float32"): 2.17, ("tanh", "float64"): 2.52, ("Phi", "float32"): 4.6, ("Phi", "float64"): 3.5,
    ("phi", "float32"): 2.8, ("phi", "float64"): 2.8,
}  # fmt: skip
HARD = {"tanh": [float.fromhex(f"0x1.{x}p-3") for x in ("fe9f333a96bd9", "fc37c7ba439db", "fe2f972c5fe1b", "ff7376")]}

exp, expm1, log, log1p = elementary.exp, elementary.expm1, elementary.log, elementary.log1p
tanh, sigmoid, softplus, sqrt = elementary.tanh, elementary.sigmoid, elementary.softplus, elementary.sqrt
normal = elementary.normal


@njit(error_model="numpy")
def compiled(x, vectors, scalars):
    """Row k of x through function k of NAMES: a register at a time into `vectors`, one by one into `scalars`.

    One function for all, so that each dtype is compiled once.
    """
    like = x.dtype.type(0)
    row = x.shape[1] * itemsize(like)
    for i in range(0, x.shape[1], lanes(like)):
        p, q = x.ctypes.data + i * itemsize(like), vectors.ctypes.data + i * itemsize(like)
        store(q, exp(load(p, like)))
        store(q + row, expm1(load(p + row, like)))
        store(q + 2 * row, log(load(p + 2 * row, like)))
        store(q + 3 * row, log1p(load(p + 3 * row, like)))
        store(q + 4 * row, tanh(load(p + 4 * row, like)))
        store(q + 5 * row, sigmoid(load(p + 5 * row, like)))
        store(q + 6 * row, softplus(load(p + 6 * row, like)))
        store(q + 7 * row, sqrt(load(p + 7 * row, like)))
        store(q + 8 * row, normal(load(p + 8 * row, like))[0])
        store(q + 9 * row, normal(load(p + 9 * row, like))[1])
    for i in range(x.shape[1]):
        scalars[0, i] = exp(x[0, i])
        scalars[1, i] = expm1(x[1, i])
        scalars[2, i] = log(x[2, i])
        scalars[3, i] = log1p(x[3, i])
        scalars[4, i] = tanh(x[4, i])
        scalars[5, i] = sigmoid(x[5, i])
        scalars[6, i] = softplus(x[6, i])
        scalars[7, i] = sqrt(x[7, i])
        scalars[8, i] = normal(x[8, i])[0]
        scalars[9, i] = normal(x[9, i])[1]


def true_sigmoid(x):
    e = np.exp(-abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def true_softplus(x):
    return np.where(x > 0, x, np.where(np.isnan(x), x, 0)) + np.log1p(np.exp(-abs(x)))


def by_mpmath(function):
    """In numbers of 64 bits, as those of the other functions here."""

    def true(x):
        mpmath = pytest.importorskip("mpmath", reason="needs mpmath: pip install 'fastbackprop[test]'")
        with mpmath.workprec(100):
            values = [function(mpmath, mpmath.mpf(float(v))) for v in np.clip(x, -100, 100)]  # 0 or 1 beyond
            high = np.array([float(v) for v in values])  # and what it leaves
            with np.errstate(invalid="ignore"):
                rest = np.array([float(v - mpmath.mpf(h)) for v, h in zip(values, high.tolist(), strict=True)])
        return high.astype(np.longdouble) + rest

    return true


TRUE = {name: getattr(np, name) for name in NAMES[:5]} | {
    "sigmoid": true_sigmoid,
    "softplus": true_softplus,
    "sqrt": np.sqrt,
    "Phi": by_mpmath(lambda mp, v: mp.erfc(-v / mp.sqrt(2)) / 2),
    "phi": by_mpmath(lambda mp, v: mp.exp(-v * v / 2) / mp.sqrt(2 * mp.pi)),
}
# Where each is defined. None: everywhere.
DOMAINS = {"exp": None, "expm1": (-np.inf, 44), "log": (0, np.inf), "log1p": (0, 1), "sqrt": (0, np.inf)}


def arguments(name, dtype, rng):
    """Numbers of every size, subnormal to largest, many where the functions bend, and at their ends and seams."""
    info = np.finfo(dtype)
    smallest, largest = np.log2(float(info.smallest_subnormal)), np.log2(float(info.max))
    sizes = 2.0 ** rng.uniform(smallest, np.nextafter(largest, 0), COUNT // 4)
    bottom, top = np.log(float(info.smallest_subnormal)), np.log(float(info.max))
    bends = rng.uniform(1.1 * bottom, 1.1 * top, COUNT // 4)
    if name in ("Phi", "phi"):
        bends = rng.uniform(-39, 10, COUNT // 4) * (0.37 if dtype == np.float32 else 1)
    near = rng.uniform(-3, 3, COUNT // 4)
    seams = [0.0, 1.0, np.sqrt(0.5), np.sqrt(2), bottom, top, np.log(float(info.tiny)), float(info.tiny), 44.0, 22.0]
    seams += [float(info.smallest_subnormal), float(info.max), *(np.log(2) * (np.arange(-20, 20) + 0.5))]
    seams += [
        -6.555358,
        -10.418756497842427,
        -10.419574,
        1.925763,
        -14.2,
        -37.5,
        -38.4,
        13.0,
        15.0,
        39.0,
    ]  # of the normal distribution
    seams += [*(np.log(2) / 2 * (np.arange(-20, 20) + 0.5)), *HARD.get(name, [])]
    around = np.array(seams).astype(dtype)
    steps = [around]
    for direction in (np.inf, -np.inf):
        x = around
        for _ in range(8):
            with np.errstate(over="ignore"):
                x = np.nextafter(x, dtype(direction))
            steps.append(x)
    x = np.concatenate([sizes * rng.choice([-1, 1], sizes.size), bends, near, *steps]).astype(dtype)
    x = np.concatenate([x, x[: COUNT - x.size]]) if x.size < COUNT else x[:COUNT]
    x = x[np.isfinite(x)]
    low, high = DOMAINS.get(name) or (-np.inf, np.inf)
    x = np.where(x < low, -x, x)
    x = np.where(x > high, high * rng.uniform(0, 1, x.size), x).astype(dtype)
    return np.resize(x, COUNT)


@pytest.fixture(scope="module", params=["float32", "float64"])
def values(request):
    """For each function its arguments, and what vectors and scalars give."""
    dtype = np.dtype(request.param).type
    rng = np.random.default_rng(0)
    x = np.stack([arguments(name, dtype, rng) for name in NAMES])
    vectors, scalars = np.empty_like(x), np.empty_like(x)
    compiled(x, vectors, scalars)
    return {name: (x[k], vectors[k], scalars[k]) for k, name in enumerate(NAMES)}


@pytest.mark.parametrize("name", NAMES)
def test_two_units_in_the_last_place(values, name):
    x, got, _ = values[name]
    if x.dtype == np.float64 and np.finfo(np.longdouble).nmant <= np.finfo(np.float64).nmant:
        pytest.skip("this machine's long double is no wider than float64, so there is nothing to compare with")
    with np.errstate(all="ignore"):
        true = TRUE[name](x.astype(np.longdouble))
        nearest = true.astype(x.dtype)
        np.testing.assert_array_equal(np.isinf(got), np.isinf(nearest))  # overflow where the true value does
        finite = np.isfinite(nearest)
        error = abs(got[finite].astype(np.longdouble) - true[finite])
        units = error / np.spacing(abs(nearest[finite])).astype(np.longdouble)
    worst = np.argmax(units)
    within = WITHIN.get((name, x.dtype.name), 2)
    assert units[worst] <= within, f"{name}({x[finite][worst]!r}) is {units[worst]:.2f} units off"


def test_the_square_root_is_that_of_the_processor(values):
    x, got, _ = values["sqrt"]
    np.testing.assert_array_equal(got, np.sqrt(x))


@pytest.mark.parametrize("name", NAMES)
def test_vectors_and_scalars_have_the_same_bits(values, name):
    _, vectors, scalars = values[name]
    bits = f"u{vectors.itemsize}"
    np.testing.assert_array_equal(vectors.view(bits), scalars.view(bits))


@pytest.mark.parametrize("name", NAMES)
def test_the_arguments_reach_everywhere(values, name):
    """The test above would say little if its arguments missed the hard places."""
    x, got, _ = values[name]
    tiny = np.finfo(x.dtype).tiny
    assert ((x != 0) & (abs(x) < tiny)).any()
    if name in ("exp", "sigmoid", "softplus", "Phi", "phi"):
        assert ((got > 0) & (got < tiny)).any(), "no subnormal result"
        assert (got == 0).any()
    if name == "exp":
        assert np.isinf(got).any()
        assert (got > 0.99 * np.finfo(x.dtype).max).any()
    if name in ("tanh", "sigmoid", "softplus", "log"):
        assert (x > np.finfo(x.dtype).max / 16).any()


SPECIAL = {
    "exp": {0.0: 1.0, np.inf: np.inf, -np.inf: 0.0, 1e30: np.inf, -1e30: 0.0},
    "expm1": {0.0: 0.0, -np.inf: -1.0, -1e30: -1.0},
    "log": {0.0: -np.inf, 1.0: 0.0, np.inf: np.inf, -1.0: np.nan, -np.inf: np.nan},
    "log1p": {0.0: 0.0},
    "tanh": {0.0: 0.0, np.inf: 1.0, -np.inf: -1.0, 1e30: 1.0, -1e30: -1.0},
    "sigmoid": {0.0: 0.5, np.inf: 1.0, -np.inf: 0.0, 1e30: 1.0, -1e30: 0.0},
    "softplus": {np.inf: np.inf, -np.inf: 0.0, 1e30: 1e30, -1e30: 0.0},
    "sqrt": {0.0: 0.0, np.inf: np.inf, 1.0: 1.0, 4.0: 2.0},
    "Phi": {0.0: 0.5, np.inf: 1.0, -np.inf: 0.0, 1e30: 1.0, -1e30: 0.0},
    "phi": {np.inf: 0.0, -np.inf: 0.0, 1e30: 0.0, -1e30: 0.0},
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(dtype):
    x = np.full((len(NAMES), 16), np.nan, dtype)
    for k, name in enumerate(NAMES):
        x[k, : len(SPECIAL[name])] = list(SPECIAL[name])
    vectors, scalars = np.empty_like(x), np.empty_like(x)
    compiled(x, vectors, scalars)
    for k, name in enumerate(NAMES):
        wanted = np.full(16, np.nan, dtype)  # NaN passes through
        wanted[: len(SPECIAL[name])] = list(SPECIAL[name].values())
        np.testing.assert_array_equal(vectors[k], wanted, err_msg=name)
        np.testing.assert_array_equal(scalars[k], wanted, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tanh_keeps_the_sign_of_zero(dtype):
    x = np.full((len(NAMES), 16), -0.0, dtype)
    vectors, scalars = np.empty_like(x), np.empty_like(x)
    compiled(x, vectors, scalars)
    assert np.signbit(vectors[NAMES.index("tanh")]).all()
    assert np.signbit(scalars[NAMES.index("tanh")]).all()
