"""Samples and targets read where they lie: any dtype, any order of memory, frames and sparse matrices.

The bits are those of ``X.astype(dtype)``, which NumPy makes. A network of one layer whose weights are 1 on the diagonal
hands its inputs on: its outputs are what the engine has read.
"""

from __future__ import annotations

import copy
import gc
import pickle
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import fastbackprop as fb
from fastbackprop import frames, rows, training

DTYPES = [
    "f4",
    "f8",
    "f2",
    "i1",
    "i2",
    "i4",
    "i8",
    "u1",
    "u2",
    "u4",
    "u8",
    "?",
    ">f4",
    ">f8",
    ">f2",
    ">i4",
    ">u2",
    ">i8",
]
FINITE32 = np.float64(np.finfo(np.float32).max)


def handed_on(X, dtype="float32"):
    """What a network that hands its inputs on makes of X."""
    n = X.shape[1]
    net = fb.Network((n, n), output="identity", dtype=dtype, seed=0)
    net.weights[0][...], net.biases[0][...] = np.eye(n), 0
    return net.forward(X)


def numbers(kind, shape, seed=0):
    """Numbers of all sizes that the dtype has and that are finite in float32."""
    rng, dtype = np.random.default_rng(seed), np.dtype(kind)
    values = np.frombuffer(rng.bytes(int(np.prod(shape)) * dtype.itemsize), dtype).reshape(shape).copy()
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            values[~(np.abs(values.astype("f8")) < FINITE32)] = 1.5
        small = rng.random(shape) < 0.3  # and numbers that are subnormal in float32
        values[small] = (rng.standard_normal(small.sum()) * (1e-40 if dtype.itemsize > 2 else 1e-6)).astype(dtype)
    return values


def layouts(X):
    """The same numbers, as they may lie in memory."""
    wide = np.zeros((3 * len(X), 2 * X.shape[1]), X.dtype)
    wide[::3, ::2] = X
    unaligned = np.frombuffer(b"x" + X.tobytes(), np.uint8)[1:].view(X.dtype).reshape(X.shape)
    return {
        "C": X, "Fortran": np.asfortranarray(X), "rows backwards": X[::-1].copy()[::-1],
        "columns backwards": X[:, ::-1].copy()[:, ::-1], "both strided": wide[::3, ::2],
        "rows strided": np.repeat(X, 2, axis=0)[::2],
        "unaligned": unaligned, "a block of columns": np.hstack([X, X])[:, X.shape[1] :],
        "one row again and again": np.broadcast_to(X[:1], X.shape),
    }  # fmt: skip


@pytest.mark.parametrize("kind", DTYPES)
def test_every_dtype_and_order_of_memory(kind):
    """37 columns are more than two lines, 70 rows more than four panels; a rest of each."""
    for name, X in layouts(numbers(kind, (70, 37))).items():
        with np.errstate(all="ignore"):
            expected = X.astype(np.float32)
        assert np.array_equal(handed_on(X), expected), name


@pytest.mark.parametrize("kind", ["f2", "i8", "u8", "f4", ">f8"])
def test_float64_networks(kind):
    for name, X in layouts(numbers(kind, (20, 19))).items():
        assert np.array_equal(handed_on(X, "float64"), X.astype(np.float64)), name


def test_all_halves():
    X = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    X = X[np.isfinite(X)][:, None]
    assert np.array_equal(handed_on(X), X.astype(np.float32))


def test_ends_of_the_ranges():
    for kind in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"):
        ends = np.iinfo(kind)
        near = [2**24 + 1, 2**53 + 1, 2**31, 2**40 + 2**16 + 1]
        X = np.array([v for v in (ends.min, ends.max, ends.max - 1, *near) if v <= ends.max], kind)[:, None]
        assert np.array_equal(handed_on(X), X.astype(np.float32))
    halfway = np.nextafter(np.float32(1), np.float32(2)) * 0.5 + 0.5  # between two float32: to even
    X = np.array([1.0, halfway, np.nextafter(halfway, 2), 1e-45, 7e-46, 1e-300, -0.0, FINITE32])[:, None]
    with np.errstate(all="ignore"):
        assert np.array_equal(handed_on(X), X.astype(np.float32))


