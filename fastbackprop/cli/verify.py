"""The command ``fastbackprop verify``: the table of :mod:`fastbackprop.gradcheck`, computed on this machine."""

from __future__ import annotations

import json

import click

from fastbackprop.cli.options import ACTIVATIONS, OUTPUTS, Sizes

SAMPLES = 100  # of which the report chooses


LAYERS = Sizes(2, "must be the inputs, any hidden layers and the outputs, such as 5,18,11,4")


@click.command(
    "verify", context_settings={"show_default": True}, short_help="Check the paper's equations on this machine."
)
@click.option("--sizes", type=LAYERS, default="5,18,11,4", help="Inputs, hidden layers and outputs.")
@click.option("--activation", type=click.Choice(ACTIVATIONS), default="relu", help="Of the hidden layers.")
@click.option(
    "--output",
    type=click.Choice(OUTPUTS),
    default="softmax",
    help="Of the network; the paper's three are always checked.",
)
@click.option("--seed", type=click.IntRange(0, (1 << 32) - 1), default=0, help="Of the parameters and the data.")
@click.option("--dtype", type=click.Choice(["float64", "float32", "both"]), default="both")
@click.option(
    "--peers/--no-peers", default=True, help="Compare with PyTorch and JAX where they are installed (the extra peers)."
)
@click.option("--json", "as_json", is_flag=True, help="Print every comparison as JSON.")
def command(
    sizes: tuple[int, ...], activation: str, output: str, seed: int, dtype: str, peers: bool, as_json: bool
) -> int:
    """Check every equation, theorem and code of the paper, on a random network and random data.

    What the compiled engine and the NumPy reference compute is compared with the formulas as the paper states them,
    with complex steps and differences, and with PyTorch's and JAX's automatic derivatives where these are installed:
    pip install 'fastbackprop[peers]'. The table has the largest relative difference of each row. The exit code is 1 if
    any exceeds its tolerance.
    """
    import numpy as np

    from fastbackprop import Network, gradcheck
    from fastbackprop.gradcheck.autograd import PEERS

    rng = np.random.default_rng(seed)
    net = Network(sizes, activation, output, seed=rng)
    for b in net.biases:
        b[...] = 0.1 * rng.standard_normal(b.shape)
    X = rng.standard_normal((SAMPLES, sizes[0]))
    Y = rng.integers(0, sizes[-1], SAMPLES) if output == "softmax" else rng.random((SAMPLES, sizes[-1]))
    dtypes = gradcheck.DTYPES if dtype == "both" else (dtype,)
    found = gradcheck.report(net, X, Y, dtypes=dtypes, peers=peers, seed=seed)
    click.echo(json.dumps(found.to_dict(), indent=2) if as_json else found)
    missing = [name for name in PEERS.values() if peers and name not in found.peers]
    if missing:
        click.echo(f"{', '.join(missing)}: not installed; pip install 'fastbackprop[peers]'", err=as_json)
    return 0 if found.passed else 1
