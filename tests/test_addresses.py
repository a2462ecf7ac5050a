"""What compiled code takes the address of is what it takes it for, whoever made it and whatever became of it since."""

import pickle
import re

import numpy as np
import pytest
from scipy import sparse

import fastbackprop as fb
from fastbackprop import memory
from fastbackprop.engine import codes
from fastbackprop.optimizers import Optimizer
from fastbackprop.schedules import Schedule
from fastbackprop.training import State, Training
from tests.processes import python

RNG = np.random.default_rng(11)
X = RNG.normal(size=(70, 6)).astype(np.float32)
y = RNG.integers(0, 4, 70)
SIZE = 6 * 9 + 9 + 9 * 4 + 4


def network():
    return fb.Network((6, 9, 4), seed=3)


def read_only(vector):
    vector.setflags(write=False)
    return vector


def unaligned(vector):
    return np.frombuffer(bytearray(vector.nbytes + 1), np.uint8)[1:].view(vector.dtype)


GOOD = np.zeros(5, np.float32)
BAD = {
    "shape": (np.zeros((5, 1), np.float32), "must have shape (5,) and dtype float32, got (5, 1)"),
    "too short": (GOOD[:4], "must have shape (5,)"),
    "dtype": (np.zeros(5), "got (5,) of <f8"),
    "order of bytes": (np.zeros(5, ">f4"), "got (5,) of >f4"),
    "strided": (np.zeros(10, np.float32)[::2], "must be contiguous, aligned and writable, got strides (8,)"),
    "reversed": (np.zeros(5, np.float32)[::-1], "got strides (-4,)"),
    "unaligned": (unaligned(GOOD), "aligned: False"),
    "read-only": (read_only(np.zeros(5, np.float32)), "writable: False"),
}


@pytest.mark.parametrize("what", BAD)
def test_an_address_is_given_of_what_fits_only(what):
    array, words = BAD[what]
    with pytest.raises(ValueError, match="the vector must") as caught:
        memory.address(array, "the vector", (5,), np.float32, written=True)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert memory.address(GOOD, "the vector", (5,), np.float32, written=True) == GOOD.ctypes.data


class Strange(Optimizer):
    """A user's optimizer, whose vectors, formula and constants are given."""

    learning_rate = 0.1
    weight_decay = 0.0
    decay_biases = False
    clip_norm = None

    def __init__(self, vectors, code=codes.ADAM, constants=None):
        self.vectors, self.kind, self.constants = vectors, code, constants

    @property
    def code(self):
        return self.kind

    @property
    def states(self):
        return len(self.vectors)

    def first_state(self, size, dtype):
        return self.vectors

    def hyper(self, **own):
        return super().hyper(BETA1=0.9, BETA2=0.999, EPS=1e-8) if self.constants is None else self.constants


def zeros(size=SIZE, dtype=np.float32):
    return np.zeros(size, dtype)


STRANGE = {
    "short": Strange([zeros(), zeros(SIZE - 1)]),
    "one number": Strange([zeros(1), zeros(1)]),
    "float64": Strange([zeros(), zeros(dtype=np.float64)]),
    "a matrix": Strange([zeros().reshape(1, -1), zeros()]),
    "read-only": Strange([read_only(zeros()), zeros()]),
    "a pickle's bytes": Strange([zeros(), np.frombuffer(zeros().tobytes(), np.float32)]),
    "strided": Strange([zeros(2 * SIZE)[::2], zeros()]),
    "unaligned": Strange([unaligned(zeros()), zeros()]),
    "too few": Strange([zeros()]),
    "too many": Strange([zeros(), zeros(), zeros()]),
    "for another formula": Strange([zeros()], codes.SGD),
    "no formula": Strange([zeros(), zeros()], 99),
    "no update": Strange([], codes.GRADIENT),
    "few constants": Strange([zeros(), zeros()], constants=np.ones(3)),
}


NOT_OURS = ("read-only", "a pickle's bytes", "strided", "unaligned")  # may also be copied


@pytest.mark.parametrize("what", STRANGE)
def test_vectors_of_a_users_optimizer_that_do_not_fit_are_refused_before_anything_is_changed(what):
    nets, optimizer = [network() for _ in range(2)], STRANGE[what]
    given = [vector.copy() for vector in optimizer.vectors]
    try:
        nets[0].fit(X, y, epochs=2, optimizer=optimizer, seed=0)
        said = ""
        nets[1].fit(X, y, epochs=2, optimizer=fb.Adam(0.1), seed=0)
    except ValueError as error:
        said = str(error)
    assert re.fullmatch(".*Strange.*", said) or (not said and what in NOT_OURS)
    assert np.array_equal(nets[0].params, nets[1].params)
    strange = [not (vector.flags.owndata and vector.flags.writeable) for vector in optimizer.vectors]
    assert all(np.array_equal(*pair) for pair, is_ in zip(zip(optimizer.vectors, given), strange, strict=True) if is_)


