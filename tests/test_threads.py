"""Threads, forks and Ctrl-C: the same bits whoever does the work, and nothing half done when it is stopped."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading

import pytest

from fastbackprop import threads
from fastbackprop.lazy import lazy
from tests.processes import ROOT, python


def test_threads_follow_the_environment(monkeypatch):
    for name in ("FASTBACKPROP_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    cores = threads.available()
    assert cores >= 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads.available() == 1
    monkeypatch.setenv("FASTBACKPROP_NUM_THREADS", "3")
    assert threads.available() == 3


LARGE_JOB = """
import atexit, sys, numpy as np, fastbackprop as fb
from fastbackprop import threads
rng = np.random.default_rng(0)
X, y = rng.standard_normal((20000, 64)).astype("f4"), rng.integers(0, 10, 20000)
def train(count, **options):
    net = fb.Network((64, 128, 10), seed=0, threads=count)
    net.fit(X, y, epochs=1, batch_size=2000, seed=0, **options)
    return net.params.tobytes()
expected = train(1)
"""


def test_a_thread_that_cannot_start_is_not_missed():
    """As at a limit of processes, and at the end of the interpreter."""
    code = (
        LARGE_JOB
        + """
def start(function, args): raise RuntimeError("can't start new thread")
begin, threads.start_new_thread = threads.start_new_thread, start
print(train(4) == expected)
threads.start_new_thread = begin
atexit.register(lambda: print(train(2) == expected))
"""
    )
    assert python(code).split() == ["True", "True"]


def test_short_memory_while_threads_are_woken_leaves_no_work_behind():
    """A helper may be at work when there is no memory to call the next."""
    code = (
        LARGE_JOB
        + """
net = fb.Network((64, 128, 10), seed=0, threads=3)
net.fit(X, y, epochs=1, batch_size=2000)
class Queue:
    calls = 0
    def put(self, item):
        self.calls += 1
        if self.calls == self.failing:
            raise MemoryError
        work.put(item)
work = threads._helpers._work
threads._helpers._work = Queue()
for turn in range(40):
    Queue.failing = 1 + turn % 2
    try:
        net.fit(X, y, epochs=1, batch_size=2000)
    except MemoryError:
        kept = net.params.copy()
    threads._helpers._work.calls = 0
    assert np.array_equal(kept, net.params)
threads._helpers._work = work
print(np.isfinite(net.params).all(), train(3) == expected)
"""
    )
    assert python(code) == "True True"


def test_the_interpreter_ends_while_daemon_threads_work():
    """It does not wait for work that has no end, and does not crash."""
    code = (
        LARGE_JOB
        + """
import threading, time
net = fb.Network((64, 128, 10), seed=0, threads=2)
def forward():
    while True:
        net.forward(X)
def fit():
    other.fit(X, y, epochs=10**9, batch_size=2000)
other = fb.Network((64, 128, 10), seed=0, threads=2)
for work in (forward, fit):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.3)
print("end")
"""
    )
    assert python(code) == "end"


SHARING = """
import os, sys, threading
import numba, numpy as np
import fastbackprop as fb
rng = np.random.default_rng(0)
X, y = rng.standard_normal((6000, 64)).astype("f4"), rng.integers(0, 10, 6000)
def train(net, epochs):
    net.fit(X, y, epochs=epochs, batch_size=500, seed=0, optimizer="adam")
    return net.params.tobytes()
def new():
    return fb.Network((64, 128, 10), seed=0, threads=2)
def at_once(*functions):
    errors = []
    def kept(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)
    workers = [threading.Thread(target=kept, args=(function,)) for function in functions]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]
expected = train(new(), 10)
"""


def test_two_threads_fit_and_four_predict_at_once():
    """Numba's layer of threads that does not allow it is none of the engine's."""
    code = (
        SHARING
        + """
shared = new()
few, many = shared.forward(X[:3]).tobytes(), shared.forward(X).tobytes()
results, busy = [], threading.Event()
def fit():
    results.extend([train(new(), 10) == expected for _ in range(3)])
def predict():
    for _ in range(30):
        results.append(shared.forward(X).tobytes() == many)
        results.append(shared.forward(X[:3]).tobytes() == few)
