"""Keras: models both ways, files that h5py alone reads and writes; hostile files run nothing."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import fastbackprop as fb
from tests.interop import CASES, EACH, assert_near, assert_same, inputs, network
from tests.processes import ROOT

h5py = pytest.importorskip("h5py")
SINGLE = 1e-6  # Keras multiplies matrices of float64 in float32, as JAX does by default
peers = [pytest.mark.peers, pytest.mark.filterwarnings("ignore:__array__ implementation")]


def with_keras(test):
    for mark in peers:
        test = mark(test)
    return test


@with_keras
@pytest.mark.parametrize(("hidden", "output", "dtype"), CASES)
def test_keras_gives_the_outputs_and_the_way_back_the_bits(hidden, output, dtype, tmp_path):
    keras = pytest.importorskip("keras")
    net = network(hidden, output, dtype)
    model, X = fb.interop.to_keras(net), inputs(net)
    assert_near(keras.ops.convert_to_numpy(model(X)), net, X, SINGLE)
    assert_same(net, fb.interop.from_keras(model))
    fb.interop.save_keras(net, tmp_path / "ours.keras")
    loaded = keras.models.load_model(tmp_path / "ours.keras")
    assert_near(keras.ops.convert_to_numpy(loaded(X)), net, X, SINGLE)
    model.save(tmp_path / "theirs.keras")
    assert_same(net, fb.interop.from_keras(tmp_path / "theirs.keras"))
    assert_same(net, fb.interop.from_keras(tmp_path / "ours.keras"))


@pytest.mark.parametrize(("hidden", "output", "dtype"), EACH)
def test_files_are_read_back_bit_for_bit_without_keras(hidden, output, dtype, tmp_path):
    net = network(hidden, output, dtype)
    fb.interop.save_keras(net, tmp_path / "net.keras")
    assert_same(net, fb.interop.from_keras(tmp_path / "net.keras"))
    first = (tmp_path / "net.keras").read_bytes()
    fb.interop.save_keras(net, tmp_path / "net.keras")
    assert (tmp_path / "net.keras").read_bytes() == first


def test_files_need_no_keras(tmp_path):
    code = """
import sys
sys.modules["keras"] = None
import fastbackprop as fb
net = fb.Network((3, 4, 2), seed=0)
fb.interop.save_keras(net, "net.keras")
assert fb.interop.from_keras("net.keras").sizes == (3, 4, 2)
try:
    fb.interop.to_keras(net)
except ImportError as error:
    print(error)
