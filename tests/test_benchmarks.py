"""The benchmark suite: its counts, its data, its baseline, and that nobody is timed on other work."""

import functools
import json
import math
import os
import shutil
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import compare, inputs, latency, scaling, threads, turns
from benchmarks.forms import FORMS, as_array, first
from benchmarks.peers import PEERS, PeerError, ResultsDiffer, Worker
from benchmarks.peers.numpy_code4 import Engine
from benchmarks.suites import forward, peers, start, training
from benchmarks.suites import inputs as input_suites
from benchmarks.workloads import WORKLOADS, Workload, check_problem, flat, layers, make_problem
from fastbackprop.engine.simd import AVX512

ROOT = Path(__file__).parents[1]
DTYPES = ("float32", "float64")
SMALL = Workload("small", (3, 5, 4, 2), batch=8, samples=24, dtype="float64")


def test_flops_by_hand():
    # 2-3-1, batch 4: Z is 4*(2*3 + 3*1) multiply-adds, dW as many, dA of the hidden layer 4*3*1; two operations each.
    assert Workload("hand", (2, 3, 1), batch=4, samples=8).flops == 2 * (36 + 36 + 12)
    # One layer has no dA.
    assert Workload("hand", (5, 2), batch=3, samples=3).flops == 2 * (30 + 30)


def test_workloads_are_whole_epochs_of_the_sizes_published():
    assert list(WORKLOADS) == ["tiny", "digits", "tabular", "mnist_s", "mnist_l", "wide", "matexp", "readme24"]
    for name, work in WORKLOADS.items():
        assert work.name == name
        assert work.samples == work.steps * work.batch
    assert WORKLOADS["mnist_l"].parameters == 784 * 512 + 512 + 512 * 512 + 512 + 512 * 10 + 10


@pytest.mark.parametrize("name", WORKLOADS)
def test_data_come_from_the_seed(name):
    work = replace(WORKLOADS[name], samples=WORKLOADS[name].batch)
    one, same, other = make_problem(work, 1), make_problem(work, 1), make_problem(work, 2)
    assert np.array_equal(one.X, same.X)
    assert np.array_equal(one.y, same.y)
    assert np.array_equal(one.params, same.params)
    assert not np.array_equal(one.X, other.X)
    assert not np.array_equal(one.params, other.params)
    assert one.X.dtype == one.params.dtype == work.dtype
    assert one.X.shape == (work.samples, work.sizes[0])
    assert one.Y.shape == (work.samples, work.sizes[-1])
    if work.output == "softmax":
        assert set(one.y) == set(range(work.sizes[-1])), "scikit-learn must see every class"


def test_matrix_exponentials():
    problem = make_problem(replace(WORKLOADS["matexp"], samples=50, batch=50, dtype="float64"))
    values, vectors = np.linalg.eig(problem.X.reshape(-1, 2, 2))
    expected = vectors * np.exp(values)[:, None, :] @ np.linalg.inv(vectors)
    np.testing.assert_allclose(problem.y.reshape(-1, 2, 2), expected.real, rtol=1e-9, atol=1e-9)


def test_flat_is_the_inverse_of_layers():
    params = np.arange(SMALL.parameters, dtype=float)
    weights, biases = layers(params, SMALL.sizes)
    assert [W.shape for W in weights] == [(5, 3), (4, 5), (2, 4)]
    assert [b.shape for b in biases] == [(5,), (4,), (2,)]
    assert all(np.shares_memory(part, params) for part in weights + biases)
    assert np.array_equal(flat(weights, biases), params)


def cost(work, params, X, Y):
    """The mean loss, written without any regard to speed."""
    A = X
    weights, biases = layers(params, work.sizes)
    for i, (W, b) in enumerate(zip(weights, biases)):
        Z = A @ W.T + b
        A = (np.tanh(Z) if work.hidden == "tanh" else np.where(Z < 0, 0, Z)) if i + 1 < len(weights) else Z
    if work.output == "identity":
        return np.sum((A - Y) ** 2) / (2 * len(X))
    return np.mean(np.log(np.exp(A).sum(1)) - (A * Y).sum(1))