def test_vectors_of_a_users_optimizer_that_fit_are_used():
    nets = [network() for _ in range(2)]
    nets[0].fit(X, y, epochs=3, optimizer=fb.Adam(0.1), seed=0)
    nets[1].fit(X, y, epochs=3, optimizer=Strange([zeros(), zeros()]), seed=0)
    assert np.array_equal(nets[0].params, nets[1].params)


def test_vectors_that_become_others_between_two_epochs_are_refused():
    net = network()
    training = Training(net, X, y, batch_size=8, optimizer=fb.Adam(), seed=0)
    training.run(1)
    training.state.vectors[1] = zeros(3)
    with pytest.raises(ValueError, match="the vectors of Adam must have"):
        training.run(1)


def test_a_copy_of_a_state_shares_nothing_and_goes_on_alike():
    nets = [network() for _ in range(2)]
    first = Training(nets[0], X, y, batch_size=8, optimizer=fb.Adam(), seed=0)
    first.run(2)
    nets[1].params = nets[0].params
    other = Training(nets[1], X, y, batch_size=8, optimizer=fb.Adam(), state=first.state.copy())
    assert not any(np.shares_memory(a, b) for a, b in zip(first.state.vectors, other.state.vectors))
    other.run(2)
    assert first.state.steps < other.state.steps
    first.run(2)
    assert np.array_equal(nets[0].params, nets[1].params)
    assert {v.dtype.name for v in first.state.copy(np.dtype("f8")).vectors} == {"float64"}


class Given(Schedule):
    """Gives what it is told, however many steps are asked for."""

    def __init__(self, rates):
        self.given = rates

    def rates(self, steps, per_epoch, samples, state):
        return self.given


@pytest.mark.parametrize("rates", [0.05, [0.05] * 8, np.full((9, 1), 0.05), np.zeros(0), np.full(4000, 0.05)])
def test_a_schedule_gives_as_many_rates_as_there_are_steps(rates):
    net = network()
    before = net.params.copy()
    with pytest.raises(ValueError, match="rate"):
        net.fit(X, y, epochs=1, batch_size=8, optimizer=fb.SGD(Given(rates)))
    assert np.array_equal(net.params, before)


@pytest.mark.parametrize(
    "rows", [[70], [-1, 3], [1 << 40], [0.5, 1.0], [True, False], [[0, 1]], [], np.array([2**63 + 5], np.uint64)]
)
def test_rows_that_there_are_not_are_refused(rows):
    with pytest.raises(ValueError, match="rows must be"):
        Training(network(), X, y, batch_size=8, optimizer=fb.SGD(), rows=np.array(rows))


def test_rows_that_are_changed_later_have_no_say():
    nets = [network() for _ in range(2)]
    rows = np.arange(0, 70, 2)
    for net in nets:
        training = Training(net, X, y, batch_size=8, optimizer=fb.SGD(), seed=0, rows=rows, shuffle=False)
        training.run(1)
        rows[...] = 1 << 50
        training.run(1)
        rows[...] = np.arange(0, 70, 2)
    assert np.isfinite(nets[0].params).all()
    assert np.array_equal(nets[0].params, nets[1].params)


def test_an_unpickled_network_owns_its_parameters_and_takes_no_others():
    net = network()
    buffers = []
    data = pickle.dumps(net, protocol=5, buffer_callback=buffers.append)
    frames = [bytes(b.raw()) for b in buffers]
    made = pickle.loads(data, buffers=frames)
    kept = [bytes(bytearray(f)) for f in frames]
    made.fit(X, y, epochs=1)
    assert frames == kept
    state = net.__getstate__()
    for wrong in (np.zeros(1, np.float32), np.zeros((SIZE, 1)), np.zeros(SIZE, complex)):
        with pytest.raises(ValueError, match="params must be a vector of"):
            fb.Network.__new__(fb.Network).__setstate__({**state, "params": wrong})