@pytest.mark.parametrize("kind", ["f8", "f2", "u1", "i8"])
def test_numbers_too_large_for_float32_are_named(kind):
    X = np.ones((40, 3), np.dtype(kind) if kind != "i8" else "f8")
    X[33, 1] = {"f8": 1e300, "f2": np.inf, "u1": 1, "i8": -np.inf}[kind]
    for given_ in (X, np.asfortranarray(X), *([] if kind == "f2" else [sparse.csr_array(X)])):
        if np.isfinite(X.astype("f8")).all() and X.max() < 1e39:
            assert np.isfinite(handed_on(given_)).all()
        else:
            with pytest.raises(ValueError, match=r"X must be finite.* at X\[33, 1\]"):
                handed_on(given_)


def learned(X, y, *, sizes=(19, 24, 3), output="softmax", **options):
    """Everything that X goes into, as bits."""
    net = fb.Network(sizes, output=output, hidden="tanh", seed=0)
    options = {"epochs": 3, "batch_size": 32, "seed": 1, "optimizer": "adam"} | options
    history = net.fit(X, y, **options)
    g = net.gradients(X, y, input_gradient=True)
    value, vector = net.value_and_grad(X, y, l2=0.1)
    return (
        net.params.tobytes(), net.forward(X).tobytes(), net.forward(X[:3]).tobytes(), net.cost(X, y), g.cost, value,
        g.vector.tobytes(), g.dX.tobytes(), vector.tobytes(), history.cost, history.validation_cost,
    )  # fmt: skip


OPTIONS = [
    {}, {"shuffle": False}, {"validation_fraction": 0.2}, {"threads": 2, "batch_size": 64}, {"batch_size": 200},
    {"dropout": 0.3, "l2": 0.01}, {"sample_weight": np.linspace(0.5, 2, 200)},
    {"optimizer": "lbfgs", "batch_size": None},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ",".join(options) or "defaults")
def test_all_that_reads_samples(options):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((200, 19)) * (rng.random((200, 19)) < 0.4), rng.integers(0, 3, 200)
    expected = learned(X.astype(np.float32), y, **options)
    ways = {**layouts(X), "CSR": sparse.csr_array(X), "CSC": sparse.csc_matrix(X)}
    del ways["one row again and again"]
    for name, given_ in ways.items():
        assert learned(given_, y, **options) == expected, name


@pytest.mark.parametrize("kind", ["f8", "u1", "?"])
def test_targets_are_read_as_samples_are(kind):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((200, 19)), (rng.random((200, 3)) * 2).astype(kind)
    output = "sigmoid" if kind == "?" else "identity"
    expected = learned(X, Y.astype(np.float32), output=output)
    for name, given_ in layouts(Y).items():
        if name != "one row again and again":
            assert learned(X, given_, output=output) == expected, name
    weights = rng.random(200)
    want = learned(X, Y, output=output, sample_weight=weights.astype("f4"))
    for given_ in (weights.astype("f4").astype(">f8"), np.repeat(weights.astype("f4"), 2)[::2]):
        assert learned(X, Y, output=output, sample_weight=given_) == want


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_matrix(data):
    """Shapes, strides and dtypes by chance, against NumPy's astype."""
    kind = data.draw(st.sampled_from(["f8", "f4", "u1", "i8"]))
    count, width = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 70))
    steps = [data.draw(st.sampled_from([-3, -1, 1, 2])) for _ in range(2)]
    base = numbers(kind, (count * abs(steps[0]), width * abs(steps[1])), data.draw(st.integers(0, 99)))
    if data.draw(st.booleans()):
        base = np.asfortranarray(base)
    X = base[:: steps[0], :: steps[1]]
    if data.draw(st.booleans()) and kind != "i8":
        X = sparse.csr_array(X)
    dense = X.toarray() if sparse.issparse(X) else X
    with np.errstate(all="ignore"):
        assert np.array_equal(handed_on(X), dense.astype(np.float32))