@pytest.mark.parametrize("hidden", ["relu", "tanh"])
@pytest.mark.parametrize("output", ["softmax", "identity"])
def test_baseline_gradient_is_the_derivative_of_the_cost(hidden, output):
    work = replace(SMALL, hidden=hidden, output=output, optimizer=None, samples=SMALL.batch)
    problem = make_problem(work)
    engine = Engine(problem, threads=1)
    engine.run(1, shuffle=False)
    h, differences = 1e-6, []
    for direction in np.eye(work.parameters):
        up, down = (cost(work, problem.params + s * h * direction, problem.X, problem.Y) for s in (1, -1))
        differences.append((up - down) / (2 * h))
    np.testing.assert_allclose(engine.result(), differences, atol=1e-8)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_baseline_takes_the_optimizers_steps(optimizer):
    work = replace(SMALL, optimizer=optimizer, learning_rate=0.02)
    problem = make_problem(work)
    engine = Engine(problem, threads=1)
    engine.run(2, shuffle=False)
    params, m, v = problem.params.copy(), 0, 0
    for t in range(1, 2 * work.steps + 1):
        rows = slice((t - 1) % work.steps * work.batch, ((t - 1) % work.steps + 1) * work.batch)
        alone = replace(work, optimizer=None, samples=work.batch)
        gradient = Engine(replace(problem, work=alone, X=problem.X[rows], y=problem.y[rows], params=params), threads=1)
        gradient.run(1, shuffle=False)
        g = gradient.result()
        if optimizer == "sgd":
            params = params - 0.02 * g
        else:
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            params = params - 0.02 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(engine.result(), params, rtol=1e-12, atol=1e-14)


def test_baseline_visits_every_row_once_when_it_shuffles():
    # With a learning rate of 0 nothing is left of the order; with a tiny one, to first order the sum of all gradients.
    work = replace(SMALL, learning_rate=1e-9)
    problem = make_problem(work)
    engine, whole = (Engine(replace(problem, work=w), threads=1) for w in (work, replace(work, batch=work.samples)))
    engine.run(1, shuffle=True)
    whole.run(work.steps, shuffle=False)
    np.testing.assert_allclose(
        (engine.result() - problem.params) / 1e-9, (whole.result() - problem.params) / 1e-9, atol=1e-5
    )


def test_check_problem_is_about_the_same_number_of_steps_for_all():
    for work in WORKLOADS.values():
        short, epochs = check_problem(make_problem(replace(work, samples=work.batch * min(work.steps, 30))))
        assert epochs * short.work.steps == work.check_steps
        assert len(short.X) == short.work.samples


def test_deviation_is_relative_to_the_change_and_by_part():
    start = np.zeros(SMALL.parameters)
    expected, got = start + 1.0, start + 1.0
    assert compare.deviation(SMALL, got, expected, start) == 0
    layers(got, SMALL.sizes)[1][1][:] += 0.01  # one bias vector, 1 % of its change
    assert compare.deviation(SMALL, got, expected, start) == pytest.approx(0.01)
    got[0] = np.nan
    assert compare.deviation(SMALL, got, expected, start) == np.inf
    assert compare.deviation(SMALL, got[:-1], expected, start) == np.inf


@pytest.mark.parametrize(
    "peer",
    [
        pytest.param(peer, marks=[pytest.mark.peers] if peer.startswith(("torch", "jax")) else [])
        for peer in PEERS
        if peer not in ("numpy", "torch_compile")
    ]
    + [pytest.param("torch_compile", marks=[pytest.mark.peers, pytest.mark.slow])],
)
def test_peers_do_the_same_work(peer):
    if peer == "torch_compile" and not shutil.which("g++"):
        pytest.skip("torch.compile needs a C++ compiler")
    try:
        worker = Worker(peer, 1)
    except PeerError as error:
        pytest.skip(f"{peer}: {error.kind} ({error})")
    try:
        cases = [("tiny", "float32"), ("tiny", "float64"), ("digits", None), ("matexp", None), ("readme24", None)]
        for name, dtype in cases:
            work = replace(WORKLOADS[name], dtype=dtype or WORKLOADS[name].dtype)
            if name == "matexp":  # its batches are all of the samples
                work = replace(work, samples=1000, batch=1000)
            problem, epochs = check_problem(make_problem(work))
            baseline = Engine(problem, threads=1)
            baseline.run(epochs, shuffle=False)
            if name == "readme24" and peer in ("sklearn", "jax_scan"):
                with pytest.raises(PeerError, match="gradient"):
                    worker.ask("check", work, 0)
            else:  # raises if they differ
                compare.check(work, 0, peer, worker.ask("check", work, 0), baseline.result())
    finally:
        worker.close()