CHANGED = """
import numpy as np
import fastbackprop as fb

rng = np.random.default_rng(5)
good = {"X": rng.normal(size=(512, 200)).astype("f4"), "y": rng.integers(0, 5, 512), "w": np.ones(512, "f4")}
T = rng.normal(size=(512, 5)).astype("f4")

def trained(change, way, head):
    data = {name: array.copy() for name, array in good.items()}
    data["y"] = data["y"] if head == "softmax" else T.copy()
    net = fb.Network((200, 12, 5), output=head, seed=0, threads=1)
    more = {"validation_data": (data["X"], data["y"])} if way == "held out" else {}
    more["callbacks"] = [lambda record: change(data)]
    if way == "lbfgs":
        more["optimizer"] = "lbfgs"
    net.fit(data["X"], data["y"], epochs=3, seed=0, sample_weight=data["w"], **more)
    return net.params

def reshape(data):
    for name in ("X", "y"):
        data[name].shape = (1, -1)

def retype(data):
    data["X"].dtype = "f8"
    data["w"].dtype = "i1"

def restride(data):
    for name in ("X", "y", "w"):
        a = data[name]
        a.shape = (-1, 1)
        a.setflags(write=False)

def lengthen(data):
    data["X"].shape = (-1, 1)

def relabel(data):
    if data["y"].dtype.kind == "i":
        data["y"][...] = 10**12

for head in ("softmax", "identity"):
    for way in ("plain", "held out", "lbfgs"):
        expected = trained(lambda data: None, way, head)
        for change in (reshape, retype, restride, lengthen, relabel):
            assert np.array_equal(trained(change, way, head), expected), (head, way, change.__name__)
print("the same")
"""


def test_what_a_callback_does_to_the_callers_arrays_does_not_reach_the_engine():
    """Their shapes, dtypes and flags; and class numbers, from which the engine counts where to write."""
    assert python("import warnings; warnings.simplefilter('ignore')\n" + CHANGED) == "the same"


def test_a_state_that_others_made_is_looked_at():
    with pytest.raises(ValueError, match="the vectors of Adam must have"):
        Training(network(), X, y, batch_size=8, optimizer=fb.Adam(), state=State(1, vectors=[zeros(2), zeros(2)]))


RESIZED = """
import numpy as np
import fastbackprop as fb
from scipy import sparse
from fastbackprop.sklearn import MLPClassifier

rng = np.random.default_rng(6)
X, y = np.where(rng.random((300, 40)) < 0.3, rng.normal(size=(300, 40)), 0), rng.integers(0, 4, 300)

def narrow(X):
    X.resize((300, 2))

def shorten(X):
    X.resize((3, 40))

def empty(X):
    X.data, X.indices = X.data[:0], X.indices[:0]
    X.indptr = np.zeros_like(X.indptr)

def thin(X):
    X.data[::3] = 0
    X.eliminate_zeros()

def learn(X, change, optimizer):
    net = fb.Network((40, 6, 4), seed=0)
    net.fit(X, y, epochs=3, seed=0, optimizer=optimizer, callbacks=[lambda record: change(X)])
    return net.params

def learn_as_theirs(X, change, solver):
    options = {"max_iter": 3, "random_state": 0, "early_stopping": solver == "adam"}
    model = MLPClassifier((6,), solver=solver, callbacks=[lambda record: change(X)], **options)
    return model.fit(X, y).network_.params

for train in (learn, learn_as_theirs):
    for how in ("adam", "lbfgs"):
        expected = train(sparse.csr_array(X), lambda X: None, how)
        for change in (narrow, shorten, empty, thin):
            for kind in (sparse.csr_array, sparse.csr_matrix):
                assert np.array_equal(train(kind(X), change, how), expected), (train.__name__, how, change.__name__)
print("the same")
"""


def test_a_sparse_matrix_that_a_callback_resizes_is_read_as_it_was():
    assert python("import warnings; warnings.simplefilter('ignore')\n" + RESIZED) == "the same"


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csr_matrix])
@pytest.mark.parametrize("fraction", [0.0, 0.3])
def test_a_sparse_matrix_whose_zeros_a_callback_eliminates_is_read_as_it_was(kind, fraction):
    """SciPy moves the numbers and columns that are left in place; to the caller it is the same matrix."""
    rng = np.random.default_rng(8)
    dense, y = rng.integers(0, 2, (60, 12)) * rng.normal(size=(60, 12)), rng.integers(0, 3, 60)

    def stored_zeros():
        matrix = kind(np.ones((60, 12)))
        matrix.data[:] = dense.ravel()
        return matrix

    def learned(*changes):
        net, X, held_out = fb.Network((12, 5, 3), seed=0), stored_zeros(), stored_zeros()
        validation = {"validation_fraction": fraction} if fraction else {"validation_data": (held_out, y)}

        def callback(record):
            for matrix in (X, held_out):
                for change in changes:
                    getattr(matrix, change)()

        history = net.fit(X, y, epochs=4, seed=0, callbacks=[callback], **validation)
        assert (X.toarray() == dense).all()
        return net.params.tobytes(), history.validation_cost

    expected = learned()
    assert len(expected[1]) == 4
    assert learned("eliminate_zeros") == expected
    assert learned("sort_indices", "sum_duplicates", "prune") == expected
