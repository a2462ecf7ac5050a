"""Digests of the parameters after fixed trainings, which no processor, thread count or vector width may change.

Data and first parameters are whole numbers times powers of two, from a generator that NumPy has frozen, so nothing
depends on a library's exponential or logarithm. The shuffles come from the seed 0 through NumPy's current generator,
whose stream a new version of NumPy may change; then every shuffled training changes, and "unshuffled" does not.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

import fastbackprop as fb
from fastbackprop.activations import ACTIVATIONS
from fastbackprop.heads import HEADS

FILE = Path(__file__).with_name("digests.json")
SIZES = 37, 70, 33, 5
SAMPLES = 300

# What differs from: relu, softmax, SGD, two epochs of shuffled batches of 128.
TRAININGS: dict[str, dict[str, Any]] = {
    **{f"output {name}": {"output": name} for name in HEADS},
    **{f"hidden {name}": {"hidden": name} for name in ACTIVATIONS if name != "relu"},
    "momentum": {"optimizer": fb.SGD(0.0625, momentum=0.9)},
    "nesterov": {"optimizer": fb.SGD(0.0625, momentum=0.9, nesterov=True)},
    "rmsprop": {"optimizer": fb.RMSprop(0.01, momentum=0.5)},
    "adagrad": {"optimizer": fb.Adagrad(0.01, lr_decay=0.1)},
    "adam": {"optimizer": fb.Adam(0.01)},
    "adamw": {"optimizer": fb.AdamW(0.01, weight_decay=0.1)},
    "weight decay": {"optimizer": fb.SGD(0.0625, weight_decay=0.01, decay_biases=True)},
    "clipping": {"optimizer": fb.Adam(0.01, clip_norm=0.125)},
    "penalties": {"l1": 0.001, "l2": 0.01},
    "dropout": {"dropout": 0.25},
    "sample weights": {"sample_weight": np.arange(SAMPLES) % 3 / 2},
    "unshuffled": {"shuffle": False},
    "several blocks": {"samples": 5000, "batch_size": 5000},
    "few inputs": {"sizes": (6, 40, 21, 9)},
    "fewer inputs": {"sizes": (3, 40, 21, 9)},
    "few units": {"sizes": (21, 7, 5)},
    "two unit shards": {"sizes": (37, 100, 9), "samples": 1000, "batch_size": 48},
    "four unit shards": {
        "sizes": (64, 128, 10),
        "samples": 1000,
        "batch_size": 48,
        "optimizer": fb.Adam(0.01),
        "l2": 0.01,
    },
    "eight unit shards": {"sizes": (300, 136, 5), "samples": 1000, "batch_size": 48, "dropout": 0.25, "hidden": "tanh"},
    "many sample shards": {"sizes": (6, 40, 9), "samples": 9000, "batch_size": 5000, "optimizer": fb.Adam(0.01)},
    "two unit shards of a deep one": {
        "sizes": (37, 112, 33, 5),
        "samples": 1000,
        "batch_size": 40,
        "hidden": ["relu0", "gelu"],
        "optimizer": fb.Adam(0.01),
        "dropout": 0.25,
        "sample_weight": np.arange(1000) % 3 / 2,
    },
    "small batches": {"batch_size": 32},
    "small batches, all of it": {
        "batch_size": 32,
        "hidden": "tanh",
        "optimizer": fb.AdamW(0.01, weight_decay=0.1, clip_norm=0.125),
        "l1": 0.001,
        "l2": 0.01,
        "dropout": 0.25,
        "sample_weight": np.arange(SAMPLES) % 3 / 2,
    },
}


def digest(training: str, dtype: str, threads: int | None = None) -> str:
    """SHA-256 of the parameters that a training ends with."""
    options = {"epochs": 2, "batch_size": 128, "optimizer": fb.SGD(0.0625), "seed": 0} | TRAININGS[training]
    hidden, output = options.pop("hidden", "relu"), options.pop("output", "softmax")
    samples, sizes = options.pop("samples", SAMPLES), options.pop("sizes", SIZES)
    net = fb.Network(sizes, hidden, output, dtype=dtype, threads=threads)
    numbers = np.random.RandomState(0)
    net.params = numbers.randint(-1024, 1025, net.params.size) / 4096
    X = (numbers.randint(-256, 257, (samples, sizes[0])) / 128).astype(dtype)
    X[:8], net.biases[0][::2] = 0, 0  # Z is 0, where relu and relu0 differ
    y = numbers.randint(0, sizes[-1], samples)
    Y = (numbers.randint(0, 257, (samples, sizes[-1])) / 256).astype(dtype)
    net.fit(X, y if output == "softmax" else Y, **options)
    return hashlib.sha256(net.params.astype(net.dtype.newbyteorder("<")).tobytes()).hexdigest()


def digests(threads: int | None = None) -> dict[str, str]:
    """All of them."""
    return {
        f"{training}, {dtype}": digest(training, dtype, threads)
        for training in TRAININGS
        for dtype in ("float32", "float64")
    }


def kept() -> dict[str, str]:
    """Those in the file."""
    return json.loads(FILE.read_text())


def differences(threads: int | None = None) -> list[str]:
    """The trainings whose digest is not that of the file, or which only one of the two has."""
    now, before = digests(threads), kept()
    return sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))