def test_compare_measures_and_writes_its_files(tmp_path, monkeypatch):
    monkeypatch.setitem(PEERS, "absent", "benchmarks.peers.no_such_library")
    monkeypatch.setitem(PEERS, "again", PEERS["numpy"])
    report = compare.compare(["tiny"], ["numpy", "absent", "again"], threads=1, rounds=3, peak=False)
    numpy_row, absent, again = report["rows"]
    assert numpy_row["status"] == "ok"
    assert numpy_row["deviation"] == 0
    assert numpy_row["finite"]
    assert 1 < numpy_row["low"] <= numpy_row["us"] <= numpy_row["high"] < 1e5
    assert len(numpy_row["turns"]) == 3
    assert numpy_row["gflops"] == pytest.approx(WORKLOADS["tiny"].flops / numpy_row["us"] / 1000)
    assert max(numpy_row["idle"], again["idle"]) < 0.05, "a waiting engine must be quiet"
    assert absent["status"] == "not installed"
    assert "no_such_library" in absent["reason"]

    files = compare.save(report, tmp_path / "new" / "folder")
    names = [file.name for file in files]
    assert names[:2] == ["compare.json", "compare.md"]
    assert json.loads(files[0].read_text())["rows"][0]["us"] == numpy_row["us"]
    assert "| tiny 4-16-16-2, 32 |" in files[1].read_text()
    assert "not installed" in files[1].read_text()
    if "compare.png" in names:  # matplotlib is an extra
        assert files[2].read_bytes().startswith(b"\x89PNG")


def test_with_isa_avx2_no_wider_registers_are_used():
    """Linux says so. Where the processor has AVX-512, the same engine uses it when it is not told."""
    for isa in (None, "avx2"):
        report = compare.compare(["tiny"], ["numpy"], threads=1, rounds=1, peak=False, isa=isa)
        [row] = report["rows"]
        assert row["status"] == "ok"
        if row["avx512"] is None:
            pytest.skip("this system does not say who uses AVX-512")
        assert row["avx512"] is (AVX512 and isa is None)
        assert compare.registers(report) == [f"AVX-512 was used by {'numpy' if row['avx512'] else 'nobody'}."]
    assert "Haswell" in report["versions"]["numpy"] or "openblas" not in report["versions"]["numpy"]
    assert "nothing wider than AVX2" in compare.markdown(report)


def test_who_does_not_heed_isa_is_named():
    rows = [{"peer": name, "avx512": used} for name, used in (("a", False), ("b", True), ("b", False), ("c", None))]
    report = {"rows": rows, "settings": {"isa": "avx2"}}
    assert compare.registers(report) == ["NOT HEEDED: AVX-512 was used by b, not by a."]
    assert compare.registers(report | {"rows": rows[-1:]}) == ["Whether an engine used AVX-512 is not known here."]


def test_what_is_compared_is_each_network_with_each_form_of_X_once():
    works = compare.workloads(["tiny", "readme24", "tiny"], None, ["own", "float64", "csr"])
    labels = ["tiny", "tiny, float64 X", "tiny, csr X", "readme24", "readme24, csr X"]
    assert [work.label for work in works] == labels, "float64 is readme24's own dtype"
    assert [work.dtype for work in works] == ["float32"] * 3 + ["float64"] * 2
    assert [work.label for work in compare.workloads(["tiny"], "float64", ["float64", "own", "float32"])] == [
        "tiny", "tiny, float32 X",
    ]  # fmt: skip


@pytest.mark.slow
def test_compare_hands_X_over_as_it_is_told_and_says_beforehand_how_long_it_takes(tmp_path, monkeypatch, capsys):
    measured = compare.compare

    def told(*args):
        assert "It will take about" in capsys.readouterr().out, "before anything is measured"
        return measured(*args)

    monkeypatch.setattr(compare, "compare", told)
    arguments = ["--networks", "tiny", "--peers", "numpy", "--inputs", "own", "fortran64", "--no-peak"]
    assert compare.main([*arguments, "--rounds", "1", "--threads", "1", "--out", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "compare.json").read_text())
    assert [row["inputs"] for row in report["rows"]] == [None, "fortran64"]
    assert [row["status"] for row in report["rows"]] == ["ok", "ok"]
    table = (tmp_path / "compare.md").read_text()
    assert "| tiny 4-16-16-2, 32 " in table
    assert "| tiny 4-16-16-2, 32, fortran64 X |" in table


def test_expected_time_counts_what_is_asked_for():
    works = [WORKLOADS["tiny"], WORKLOADS["digits"]]
    little, more = (compare.expected_seconds(works, 2, rounds, peak=False) for rounds in (1, 11))
    assert more - little > 2 * 2 * 10 * 0.2, "a turn takes a fifth of a second"
    assert compare.expected_seconds([WORKLOADS["wide"]], 1, 5, peak=False) > compare.expected_seconds(
        [WORKLOADS["tiny"]], 1, 5, peak=False
    )