def test_sparse_matrices_that_are_not_canonical():
    """Elements that are stored twice count once each; columns in any order."""
    data, columns, starts = np.array([1.0, 2.0, 4.0, 8.0, 16.0]), np.array([3, 0, 3, 1, 1]), np.array([0, 3, 3, 5])
    X = sparse.csr_matrix((data, columns, starts), shape=(3, 4))
    before = X.data.copy(), X.indices.copy()
    assert np.array_equal(handed_on(X), [[2, 0, 0, 5], [0, 0, 0, 0], [0, 24, 0, 0]])
    assert np.array_equal(X.data, before[0])
    assert np.array_equal(X.indices, before[1])
    wide = sparse.csr_array(X)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    assert np.array_equal(handed_on(wide), X.toarray())


@pytest.mark.parametrize(
    ("part", "place", "value"), [("indices", 1, 9), ("indices", 1, -2), ("indptr", 1, 99), ("indptr", 1, -1)]
)
def test_sparse_matrices_that_are_not_sound(part, place, value):
    X = sparse.csr_array(np.eye(4))
    getattr(X, part)[place] = value
    net = fb.Network((4, 3, 2), seed=0)
    start = net.params.copy()
    for use in (net.forward, lambda X: net.fit(X, [0, 1, 0, 1], epochs=1), lambda X: net.gradients(X, [0, 1, 0, 1])):
        with pytest.raises(ValueError, match="X must be a sound sparse matrix"):
            use(X)
    assert np.array_equal(net.params, start)


def test_sparse_matrices_that_change_while_they_are_read():
    """What a callback writes into its own matrix may change what is learned, but not where memory is written."""
    X = sparse.csr_array(np.eye(40))
    y = np.arange(40) % 2

    def spoil(record):
        X.indices[:] = 10**9
        X.indptr[1:] = 2**31 - 1

    net = fb.Network((40, 30, 2), seed=0)
    net.fit(X, y, epochs=3, callbacks=[spoil])
    assert np.isfinite(net.params).all()


# ------------------------------------------------------------------ what is converted


def frames_of(X):
    """Frames of numbers and bools, with the numbers that they hold."""
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    mixed = {"a": X[:, 0], "b": X[:, 1] > 0, "c": (X[:, 2] * 100).astype(np.int64), "d": X[:, 3].astype(np.float32)}
    pandas = pd.DataFrame(mixed)
    dense = np.column_stack([np.asarray(column, np.float64) for column in mixed.values()])
    return {
        "pandas": pandas, "one dtype": pd.DataFrame(dense), "Fortran": pd.DataFrame(np.asfortranarray(dense)),
        "nullable": pandas.convert_dtypes(), "Arrow's dtypes": pandas.convert_dtypes(dtype_backend="pyarrow"),
        "objects": pandas.astype(object), "polars": pl.DataFrame(mixed), "Arrow": pa.table(mixed),
        "Arrow, two chunks": pa.concat_tables([pa.table(mixed).slice(0, 9), pa.table(mixed).slice(9)]),
        "a batch": pa.RecordBatch.from_pydict(mixed),
    }, dense  # fmt: skip


@pytest.mark.parametrize("small", [frames.SMALL_COPY, 0])
def test_frames(monkeypatch, small):
    """With ``small`` of 0 as frames that are too large to be converted whole: by chunks of two steps."""
    X = np.random.default_rng(0).standard_normal((200, 4))
    given_, dense = frames_of(X)
    y = np.arange(200) % 3
    expected = learned(dense, y, sizes=(4, 8, 3), validation_fraction=0.1)
    net = fb.Network((4, 8, 3), seed=0)
    monkeypatch.setattr(frames, "SMALL_COPY", small)
    monkeypatch.setattr(rows, "SMALL_COPY", small)
    monkeypatch.setattr(training, "CHUNK_BYTES", 2 * 32 * 4 * 4)
    for name, frame in given_.items():
        net = fb.Network((4, 8, 3), hidden="tanh", seed=0)
        history = net.fit(
            frame, y, epochs=3, batch_size=32, seed=1, optimizer="adam", validation_fraction=0.1
        )  # fmt: skip
        assert net.params.tobytes() == expected[0], name
        assert net.forward(frame).tobytes() == expected[1], name
        assert (history.cost, history.validation_cost) == expected[-2:], name
        assert net.cost(frame, y) == expected[3], name


