"""The commands ``export`` and ``import``, and what the functions behind them choose by a file's name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import fastbackprop as fb
from fastbackprop import datasets, persistence, tables
from tests.commands import call, one_line, run
from tests.interop import assert_same, mixed_table, network, train

pytest.importorskip("onnx")
pytest.importorskip("h5py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A directory with a network, and a model of a table."""
    path = tmp_path_factory.mktemp("models")
    network("gelu", "sigmoid", "float64").save(path / "net.safetensors")
    mixed_table().to_csv(path / "data.csv", index=False)
    train(path / "data.csv", "--target", "cheap", "--epochs", 2, "-o", path)
    return path


@pytest.mark.parametrize(
    "ending",
    [
        ".onnx",
        ".keras",
        ".torch.safetensors",
        *(pytest.param(ending, marks=pytest.mark.peers) for ending in (".pth", ".pt")),
    ],
)
def test_a_network_goes_and_comes_back(ending, folder, tmp_path, capsys):
    if ending.startswith(".p"):
        pytest.importorskip("torch")
    there, back = tmp_path / f"net{ending.upper()}", tmp_path / "back.safetensors"
    code, out, err = call(capsys, "export", folder / "net.safetensors", there)
    assert (code, out, err) == (0, f"exported  {there}\n", "")
    code, out, err = call(capsys, "import", there, back)
    assert (code, err) == (0, "")
    assert out == (
        "network   5-40-7-3, 551 parameters of float64\nlayers    hidden: gelu; output: sigmoid\n"
        f"model     {back}\n"
    )  # fmt: skip
    assert_same(fb.load(folder / "net.safetensors"), fb.load(back))
    assert_same(fb.load(back), fb.interop.load(there))


def test_an_onnx_file_brings_the_preprocessing_back(folder, tmp_path, capsys):
    assert call(capsys, "export", folder / "data.safetensors", tmp_path / "data.onnx")[0] == 0
    code, out, _ = call(capsys, "import", tmp_path / "data.onnx", tmp_path / "back.safetensors")
    assert code == 0
    assert "task      classification of cheap: no, yes" in out
    for name, model in (("a", folder / "data.safetensors"), ("b", tmp_path / "back.safetensors")):
        assert call(capsys, "predict", model, folder / "data.csv", "-o", tmp_path / f"{name}.csv")[0] == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_a_files_preprocessing_must_fit(folder, tmp_path, capsys):
    import onnx

    model = fb.interop.to_onnx(folder / "data.safetensors")
    other = tables.Table((tables.Number("a", 0.0, 0.0, 1.0),), ("y",), "classification", ("n", "y")).to_json()
    for text, why in ((other, "does not fit the network"), ("{", "not the preprocessing of a table")):
        next(entry for entry in model.metadata_props if entry.key == "table").value = text
        onnx.save(model, tmp_path / "odd.onnx")
        err = one_line(capsys, "import", tmp_path / "odd.onnx", tmp_path / "out.safetensors")
        assert "cannot read a network from" in err
        assert why in err
    assert not (tmp_path / "out.safetensors").exists()


def test_c_and_what_the_others_leave_out(folder, tmp_path, capsys):
    assert call(capsys, "export", folder / "net.safetensors", tmp_path / "net.c")[0] == 0
    assert "void predict(const double *x, double *y)" in (tmp_path / "net.c").read_text()
    code, _, err = call(capsys, "export", folder / "data.safetensors", tmp_path / "data.keras")
    assert code == 0
    assert "the preprocessing is not in it; the network's inputs are those of tables.Table.transform" in err
    assert_same(fb.load(folder / "data.safetensors"), fb.interop.from_keras(tmp_path / "data.keras"))


