"""The command ``fastbackprop import``: a file of another library as a model."""

from __future__ import annotations

from pathlib import Path

import click

from fastbackprop.cli.models import describe
from fastbackprop.cli.options import ACTIVATIONS, MODEL, OUTPUTS, refuse
from fastbackprop.cli.outputs import writable
from fastbackprop.cli.terminal import say

STATE_DICTS = (".pth", ".pt", ".safetensors")


@click.command("import", short_help="Make a model of a file of ONNX, PyTorch or Keras.")
@click.argument("file", type=MODEL)
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--activation", "hidden", multiple=True, type=click.Choice(ACTIVATIONS),
    help="Of the hidden layers of a state dict of PyTorch: one for all, or given once for each.",
)  # fmt: skip
@click.option("--output", type=click.Choice(OUTPUTS), help="What the outputs of a state dict are the logits of.")
def command(file: Path, out: Path, hidden: tuple[str, ...], output: str | None) -> None:
    """Write FILE, a network of another library, as OUT, a safetensors file that `predict`, `info` and fb.load read.

    FILE is .onnx, a state dict of PyTorch in .pth, .pt or .safetensors, or .keras. Nothing in it is run. An
    .onnx that `export` made of a model with its preprocessing gives both back.
    """
    from fastbackprop.interop.files import load_with_table, save_ours

    if file.suffix.lower() not in STATE_DICTS:
        refuse(("hidden", "output"), f"is for state dicts of PyTorch, and {file} says what it is")
    with writable(out, keep=[file], option="OUT"):
        given = list(hidden) if len(hidden) > 1 else (hidden or (None,))[0]
        net, table = load_with_table(file, given, output)
        save_ours(net, table, out)
    say(f"network   {'-'.join(map(str, net.sizes))}, {net.params.size} parameters of {net.dtype}")
    say(f"layers    hidden: {', '.join(dict.fromkeys(net.hidden)) or 'none'}; output: {net.output}")
    if table is not None:
        describe(table)
    say(f"model     {out}")