def test_steps_of_chunks_keep_to_the_epochs(monkeypatch):
    """Stopping, dropout and a diverging step, where samples are converted some steps at a time."""
    import pandas as pd

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.standard_normal(90), "b": rng.random(90) < 0.5})
    y = np.arange(90) % 2
    options = {"epochs": 6, "batch_size": 20, "seed": 1, "dropout": 0.2, "sample_weight": np.linspace(1, 2, 90)}
    nets = [fb.Network((2, 8, 2), seed=0) for _ in range(2)]
    whole = nets[0].fit(frame, y, **options)
    monkeypatch.setattr(frames, "SMALL_COPY", 0)
    for chunk in (1, 3 * 20 * 2 * 4, 1 << 20):
        monkeypatch.setattr(training, "CHUNK_BYTES", chunk)
        nets[1] = fb.Network((2, 8, 2), seed=0)
        assert nets[1].fit(frame, y, **options).cost == whole.cost
        assert nets[1].params.tobytes() == nets[0].params.tobytes()
    errors = []
    for small in (frames.SMALL_COPY, 1 << 28):
        monkeypatch.setattr(frames, "SMALL_COPY", small)
        net = fb.Network((2, 8, 2), output="sigmoid", seed=0)
        with pytest.raises(FloatingPointError) as error:
            net.fit(
                frame.astype({"a": "float64"}) * 1e30,
                np.eye(2)[y],
                epochs=5,
                batch_size=20,
                optimizer=fb.SGD(1e9),
                seed=0,
            )
        errors.append((str(error.value), net.params.tobytes()))
    assert errors[0] == errors[1]


def test_frames_of_other_things_are_refused():
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    net = fb.Network((2, 3), seed=0)
    columns = {"size": [1.0, 2.0], "colour": ["red", "blue"]}
    dates = pd.DataFrame({"size": [1.0, 2.0], "colour": pd.to_datetime(["2024-01-01", "2024-01-02"])})
    texts = pd.DataFrame({"size": [1.0, 2.0], "colour": np.array(["1", "2"], object)})
    categories = pd.DataFrame({"size": [1.0, 2.0], "colour": pd.Categorical([True, False])})
    for frame in (pd.DataFrame(columns), pl.DataFrame(columns), pa.table(columns), dates, texts, categories):
        for use in (net.forward, lambda X: net.fit(X, [0, 1])):
            with pytest.raises(TypeError, match="X must hold numbers only, got column 'colour'"):
                use(frame)
    missing = pd.DataFrame({"a": pd.array([1, 2], "Int64"), "b": pd.array([1, None], "Int64")})
    with pytest.raises(ValueError, match=r"X must be finite, got nan at X\[1, 1\]"):
        net.forward(missing)
    with pytest.raises(ValueError, match=r"Y must be finite, got nan"):
        net.cost(np.ones((2, 2)), pd.Series([1, None], dtype="Int64"))
    assert net.cost(np.ones((2, 2)), pd.Series([1, 0], dtype="Int64")) == net.cost(np.ones((2, 2)), [1, 0])