def test_wrong_calls_are_one_line(folder, tmp_path, capsys):
    net = folder / "net.safetensors"
    assert "OUT must end in .onnx, .pth, .pt, .pt2, .safetensors, .keras, .c, got" in one_line(
        capsys, "export", net, tmp_path / "a.h5"
    )
    assert "cannot be written: there is no directory" in one_line(capsys, "export", net, tmp_path / "none" / "a.onnx")
    assert "cannot load a network from" in one_line(capsys, "export", folder / "data.csv", tmp_path / "a.onnx")
    (tmp_path / "a.h5").write_text("text")
    err = one_line(capsys, "import", tmp_path / "a.h5", tmp_path / "a.safetensors")
    assert "path must end in .onnx, .pth, .pt, .safetensors, .keras, got" in err
    (tmp_path / "a.h5").unlink()
    (tmp_path / "text.onnx").write_text("text")
    err = one_line(capsys, "import", tmp_path / "text.onnx", tmp_path / "a.safetensors")
    assert "not an ONNX file, or not a whole one" in err
    err = one_line(capsys, "import", tmp_path / "text.onnx", tmp_path / "a.safetensors", "--activation", "tanh")
    assert "--activation is for state dicts of PyTorch" in err
    err = one_line(capsys, "import", tmp_path / "text.onnx", tmp_path / "text.onnx")
    assert "it is" in err
    assert (tmp_path / "text.onnx").read_text() == "text"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.onnx"]


@pytest.mark.peers
def test_a_state_dict_is_told_its_activations(tmp_path, capsys):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)
    )
    torch.save(module.state_dict(), tmp_path / "net.pth")
    arguments = ["import", tmp_path / "net.pth", tmp_path / "net.safetensors"]
    assert "hidden must say which activations are between its 3 layers" in one_line(capsys, *arguments)
    more = ["--activation", "tanh", "--activation", "relu", "--output", "softmax"]
    assert call(capsys, *arguments, *more)[0] == 0
    net = fb.load(tmp_path / "net.safetensors")
    assert (net.hidden, net.output) == (("tanh", "relu"), "softmax")
    X = np.eye(3, dtype="f4")
    logits = module(torch.from_numpy(X))
    np.testing.assert_allclose(net.forward(X), torch.softmax(logits, 1).detach().numpy(), atol=1e-6)
    assert call(capsys, *arguments, "--activation", "elu")[0] == 0
    assert fb.load(tmp_path / "net.safetensors").hidden == ("elu", "elu")


def test_a_checkpoint_is_exported_as_it_stands(tmp_path, capsys):
    datasets.load_frame("iris")[0].to_csv(tmp_path / "iris.csv", index=False)
    checkpoint = tmp_path / "so_far.safetensors"
    train(tmp_path / "iris.csv", "--target", "target", "--epochs", 2, "--checkpoint", checkpoint, "-o", tmp_path)
    code, _, err = call(capsys, "export", checkpoint, tmp_path / "a.onnx")
    assert code == 0
    assert "the network after epoch 2, in a checkpoint" in err


def test_columns_may_be_called_as_outputs_are(tmp_path, capsys):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"label": rng.normal(size=90), "gemm": rng.normal(size=90), "weights.0": rng.normal(size=90)})
    frame["y"] = np.where(frame["label"] > frame["gemm"], "a", "b")
    frame.to_csv(tmp_path / "data.csv", index=False)
    train(tmp_path / "data.csv", "--target", "y", "--epochs", 1, "-o", tmp_path)
    runtime = pytest.importorskip("onnxruntime")
    model = fb.interop.to_onnx(tmp_path / "data.safetensors")
    session = runtime.InferenceSession(model.SerializeToString())
    columns = {name: frame[[name]].to_numpy(np.float64) for name in ("label", "gemm", "weights.0")}
    labels, probabilities = session.run(["label_1", "probabilities"], columns)
    net, table = fb.load(tmp_path / "data.safetensors"), tables.Table.from_json(json_of(tmp_path / "data.safetensors"))
    outputs = net.forward(table.transform(frame).astype(net.dtype))
    np.testing.assert_allclose(probabilities, outputs, atol=1e-6)
    assert labels.tolist() == table.decode(outputs)["y"].tolist()


def json_of(path):
    return persistence.read_metadata(path)["table"]


def test_help_needs_nothing(tmp_path):
    for name in ("export", "import"):
        code, out, _ = run(name, "--help")
        assert code == 0
        assert b".keras" in out
