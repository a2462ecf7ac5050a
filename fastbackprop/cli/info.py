"""The command ``fastbackprop info``."""

from __future__ import annotations

from pathlib import Path

import click

from fastbackprop.cli.models import describe, read_model
from fastbackprop.cli.options import MODEL
from fastbackprop.cli.terminal import say, some
from fastbackprop.text import shown


@click.command("info", short_help="Show what a model is and how it was trained.")
@click.argument("model", type=MODEL)
def command(model: Path) -> None:
    """Show what MODEL is: the network, its columns, its training.

    MODEL is a file that `train` or `Network.save` wrote, or a checkpoint.
    """
    net, table, training = read_model(model)
    layers = "-".join(map(str, net.sizes))
    hidden = ", ".join(dict.fromkeys(net.hidden)) or "none"
    say(f"network   {layers}, {net.params.size} parameters of {net.dtype}")
    say(f"layers    hidden: {hidden}; output: {net.output}")
    if table is None:
        say("columns   not in the file: the network was saved without preprocessing")
    else:
        describe(table, columns=True)
    for line in some([f"{shown(key):<10}{shown(str(value), 1000)}" for key, value in training.items()], "entries"):
        say(line)
    say(f"model     {model}")