@pytest.mark.parametrize("huge", [10**400, Decimal("1e400"), Decimal("sNaN"), Decimal("NaN")])
def test_numbers_beyond_all_floats(huge):
    """Python's, in columns of objects: one error that names what holds them."""
    import pandas as pd

    net = fb.Network((2, 1), output="identity", seed=0)
    good = np.ones((2, 2))
    column = pd.DataFrame({"a": [1, 2], "b": np.array([type(huge)(1), huge], object)})
    for name, use in {
        "X": lambda X: net.forward(X), "y": lambda y: net.fit(good, y["b"].to_frame()),
        "Y": lambda y: net.cost(good, y["b"].to_frame()),
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=f"{name} must (hold numbers that are|be) finite"):
            use(column)
    for name, use in {
        "X": lambda: net.forward([[1.0, huge]]), "Y": lambda: net.cost(good, [1.0, huge]),
        "X ": lambda: net.forward(np.array([[1, huge]], object)),
        "params": lambda: setattr(net, "params", [1, 2, huge]),
        "sample_weight": lambda: net.cost(good, [1, 2], sample_weight=[1.0, huge]),
    }.items():  # fmt: skip
        with pytest.raises((TypeError, ValueError), match=f"{name.strip()} must be "):
            use()


@pytest.mark.parametrize("name", ["l1", "dropout", "validation_fraction", "optimizer"])
def test_options_beyond_all_floats(name):
    net = fb.Network((2, 3, 1), output="identity", seed=0)
    value = (lambda: fb.SGD(10**400)) if name == "optimizer" else (lambda: 10**400)
    with pytest.raises(ValueError, match=r"must be a number .* got 1000"):
        net.fit(np.ones((4, 2)), np.ones(4), **{name: value()})


def test_targets_of_frames_are_exact(monkeypatch):
    """Whole numbers that floats do not hold, with and without missing values; also frames that are read by chunks."""
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    net = fb.Network((2, 3), seed=0)
    X, big = np.ones((2, 2)), 2**53 + 1
    dtypes = ("int64", "uint64", "Int64", "UInt64", "int64[pyarrow]", "uint64[pyarrow]")
    series = [pd.Series([1, big], dtype=dtype) for dtype in dtypes]
    for y in [*series, pl.Series([1, big]), pa.array([1, big]), pa.chunked_array([[1], [big]]), [1, big]]:
        with pytest.raises(ValueError, match=f"class numbers from 0 to 2, got {big}"):
            net.cost(X, y)
    for small in (frames.SMALL_COPY, 0):
        monkeypatch.setattr(frames, "SMALL_COPY", small)
        other = fb.Network((2, 2), output="identity", seed=0)
        for kind in ("int64", "Int64", "int64[pyarrow]", "float64", "boolean"):
            Y = pd.DataFrame({"a": [0, 1], "b": [1, 1]}).astype(kind)
            for y in (Y, pl.from_pandas(Y), pa.Table.from_pandas(Y)):
                assert other.cost(X, y) == other.cost(X, [[0.0, 1.0], [1.0, 1.0]])
            one = fb.Network((2, 1), output="sigmoid", seed=0)
            assert one.cost(X, Y["a"]) == one.cost(X, [0.0, 1.0])
            assert net.cost(X, Y["a"]) == net.cost(X, [0, 1])
            with pytest.raises(ValueError, match="Y must be finite, got nan"):
                one.cost(X, pd.Series([0, None], dtype="Int64"))


def test_only_small_arrays_are_copied(monkeypatch):
    """Fortran's order is copied to be shuffled, if that is small and no file's; all else is read where it lies."""
    X = np.asfortranarray(np.ones((50, 4)))
    for array in (X, X.T.copy(order="F").T, np.ones((50, 4), np.uint8), sparse.csr_array(X)):
        assert rows.Rows(array, np.dtype("f4")).array is array
    dtype = np.dtype("f4")
    assert rows.Rows(X, dtype, shuffled=True).array.flags.c_contiguous
    assert rows.Rows(np.ones((50, 4)), dtype, shuffled=True).array.dtype == np.float64
    monkeypatch.setattr(rows, "SMALL_COPY", 799)
    assert rows.Rows(X, dtype, shuffled=True).array is X
    y = np.arange(50) % 3
    nets = [fb.Network((4, 5, 3), seed=0) for _ in range(2)]
    for net, given_ in zip(nets, (X, np.ascontiguousarray(X, "f4"))):
        net.fit(given_, y, epochs=2, seed=0)
    assert nets[0].params.tobytes() == nets[1].params.tobytes()


