"""ONNX: onnxruntime gives what the network, the estimator and the command line give; graphs are read back."""

from __future__ import annotations

import contextlib
import json
import tracemalloc

import numpy as np
import pandas as pd
import pytest

import fastbackprop as fb
from fastbackprop import cli, datasets, tables
from fastbackprop.sklearn import MLPClassifier, MLPRegressor
from tests.interop import CASES, assert_near, assert_same, inputs, mixed_table, network, train

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def run(model, values):
    """The outputs by name, as onnxruntime computes them."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, values)))


@pytest.mark.parametrize(("hidden", "output", "dtype"), CASES)
def test_onnxruntime_gives_the_outputs_of_a_network(hidden, output, dtype):
    net = network(hidden, output, dtype)
    model, X = fb.interop.to_onnx(net), inputs(net)
    onnx.checker.check_model(model, full_check=True)
    assert_near(run(model, {"X": X})["outputs"], net, X)
    assert_near(run(model, {"X": X[:1]})["outputs"], net, X[:1])


@pytest.mark.parametrize("opset", [13, 17, 20])
def test_each_version_of_the_operators_is_one_that_onnxruntime_knows(opset, tmp_path):
    net = network(["gelu", "elu"], "softmax", "float32")
    model, X = fb.interop.to_onnx(net, tmp_path / "net.onnx", opset), inputs(net)
    assert [entry.version for entry in model.opset_import] == [opset]
    assert_near(run(onnx.load(tmp_path / "net.onnx"), {"X": X})["outputs"], net, X)


def test_what_cannot_be_exported_is_one_error_and_no_file(tmp_path):
    net, path = network("relu", "identity", "float32"), tmp_path / "net.onnx"
    with pytest.raises(ValueError, match="opset must be an integer of at least 13, got 9"):
        fb.interop.to_onnx(net, path, 9)
    with pytest.raises(ValueError, match="opset must be from 13 to"):
        fb.interop.to_onnx(net, path, 1000)
    with pytest.raises(TypeError, match=r"model must be a Network, .* got 3"):
        fb.interop.to_onnx(3, path)
    with pytest.raises(FileNotFoundError):
        fb.interop.to_onnx(net, tmp_path / "none" / "net.onnx")
    net.params[0] = np.nan
    with pytest.raises(ValueError, match="model must have finite parameters"):
        fb.interop.to_onnx(net, path)
    assert not list(tmp_path.iterdir())


LABELS = [["b", "a", "c"], [10, 7, 30], [True, False], [0.0, 1.0, 2.0], ["x", "y"]]


@pytest.mark.parametrize("labels", LABELS, ids=str)
def test_classifiers_give_label_and_probabilities(labels):
    X = np.random.default_rng(0).standard_normal((60, 4))
    y = np.array(labels)[np.digitize(X[:, 0], [-0.5, 0.5][: len(labels) - 1])]
    estimator = MLPClassifier(8, max_iter=30, random_state=0, tol=0).fit(X, y)
    got = run(fb.interop.to_onnx(estimator), {"X": X})
    assert list(got) == ["label", "probabilities"]
    assert got["label"].tolist() == estimator.predict(X).tolist()
    assert len(set(got["label"].tolist())) == len(labels)
    np.testing.assert_allclose(got["probabilities"], estimator.predict_proba(X), atol=1e-12)


def test_several_labels_and_regressors():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4))
    several = MLPClassifier(8, max_iter=30, random_state=0, tol=0).fit(X, X[:, :3] > 0)
    got = run(fb.interop.to_onnx(several), {"X": X})
    assert (got["label"] == several.predict(X)).all()
    np.testing.assert_allclose(got["probabilities"], several.predict_proba(X), atol=1e-12)
    frame = pd.DataFrame(X, columns=list("abcd"))
    one = MLPRegressor(hidden_layer_sizes=8, max_iter=30, random_state=0, dtype="float32", tol=0).fit(frame, X[:, 0])
    model = fb.interop.to_onnx(one)
    got = run(model, {"X": X.astype("f4")})["variable"]
    np.testing.assert_allclose(got[:, 0], one.predict(frame), atol=1e-6)
    metadata = {entry.key: json.loads(entry.value) for entry in model.metadata_props if entry.value[0] in "[{"}
    assert metadata["names"] == list("abcd")
    assert metadata["sizes"] == [4, 8, 1]


# ---------------------------------------------------------------------- tables


def columns_of(model, frame):
    """Raw columns of a table as the graph takes them: texts, numbers, days."""
    values = {}
    for entry in model.graph.input:
        column = frame[entry.name]
        if entry.type.tensor_type.elem_type == onnx.TensorProto.STRING:
            values[entry.name] = column.astype(object).where(column.notna(), "").astype(str).to_numpy(object)[:, None]
        elif str(column.dtype).startswith("datetime"):
            days = (column - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
            values[entry.name] = days.to_numpy(np.float64)[:, None]
        else:
            values[entry.name] = pd.to_numeric(column).to_numpy(np.float64, na_value=np.nan)[:, None]
    return values


def predicted(folder, name, data):
    """The table that ``fastbackprop predict`` writes."""
    with pytest.raises(SystemExit) as end:
        cli.main(["predict", str(folder / f"{name}.safetensors"), str(data), "-o", str(folder / "out.csv")])
    assert not end.value.code
    return pd.read_csv(folder / "out.csv", keep_default_na=False)


def assert_is_predicted(got, csv, targets, dtype="float32"):
    """What onnxruntime gives is what stands in the CSV."""
    if "variable" in got:
        expected = csv[list(targets)].to_numpy()
        np.testing.assert_allclose(got["variable"], expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
        return
    assert list(map(str, got["label"])) == csv[targets[0]].astype(str).tolist()
    probabilities = csv[[name for name in csv if name.startswith("probability_")]].to_numpy()
    np.testing.assert_allclose(got["probabilities"], probabilities, atol=1e-6)


@pytest.mark.parametrize("name", datasets.NAMES)
def test_the_command_lines_examples_give_the_predictions_of_the_csv(name, tmp_path):
    train(name, "--epochs", 3, "-o", tmp_path)
    frame, targets = datasets.load_frame(name)
    frame.to_csv(tmp_path / "data.csv", index=False)
    model = fb.interop.to_onnx(tmp_path / f"{name}.safetensors")
    onnx.checker.check_model(model, full_check=True)
    assert_is_predicted(run(model, columns_of(model, frame)), predicted(tmp_path, name, tmp_path / "data.csv"), targets)


@pytest.mark.parametrize("target", ["price", "cheap", "stars"])
def test_columns_of_every_kind_with_missing_values(target, tmp_path):
    frame = mixed_table()
    if target == "stars":
        frame = frame[frame.stars.notna()]
    frame.to_csv(tmp_path / "data.csv", index=False)
    more = ["--categorical", "stars"] if target != "stars" else []
    train(tmp_path / "data.csv", "--target", target, "--epochs", 3, "--dtype", "float64", *more, "-o", tmp_path)
    model = fb.interop.to_onnx(tmp_path / "data.safetensors")
    onnx.checker.check_model(model, full_check=True)
    new = mixed_table(rows=200, seed=9)
    new.loc[:3, "colour"] = ["NA", "purple", "n/a", "None"]
    new.loc[4:5, "size"] = [np.inf, -np.inf]
    new.to_csv(tmp_path / "new.csv", index=False)
    got = run(model, columns_of(model, new))
    assert_is_predicted(got, predicted(tmp_path, "data", tmp_path / "new.csv"), [target])


def test_words_that_mean_a_missing_value_are_the_users(tmp_path):
    frame = mixed_table()[["colour", "size", "cheap"]]
    frame["colour"] = frame["colour"].fillna("unknown")
    frame.to_csv(tmp_path / "data.csv", index=False)
    train(tmp_path / "data.csv", "--target", "cheap", "--epochs", 2, "--missing", "unknown", "-o", tmp_path)
    model = fb.interop.to_onnx(tmp_path / "data.safetensors")
    assert_is_predicted(
        run(model, columns_of(model, frame)), predicted(tmp_path, "data", tmp_path / "data.csv"), ["cheap"]
    )


def test_dates_of_four_hundred_years_are_encoded_as_in_python():
    days = pd.Series(pd.date_range("1893-12-30", "2301-01-02", freq="D").astype("datetime64[s]"))
    days[3] = pd.NaT
    column = tables.Date("day", "ISO8601", 1.0, 2.0, 3.0, ("year", "week", "day"))
    table = tables.Table((column,), ("y",), "regression", mean=(0.0,), scale=(1.0,))
    net = fb.Network((7, 7), output="identity", dtype="float64", seed=0)
    net.weights[0][...] = np.eye(7)
    from fastbackprop.interop.onnx import Graph, add_network
    from fastbackprop.interop.onnx_table import add_inputs

    g = Graph(net.dtype)
    given, x = add_inputs(g, table, net.dtype)
    output = onnx.helper.make_tensor_value_info(add_network(g, net, x), onnx.TensorProto.DOUBLE, [None, 7])
    versions = [onnx.helper.make_opsetid("", 17)]
    graph = onnx.helper.make_graph(g.nodes, "dates", given, [output], g.constants)
    model = onnx.helper.make_model(graph, opset_imports=versions, ir_version=8)
    frame = pd.DataFrame({"day": days})
    (got,) = run(model, columns_of(model, frame)).values()
    np.testing.assert_allclose(got, table.transform(frame), atol=1e-12)


# ---------------------------------------------------------------------- reading


@pytest.mark.parametrize(("hidden", "output", "dtype"), CASES)
def test_what_was_written_is_read_back_bit_for_bit(hidden, output, dtype, tmp_path):
    net = network(hidden, output, dtype)
    model = fb.interop.to_onnx(net, tmp_path / "net.onnx")
    for source in (model, model.SerializeToString(), tmp_path / "net.onnx", str(tmp_path / "net.onnx")):
        same = fb.interop.from_onnx(source)
        assert_same(net, same)
        assert same.hidden == net.hidden


def test_networks_of_estimators_are_read_back():
    X = np.random.default_rng(0).standard_normal((60, 4))
    estimators = [
        MLPClassifier(8, max_iter=3, random_state=0).fit(X, X[:, 0] > 0),
        MLPClassifier(8, max_iter=3, random_state=0, activation="logistic").fit(X, np.digitize(X[:, 0], [-1, 1])),
        MLPClassifier(8, max_iter=3, random_state=0).fit(X, X[:, :3] > 0),
        MLPRegressor(hidden_layer_sizes=8, max_iter=3, random_state=0).fit(X, X[:, 0]),
    ]
    for estimator in estimators:
        same = fb.interop.from_onnx(fb.interop.to_onnx(estimator))
        assert_same(estimator.network_, same)
        assert same.hidden == estimator.network_.hidden


@pytest.mark.parametrize("target", ["price", "cheap"])
def test_of_a_table_the_network_behind_the_preprocessing_is_read(target, tmp_path):
    mixed_table().to_csv(tmp_path / "data.csv", index=False)
    train(tmp_path / "data.csv", "--target", target, "--epochs", 2, "-o", tmp_path)
    path = tmp_path / "data.safetensors"
    assert_same(fb.load(path), fb.interop.from_onnx(fb.interop.to_onnx(path)))


def graph(nodes, constants=(), inputs=(("X", 4),), outputs=("Y",), domain=()):
    """A model of nodes, given as operator, inputs, output and attributes."""
    helper = onnx.helper
    made = []
    for k, (op, given, to, attributes) in enumerate(nodes):
        where = {"domain": "ai.onnx.ml"} if op in ("Scaler", "ZipMap") else {}
        made.append(helper.make_node(op, given, [to], f"n{k}", **where, **attributes))
    tensors = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in dict(constants).items()]
    infos = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, n]) for name, n in inputs]
    outs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, None]) for name in outputs]
    body = helper.make_graph(made, "g", infos, outs, tensors)
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(body, opset_imports=versions, ir_version=8)


RNG = np.random.default_rng(7)
W1, B1 = RNG.standard_normal((4, 6)).astype("f4"), RNG.standard_normal(6).astype("f4")
W2, B2 = RNG.standard_normal((6, 3)).astype("f4"), RNG.standard_normal((1, 3)).astype("f4")
MEAN, SCALE = RNG.standard_normal(4).astype("f4"), RNG.uniform(1, 2, (1, 4)).astype("f4")
CONSTANTS = {
    "W1": W1, "B1": B1, "W2": W2, "B2": B2, "mean": MEAN, "scale": SCALE, "half": np.float32(0.5), "one": np.float32(1),
    "cubic": np.float32(0.044715), "s": np.float32(np.sqrt(2 / np.pi)), "three": np.float32(3), "flat": [-1, 6],
    "wide": [0, -1], "target_scale": np.float32([2, 3, 4]), "target_mean": np.float32([1, 0, -1]),
    "twenty": np.float32(20), "gamma": RNG.uniform(1, 2, 6).astype("f4"), "variance": RNG.uniform(1, 2, 6).astype("f4"),
}  # fmt: skip
MATMUL = [("MatMul", ["X", "W1"], "m", {}), ("Add", ["m", "B1"], "z", {})]
END = [("MatMul", ["a", "W2"], "n", {}), ("Add", ["B2", "n"], "y", {})]
GELU = [
    ("Pow", ["z", "three"], "cube", {}), ("Mul", ["cube", "cubic"], "c", {}), ("Add", ["z", "c"], "zc", {}),
    ("Mul", ["s", "zc"], "u", {}), ("Tanh", ["u"], "t", {}), ("Add", ["t", "one"], "t1", {}),
    ("Mul", ["t1", "half"], "phi", {}), ("Mul", ["phi", "z"], "a", {}),
]  # fmt: skip
READABLE = {
    "gelu of a paper": ([*MATMUL, *GELU, *END, ("Softmax", ["y"], "Y", {"axis": -1})], "gelu", "softmax"),
    "silu": (
        [*MATMUL, ("Sigmoid", ["z"], "g", {}), ("Mul", ["z", "g"], "a", {}), *END, ("Sigmoid", ["y"], "Y", {})],
        "silu", "sigmoid",
    ),
    "scaling before and after": (
        [
            ("Cast", ["X"], "f", {"to": 1}), ("Sub", ["f", "mean"], "c", {}), ("Div", ["c", "scale"], "x", {}),
            ("Gemm", ["x", "W1", "B1"], "z", {"alpha": 0.5, "beta": 2.0}), ("Clip", ["z", "zero"], "a", {}), *END,
            ("Mul", ["y", "target_scale"], "v", {}), ("Add", ["v", "target_mean"], "Y", {}),
        ],
        "relu", "identity",
    ),
    "a scaler": (
        [
            ("Scaler", ["X"], "x", {"offset": MEAN.tolist(), "scale": SCALE[0].tolist()}),
            ("Gemm", ["x", "W1", "B1"], "z", {}), ("Elu", ["z"], "a", {"alpha": 1.0}), *END, ("Exp", ["y"], "Y", {}),
        ],
        "elu", "exp",
    ),
    "the softplus of PyTorch's newer exporter": (
        [
            *MATMUL, ("Softplus", ["z"], "p", {}), ("Greater", ["z", "twenty"], "g", {}),
            ("Where", ["g", "z", "p"], "a", {}), *END, ("Identity", ["y"], "Y", {}),
        ],
        "softplus", "identity",
    ),
    "batch normalisation": (
        [
            *MATMUL, ("BatchNormalization", ["z", "gamma", "B1", "B1", "variance"], "bn", {"epsilon": 0.25}),
            ("Softplus", ["bn"], "a", {}), ("Dropout", ["a"], "d", {}), ("Reshape", ["d", "flat"], "r", {}),
            ("Gemm", ["r", "W2", "B2"], "Y", {}),
        ],
        "softplus", "identity",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", READABLE)
def test_graphs_of_others_are_read(name):
    nodes, hidden, output = READABLE[name]
    model = graph(nodes, CONSTANTS | {"zero": np.float32(0)})
    onnx.checker.check_model(model)
    net = fb.interop.from_onnx(model)
    assert (net.sizes, net.hidden, net.output, net.dtype) == ((4, 6, 3), (hidden,), output, np.float32)
    X = inputs(net)
    np.testing.assert_allclose(net.forward(X), run(model, {"X": X})["Y"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([*MATMUL, ("Conv", ["z", "W2"], "a", {}), *END], r"node 'n2' \(Conv\) is none of those"),
        ([*MATMUL, ("Softsign", ["z"], "a", {}), *END], r"node 'n2' \(Softsign\) is none of those"),
        ([*MATMUL, ("Selu", ["z"], "a", {"gamma": 1.0}), *END], "on layer 1 is none of the activations"),
        ([*MATMUL, ("LeakyRelu", ["z"], "a", {"alpha": 0.0101}), *END], "on layer 1 is none of the activations"),
        ([*MATMUL, ("Elu", ["z"], "a", {"alpha": 0.999}), *END], "on layer 1 is none of the activations"),
        ([*MATMUL, ("Mul", ["z", "half"], "a", {}), *END], "on layer 1 is none of the activations"),
        ([*MATMUL, ("Mul", ["z", "gamma"], "a", {}), *END], "on layer 1 is none of the activations"),
        ([("Tanh", ["X"], "x", {}), ("Gemm", ["x", "W1"], "y", {})], "before the first layer stands more than a scal"),
        ([*MATMUL, ("Tanh", ["z"], "y", {})], "on the last layer is none of identity, sigmoid, softmax and exp"),
        ([*MATMUL, ("Relu", ["z"], "a", {}), ("Add", ["a", "X"], "y", {})], r"\(Add\) brings together what is not of"),
        ([("MatMul", ["W1", "X"], "y", {})], r"\(MatMul\) has weights that are no constant"),
        ([("Gemm", ["X", "W1"], "y", {"transA": 1})], r"\(Gemm\) transposes its inputs"),
        ([("Gemm", ["X", "W1"], "y", {"transB": 1}), ("Gemm", ["y", "W2"], "Y", {})], "weights for 6 inputs, and 4 le"),
        ([*MATMUL, ("Softmax", ["z"], "y", {"axis": 0})], r"\(Softmax\) is not over the outputs"),
        ([("Gemm", ["later", "W1"], "y", {}), ("Relu", ["y"], "later", {})], "reads 'later', which no node before it"),
        ([("Relu", ["X"], "y", {})], "no node with weights leads to its output"),
        ([("RandomNormal", [], "y", {"shape": [3, 3]})], r"node 'n0' \(RandomNormal\) is none of those"),
        ([("Gemm", ["X", "W2"], "y", {}), ("Gemm", ["y", "W2"], "Y", {})], "weights for 6 inputs|weights for 3"),
    ],
)
def test_what_is_no_such_network_is_refused_by_the_node(nodes, message):
    *before, (op, given, _, attributes) = nodes
    model = graph([*before, (op, given, "Y", attributes)], CONSTANTS)
    with pytest.raises(ValueError, match=message) as error:
        fb.interop.from_onnx(model)
    assert str(error.value).startswith("cannot read a network from ")


# ---------------------------------------------------------------------- hostile files


def saved(tmp_path, change=lambda model: None):
    """The bytes of a graph, changed."""
    model = fb.interop.to_onnx(network("relu", "softmax", "float32"))
    change(model)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "net.onnx"


def test_every_truncation_is_one_error(tmp_path):
    path = saved(tmp_path)
    content, proto = path.read_bytes(), onnx.load(path)
    end_of_graph = content.index(proto.graph.SerializeToString()) + proto.graph.ByteSize()
    for size in range(0, end_of_graph, 7):
        with pytest.raises(ValueError, match=r"^cannot read a network from 'bytes': "):
            fb.interop.from_onnx(content[:size])


def test_flipped_bytes_are_read_or_refused(tmp_path):
    content, rng = saved(tmp_path).read_bytes(), np.random.default_rng(0)
    for _ in range(400):
        changed = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            changed[place] = rng.integers(256)
        with contextlib.suppress(ValueError):
            assert isinstance(fb.interop.from_onnx(bytes(changed)), fb.Network)


def test_shapes_that_claim_more_than_is_there(tmp_path):
    def grow(model):
        model.graph.initializer[0].dims[:] = [1 << 40, 1 << 40]

    path = saved(tmp_path, grow)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"node 'gemm' \(Gemm\) .* the constant 'weights.0' must have \d+ bytes"):
        fb.interop.from_onnx(path)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()

    def shrink(model):
        model.graph.initializer[0].dims[0] = -4

    with pytest.raises(ValueError, match=r"the constant 'weights.0' has the shape \(-4, 5\)"):
        fb.interop.from_onnx(saved(tmp_path, shrink))

    def store(model):  # numbers one by one, and too few
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.float_data.extend([1.0] * 3)

    with pytest.raises(ValueError, match=r"the constant 'weights\.0' must have 200 numbers, got 3"):
        fb.interop.from_onnx(saved(tmp_path, store))


def put_elsewhere(model, **entries):
    """Let the first constant be in another file; its bytes."""
    tensor = model.graph.initializer[0]
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return data


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "", "link.bin", "folder", "none.bin"])
def test_constants_in_other_files_lie_in_the_same_directory(location, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "folder").mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(2000))
    (tmp_path / "here" / "link.bin").symlink_to(tmp_path / "secret.bin")

    path = saved(tmp_path / "here", lambda model: put_elsewhere(model, location=location))
    with pytest.raises(ValueError, match=r"'weights\.0' must lie in a file of the same directory"):
        fb.interop.from_onnx(path)


def test_constants_beside_the_file_are_read(tmp_path):
    kept = []
    beside = {"location": "weights.bin", "offset": 8, "length": 800}
    path = saved(tmp_path, lambda model: kept.append(put_elsewhere(model, **beside)))
    (tmp_path / "weights.bin").write_bytes(bytes(8) + kept[0])
    assert_same(network("relu", "softmax", "float32"), fb.interop.from_onnx(path))
    with pytest.raises(ValueError, match="only those of a path's directory are read"):
        fb.interop.from_onnx(path.read_bytes())
    (tmp_path / "weights.bin").write_bytes(bytes(8) + kept[0][:-1])
    with pytest.raises(ValueError, match=r"must have 800 bytes in 'weights.bin', and has not"):
        fb.interop.from_onnx(path)


def test_small_files_do_not_become_large_networks(tmp_path):
    square = {"W": np.eye(50, dtype="f4")}
    names = ["X", *(f"z{k}" for k in range(100)), "Y"]
    model = graph([("Gemm", [a, "W"], b, {}) for a, b in zip(names, names[1:])], square, (("X", 50),))
    with pytest.raises(ValueError, match=r"\(Gemm\) has the weights of another layer"):
        fb.interop.from_onnx(model)
    names = ["X", *(f"z{k}" for k in range(9000)), "x"]
    nodes = [("Add", [a, "v"], b, {}) for a, b in zip(names, names[1:])]
    model = graph([*nodes, ("Gemm", ["x", "W"], "Y", {})], {"v": np.zeros(1000, "f4"), "W": np.zeros((1000, 1), "f4")})
    with pytest.raises(ValueError, match="its nodes make too many numbers of a few"):
        fb.interop.from_onnx(model)
    model = graph([("Relu", ["X"], f"y{k}", {}) for k in range(10_001)], {})
    with pytest.raises(ValueError, match="it has 10001 nodes"):
        fb.interop.from_onnx(model)


def test_infinite_weights_and_what_is_no_file(tmp_path):
    def spoil(model):
        model.graph.initializer[0].raw_data = np.full((40, 5), np.inf, "f4").tobytes()

    with pytest.raises(ValueError, match="weights and biases must be finite"):
        fb.interop.from_onnx(saved(tmp_path, spoil))
    with pytest.raises(OSError, match=r"none\.onnx"):
        fb.interop.from_onnx(tmp_path / "none.onnx")
    with pytest.raises(TypeError, match=r"source must be a path, bytes or an onnx\.ModelProto, got 3"):
        fb.interop.from_onnx(3)


def test_half_precision_becomes_single():
    model = graph([("Gemm", ["X", "W", "b"], "Y", {})], {"W": W1.astype("f2"), "b": B1.astype("f2")})
    net = fb.interop.from_onnx(model)
    assert net.dtype == np.float32
    assert (W1.astype("f2") == net.weights[0].T).all()


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_torch_exports_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    for k, activation in enumerate([torch.nn.SiLU(), torch.nn.GELU("tanh"), torch.nn.Softplus(), torch.nn.ELU()]):
        module = torch.nn.Sequential(torch.nn.Linear(4, 6), activation, torch.nn.Linear(6, 3), torch.nn.Softmax(1))
        X = torch.randn(9, 4)
        torch.onnx.export(module, X, tmp_path / f"{k}.onnx", dynamo=False)
        net = fb.interop.from_onnx(tmp_path / f"{k}.onnx")
        np.testing.assert_allclose(net.forward(X.numpy()), module(X).detach().numpy(), atol=1e-6)


@pytest.mark.peers
def test_what_skl2onnx_makes_of_a_pipeline_is_read():
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.neural_network import MLPClassifier as Theirs
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X = np.random.default_rng(0).uniform(2, 5, (80, 4)).astype("f4")
    for y in (X[:, 0] > 3, np.digitize(X[:, 1], [3, 4])):
        pipeline = make_pipeline(StandardScaler(), Theirs(8, max_iter=20, random_state=0)).fit(X, y)
        for options in ({"zipmap": False}, {}):
            net = fb.interop.from_onnx(skl2onnx.to_onnx(pipeline, X[:1], options=options))
            probabilities = pipeline.predict_proba(X)[:, -net.sizes[-1] :]
            np.testing.assert_allclose(net.forward(X), probabilities, atol=1e-5)