# ---------------------------------------------------------------------- turns


def test_players_take_turns_and_each_round_begins_with_another():
    log = []
    players = {name: functools.partial(lambda name: log.append(name) or name.upper(), name) for name in "abc"}
    done, failed = turns.by_turns(players, 4)
    assert "".join(log) == "abcbcacababc"
    assert done == {"a": ["A"] * 4, "b": ["B"] * 4, "c": ["C"] * 4}
    assert failed == {}
    assert turns.by_turns({}, 3) == ({}, {})


def test_who_gives_up_is_not_asked_again_and_other_errors_pass():
    answers = iter([1, PeerError("failed", "ill")])

    def moody():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    done, failed = turns.by_turns({"moody": moody, "steady": lambda: 7}, 3, PeerError)
    assert done == {"moody": [1], "steady": [7, 7, 7]}
    assert str(failed["moody"]) == "ill"
    with pytest.raises(ZeroDivisionError):
        turns.by_turns({"wrong": lambda: 1 / 0}, 1, PeerError)


def test_a_turn_is_as_many_calls_as_take_its_time():
    assert len(turns.repeated(lambda: None, 0)) == 1
    times = turns.repeated(lambda: time.sleep(0.01), 0.035)
    assert len(times) in (1, 2, 3, 4)
    assert sum(times) >= 0.035


@pytest.mark.parametrize(("used", "text"), [(0.0, "No other"), (0.02, "No other"), (3.0, "NOT QUIET: other")])
def test_other_programs_are_seen(monkeypatch, used, text):
    clock = iter([0.0, used])
    monkeypatch.setattr(turns, "busy_seconds", lambda: next(clock) + time.process_time())
    assert text in turns.how_quiet(0.2)


# ---------------------------------------------------------------------- X of any kind


def values(rows=60, columns=7):
    return np.random.default_rng(5).standard_normal((rows, columns))


def test_forms_are_what_their_names_say():
    X = {name: make(values()) for name, make in FORMS.items()}
    for name in ("float32", "float64", "float16", "uint8", "int16", "int32", "int64", "bool"):
        assert X[name].dtype == name
        assert X[name].flags.c_contiguous
        assert len(np.unique(X[name])) > 1
    for name, dtype in (("fortran32", np.float32), ("fortran64", np.float64)):
        assert X[name].dtype == dtype
        assert X[name].strides[0] == X[name].itemsize
    assert max(X["backwards"].strides) < 0
    assert X["gaps"].strides == (2 * 7 * 4, 2 * 4)
    assert not X["swapped"].dtype.isnative
    assert isinstance(X["memmap"], np.memmap)
    assert not X["memmap"].flags.writeable
    assert X["csr"].format == "csr"
    assert FORMS["csr"](values(1000, 100)).nnz / 1e5 == pytest.approx(0.11, abs=0.01)
    assert X["frame"].to_numpy().flags.f_contiguous
    for name in ("float64", "fortran64", "swapped", "memmap", "frame"):
        np.testing.assert_array_equal(as_array(X[name], "float64"), values())
    for name in ("float32", "fortran32", "backwards", "gaps"):
        np.testing.assert_array_equal(as_array(X[name], "float32"), values().astype("float32"))
    for name, made in X.items():
        whole, part = as_array(made, "float32"), as_array(first(made, 9), "float32")
        assert whole.flags.c_contiguous, name
        np.testing.assert_array_equal(part, whole[:9], err_msg=name)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_baseline_reads_any_form_of_X_as_the_cast_of_it(form, shuffle):
    work = replace(SMALL, dtype="float32", inputs=form)
    problem = make_problem(work)
    engines = [Engine(p, threads=1) for p in (problem, replace(problem, X=problem.cast()))]
    for engine in engines:
        engine.run(2, shuffle)
    np.testing.assert_allclose(engines[0].result(), engines[1].result(), rtol=1e-6, atol=1e-7)
    assert not np.allclose(engines[0].result(), problem.params)


@pytest.mark.parametrize("form", ["float64", "uint8", "fortran64", "csr", "frame"])
@pytest.mark.parametrize("module", ["ours", "sklearn_mlp"])
def test_peers_take_any_form_of_X_and_do_the_same_work(module, form):
    peer = pytest.importorskip(f"benchmarks.peers.{module}")
    problem, epochs = check_problem(make_problem(replace(WORKLOADS["digits"], inputs=form)))
    engine, baseline = (made(problem, threads=1) for made in (peer.Engine, Engine))
    for each in (engine, baseline):
        each.run(epochs, shuffle=False)
    compare.check(problem.work, 0, module, engine.result(), baseline.result())