def test_mapped_files_stay_on_disk(tmp_path):
    X = np.memmap(tmp_path / "X", "f8", "w+", shape=(50, 4), order="F")
    X[...] = np.random.default_rng(0).standard_normal((50, 4))
    for array in (X, np.asarray(X), np.asarray(X)[5:, 1:], X.view(np.ndarray)[::2]):
        assert rows.Rows(array, np.dtype("f4"), shuffled=True).array is array


# ------------------------------------------------------------------ what is done to data while they are read


def test_copies_of_a_training_read_copies_of_the_data():
    """Addresses are those of one array: a copy, or a pickle of another process, has its own."""
    X, y = np.random.default_rng(0).standard_normal((300, 4)), np.arange(300) % 3
    for given_ in (X, X.astype("f4"), sparse.csr_array(X)):
        trainings = [
            training.Training(
                fb.Network((4, 3), seed=0), given_.copy(), y, batch_size=64, optimizer=fb.SGD(0.1), seed=0
            )
        ]
        trainings += [copy.deepcopy(trainings[0]), pickle.loads(pickle.dumps(trainings[0]))]
        read = [t._inputs for t in trainings]
        assert len({rows_._address for rows_ in read}) == 3
        params = []
        while trainings:
            t = trainings.pop()
            t.run(2)
            params.append(t.net.params.tobytes())
            del t
            gc.collect()
        assert len(set(params)) == 1


@pytest.mark.parametrize("make", [sparse.csc_matrix, sparse.coo_matrix, sparse.coo_array, sparse.csc_array])
def test_other_sparse_matrices_that_are_not_sound(make):
    for bad in (10**8, -3):
        X = make(np.ones((50, 4)))
        (X.row if X.format == "coo" else X.indices)[7] = bad
        with pytest.raises(ValueError, match="X must be a sound sparse matrix"):
            fb.Network((4, 2), seed=0).forward(X)


def test_sparse_matrices_of_other_shapes_and_dtypes():
    X = np.arange(12.0).reshape(4, 3)
    wide = sparse.csr_array(X.astype(np.longdouble))
    assert np.array_equal(handed_on(wide), X)
    for flat in (sparse.coo_array(np.arange(3.0)), sparse.csr_array(np.arange(5.0))):
        with pytest.raises(ValueError, match=r"X must have shape \(N, 3\), one row a sample, got"):
            fb.Network((3, 2), seed=0).forward(flat)
    with pytest.raises(TypeError, match="X must hold real numbers, got dtype complex128"):
        fb.Network((3, 2), seed=0).forward(sparse.csr_array(X * 1j))


def test_a_large_frame_that_shrinks_while_it_is_read(monkeypatch):
    frame = frames_of(np.random.default_rng(0).standard_normal((200, 4)))[0]["pandas"]
    monkeypatch.setattr(frames, "SMALL_COPY", 0)
    net = fb.Network((4, 3), seed=0)
    with pytest.raises(ValueError, match="a frame must stay as it is while it is read"):
        net.fit(frame, np.arange(200) % 3, epochs=3, callbacks=[lambda record: frame.pop("c") is None])
    assert np.isfinite(net.params).all()


def test_the_state_of_a_network_in_use_is_not_replaced():
    net, other = fb.Network((2, 12, 3), seed=0), fb.Network((5, 8, 3), seed=0)
    with pytest.raises(TypeError, match="copy or unpickle it instead"):
        net.__setstate__(other.__getstate__())
    assert net.sizes == (2, 12, 3)


def test_signalling_nan():
    X = np.ones((30, 3))
    X[11, 1] = np.array(0x7FF0000000000001, np.uint64).view(np.float64)
    with np.errstate(all="raise"), pytest.raises(ValueError, match=r"X must be finite, got nan at X\[11, 1\]"):
        fb.Network((3, 2), seed=0).forward(X)