at_once(fit, fit, predict, predict, predict, predict)
print(len(results), all(results))
try:
    print(numba.threading_layer())
except ValueError as error:
    print("no layer:", error)
"""
    )
    out = python(code, NUMBA_THREADING_LAYER="workqueue").splitlines()
    assert out == ["246 True", "no layer: Threading layer is not initialized."]


def test_one_network_is_trained_and_asked_by_threads_at_once():
    """The trainings come one after the other; outputs are outputs, whichever step they see."""
    code = (
        SHARING
        + """
net = new()
train(net, 10)
one_after_the_other = train(net, 10)
net.params = new().params
probabilities = []
def predict():
    for _ in range(50):
        o = net.forward(X)
        probabilities.append(np.isfinite(o).all() and np.abs(o.sum(axis=1) - 1).max() < 1e-5)
at_once(lambda: train(net, 10), lambda: train(net, 10), predict, predict, predict, predict)
print(len(probabilities), all(probabilities), net.params.tobytes() == one_after_the_other)
net.params = new().params
print(train(net, 10) == expected)
print(net.fit(X, y, epochs=2, callbacks=[lambda _: train(net, 1) and None]).steps)  # a callback may train it, too
"""
    )
    assert python(code).split() == ["200", "True", "True", "True", "376"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_trains_the_network_that_a_thread_of_its_parent_trains():
    """The thread whose turn it is in the parent is not in the child."""
    code = (
        SHARING
        + """
import time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
net, stop = new(), threading.Event()
worker = threading.Thread(target=lambda: net.fit(X, y, epochs=10**6, callbacks=[lambda _: stop.is_set()]))
worker.start()
time.sleep(0.2)
for _ in range(3):
    child = os.fork()
    if child == 0:
        net.params = new().params
        os._exit(0 if train(net, 10) == expected else 1)
    print(os.waitpid(child, 0)[1])
stop.set()
worker.join()
"""
    )
    assert python(code).split() == ["0", "0", "0"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_in_the_middle_of_a_training():
    """The child has the parent's memory and none of its threads, and may have been forked between any two steps."""
    code = (
        SHARING
        + """
import time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, which is what is tried
results, stop = [], threading.Event()
def fit():
    while not stop.is_set():
        results.append(train(new(), 10) == expected)
worker = threading.Thread(target=fit)
worker.start()
for _ in range(10):
    time.sleep(rng.uniform(0, 0.03))
    child = os.fork()
    if child == 0:
        os._exit(0 if train(new(), 10) == expected else 1)
    results.append(os.waitpid(child, 0)[1] == 0)
stop.set()
worker.join()
print(len(results) > 10, all(results))
"""
    )
    assert python(code).split() == ["True", "True"]


PARALLEL = """
import multiprocessing, sys
import numpy as np
import fastbackprop as fb
def train(seed):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((4000, 64)).astype("f4"), rng.integers(0, 10, 4000)
    net = fb.Network((64, 128, 10), seed=seed)
    net.fit(X, y, epochs=2, batch_size=500, seed=seed, threads=2)
    return net
if __name__ == "__main__":
    expected = [train(seed).params.tobytes() for seed in range(4)]  # threads have been used when processes start
    way = sys.argv[1]
    if way == "loky":
        from joblib import Parallel, delayed
        nets = Parallel(n_jobs=2, backend="loky")(delayed(train)(seed) for seed in range(4))
    else:
        with multiprocessing.get_context(way).Pool(2) as pool:
            nets = pool.map(train, range(4), chunksize=1)
    print([net.params.tobytes() for net in nets] == expected)
"""


@pytest.mark.parametrize("way", ["fork", pytest.param("spawn", marks=pytest.mark.slow), "forkserver", "loky"])
def test_other_processes_train_after_this_one_has(way, tmp_path):
    if way not in (*multiprocessing.get_all_start_methods(), "loky"):
        pytest.skip(f"no {way} on this system")
    script = tmp_path / "script.py"
    script.write_text(PARALLEL)
    out = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(script), way],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert out.stdout.strip() == "True", out.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {"NUMBA_NUM_THREADS": "64", "OMP_NUM_THREADS": "1"},
        {"NUMBA_NUM_THREADS": "1", "FASTBACKPROP_NUM_THREADS": "32"},
    ],
    ids=str,
)
def test_any_number_of_threads_by_the_environment(environment):
    """More than there are processors too: a thread that waits for another's work lets it run."""
    code = LARGE_JOB + "print(train(None) == expected, train(24) == expected)"
    assert python(code, **environment) == "True True"


INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np
import fastbackprop as fb
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start without
moments = int(sys.argv[1])
rng = np.random.default_rng(moments)
X, y = rng.standard_normal((1600, 30)).astype("f4"), rng.integers(0, 3, 1600)
def new():
    return fb.Network((30, 64, 3), seed=0, threads=2)
def train(net, **options):
    net.fit(X, y, epochs=4000, batch_size=len(X), optimizer=fb.SGD(0.05, momentum=0.9), seed=0, **options)
# An epoch is one step, so these are all the states between two steps.
net, states = new(), set()
states.add(net.params.tobytes())
train(net, callbacks=[lambda record: states.add(net.params.tobytes())])
expected = net.params.tobytes()
begin = time.perf_counter()
train(net := new())
seconds = time.perf_counter() - begin
assert net.params.tobytes() == expected and len(states) == 4001
middles = 0
for _ in range(moments):
    net = new()
    try:
        timer = threading.Timer(rng.uniform(0, 0.9 * seconds), os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        train(net)
        time.sleep(10)
        raise SystemExit("not interrupted")
    except KeyboardInterrupt:
        timer.join()
    kept = net.params.tobytes()
    assert kept in states
    middles += kept not in (expected, new().params.tobytes())
    time.sleep(0.005)
    assert net.params.tobytes() == kept  # no helper is at work any more
    net.params = new().params
    if middles % 10 == 1:
        train(net)  # with the workspace that was left
        assert net.params.tobytes() == expected
print(middles > moments // 2)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize("moments", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_ctrl_c_leaves_the_parameters_after_a_whole_step(moments):
    assert python(INTERRUPTED, moments) == "True"


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.slow
def test_ctrl_c_while_the_engine_is_compiled(tmp_path):
    """The next call compiles again, and the cache holds nothing that is half written."""
    code = """
import os, signal, sys, threading, time
from pathlib import Path
import numpy as np
import fastbackprop as fb
signal.signal(signal.SIGINT, signal.default_int_handler)
net = fb.Network((4, 5, 3), seed=0)
before = net.params.copy()
threading.Timer(3.0, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    net.fit(np.eye(4), [0, 1, 2, 0], epochs=1)
except KeyboardInterrupt:
    print(np.array_equal(net.params, before))
net.fit(np.eye(4), [0, 1, 2, 0], epochs=1)
print(not np.array_equal(net.params, before))
print(sorted({path.suffix for path in Path(sys.argv[1]).rglob("*") if path.is_file()}))
"""
    assert python(code, tmp_path, NUMBA_CACHE_DIR=str(tmp_path)).splitlines() == ["True", "True", "['.nbc']"]


INTERRUPTED_ANYWHERE = """
import ctypes, faulthandler, queue, random, signal, sys, threading, time
import numpy as np
import fastbackprop as fb
from fastbackprop import functional
faulthandler.dump_traceback_later(500, exit=True)
class Alarm(Exception): pass
count = int(sys.argv[1])
random.seed(count)
rng = np.random.default_rng(count)
X, y = rng.standard_normal((2048, 48)).astype("f4"), rng.integers(0, 7, 2048)
Z = rng.standard_normal(100)
def new():
    return fb.Network((48, 96, 7), seed=0, threads=3)
asked, trained = new(), new()
def train(net):
    net.fit(X, y, epochs=3, batch_size=256, optimizer="adam", seed=0)
calls = [
    lambda: train(trained), lambda: asked.forward(X), lambda: asked.gradients(X, y), lambda: asked.forward(X[:2]),
    lambda: asked.value_and_grad(X[:4], y[:4]), lambda: asked.gradients(X[:64], y[:64]).dW, lambda: asked.cost(X, y),
    lambda: functional.tanh(Z), lambda: fb.Network((5, 4, 3), seed=1).gradients(np.eye(5, dtype="f4"), [0, 1, 2, 0, 1]),
]
def bits():
    net = new()
    train(net)
    return [
        net.params.tobytes(), asked.forward(X).tobytes(), asked.forward(X[:2]).tobytes(), functional.tanh(Z).tobytes(),
        asked.gradients(X, y).vector.tobytes(), asked.gradients(X[:64], y[:64]).vector.tobytes(),
    ]
for call in calls:
    call()
expected = bits()
main = threading.main_thread().ident
def raises(number, frame):
    raise random.choice([KeyboardInterrupt, Alarm])
signal.signal(signal.SIGALRM, raises)
signal.signal(signal.SIGUSR1, raises)
requests, sent = queue.SimpleQueue(), queue.SimpleQueue()
def send():
    while True:
        seconds, way = requests.get()
        time.sleep(seconds)
        way()
        sent.put(None)
threading.Thread(target=send, daemon=True).start()
def kill():
    signal.pthread_kill(main, signal.SIGUSR1)
def raise_there():
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(main), ctypes.py_object(KeyboardInterrupt))
came = 0
for number in range(count):
    call, way = random.choice(calls), random.choice([None, None, kill, raise_there])
    seconds = random.random() ** 2 * 0.006 + 1e-5
    try:
        if way is None:
            signal.setitimer(signal.ITIMER_REAL, seconds)
        else:
            requests.put((seconds, way))
        end = time.perf_counter() + 2  # an interrupt in a finalizer is printed, not raised
        while time.perf_counter() < end:
            call()
    except (KeyboardInterrupt, Alarm):
        came += 1
    if way is not None:
        sent.get()
    if number % 100 == 99:
        assert bits() == expected, number
        assert np.isfinite(trained.params).all()
results = []
other = threading.Thread(target=lambda: results.append(bits()), daemon=True)  # a lock would be held by this thread
other.start()
other.join(60)
print(results == [expected], bits() == expected, came > 0.9 * count, len(sys._current_frames()) < 20)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("interrupts", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_interrupts_at_any_instant_leave_no_lock_held(interrupts):
    """By timers, signals from another thread, and exceptions set for the thread from another."""
    assert python(INTERRUPTED_ANYWHERE, interrupts) == "True True True True"


def test_two_threads_that_ask_at_once_get_the_same_attribute():
    both = threading.Barrier(2, timeout=10)

    class Asked:
        @lazy
        def value(self):
            both.wait()  # neither waits for the other to be done
            return object()

    asked, got = Asked(), []
    askers = [threading.Thread(target=lambda: got.append(asked.value)) for _ in range(2)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert got == [asked.value] * 2


def test_helpers_are_as_many_as_the_calls_under_way_want(monkeypatch):
    helpers = threads._Helpers()
    monkeypatch.setattr(threads, "start_new_thread", lambda function, args: helpers._alive.add(object()))
    helpers.want(3)
    helpers.want(2)
    assert len(helpers._alive) == 3  # the same thread's call
    other = threading.Thread(target=helpers.want, args=(2,))
    other.start()
    other.join()
    assert len(helpers._alive) == 4
    helpers.want(10_000)
    assert len(helpers._alive) == max(threads.MOST_HELPERS, threads.available())


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize("seconds", [0.002, 0.02])
def test_ctrl_c_while_the_engine_is_loaded_for_two_threads(seconds):
    """No helper goes on with the job: the data may be freed, and the parameters stay as they are."""
    code = """
import gc, os, signal, sys, threading, time
import numpy as np
import fastbackprop as fb
from fastbackprop import plan
signal.signal(signal.SIGINT, signal.default_int_handler)
run_on = plan.run_on
def timed(*args):
    plan.run_on = run_on
    threading.Timer(float(sys.argv[1]), os.kill, (os.getpid(), signal.SIGINT)).start()
    return run_on(*args)
plan.run_on = timed
def train(net):
    X, y = np.random.default_rng(0).standard_normal((20000, 64)).astype("f4"), np.arange(20000) % 10
    try:
        net.fit(X, y, epochs=20, batch_size=100, seed=1)
    except KeyboardInterrupt:  # but for one that comes in the middle of what cannot be interrupted, in llvmlite
        pass
net = fb.Network((64, 128, 10), seed=0, threads=2)
train(net)
after = net.params.copy()
gc.collect()
time.sleep(0.5)
print(np.array_equal(net.params, after))
"""
    assert python(code, seconds) == "True"