@pytest.mark.slow
def test_inputs_measures_and_writes_its_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(inputs, "QUICK", replace(inputs.QUICK, rows=128, forward_rows=256, rounds=3))
    arguments = ["--networks", "tiny", "--forms", "float32", "int64", "csr", "--threads", "1", "--quick"]
    assert inputs.main([*arguments, "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "It will take about" in out.splitlines()[0]
    report = json.loads((tmp_path / "inputs.json").read_text())
    assert [(row["call"], row["form"], row["rows"]) for row in report["rows"]] == [
        (call, form, rows) for call, rows in (("fit", 128), ("forward", 256)) for form in ("float32", "int64", "csr")
    ]
    for row in report["rows"]:
        assert 0 < row["low"] <= row["ratio"] <= row["high"]
        assert row["us"] > 0
    assert [row["target"] for row in report["rows"][:3]] == [None, 1.1, 1.5]
    assert (tmp_path / "inputs.md").read_text() in out


def test_targets_are_those_of_the_issue():
    assert inputs.target("fortran64", 784) == 1.25
    assert inputs.target("fortran64", 64) == inputs.target("float64", 784) == inputs.target("memmap", 4) == 1.1
    assert inputs.target("frame", 784) == 1.2
    assert inputs.target("csr", 4) == 1.5


def test_what_is_over_its_target_has_a_star():
    row = {"network": "mnist_s", "call": "fit", "low": 1.0, "high": 2.0, "others": 0.0}
    rows = [
        row | {"form": "float32", "ratio": 1.3, "target": None},
        row | {"form": "fortran64", "ratio": 1.25, "target": 1.25},
        row | {"form": "int64", "ratio": 1.25, "target": 1.1},
    ]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in inputs.overview(rows).splitlines()]
    assert lines[0] == ["X", "fit, 784-128-10", "at most"]
    assert lines[2:] == [["float32", "1.3x", "-"], ["fortran64", "1.25x", "1.25x"], ["int64", "1.25x*", "1.1x"]]
    size = {"rows": 1, "epochs": 1, "forward_rows": 1, "rounds": 1}
    text = inputs.markdown({"rows": rows, "size": size, "processor": "a", "threads": 2, "date": "b"})
    assert "1 of 2 ratios are over their target" in text


def test_a_form_that_is_read_as_other_numbers_is_not_timed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(inputs, "as_array", lambda X, dtype: np.nextafter(as_array(X, dtype), np.float32(9)))
    arguments = ["--networks", "tiny", "--forms", "int16", "--threads", "1", "--quick", "--out", str(tmp_path)]
    assert inputs.main(arguments) == 1
    assert not any(tmp_path.iterdir())
    assert "X as int16 on network 'tiny': other bits" in capsys.readouterr().err


@pytest.fixture
def peer(tmp_path, monkeypatch):
    """A function that makes a peer of a module's source."""

    def make(name, source):
        (tmp_path / f"{name}.py").write_text("from benchmarks.peers.numpy_code4 import *\n" + textwrap.dedent(source))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setitem(PEERS, name, name)
        return name

    return make


def test_a_peer_that_trains_something_else_is_named_and_not_timed(peer):
    careless = peer(
        "careless",
        """
        class Engine(Engine):
            def update_params(self):
                self.db[1][:] = 0  # forgets a bias
                super().update_params()

            def run(self, epochs, shuffle):
                assert not shuffle, "timed"
                super().run(epochs, shuffle)
        """,
    )
    with pytest.raises(ResultsDiffer, match=r"peer 'careless' on network 'tiny'.*5e-03"):
        compare.compare(["tiny"], ["numpy", careless], threads=1, rounds=1, peak=False)


def test_a_peer_that_dies_leaves_the_others_figures(peer):
    broken = peer(
        "broken",
        """
        import os

        class Engine(Engine):
            def run(self, epochs, shuffle):
                if shuffle:
                    os._exit(3)
                super().run(epochs, shuffle)
        """,
    )
    rows = compare.compare(["tiny"], [broken, "numpy"], threads=1, rounds=1, peak=False)["rows"]
    assert [row["status"] for row in rows] == ["failed", "ok"]
    assert rows[0]["reason"] == "the process ended with code 3"


def test_ratios_and_shares():
    row = {"network": "tiny", "dtype": "float32", "gflops": 5.0}
    rows = [row | {"peer": "ours", "us": 2.0}, row | {"peer": "numpy", "us": 30.0}]
    report = {"rows": rows, "peak": {"float32": {"thread": 60.0, "together": 100.0, "sustained": 90.0}}}
    compare.complete(report)
    assert [r["ratio"] for r in report["rows"]] == [1.0, 15.0]
    assert report["rows"][1]["share"] == 0.05
    compare.complete(report | {"rows": rows[1:], "peak": {}})
    assert rows[1]["ratio"] is None
    assert rows[1]["share"] is None


@pytest.mark.parametrize(
    ("argument", "value"),
    [("--networks", "huge"), ("--peers", "nobody"), ("--inputs", "float8"), ("--threads", "0"), ("--rounds", "0")],
)
def test_bad_arguments_are_named(argument, value, capsys):
    with pytest.raises(SystemExit) as stop:
        compare.main([argument, value])
    assert stop.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert argument in message
    assert value in message


def test_threads_reach_the_libraries_before_they_are_imported(peer, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    name = peer(
        "counter", "import os\nversion = ' '.join([os.environ['OPENBLAS_NUM_THREADS'], os.environ['OMP_NUM_THREADS']])"
    )
    worker = Worker(name, 1)
    worker.close()
    assert worker.version == "1 1"
    assert os.environ["OPENBLAS_NUM_THREADS"] == "7", "the caller's environment is as before"


def test_a_disturbed_figure_is_called_so():
    row = {"network": "tiny", "peer": "numpy", "us": 30.0, "idle": 0.0, "spun": 0.1, "finite": True}
    assert "DISTURBED" not in " ".join(compare.remarks([row | {"others": 0.05}]))
    assert "numpy on tiny (0.9)" in " ".join(compare.remarks([row | {"others": 0.05}, row | {"others": 0.9}]))


def test_busy_seconds_sees_work():
    before, started = turns.busy_seconds(), time.process_time()
    while time.process_time() - started < 0.3:
        pass
    assert turns.busy_seconds() - before > 0.25


# ---------------------------------------------------------------------- asv's suites


def test_asv_imports_its_suites_without_the_peers_libraries():
    code = """
        import importlib, pkgutil, sys
        import suites
        for module in pkgutil.iter_modules(suites.__path__, "suites."):
            importlib.import_module(module.name)
        print(*sorted({"torch", "jax", "sklearn", "suites.peers", "suites.start"} & sys.modules.keys()))
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT / "benchmarks")}  # as asv imports them: not as benchmarks.suites
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd="/", env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["suites.peers", "suites.start"], done.stderr


def test_suites_train():
    epoch = training.Epoch()
    epoch.setup("tiny", "float32", "1")
    before = epoch.engine.result()
    epoch.time_epoch("tiny", "float32", "1")
    assert not np.array_equal(epoch.engine.result(), before)
    epoch.setup("tiny", "float32", "1")
    assert not np.array_equal(epoch.engine.result(), before), "setup before each sample must not start anew"
    epoch.setup("tiny", "float64", "all")
    assert epoch.engine.result().dtype == np.float64
    training.Memory().peakmem_epoch("tiny", "float32")


def test_suites_step_and_share(monkeypatch):
    assert 0.1 < training.Step().track_step("tiny", "float32", "all") < 1e5
    monkeypatch.setattr(training, "us_per_step", lambda network, dtype, threads: 2.0)
    share = training.Peak().track_share({"float64": {"together": 100.0}}, "tiny", "float64")
    assert share == WORKLOADS["tiny"].flops / 2e-6 / 1e11


def test_suites_forward():
    suite = forward.Forward()
    for rows in (1, 32, 1024):
        suite.setup("digits", rows, "float64", "1")
        assert suite.X.shape == (rows, 64)
        assert suite.X.dtype == suite.net.dtype == np.float64
        suite.time_forward("digits", rows, "float64", "1")


@pytest.mark.parametrize("form", ["fortran64", "csr", "frame"])
def test_suites_of_inputs(form):
    fit, forward = input_suites.Fit(), input_suites.Forward()
    fit.setup("tiny", form)
    before = fit.call(fit.X).cost
    fit.time_epoch("tiny", form)
    (after,) = fit.call(fit.X).cost
    assert after < before[0], "it learns, one epoch a call"
    forward.setup("tiny", form)
    assert forward.call(forward.X).shape == (input_suites.ROWS["forward"], 2)
    forward.time_forward("tiny", form)


@pytest.mark.parametrize(
    ("suite", "arguments"),
    [
        (start.Import().timeraw_import, ()),
        (start.WarmFirstCall().timeraw_first_call, ("float32",)),
        pytest.param(start.ColdFirstCall().timeraw_first_call, ("float32",), marks=pytest.mark.slow),
    ],
    ids=["import", "warm", "cold"],
)
def test_suites_of_a_new_process(suite, arguments):
    statement, setup = suite(*arguments)
    check = """
import sys
assert "fastbackprop" in sys.modules
if "folder" in globals():  # compiled just now, and nowhere else
    from pathlib import Path
    assert list(Path(folder.name).rglob("*.nbc"))
"""
    code = setup + "\n" + statement + check
    done = subprocess.run([sys.executable, "-"], input=code, cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_suites_ratios_come_from_one_comparison(monkeypatch):
    monkeypatch.setitem(PEERS, "absent", "benchmarks.peers.no_such_library")
    measured, engines = compare.compare, ["ours", "numpy", "absent"]

    def small(rounds, **options):
        return measured(["tiny"], engines, threads=1, rounds=1, **options)

    monkeypatch.setattr(peers, "compare", small)
    suite = peers.Peers()
    rows = suite.setup_cache()
    for X, label in zip(("own", "float64"), ("tiny", "tiny, float64 X")):
        assert suite.track_ratio(rows, "tiny", "numpy", X) == rows[label, "numpy"]["us"] / rows[label, "ours"]["us"]
    assert math.isnan(suite.track_ratio(rows, "tiny", "absent", "own")), "asv shows NaN as n/a"
    rows["tiny", "numpy"] = {"status": "failed", "reason": "the process ended with code 3"}
    with pytest.raises(RuntimeError, match="code 3"):
        suite.track_ratio(rows, "tiny", "numpy", "own")


# ---------------------------------------------------------------------- scaling


def test_fit_finds_the_line_its_range_and_the_exponent():
    x = np.geomspace(1, 1e5, 11)
    found = scaling.fit(x, 5 + 0.1 * x)
    assert (found["a"], found["b"]) == pytest.approx((5, 0.1))
    assert found["worst"] < 1e-9
    # 5 is a twentieth of 5 + 0.1 x at x = 950; the first point above it is 1000.
    assert found["from"] == pytest.approx(1000)
    assert found["points"] == 5
    assert 0.97 < found["exponent"] < 1

    steep = scaling.fit(x, 3 * x**1.5)
    assert steep["exponent"] == pytest.approx(1.5)
    assert steep["worst"] > 0.5, "a line does not describe it"


def test_fit_has_no_negative_parts_and_no_exponent_of_two_points():
    found = scaling.fit([10, 100, 1000], [0.9, 9.9, 100])
    assert found["a"] == 0
    assert found["b"] > 0
    flat = scaling.fit([1, 2, 3, 4], [4, 3, 2, 1])
    assert flat["b"] == 0
    assert flat["exponent"] is None
    assert "too few points" in scaling.verdict({"fit": flat})


def test_scaling_covers_three_decades():
    for make, sizes, x_of in scaling.SERIES.values():
        works = [make(size) for size in sizes]
        assert x_of(works[-1]) >= 1000 * x_of(works[0])
        assert all(work.samples == work.steps * work.batch for work in works)


@pytest.mark.slow
def test_scaling_measures_and_writes_its_files(tmp_path):
    points = {"batch": [16, 64], "parameters": [8]}
    report = scaling.scaling("float64", threads=[1], rounds=1, points=points)
    batch, parameters = report["series"]
    assert [row["batch"] for row in batch["rows"]] == [16, 64]
    assert [row["parameters"] for row in parameters["rows"]] == [2 * 8 * 9 + 9 * 10]
    assert all(row["us"] > 0 for series in report["series"] for row in series["rows"])
    files = scaling.save(report, tmp_path / "new")
    assert json.loads(files[0].read_text())["series"][0]["fit"] == batch["fit"]
    assert "By the batch, 64-128-10, 1 thread(s): t = " in files[1].read_text()
    if len(files) == 3:  # matplotlib is an extra
        assert files[2].read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------------- threads


@pytest.mark.parametrize("name", [name for name in WORKLOADS if name not in ("wide", "readme24")])
def test_the_model_of_threads_counts_the_work_of_a_step(name):
    """One thread's cycles: the products of `Workload.flops`, in lines of FMA, and less than as much besides."""
    model = threads.Model(WORKLOADS[name])
    phases, used, groups = model.phases(1)
    products = WORKLOADS[name].flops / 2 / 16
    assert (used, groups) == (1, 0)
    assert products <= model.longest(phases, 1) <= 2 * products + 1000 * model.work.batch / 16
    for count in (2, 4, 8):
        phases, used, _ = model.phases(count)
        assert model.longest(phases, used) * used >= products * 0.99


def test_the_model_of_threads_counts_what_changes_cores():
    costs = {"alone": 100.0, "stream": 10.0}
    digits, mnist_l = (threads.Model(WORKLOADS[name]) for name in ("digits", "mnist_l"))
    assert digits.lines(4, 4) == 3 * 2 * 10  # sums of three others, two panels, ten outputs
    assert mnist_l.lines(4, 4) == 3 * 8 * 512
    found = digits.expected(64, 18.0, costs)
    assert (found["used"], found["how"]) == (4, "4 unit shards")
    assert found["handed"] == pytest.approx(0.6)
    assert found["meetings"] == pytest.approx(0.5)  # four tasks and a claim
    assert 18.0 / 4 < found["work"] < 18.0 / 2.5
    assert found["us"] == pytest.approx(found["work"] + 1.1)
    assert threads.Model(WORKLOADS["tiny"]).expected(64, 1.8, costs)["us"] == 1.8


def test_threads_measures_and_writes_its_files(tmp_path):
    report = threads.threads_report(["tiny", "readme24"], [1, 2], rounds=1)
    assert len(report["measured"]) == 2 * 2 * 2
    assert all(row["us"] > 0 for row in report["measured"])
    assert report["line"]["alone"] > 0
    text = threads.markdown(report)
    assert "| tiny " in text
    assert [row["used"] for item in report["expected"] for row in item["least"]] == [1] * 10


# ---------------------------------------------------------------------- latency


@pytest.mark.parametrize("module", ["ours", "sklearn_mlp"])
@pytest.mark.parametrize("name", ["digits", "matexp"])
def test_peers_give_the_same_outputs(module, name):
    peer = pytest.importorskip(f"benchmarks.peers.{module}")
    problem = make_problem(replace(WORKLOADS[name], dtype="float64", batch=3, samples=300))
    expected = Engine(problem, threads=1).forward(problem.X[:3])
    np.testing.assert_allclose(peer.Engine(problem, threads=1).forward(problem.X[:3]), expected, rtol=1e-12)


@pytest.mark.slow
def test_latency_of_the_same_outputs(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(PEERS, "absent", "benchmarks.peers.no_such_library")
    names = ["ours", "numpy", "sklearn", "absent"]
    options = ["--network", "digits", "--rows", "3", "--dtype", "float64", "--rounds", "1"]
    assert latency.main([*options, "--out", str(tmp_path), "--peers", *names]) == 0, capsys.readouterr().err
    report = json.loads((tmp_path / "latency.json").read_text())
    assert list(report["peers"]) == names
    assert report["peers"]["absent"]["status"] == "not installed"
    assert all(report["peers"][name]["us"] > 0 for name in names[:3])
    text = (tmp_path / "latency.md").read_text()
    assert "`forward` of 3 row(s) of digits" in text
    assert text in capsys.readouterr().out


@pytest.mark.peers
def test_latency_of_the_frameworks():
    for name, row in latency.latency(peers=["torch", "jax_step", "torch_compile"], rounds=1)["peers"].items():
        if row["status"] == "not installed":
            pytest.skip(row["reason"])
        assert row["status"] == ("n/a" if name == "torch_compile" else "ok"), row


def test_a_peer_with_other_outputs_has_no_latency(peer):
    careless = peer(
        "rough",
        """
        class Engine(Engine):
            def forward(self, X):
                return super().forward(X).round(3)
        """,
    )
    with pytest.raises(ResultsDiffer, match="peer 'rough' on network 'tiny'"):
        latency.latency(peers=["numpy", careless], rounds=1)


@pytest.mark.parametrize(
    ("command", "argument", "value"),
    [
        (latency, "--rows", "0"),
        (latency, "--network", "huge"),
        (scaling, "--threads", "0"),
        (scaling, "--rounds", "0"),
        (inputs, "--forms", "float8"),
        (inputs, "--rows", "many"),
        (inputs, "--threads", "1000000"),
    ],
)
def test_bad_arguments_of_the_other_commands_are_named(command, argument, value, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main([argument, value])
    assert stop.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert argument in message
    assert value in message