"""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "interop.to_keras needs keras: pip install 'fastbackprop[keras]'\n", done.stderr


@with_keras
def test_models_of_others_are_read(tmp_path):
    keras = pytest.importorskip("keras")
    layers = keras.layers
    model = keras.Sequential([
        keras.Input((4,)), layers.Dense(6, activation="swish"), layers.Dropout(0.5), layers.Dense(5, use_bias=False),
        layers.ReLU(), layers.Dense(5), layers.Activation("elu"), layers.Dense(3), layers.Softmax(),
    ])  # fmt: skip
    model.save(tmp_path / "model.keras")
    for source in (model, tmp_path / "model.keras"):
        net = fb.interop.from_keras(source)
        assert (net.sizes, net.hidden, net.output) == ((4, 6, 5, 5, 3), ("silu", "relu", "elu"), "softmax")
        X = inputs(net)
        np.testing.assert_allclose(net.forward(X), keras.ops.convert_to_numpy(model(X)), atol=1e-6)


@with_keras
@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda layers: [layers.Dense(3, activation="softsign")], r"layer 'last' \('Dense'\) is none of a network's"),
        (lambda layers: [layers.Dense(3), layers.LeakyReLU(name="leak")], r"layer 'leak' \('LeakyReLU'\)"),
        (lambda layers: [layers.Dense(3), layers.ReLU(6.0, name="six")], r"layer 'six' \('ReLU'\)"),
        (lambda layers: [layers.Dense(3), layers.ELU(0.5, name="half")], r"layer 'half' \('ELU'\)"),
        (lambda layers: [layers.Dense(3), layers.BatchNormalization(name="bn")], r"layer 'bn' \('BatchNorm"),
        (lambda layers: [layers.Activation("tanh", name="first"), layers.Dense(3)], r"layer 'first' \('Activation'\)"),
        (lambda layers: [layers.Dense(3, "tanh"), layers.Activation("relu", name="two")], r"layer 'two' \('Activation"),
        (lambda layers: [layers.Dense(3, "tanh")], "its last layer must end in one of identity, sigmoid"),
        (lambda layers: [layers.Dense(3, "softmax"), layers.Dense(3)], r"follows on what is an output only: softmax"),
        (lambda layers: [layers.Rescaling(2.0, name="scale"), layers.Dense(3)], r"layer 'scale' \('Rescaling'\)"),
    ],
)  # fmt: skip
def test_what_is_no_such_network_is_refused_by_the_layer(add, message, tmp_path):
    keras = pytest.importorskip("keras")
    parts = add(keras.layers)
    if message.startswith("layer 'last'"):
        parts[0].name = "last"
    model = keras.Sequential([keras.Input((4,)), *parts])
    model.save(tmp_path / "model.keras")
    for source in (model, tmp_path / "model.keras"):
        with pytest.raises(ValueError, match=f"^cannot read a network from .*{message}"):
            fb.interop.from_keras(source)


@with_keras
def test_branches_are_refused():
    keras = pytest.importorskip("keras")
    x = keras.Input((4,))
    y = keras.layers.Add(name="sum")([x, keras.layers.Dense(4)(x)])
    with pytest.raises(ValueError, match="layer 'sum' must follow on one other"):
        fb.interop.from_keras(keras.Model(x, y))
    with pytest.raises(TypeError, match="source must be a model of Keras or the path of one, got 3"):
        fb.interop.from_keras(3)


# ---------------------------------------------------------------------- hostile files


def changed(path, config=lambda config: None, weights=lambda file: None, how=zipfile.ZIP_STORED):
    """A file of a network whose description or weights are changed."""
    fb.interop.save_keras(network("relu", "softmax", "float32"), path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    description = json.loads(parts["config.json"])
    config(description["config"])
    parts["config.json"] = json.dumps(description)
    buffer = io.BytesIO(parts["model.weights.h5"])
    with h5py.File(buffer, "a") as file:
        weights(file)
    parts["model.weights.h5"] = buffer.getvalue()
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def test_truncated_and_damaged_files_are_refused(tmp_path):
    path, rng = changed(tmp_path / "net.keras"), np.random.default_rng(0)
    content = path.read_bytes()
    for size in range(0, len(content) - 1, 211):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"^cannot read a network from .*net\.keras'"):
            fb.interop.from_keras(path)
    for _ in range(100):
        damaged = bytearray(content)
        damaged[int(rng.integers(len(content)))] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        with contextlib.suppress(ValueError):
            assert isinstance(fb.interop.from_keras(path), fb.Network)


def link_outside(file):
    del file["layers/dense/vars/0"]
    file["layers/dense/vars/0"] = h5py.ExternalLink("secret.h5", "/x")


def data_outside(file):
    del file["layers/dense/vars/0"]
    file["layers/dense/vars"].create_dataset("0", (5, 40), "f4", external=[("secret.bin", 0, 800)])


def compress(file):
    del file["layers/dense/vars/0"]
    file["layers/dense/vars"].create_dataset("0", (5, 40_000_000), "f4", chunks=(5, 1000), compression="gzip")


def virtual(file):
    del file["layers/dense/vars/0"]
    layout = h5py.VirtualLayout((5, 40), "f4")
    layout[:] = h5py.VirtualSource("secret.h5", "x", (5, 40))
    file["layers/dense/vars"].create_virtual_dataset("0", layout)


def words(file):
    del file["layers/dense/vars/0"]
    file["layers/dense/vars/0"] = np.zeros((5, 40), "S5")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (link_outside, "lie in another file"), (data_outside, "must lie in the file"), (virtual, "must lie in the f"),
        (compress, "must lie in the file, uncompressed"), (words, "must be an array of floats"),
        (lambda file: file["layers"].pop("dense_1"), r"lie in another file|cannot be read"),
        (lambda file: file["layers/dense/vars/1"].write_direct(np.full(40, np.nan, "f4")), "must be finite"),
    ],
)  # fmt: skip
def test_weights_lie_in_the_file_as_large_as_they_are(change, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with h5py.File("secret.h5", "w") as file:
        file["x"] = np.zeros((5, 40), "f4")
    (tmp_path / "secret.bin").write_bytes(bytes(800))
    path = changed(tmp_path / "net.keras", weights=change)
    with pytest.raises(ValueError, match=message):
        fb.interop.from_keras(path)


def evil_lambda(config):
    config["layers"][2] |= {"class_name": "Lambda", "module": "keras.layers"}
    config["layers"][2]["config"]["function"] = {"class_name": "__lambda__", "config": {"code": "ran"}}


def ring(config):
    for layer, name in ((2, "layer_3"), (3, "layer_2")):
        config["layers"][layer]["inbound_nodes"][0]["args"][0]["config"]["keras_history"][0] = name


def other_class(config):
    config["layers"][1] |= {"module": "os", "registered_name": "system"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (evil_lambda, r"layer 'layer_2' \('Lambda'\) is none of a network's"), (ring, "its layers are a ring"),
        (other_class, r"layer 'layer_1' \('Dense'\) is not one of Keras"),
        (lambda config: config.pop("output_layers"), "its description is not as Keras writes it: KeyError"),
        (lambda config: config.update(layers=None), "its description is not as Keras writes it"),
        (lambda config: config["layers"][1].update(class_name="Dense2"), r"layer 'layer_1' \('Dense2'\)"),
        (lambda config: config["layers"][1]["config"].update(quantization_config={}), "neither quantized nor"),
    ],
)  # fmt: skip
def test_descriptions_run_nothing(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        fb.interop.from_keras(changed(tmp_path / "net.keras", change))


def test_what_is_compressed_is_not_unpacked(tmp_path):
    with pytest.raises(ValueError, match="its weights must lie uncompressed"):
        fb.interop.from_keras(changed(tmp_path / "net.keras", how=zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b"[" * 20_000_000)
    with pytest.raises(ValueError, match="its description has 20000000 bytes"):
        fb.interop.from_keras(tmp_path / "bomb.keras")
    with zipfile.ZipFile(tmp_path / "deep.keras", "w") as archive:
        archive.writestr("config.json", b"[" * 1_000_000)
    with pytest.raises(ValueError, match="cannot read a network from"):
        fb.interop.from_keras(tmp_path / "deep.keras")
