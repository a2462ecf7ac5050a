"""PyTorch: modules, state dicts and files, both ways; hostile files run nothing."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

import fastbackprop as fb
from fastbackprop.sklearn import MLPClassifier
from tests.interop import CASES, assert_near, assert_same, inputs, network

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch")
nn = torch.nn


@pytest.mark.parametrize(("hidden", "output", "dtype"), CASES)
def test_pytorch_gives_the_outputs_and_the_way_back_the_bits(hidden, output, dtype, tmp_path):
    net = network(hidden, output, dtype)
    module, X = fb.interop.to_torch(net), inputs(net)
    with torch.no_grad():
        assert_near(module(torch.from_numpy(X)).numpy(), net, X)
    assert_same(net, fb.interop.from_torch(module))
    logits = fb.interop.to_torch(net, logits=True)
    assert_same(net, fb.interop.from_torch(logits, output=output))
    fb.interop.save_torch(net, tmp_path / "net.pth")
    assert_same(net, fb.interop.from_torch(tmp_path / "net.pth"))
    assert fb.interop.from_torch(tmp_path / "net.pth").hidden == net.hidden
    assert_same(net, fb.interop.from_torch(module.state_dict(), hidden=hidden, output=output))


def test_the_module_has_weights_of_its_own_and_learns():
    net = network("relu", "softmax", "float32")
    state = torch.get_rng_state()
    module, before = fb.interop.to_torch(net, logits=True), net.params.copy()
    assert torch.equal(torch.get_rng_state(), state)
    loss = nn.functional.cross_entropy(module(torch.from_numpy(inputs(net))), torch.zeros(50, dtype=torch.int64))
    loss.backward()
    torch.optim.SGD(module.parameters(), lr=1.0).step()
    assert (net.params == before).all()
    assert not np.array_equal(fb.interop.from_torch(module, output="softmax").params, before)


def test_files_are_pytorchs_own(tmp_path):
    net = network(["gelu", "softplus"], "exp", "float64")
    fb.interop.save_torch(net, tmp_path / "net.pth")
    module, X = fb.interop.to_torch(net), torch.from_numpy(inputs(net))
    again = nn.Sequential(*(part.to_empty(device="cpu") for part in fb.interop.to_torch(net)))
    again.load_state_dict(torch.load(tmp_path / "net.pth"))
    assert torch.equal(again(X), module(X))
    fb.interop.save_torch(net, tmp_path / "net.pt2")
    program = torch.export.load(tmp_path / "net.pt2").module()
    for rows in (1, 7):
        assert torch.equal(program(X[:rows]), module(X[:rows]))
    torch.save(module, tmp_path / "module.pth")  # also the module Exp
    assert torch.equal(torch.load(tmp_path / "module.pth", weights_only=False)(X), module(X))
    net.save(tmp_path / "net.safetensors")
    assert_same(net, fb.interop.from_torch(fb.interop.to_torch(tmp_path / "net.safetensors")))


def test_safetensors_have_pytorchs_names(tmp_path):
    load_file = pytest.importorskip("safetensors.torch").load_file
    save_file = pytest.importorskip("safetensors.torch").save_file
    net = network("silu", "softmax", "float32", (3, *[4] * 12, 2))
    fb.interop.save_torch(net, tmp_path / "net.safetensors")
    state, module = load_file(tmp_path / "net.safetensors"), fb.interop.to_torch(net)
    assert {name: tensor.shape for name, tensor in state.items()} == {
        k: t.shape for k, t in module.state_dict().items()
    }
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())
    assert_same(net, fb.interop.from_torch(tmp_path / "net.safetensors"))
    save_file(module.state_dict(), tmp_path / "theirs.safetensors")  # in another order, with nothing said
    assert_same(net, fb.interop.from_torch(tmp_path / "theirs.safetensors", "silu", "softmax"))
    with pytest.raises(ValueError, match="hidden must say which activations are between its 13 layers"):
        fb.interop.from_torch(tmp_path / "theirs.safetensors")
    net.save(tmp_path / "ours.safetensors")
    with pytest.raises(ValueError, match="it must have a weight and a bias for each layer"):
        fb.interop.from_torch(tmp_path / "ours.safetensors")


def test_an_estimator_is_its_network():
    X = np.random.default_rng(0).standard_normal((60, 4))
    estimator = MLPClassifier(8, max_iter=3, random_state=0, tol=0, activation="tanh")
    with pytest.warns(UserWarning, match="Maximum iterations"):
        estimator.fit(X, X[:, 0] > 0)
    o = fb.interop.to_torch(estimator)(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(o[:, 0], estimator.predict_proba(X)[:, 1], atol=1e-12)


def test_modules_of_others_are_read():
    module = nn.Sequential(
        nn.Flatten(), nn.Sequential(nn.Linear(4, 6), nn.ELU(), nn.Dropout(0.5)), nn.Linear(6, 5, bias=False),
        nn.Linear(5, 3), nn.Softmax(-1),
    ).eval()  # fmt: skip
    net = fb.interop.from_torch(module)
    assert (net.sizes, net.hidden, net.output) == ((4, 6, 5, 3), ("elu", "identity"), "softmax")
    X = inputs(net)
    np.testing.assert_allclose(net.forward(X), module(torch.from_numpy(X)).detach().numpy(), atol=1e-6)
    half = fb.interop.from_torch(nn.Linear(3, 2).half())
    assert (half.sizes, half.dtype) == ((3, 2), np.float32)
    assert fb.interop.from_torch(nn.Sequential(nn.Linear(3, 2), nn.Softplus(), nn.Linear(2, 2))).hidden == ("softplus",)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(3, 3), nn.Softsign(), nn.Linear(3, 2)), r"module '?1'?, Softsign"),
        (lambda: nn.Sequential(nn.Linear(3, 3), nn.LeakyReLU(0.2), nn.Linear(3, 2)), r"module '?1'?, LeakyReLU"),
        (lambda: nn.Sequential(nn.Conv1d(3, 3, 1)), r"module '?0'?, Conv1d"),
        (lambda: nn.Sequential(nn.Tanh(), nn.Linear(3, 3)), r"module '?0'?, Tanh"),
        (lambda: nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Tanh(), nn.Linear(3, 3)), r"module '?2'?, Tanh"),
        (lambda: nn.Sequential(nn.Linear(3, 3), nn.Tanh()), "its last layer must end in one of identity, sigmoid"),
        (lambda: nn.Sequential(nn.Linear(3, 3), nn.Softmax(1), nn.Linear(3, 3)), "an output only: softmax"),
        (lambda: nn.Sequential(nn.Linear(3, 3), nn.Softmax(0)), r"module '?1'?, Softmax\(dim=0\)"),
        (lambda: nn.Sequential(nn.Linear(3, 4), nn.Linear(3, 2)), r"layer 2 must have weights \(n, 4\)"),
        (nn.Sequential, "it has no layer with weights"),
        (lambda: {"0.weight": torch.zeros(3, 2)}, "it must have a matrix and a vector for each layer"),
        (lambda: {"0.weight": torch.zeros(2, 3), "0.bias": torch.zeros(3)}, r"layer 1 must have weights \(n, 3\)"),
        (lambda: {"0.weight": [[1.0]], "0.bias": torch.zeros(1)}, "'0.weight' must be a tensor, got list"),
        (lambda: {"w": torch.zeros(1, 1, dtype=torch.int64), "b": torch.zeros(1)}, "must be of floats, got torch"),
        (lambda: {"w": torch.full((1, 1), torch.nan), "b": torch.zeros(1)}, "must be finite"),
        (lambda: nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).state_dict(), "hidden must say which activations"),
    ],
)  # fmt: skip
def test_what_is_no_such_network_is_refused(make, message):
    with pytest.raises(ValueError, match=f"^cannot read a network from .*{message}"):
        fb.interop.from_torch(make())


def test_arguments_that_do_not_fit():
    module = nn.Sequential(nn.Linear(3, 2), nn.Sigmoid())
    with pytest.raises(ValueError, match="output must be None or 'sigmoid', as the model ends, got 'exp'"):
        fb.interop.from_torch(module, output="exp")
    with pytest.raises(ValueError, match="output must be one of"):
        fb.interop.from_torch(module, output="tanh")
    with pytest.raises(ValueError, match="hidden must be None for a module"):
        fb.interop.from_torch(module, hidden="relu")
    with pytest.raises(TypeError, match=r"source must be an nn\.Sequential, a state dict, or the path of one, got 3"):
        fb.interop.from_torch(3)


# ---------------------------------------------------------------------- hostile files


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickles_run_nothing(tmp_path):
    ran = tmp_path / "ran"
    torch.save({"0.weight": Evil(ran)}, tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Evil(ran)))
    torch.save(OrderedDict(a=Evil(ran)), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name, why in (("evil", "a state dict and nothing else"), ("plain", "torch.save"), ("old", "torch.save")):
        with pytest.raises(ValueError, match=f"^cannot read a network from .*{name}.pth.*{why}"):
            fb.interop.from_torch(tmp_path / f"{name}.pth")
    assert not ran.exists()


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "net.pth"
    fb.interop.save_torch(network("relu", "softmax", "float32"), path)
    content = path.read_bytes()
    for size in range(0, len(content), 97):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"not a file of torch\.save, or not a whole one"):
            fb.interop.from_torch(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(100_000_000))
    with pytest.raises(ValueError, match=r"not a file of torch\.save"):
        fb.interop.from_torch(path)
    fb.interop.save_torch(network("relu", "softmax", "float32"), tmp_path / "net.pt2")
    with pytest.raises(ValueError, match=r"a program of torch\.export is not read"):
        fb.interop.from_torch(tmp_path / "net.pt2")


def test_tensors_that_claim_more_than_is_there_are_refused(tmp_path):
    one = torch.zeros(1)
    torch.save({"w": one.expand(1 << 20, 1 << 20), "b": one.expand(1 << 20)}, tmp_path / "huge.pth")
    with pytest.raises(ValueError, match="its tensors claim more numbers than are there"):
        fb.interop.from_torch(tmp_path / "huge.pth")
    square, vector = torch.zeros(50, 50), torch.zeros(50)
    shared = {f"{k}.{name}": t for k in range(100) for name, t in (("w", square), ("b", vector))}
    torch.save(shared, tmp_path / "shared.pth")
    with pytest.raises(ValueError, match="its tensors claim more numbers than are there"):
        fb.interop.from_torch(tmp_path / "shared.pth", hidden="relu")
