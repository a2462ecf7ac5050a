"""The file of a model: read, and described."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastbackprop.cli.terminal import few, say, some
from fastbackprop.text import shown

if TYPE_CHECKING:
    from fastbackprop.network import Network
    from fastbackprop.tables import Table

EXTRAS = {"sklearn": "sklearn", "pandas": "cli", "matplotlib": "plot", "tqdm": "cli"}


def check_extras(*modules: str) -> None:
    """Before the work: what will be needed at its end is installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise click.UsageError(f"{module} is not installed: pip install 'fastbackprop[{EXTRAS[module]}]'")


def read_model(path: Path) -> tuple[Network, Table | None, dict[str, Any]]:
    """The network, and, where `train` wrote it, its preprocessing and how it was trained.

    A checkpoint is one too, of the network as it was then.
    """
    from fastbackprop import checkpointing, persistence, tables

    net, metadata, epoch = persistence.load(path), persistence.read_metadata(path), checkpointing.epoch_of(path)
    so_far = {} if epoch is None else {"stands": f"after epoch {epoch}, in a checkpoint: `train --resume` goes on"}
    if "table" not in metadata:
        return net, None, so_far
    try:
        table, training = tables.Table.from_json(metadata["table"]), json.loads(metadata.get("training", "{}"))
    except ValueError as error:
        raise click.UsageError(f"{path}: {error}") from None
    except RecursionError:
        training = None
    if not isinstance(training, dict) or (table.inputs, table.outputs) != (net.sizes[0], net.sizes[-1]):
        raise click.UsageError(f"{path}: the preprocessing does not fit the network; the file is damaged")
    return net, table, training | so_far


def describe(table: Table, columns: bool = False) -> None:
    """Say what is predicted from what; with ``columns``, each of them."""
    from fastbackprop.tables import Category, Date

    count = len(table.columns)
    categories, dates = (sum(isinstance(column, kind) for column in table.columns) for kind in (Category, Date))
    classes = f": {few(table.classes)}" if table.classes else ""
    say(f"task      {table.task} of {few(table.targets)}{classes}")
    kinds = f"{count - categories - dates} of numbers, {categories} of categories{f', {dates} of dates' * (dates > 0)}"
    say(f"columns   {count}: {kinds}; {table.inputs} inputs")
    lines = some([f"          {column}" for column in table.columns], "columns") if columns else []
    lines += some([f"left out  {shown(name)}: {shown(why)}" for name, why in table.left_out.items()], "columns")
    for line in lines:
        say(line)
